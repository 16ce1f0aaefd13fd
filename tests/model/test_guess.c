/* Which network a file holds, told by its names and shapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "model/family.h"
#include "model/guess.h"
#include "ops/rules.h"

/* A file: the slots of a network under a convention's names, but for one. */
typedef struct {
    const dram_slots *slots;
    const dram_arch *arch;
    dram_names names;
    const char *without;
} file;

static bool shape_in(const void *context, const char *name, dram_shape *shape)
{
    const file *f = context;
    char theirs[256];
    for (int i = 0; i < f->slots->n; i++) {
        const dram_slot *slot = f->slots->at[i];
        if (f->without && strcmp(slot->name, f->without) == 0) continue;
        if (!dram_names_of(f->arch, f->names, slot->name, theirs, sizeof theirs) || strcmp(theirs, name) != 0) continue;
        *shape = dram_file_shape(slot);
        return true;
    }
    return false;
}

static void make_slots(const dram_arch *arch, dram_slots *slots)
{
    dram_graph *g;
    dram_features features;
    *slots = (dram_slots){0};
    assert_int_equal(dram_graph_new("file", slots, &g), DRAM_OK);
    dram_build b = {.g = g, .group = "student", .category = DRAM_CATEGORY_STUDENT_WEIGHTS, .bn = DRAM_BN_EVAL};
    dram_val image = dram_graph_input(g, "image", DRAM_F32, DRAM_SHAPE(1, 64, 64, 3));
    assert_int_equal(dram_trunk_build(&b, arch, image, &features), DRAM_OK);
    dram_graph_free(g);
}

static void every_network_is_known(void **state)
{
    int n, seen = 0;
    const dram_arch *arch;
    (void)state;
    for (n = 0; (arch = dram_arch_at(n)); n++) {
        dram_slots slots;
        make_slots(arch, &slots);
        for (int k = 0; k < arch->family->n_conventions; k++) {
            file f = {.slots = &slots, .arch = arch, .names = (dram_names)k};
            const dram_arch *guess = dram_arch_guess(shape_in, &f);
            if (guess != arch) fail_msg("%s is taken for %s", arch->name, guess ? guess->name : "nothing");
            seen++;
        }
        dram_slots_free(&slots);
    }
    assert_true(n > 30 && seen > n);
}

/* A file that lacks something is still named, and one that holds no trunk is not. */
static void damaged_and_other_files(void **state)
{
    dram_slots slots;
    (void)state;
    make_slots(dram_arch_find("vit_micro"), &slots);
    file f = {.slots = &slots, .arch = dram_arch_find("vit_micro"), .without = "blocks.1.norm1.bias"};
    assert_ptr_equal(dram_arch_guess(shape_in, &f), f.arch);
    f.without = "pos_embed";
    assert_null(dram_arch_guess(shape_in, &f));
    dram_slots_free(&slots);
    assert_null(dram_arch_guess(shape_in, &f)); /* no tensor at all */
}

int main(void)
{
    dram_ops_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_network_is_known),
        cmocka_unit_test(damaged_and_other_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
