/* In which type the biases of a teacher's linears are kept: that of its matrices on a GPU where they have 16 bits, f32
 * everywhere else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/machine.h"
#include "session/started.h"

#define TEACHER "task.enabled=false resolution_distill.enabled=false student.arch=vit_micro "

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* Whether a slot is a linear's bias; other biases are norms' and the patches'. */
static bool is_linears(const char *name)
{
    return ends_in(name, "qkv.bias") || ends_in(name, "attn.proj.bias") || ends_in(name, "fc1.bias") ||
           ends_in(name, "fc2.bias");
}

static void expect(void **state, const char *set, dram_dtype want)
{
    char all[400];
    int linears = 0, others = 0, students = 0;
    dram_graph_set graphs;
    snprintf(all, sizeof all, TEACHER "%s", set);
    dram_config *cfg = run_config(state, "none", all);
    ok(dram_graph_set_build(cfg, DRAM_SET_TRAIN, &graphs));
    for (int i = 0; i < graphs.slots.n; i++) {
        const dram_slot *slot = graphs.slots.at[i];
        if (!ends_in(slot->name, "bias")) continue;
        bool low = strcmp(slot->group, "teacher") == 0 && is_linears(slot->name);
        if (slot->dtype != (low ? want : DRAM_F32)) fail_msg("%s: %s.%s", set, slot->group, slot->name);
        if (strcmp(slot->group, "student") == 0)
            students += is_linears(slot->name);
        else if (low)
            linears++;
        else
            others++;
    }
    assert_int_equal(linears, 6 * 4); /* vit_micro's blocks */
    assert_int_equal(students, 6 * 4);
    assert_true(others > 0);
    dram_graph_set_free(&graphs);
    dram_config_free(cfg);
}

static void types_of_biases(void **state)
{
#define BF16 "sam_distill.teacher.precision=bf16 "
    expect(state, "device=cuda " BF16, DRAM_BF16);
    expect(state, "device=cuda sam_distill.teacher.precision=fp16", DRAM_F16);
    expect(state, "device=cuda " BF16 "sam_distill.teacher.placement=stream", DRAM_BF16);
    expect(state, "device=cuda " BF16 "train.precision=bf16", DRAM_BF16);
    expect(state, "device=cuda " BF16 "sam_distill.teacher.placement=host", DRAM_F32); /* the CPU runs it */
    expect(state, "device=cuda sam_distill.teacher.precision=fp32", DRAM_F32);
    expect(state, "device=cpu " BF16, DRAM_F32);
    expect(state, "device=cpu " BF16 "sam_distill.teacher.placement=stream", DRAM_F32);
}

/* What a library may ask for is what the config says, in the plan of each of its nodes. */
static void workspace_of_libraries(void **state)
{
    static const struct {
        const char *set;
        int64_t want;
    } rows[] = {{"device=cuda", 8 << 20}, {"device=cuda cuda.workspace=32MiB", 32 << 20}, {"device=cpu", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dram_profile profile;
        dram_config *cfg = run_config(state, "none", rows[i].set);
        ok(dram_machine_profile(cfg, &profile));
        assert_int_equal(profile.library_bytes, rows[i].want);
        dram_config_free(cfg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(types_of_biases), cmocka_unit_test(workspace_of_libraries)};
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
