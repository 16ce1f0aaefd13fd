/* dram plan --card: the estimate that it prints, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/commands.h"

static const char plan_yaml[] = "data: {size: 64, train: {images: nowhere/i, labels: nowhere/l}, classes: 12}\n"
                                "student: {arch: regnetx_002}\n"
                                "sam_distill: {teacher: {model_type: vit_micro, weights: random}, sam_input_size: 64,\n"
                                "              distill_interval: 2}\n"
                                "task: {enabled: true}\n"
                                "train: {batch_size: 2, precision: bf16}\n";

static int setup(void **state)
{
    if (tempdir_make(state) != 0) return -1;
    put_file(in_dir(state, "plan.yaml"), plan_yaml, sizeof plan_yaml - 1);
    return 0;
}

static const cJSON *card_of(const cJSON *report)
{
    const cJSON *card = cJSON_GetObjectItemCaseSensitive(report, "card");
    assert_true(cJSON_IsObject(card));
    return card;
}

/* All of the plan's FLOPs are there, the mean over the interval, and the times of the kinds are that of the update. */
static void check_sums(const cJSON *report)
{
    const cJSON *card = card_of(report), *kernel;
    double flops = number_of(card, "flops_left_out"), seconds = 0, bytes = 0;
    assert_true(number_of(card, "nodes_left_out") == 0);
    cJSON_ArrayForEach(kernel, cJSON_GetObjectItemCaseSensitive(card, "kernels"))
    {
        flops += number_of(kernel, "flops");
        seconds += number_of(kernel, "seconds");
        bytes += number_of(kernel, "bytes");
    }
    double planned = number_of(report, "update_flops"), update = number_of(card, "update_seconds");
    assert_true(flops > planned - 2 && flops < planned + 2 && planned > 1e6);
    assert_true(seconds > update * 0.999999 && seconds < update * 1.000001 && bytes > 1e6);
    double images = number_of(card, "images_per_second") * update;
    assert_true(images > 1.999999 && images < 2.000001);
}

static void a_card_by_its_data_sheet(void **state)
{
    static const char *const words[] = {"estimate for GeForce RTX 4060, 8 GB",
                                        "no card was measured",
                                        "images/s",
                                        "fits: the process takes ",
                                        "bound by",
                                        "assumed: of peak",
                                        "grouped convolution"};
    dram_ok(state, "plan plan.yaml sam_distill.enabled=false --card 4060");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (!strstr(printed, words[i])) fail_msg("\"%s\" is not in: %s", words[i], printed);
    assert_string_equal(complained, ""); /* the plan is for another machine */
    dram_ok(state, "plan plan.yaml sam_distill.enabled=false data.size=1024 train.batch_size=64 --card 4060 --json "
                   "--get card.fits");
    assert_string_equal(printed, "false\n");
}

/* With a streamed teacher, every other step: its weights cross the link beside the kernels. */
static void the_estimate_as_json(void **state)
{
    dram_ok(state, "plan plan.yaml task.enabled=false sam_distill.between=reuse sam_distill.teacher.placement=stream "
                   "--card 4060 --json");
    cJSON *report = printed_json();
    const cJSON *card = card_of(report);
    check_sums(report);
    assert_string_equal(text_of(card, "rates"), "data sheet");
    assert_true(number_of(card, "memory_bytes") == 8e9 && number_of(card, "bandwidth") == 272e9);
    assert_true(number_of(card, "needed_bytes") == number_of(report, "process_bytes"));
    assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(card, "fits")));
    assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(card, "estimated")));
    double copied = number_of(card, "copy_bytes"), seconds = number_of(card, "copy_seconds") * 16e9;
    assert_true(copied > 1e6 && seconds > copied * 0.999999 && seconds < copied * 1.000001);
    cJSON_Delete(report);
}

static void this_cpu_by_a_measurement(void **state)
{
    dram_ok(state, "plan plan.yaml sam_distill.enabled=false --card cpu --json");
    cJSON *report = printed_json();
    const cJSON *card = card_of(report);
    check_sums(report);
    assert_string_equal(text_of(card, "rates"), "measured");
    assert_true(number_of(card, "flops_fp32") > 0 && number_of(card, "flops_16_bit") > 0);
    assert_true(number_of(card, "bandwidth") > 0 && cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(card, "link")));
    assert_true(number_of(card, "needed_bytes") == number_of(report, "arena_bytes"));
    cJSON_Delete(report);
}

static void what_is_refused(void **state)
{
    dram_fails(state, "plan plan.yaml --card h201", 2,
               "plan: --card h201 is unknown; there are h200, h100, a100, 4090, 4060, 3070, 3060, and cpu");
    dram_fails(state, "plan plan.yaml --card H200", 2, "plan: --card H200 is unknown");
    dram_fails(state, "plan plan.yaml --card=", 2, "plan: --card");
    dram_fails(state, "plan plan.yaml --card", 2, "plan: --card needs a value: NAME");
    dram_fails(state, "plan plan.yaml device=cpu --card h200", 2, "is a GPU and device is cpu: plan with device=cuda");
    dram_fails(state, "plan plan.yaml device=cuda --card cpu", 2, "is a CPU and device is cuda: plan with device=cpu");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_card_by_its_data_sheet),
        cmocka_unit_test(the_estimate_as_json),
        cmocka_unit_test(this_cpu_by_a_measurement),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, dram_teardown);
}
