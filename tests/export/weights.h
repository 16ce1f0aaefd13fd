/* weights: files of a student's weights without a run. Include after cmocka.h; link dram_session. */
#ifndef DRAM_TESTS_EXPORT_WEIGHTS_H
#define DRAM_TESTS_EXPORT_WEIGHTS_H

#include "config/config.h"
#include "io/safetensors.h"
#include "model/names.h"
#include "session/programs.h"
#include "support/hashweights.h"
#include "support/ok.h"
#include "support/tempdir.h"

enum { MOST_TENSORS = 400 };

/* Writes the tensors of the groups with the numbers of hashweights.h. */
static inline void write_group(const dram_slots *slots, const char *const *groups, int n, const char *path)
{
    static dram_st_out out[MOST_TENSORS];
    static char names[MOST_TENSORS][160];
    int count = 0;
    for (int i = 0; i < slots->n; i++) {
        const dram_slot *slot = slots->at[i];
        int64_t elements = dram_elements(&slot->shape);
        bool in = false;
        for (int k = 0; k < n; k++) in |= strcmp(slot->group, groups[k]) == 0;
        if (!in) continue;
        assert_true(count < MOST_TENSORS);
        dram_shape shape = dram_file_shape(slot);
        float *data = malloc((size_t)elements * sizeof *data);
        assert_non_null(data);
        hash_weight(slot->name, shape.rank, shape.dim, 0, elements, data);
        snprintf(names[count], sizeof names[0], "%s%s%s", n > 1 ? slot->group : "", n > 1 ? "." : "", slot->name);
        out[count] = (dram_st_out){.name = names[count], .dtype = DRAM_ST_F32, .rank = shape.rank, .data = data};
        memcpy(out[count++].dim, shape.dim, (size_t)shape.rank * sizeof shape.dim[0]);
    }
    ok(dram_st_write(path, out, count, NULL, 0));
    for (int i = 0; i < count; i++) free((void *)(uintptr_t)out[i].data);
}

/* A file of a student's folder, as in_dir. */
static inline const char *student_path(void **state, const char *folder, const char *file)
{
    char name[128];
    snprintf(name, sizeof name, "%.60s/%.60s", folder, file);
    return in_dir(state, name);
}

/* FOLDER/student.safetensors and heads.safetensors of a student with a task of `classes`. */
static inline void write_student(void **state, const char *folder, const char *arch, int classes)
{
    static const char *const student[] = {"student"}, *const heads[] = {"neck", "head"};
    char arch_key[80], classes_key[80];
    const char *const overrides[] = {arch_key, classes_key, "task.enabled=true", "sam_distill.enabled=false"};
    dram_config *cfg;
    dram_graph_set set;
    snprintf(arch_key, sizeof arch_key, "student.arch=%s", arch);
    snprintf(classes_key, sizeof classes_key, "data.classes=%d", classes);
    ok(dram_config_load(NULL, overrides, 4, &cfg));
    ok(dram_graph_set_build(cfg, DRAM_SET_EVALUATION, &set));
    assert_int_equal(mkdir(in_dir(state, folder), 0777), 0);
    write_group(&set.slots, student, 1, student_path(state, folder, "student.safetensors"));
    write_group(&set.slots, heads, 2, student_path(state, folder, "heads.safetensors"));
    dram_graph_set_free(&set);
    dram_config_free(cfg);
}

#endif
