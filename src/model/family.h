/* family: what a kind of network is. A family is a row of DRAM_FAMILY_LIST and a file of its name, src/model/NAME.c,
 * which defines `const dram_family dram_family_NAME`. Without the file the program does not link.
 *
 * All that dram knows of a family is in that value: nothing outside its file asks which family a network is of.
 */
#ifndef DRAM_MODEL_FAMILY_H
#define DRAM_MODEL_FAMILY_H

#include "model/model.h"

#define DRAM_FAMILY_LIST(X)                                                                                            \
    X(regnet)                                                                                                          \
    X(sam_vit)

/* One rule of a file's names: text at the start of a part of our name (after nothing or a dot), and what stands there
 * in the file. */
typedef struct {
    const char *ours, *theirs;
} dram_rename;

/* What the files of one source call our weights. */
typedef struct {
    const char *prefix;
    const dram_rename *rules; /* {NULL, NULL} ends them; NULL: none */
} dram_convention;

/* Whether a file has a tensor for our name with these first dimensions (0: any). `file` is handed through. */
typedef bool (*dram_file_has)(const void *file, const char *name, int64_t dim0, int64_t dim1);

/* What timm's create_model makes a network of: its name there, and what goes with the name, a JSON object ("": nothing). */
typedef struct {
    char name[64], args[256];
} dram_timm;

typedef struct dram_family {
    const dram_arch *archs; /* its networks */
    int n_archs;
    bool batch_norm; /* it has batch norms: a step depends on which images share a micro-batch */

    /* dram_trunk_build of this family. */
    dram_status (*build)(const dram_build *b, const dram_arch *arch, dram_val image, dram_features *out);

    /* A teacher's embedding [N,H/16,W/16,256], from what is staged as for dram_image_build. NULL: the family does not
     * teach. With b->images, a group's image is normalised when the group needs it. */
    dram_val (*embed)(const dram_build *b, const dram_arch *arch, dram_val pixels, dram_val valid);

    /* Whether a file has the number of blocks and the widths of `arch`. A few tensors are asked for. */
    bool (*matches)(const dram_arch *arch, dram_file_has has, const void *file);

    void (*in_timm)(const dram_arch *arch, dram_timm *out);

    const dram_convention *conventions; /* by dram_names; the first is timm's */
    int n_conventions;
    const char *const *probes; /* our names of weights that tell a file's convention: several, so that a file that
                                * lacks one of them is still understood, and the missing one named. NULL ends them */
    const char *position; /* our name of its table of positions [1,n,n,D], of images of n * DRAM_VIT_PATCH a side; NULL:
                           * it has none, and no size of its own */
    const char *const *beside; /* beginnings of names that a file may have beside the trunk's. NULL ends them */
} dram_family;

#define X(NAME) extern const dram_family dram_family_##NAME;
DRAM_FAMILY_LIST(X)
#undef X

#endif
