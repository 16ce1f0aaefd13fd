/* A folder with a config that sweeps start from. Include after cmocka.h. */
#ifndef DRAM_TESTS_SWEEP_BASE_H
#define DRAM_TESTS_SWEEP_BASE_H

#include "support/tempdir.h"

/* A student without batch norm on images of 64, and no teacher: plans in milliseconds. */
static const char base_yaml[] = "name: base\n"
                                "seed: 5\n"
                                "device: cpu\n"
                                "threads: 2\n"
                                "data: {size: 64, classes: 3, max_decode_bytes: 1MiB}\n"
                                "student: {arch: vit_micro}\n"
                                "sam_distill: {enabled: false}\n"
                                "task: {enabled: true}\n"
                                "optim: {warmup_steps: 2}\n"
                                "train: {steps: 100, batch_size: 4}\n"
                                "run: {dir: runs}\n";

/* Group setup: the folder becomes the working directory. */
static inline int sweeps_setup(void **state)
{
    if (tempdir_make(state) != 0) return -1;
    put_file(in_dir(state, "base.yaml"), base_yaml, sizeof base_yaml - 1);
    return chdir(*state);
}

#define HEAD "sweep:\n  name: s\n  base: base.yaml\n"

#endif
