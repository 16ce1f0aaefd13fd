/* The networks by name. */
#include <stdlib.h>
#include <string.h>

#include "model/family.h"

static const dram_family *const families[] = {
#define X(NAME) &dram_family_##NAME,
    DRAM_FAMILY_LIST(X)
#undef X
};
enum { FAMILIES = sizeof families / sizeof families[0] };

const dram_arch *dram_arch_at(int i)
{
    for (int f = 0; f < FAMILIES; f++) {
        if (i < families[f]->n_archs) return &families[f]->archs[i];
        i -= families[f]->n_archs;
    }
    return NULL;
}

const dram_arch *dram_arch_find(const char *name)
{
    const dram_arch *arch;
    for (int i = 0; (arch = dram_arch_at(i)); i++)
        if (strcmp(arch->name, name) == 0) return arch;
    return NULL;
}

static int by_alphabet(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

int dram_arch_names(bool teachers, const char **names)
{
    int n = 0;
    const dram_arch *arch;
    for (int i = 0; (arch = dram_arch_at(i)) && n < DRAM_ARCHS_MOST; i++)
        if (!teachers || arch->family->embed) names[n++] = arch->name;
    qsort(names, (size_t)n, sizeof *names, by_alphabet);
    return n;
}

dram_status dram_trunk_build(const dram_build *b, const dram_arch *arch, dram_val image, dram_features *out)
{
    dram_status status = arch->family->build(b, arch, image, out);
    out->batch_norm = arch->family->batch_norm;
    return status;
}
