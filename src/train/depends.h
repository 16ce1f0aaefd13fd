/* depends: what the steps of a run depend on beside the keys of its config: the content of files of weights, which
 * images there are, the machine. A checkpoint keeps it, so that a run that goes on can say what is another. */
#ifndef DRAM_TRAIN_DEPENDS_H
#define DRAM_TRAIN_DEPENDS_H

#include <cjson/cJSON.h>

#include "config/config.h"
#include "data/dataset.h"
#include "io/hash.h"
#include "ir/profile.h"

/* The images of a data set, by name, and which of them have a label. */
typedef struct {
    int images, labels;
    char hash[DRAM_HASH_SIZE]; /* "": there is no such data set */
} dram_data_list;

typedef struct {
    /* Of the files of weights; "": there is none. */
    char teacher[DRAM_HASH_SIZE], student[DRAM_HASH_SIZE], heads[DRAM_HASH_SIZE];
    dram_data_list train, val;
    int threads; /* that compute */
    bool gpu;
} dram_depends;

/* Reads the files of weights that the config names. DRAM_ERR_CONFIG, with the key's place: one cannot be read. stop as
 * dram_hash_file has it. */
dram_status dram_depends_files(const dram_config *cfg, const volatile sig_atomic_t *stop, dram_depends *depends);

/* The rest. val NULL: there is none. */
dram_status dram_depends_rest(const dram_dataset *train, const dram_dataset *val, const dram_profile *profile,
                              dram_depends *depends);

/* What the newest checkpoint of a run depends on, or the checkpoint whose folder `run` is. *known is false where that was
 * not kept: there is no checkpoint, or an older dram saved it. DRAM_ERR_FORMAT: it is damaged. */
dram_status dram_depends_of_run(const char *run, dram_depends *depends, bool *known);

/* Adds the member "depends" to a tree; reads it from one that was read from the file `path`. */
dram_status dram_depends_add(const dram_depends *depends, cJSON *root);
dram_status dram_depends_read(const cJSON *root, const char *path, dram_depends *depends);

#endif
