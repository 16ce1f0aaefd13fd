/* What a process takes of a GPU: assumed, measured, kept in memory.profile, planned with, and held against the driver's
 * count at the end of a run. On a GPU if there is one; the simulated one takes what the environment says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "cli/commands.h"
#include "device/device.h"

static const double mib = 1 << 20;

/* The simulated GPU's; a real one takes what it takes. */
enum { CONTEXT = 300 << 20, LIBRARY = 20 << 20, KERNEL = 1 << 20, OTHERS = 100 << 20 };

static const char run_yaml[] = "name: net\n"
                               "device: cuda\n"
                               "threads: 1\n"
                               "data: {size: 64, workers: 1, prefetch: 4, train: {images: scenes/images}}\n"
                               "student: {arch: regnetx_002}\n"
                               "sam_distill: {teacher: {model_type: vit_micro, weights: random}, sam_input_size: 64, "
                               "fidelity_images: 0}\n"
                               "train: {steps: 3, batch_size: 2}\n"
                               "run: {save_every: 0, eval_every: 0}\n"
                               "memory: {profile: p.json}\n";

static void set_bytes(const char *name, int64_t bytes)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)bytes);
    assert_int_equal(setenv(name, text, 1), 0);
}

static int setup(void **state)
{
    dram_device *device;
    set_bytes("CUDASIM_CONTEXT", CONTEXT);
    set_bytes("CUDASIM_LIBRARY", LIBRARY);
    set_bytes("CUDASIM_KERNEL", KERNEL);
    set_bytes("CUDASIM_OTHERS", OTHERS);
    set_bytes("CUDASIM_CLOSE", 0);
    if (dram_device_open_cuda(0, 1, &device) != DRAM_OK) {
        printf("skipped: %s\n", dram_error_text());
        exit(77);
    }
    dram_device_close(device);
    if (tempdir_make(state) != 0) return -1;
    put_file(in_dir(state, "run.yaml"), run_yaml, sizeof run_yaml - 1);
    dram_ok(state, "synth scenes --count 4 --seed 3");
    return 0;
}

typedef struct {
    double arena, context, libraries, process;
    bool measured;
} stated;

/* What `dram plan ARGS --json` states. */
static stated plan(void **state, const char *args)
{
    char words[300];
    snprintf(words, sizeof words, "plan run.yaml %s --json", args);
    dram_ok(state, words);
    cJSON *root = printed_json();
    const cJSON *overhead = cJSON_GetObjectItemCaseSensitive(root, "overhead_bytes");
    assert_true(cJSON_IsObject(overhead));
    stated s = {.arena = number_of(root, "arena_bytes"),
                .context = number_of(overhead, "context"),
                .libraries = number_of(overhead, "libraries"),
                .process = number_of(root, "process_bytes"),
                .measured = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(overhead, "measured"))};
    assert_true(s.process == s.arena + s.context + s.libraries);
    cJSON_Delete(root);
    return s;
}

static stated assumed, measured;

static void a_plan_assumes(void **state)
{
    assumed = plan(state, "memory.profile=none");
    assert_true(!assumed.measured && assumed.context > 0 && assumed.libraries > 0);
    dram_ok(state, "plan run.yaml memory.profile=none");
    assert_non_null(strstr(printed, "\nprocess on the GPU "));
    assert_non_null(strstr(printed, "assumed until `dram plan --calibrate` measures it"));
    dram_ok(state, "plan run.yaml memory.profile=none device=cpu"); /* no GPU, no such lines */
    assert_null(strstr(printed, "process on the GPU"));
}

static void a_calibration_measures(void **state)
{
    measured = plan(state, "--calibrate");
    assert_non_null(strstr(complained, "p.json holds the times of "));
    assert_non_null(strstr(complained, " of the GPU for its context and "));
    assert_true(measured.measured);
    assert_true(measured.context > 0 && measured.libraries > 0);
#ifdef DRAM_CUDA_SIM /* whole MiB, a rounding of the arena besides */
    assert_true(measured.context == CONTEXT && measured.context != assumed.context);
    double kernels = (measured.libraries - 2.0 * LIBRARY) / KERNEL;
    assert_true(kernels > 10 && kernels - (int)kernels < 0.001);
#endif
    stated again = plan(state, "");
    assert_true(again.measured && again.process == measured.process);
    again = plan(state, "train.batch_size=4"); /* another config on the same machine */
    assert_true(again.context == measured.context && again.arena > measured.arena);
}

/* The closing line and summary.json hold the plan's process against the driver's. */
static void a_run_compares(void **state)
{
    dram_ok(state, "train run.yaml");
    assert_non_null(strstr(printed, "\nGPU: process planned "));
    assert_non_null(strstr(printed, " at most by the driver\n"));
    cJSON *root;
    assert_int_equal(dram_json_read(in_dir(state, "runs/net/summary.json"), &root), DRAM_OK);
    const cJSON *o = cJSON_GetObjectItemCaseSensitive(root, "gpu_process");
    assert_true(number_of(o, "planned_bytes") == measured.process);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "overhead_measured")));
#ifdef DRAM_CUDA_SIM
    assert_string_equal(text_of(o, "counted"), "process");
#else /* a container's driver lists none */
    assert_true(strcmp(text_of(o, "counted"), "process") == 0 || strcmp(text_of(o, "counted"), "gpu") == 0);
#endif
    double off = number_of(o, "measured_bytes") - measured.process;
    if (!(fabs(off) <= 32 * mib)) fail_msg("the driver counts %.1f MiB more than was planned", off / mib);
#ifdef DRAM_CUDA_SIM
    assert_true(off <= 0 && off > -16 * mib); /* calibration runs a few kernels that this config's run does not */
#endif
    char *lines = get_file(in_dir(state, "runs/net/memory.jsonl"), NULL);
    assert_non_null(strstr(lines, ",\"device_free_bytes\":"));
    assert_non_null(strstr(lines, ",\"device_process_bytes\":"));
    free(lines);
    cJSON_Delete(root);
    dram_ok(state, "train run.yaml name=assumed memory.profile=none train.steps=1");
    assert_non_null(strstr(printed, " (context and libraries assumed), "));
}

#ifdef DRAM_CUDA_SIM

static void not_counted(void **state, const char *how, const char *file)
{
    char words[100];
    setenv("CUDASIM_NVML", how, 1);
    snprintf(words, sizeof words, "--calibrate memory.profile=%s", file);
    stated s = plan(state, words);
    assert_non_null(strstr(complained, "the driver does not say what a process takes"));
    assert_true(!s.measured && s.context == assumed.context && s.libraries == assumed.libraries);
}

/* Where the driver lists no processes, the change of the whole GPU stands in; without NVML, or where it does not say
 * what the GPU holds either, there is no count. */
static void counted_by_other_means(void **state)
{
    setenv("CUDASIM_NVML", "gpu", 1);
    stated s = plan(state, "--calibrate memory.profile=gpu.json");
    assert_non_null(strstr(complained, ", by the change of the whole GPU's memory"));
    assert_true(s.measured && s.context == measured.context && s.libraries == measured.libraries);
    dram_ok(state, "train run.yaml name=gpu memory.profile=gpu.json train.steps=2");
    assert_non_null(strstr(printed, " at most by the driver, counted by the change of the whole GPU\n"));

    not_counted(state, "mute", "mute.json");
    not_counted(state, "none", "none.json");
    dram_ok(state, "train run.yaml name=none memory.profile=none train.steps=1");
    assert_non_null(strstr(printed, ", not counted by the driver\n"));
    cJSON *root;
    assert_int_equal(dram_json_read(in_dir(state, "runs/none/summary.json"), &root), DRAM_OK);
    const cJSON *o = cJSON_GetObjectItemCaseSensitive(root, "gpu_process");
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(o, "measured_bytes")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(o, "counted")));
    cJSON_Delete(root);
    unsetenv("CUDASIM_NVML");
}

/* Programs that could not be recorded are in summary.json, with CUDA's reason. */
static void what_is_not_recorded_is_told(void **state)
{
    cJSON *root;
    setenv("CUDASIM_CAPTURE", "memory", 1);
    dram_ok(state, "train run.yaml name=launched train.steps=2");
    unsetenv("CUDASIM_CAPTURE");
    assert_int_equal(dram_json_read(in_dir(state, "runs/launched/summary.json"), &root), DRAM_OK);
    const cJSON *o = cJSON_GetObjectItemCaseSensitive(root, "gpu_process");
    assert_true(number_of(o, "programs_recorded") == 0);
    assert_true(number_of(o, "programs_not_recorded") > 0);
    assert_non_null(strstr(text_of(o, "not_recorded_why"), "out of memory"));
    cJSON_Delete(root);
}

static void refused(void **state, const char *args, const char *why)
{
    char words[300];
    snprintf(words, sizeof words, "train run.yaml name=no memory.checkpoint=none %s", args);
    int code = dram(state, words);
    if (code != 3 || !strstr(complained, why)) fail_msg("exit code %d: %s", code, complained);
}

/* A GPU with room for exactly what was measured takes the run; what is only assumed would not fit, nor would a MiB
 * more. */
static void room_for_the_process(void **state)
{
    set_bytes("CUDASIM_MEMORY", OTHERS + (int64_t)measured.process + (int64_t)mib);
    dram_ok(state, "train run.yaml name=exact train.steps=2");
    dram_ok(state, "train run.yaml name=auto train.steps=2 memory.budget=auto");
    char beside[100];
    snprintf(beside, sizeof beside, "has free beside %.1f MiB for CUDA's libraries", assumed.libraries / mib);
    refused(state, "memory.profile=none", beside);
    set_bytes("CUDASIM_MEMORY", OTHERS + (int64_t)measured.process - (int64_t)mib);
    refused(state, "", "for CUDA's libraries");
    assert_false(is_there(in_dir(state, "runs/no")));
    unsetenv("CUDASIM_MEMORY");
}

/* A plan needs no GPU, with a file of one that is elsewhere neither. */
static void a_plan_from_elsewhere(void **state)
{
    set_bytes("CUDASIM_DEVICES", 0);
    stated s = plan(state, "");
    assert_true(s.measured && s.process == measured.process);
    unsetenv("CUDASIM_DEVICES");
    assert_int_equal(dram(state, "plan run.yaml device=cpu"), 2);
    assert_non_null(strstr(complained, "p.json holds times of simulated GPU with 1 workers, and this is "));
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_assumes),
        cmocka_unit_test(a_calibration_measures),
        cmocka_unit_test(a_run_compares),
#ifdef DRAM_CUDA_SIM
        cmocka_unit_test(counted_by_other_means),
        cmocka_unit_test(room_for_the_process),
        cmocka_unit_test(what_is_not_recorded_is_told),
        cmocka_unit_test(a_plan_from_elsewhere),
#endif
    };
    return cmocka_run_group_tests(tests, setup, dram_teardown);
}
