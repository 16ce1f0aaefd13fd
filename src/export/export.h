/* export: a trained student, read whole, to be written as others want it: ONNX, timm, a SAM checkpoint.
 *
 * It comes from a run's folder (or that of one of its checkpoints), or from a file of weights with or without its config.
 * What is held is what `dram eval` evaluates: the graph of the evaluation program, in fp32 and with running statistics,
 * and the files that the weights of its slots are in. There is no arena and nothing can be run: weights are read tensor
 * by tensor as they are written, and what it takes of host memory is the largest of them a few times.
 */
#ifndef DRAM_EXPORT_EXPORT_H
#define DRAM_EXPORT_EXPORT_H

#include "io/hash.h"
#include "model/model.h"
#include "session/session.h"
#include "session/weights.h"

typedef struct {
    const char *from;   /* RUN, RUN/checkpoints/step-NNNNNNNN, or a file of the student's weights */
    const char *config; /* of a file of weights; NULL: the network is told from the file, and the rest is the default */
    int size;           /* side of the image; 0: data.size of the config, or the network's own size */
} dram_export_request;

typedef struct {
    dram_config *cfg;      /* as it was loaded; owned. Of a file without config: the defaults, and student.arch */
    const dram_arch *arch; /* of the student */
    const char *run;       /* the folder it is exported from; NULL: a file was named */
    bool has_config;       /* cfg was written by someone; false: a file without config */
    char *weights, *heads; /* files; heads NULL: there is no heads.safetensors beside the weights */
    bool neck, head;       /* they are there: weights of them were loaded, or, of a neck, it needs none (SAM ViT) */
    int size, grid;        /* side of the image, a multiple of 32; size / 16 */
    int classes;           /* of the head; 0: none */
    float mean[3], std[3]; /* of the image, RGB, in units of 0..255 */
    char weights_hash[DRAM_HASH_SIZE], heads_hash[DRAM_HASH_SIZE]; /* XXH3 of the files; "" without heads */
    const dram_io *io; /* the evaluation program, batch 1: image, tap[], student_embedding, and logits of a head */
    dram_weights_file *student_file, *heads_file; /* open; heads NULL: no part is taken of it */
    dram_session
        session; /* its slots: groups "student", "neck", "head". dram_weights_save writes them under timm's names,
                           * dram_slot_read_floats reads one, from its file. Those of a part that is not there are zeros */
} dram_export;

/* Opens all of it. *e must not be moved afterwards, and is closed by dram_export_close in any case. request->from must
 * outlive it. Touches nothing.
 * DRAM_ERR_CONFIG: there is nothing at `from`; a run that has not come to its end; a config beside a run, or none that
 * can be read; a size that the student cannot take. DRAM_ERR_FORMAT: the file is not of the config's network, or holds
 * none that dram knows. A number that is not finite is found by who writes it. */
dram_status dram_export_open(const dram_export_request *request, dram_export *e);
void dram_export_close(dram_export *e); /* {0} is allowed */

/* DRAM_ERR_CONFIG where something has the name already, for nothing is replaced, or where there is no folder for it.
 * Before anything is read or written. What a killed export left beside it is removed. */
dram_status dram_export_check_target(const char *option, const char *path);

#endif
