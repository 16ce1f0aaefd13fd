/* student: trained students to export, and what is looked for in the files. Include after cmocka.h. */
#ifndef DRAM_TESTS_EXPORT_STUDENT_H
#define DRAM_TESTS_EXPORT_STUDENT_H

#include "export/export.h"
#include "io/safetensors.h"
#include "support/full_disk.h"
#include "support/ok.h"
#include "support/runs.h"

/* A run of one step: runs/NAME. */
static inline void train_one(void **state, const char *name, const char *more)
{
    char set[512];
    snprintf(set, sizeof set,
             "train.steps=1 data.size=32 sam_distill.sam_input_size=32 resolution_distill.enabled=false "
             "sam_distill.fidelity_images=0 %s",
             more);
    run_order o = {.name = name, .set = set};
    run_ok(state, &o);
}

/* The student of runs/NAME; dram_export_close it. */
static inline dram_export *open_run(void **state, const char *name)
{
    static dram_export e;
    const dram_export_request request = {.from = run_file(state, name, "")};
    ok(dram_export_open(&request, &e));
    return &e;
}

static inline void fails_with(dram_status status, dram_status want, const char *text)
{
    if (status != want || !strstr(dram_error_text(), text))
        fail_msg("status %d, \"%s\" instead of \"%s\"", (int)status, dram_error_text(), text);
    assert_null(strchr(dram_error_text(), '\n'));
    dram_error_clear();
}

/* The tensor `name` of `file` is, bit for bit, `other` of `from`. */
static inline void assert_same_tensor(const dram_st *file, const char *name, const dram_st *from, const char *other)
{
    const dram_st_tensor *a = dram_st_find(file, name), *b = dram_st_find(from, other);
    if (!a || !b) fail_msg("%s: there is no %s", a ? other : name, a ? other : name);
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->rank, b->rank);
    assert_memory_equal(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]);
    assert_true(a->bytes > 0);
    char *x = malloc((size_t)a->bytes), *y = malloc((size_t)a->bytes);
    assert_true(x && y);
    ok(dram_st_read_raw(file, a, 0, a->elements, x));
    ok(dram_st_read_raw(from, b, 0, b->elements, y));
    if (memcmp(x, y, (size_t)a->bytes) != 0) fail_msg("%s and %s differ", name, other);
    free(x);
    free(y);
}

/* All writes of `write` fail beyond `limit` bytes of a file; nothing is left of it. */
static inline void fails_on_a_full_disk(void **state, dram_status (*write)(dram_export *e, const char *path),
                                        dram_export *e, const char *path, rlim_t limit)
{
    file_limit before = limit_files(limit);
    dram_status status = write(e, path);
    unlimit_files(before);
    fails_with(status, DRAM_ERR_IO, path);
    assert_false(is_there(path));
    assert_int_equal(temporaries(*state), 0);
}

#endif
