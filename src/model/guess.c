#include "model/guess.h"

#include <stdio.h>

typedef struct {
    dram_guess_shape shape;
    const void *context;
    const dram_arch *arch;
    dram_names names;
} probe;

/* Whether the file has the tensor with these first dimensions (0: any). */
static bool has(const probe *p, const char *ours, int64_t dim0, int64_t dim1)
{
    char name[128];
    dram_shape s;
    if (!dram_names_of(p->arch, p->names, ours, name, sizeof name) || !p->shape(p->context, name, &s)) return false;
    return (dim0 == 0 || (s.rank > 0 && s.dim[0] == dim0)) && (dim1 == 0 || (s.rank > 1 && s.dim[1] == dim1));
}

static bool is_regnet(const probe *p)
{
    char name[64];
    dram_regnet_stage stage[4];
    dram_regnet_stages(p->arch, stage);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "s%d.b%d.conv2.conv.weight", i + 1, stage[i].depth);
        if (!has(p, name, stage[i].width, stage[i].group)) return false;
        snprintf(name, sizeof name, "s%d.b%d.conv2.conv.weight", i + 1, stage[i].depth + 1);
        if (has(p, name, 0, 0)) return false;
    }
    return has(p, "s1.b1.se.fc1.weight", 0, 0) == (p->arch->se_ratio > 0);
}

static bool is_vit(const probe *p)
{
    char last[64], beyond[64];
    snprintf(last, sizeof last, "blocks.%d.norm1.weight", p->arch->blocks - 1);
    snprintf(beyond, sizeof beyond, "blocks.%d.norm1.weight", p->arch->blocks);
    return has(p, last, p->arch->dim, 0) && !has(p, beyond, 0, 0) &&
           has(p, "pos_embed", 1, p->arch->native / DRAM_VIT_PATCH);
}

const dram_arch *dram_arch_guess(dram_guess_shape shape, const void *context)
{
    int n;
    const char *const *names = dram_arch_names(&n);
    for (int i = 0; i < n; i++) {
        probe p = {.shape = shape, .context = context, .arch = dram_arch_find(names[i])};
        bool regnet = p.arch->kind == DRAM_ARCH_REGNET;
        for (int k = 0; k < (regnet ? 1 : DRAM_NAMES_COUNT); k++) {
            p.names = (dram_names)k;
            if (regnet ? is_regnet(&p) : is_vit(&p)) return p.arch;
        }
    }
    return NULL;
}
