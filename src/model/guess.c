#include "model/guess.h"

#include "model/family.h"

/* A file taken for one of `arch`, with the names of one convention. */
typedef struct {
    dram_guess_shape shape;
    const void *context;
    const dram_arch *arch;
    dram_names names;
} guess;

static bool has(const void *file, const char *ours, int64_t dim0, int64_t dim1)
{
    const guess *g = file;
    char name[128];
    dram_shape s;
    if (!dram_names_of(g->arch, g->names, ours, name, sizeof name) || !g->shape(g->context, name, &s)) return false;
    return (dim0 == 0 || (s.rank > 0 && s.dim[0] == dim0)) && (dim1 == 0 || (s.rank > 1 && s.dim[1] == dim1));
}

const dram_arch *dram_arch_guess(dram_guess_shape shape, const void *context)
{
    const dram_arch *arch;
    for (int i = 0; (arch = dram_arch_at(i)); i++)
        for (int k = 0; k < arch->family->n_conventions; k++) {
            const guess g = {.shape = shape, .context = context, .arch = arch, .names = (dram_names)k};
            if (arch->family->matches(arch, has, &g)) return arch;
        }
    return NULL;
}
