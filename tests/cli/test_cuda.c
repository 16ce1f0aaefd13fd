/* device: cuda where there is no GPU that would do, and device: auto beside it. A build of the simulated GPU can take
 * every part of it away; in others the machine has none, or this is skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/commands.h"
#include "device/device.h"

static const char run_yaml[] = "name: net\n"
                               "threads: 2\n"
                               "data:\n"
                               "  size: 32\n"
                               "  prefetch: 2\n"
                               "  train: {images: scenes/images, labels: scenes/labels}\n"
                               "  classes: 12\n"
                               "student: {arch: vit_micro}\n"
                               "sam_distill: {enabled: false}\n"
                               "task: {enabled: true}\n"
                               "optim: {warmup_steps: 1}\n"
                               "train: {steps: 1, batch_size: 1}\n";

#define EVAL                                                                                                           \
    "eval run.yaml --weights runs/net/student.safetensors data.val.images=scenes/images data.val.labels=scenes/labels"

/* Leaves the weights of a run in runs/net: `auto` takes the CPU, and says why. */
static int setup(void **state)
{
    char why[200], heading[300];
    if (tempdir_make(state) != 0) return -1;
    put_file(in_dir(state, "run.yaml"), run_yaml, sizeof run_yaml - 1);
    dram_ok(state, "synth scenes --count 2 --seed 3");
    assert_false(dram_device_cuda_usable(why, sizeof why));
    dram_ok(state, "train run.yaml device=auto");
    snprintf(heading, sizeof heading, "device   cpu, 2 threads; %s\n", why);
    if (!strstr(printed, heading)) fail_msg("\"%s\" is not in: %s", heading, printed);
    assert_classes_missed();
    assert_true(is_there(in_dir(state, "runs/net/student.safetensors")));
    return 0;
}

/* Every command that would run says what is missing and nothing else; a plan is made, with a note. `auto` takes the CPU
 * for that reason. */
static void refused(void **state, const char *why)
{
    char heading[400];
    dram_fails(state, "train run.yaml name=gpu device=cuda", 1, why);
    dram_fails(state, "train run.yaml name=gpu device=cuda memory.budget=auto", 1, why);
    assert_false(is_there(in_dir(state, "runs/gpu")));
    dram_fails(state, EVAL " device=cuda", 1, why);
    dram_ok(state, "plan run.yaml device=cuda");
    assert_non_null(strstr(printed, "device   cuda; "));
    if (strncmp(complained, "note: device: cuda: ", 20) != 0 || !strstr(complained, why))
        fail_msg("\"%s\" instead of \"%s\"", complained, why);
    assert_ptr_equal(strchr(complained, '\n'), complained + strlen(complained) - 1);
    dram_ok(state, "plan run.yaml device=auto");
    snprintf(heading, sizeof heading, "device   cpu, 2 threads; %s", why);
    if (!strstr(printed, heading)) fail_msg("\"%s\" is not in: %s", heading, printed);
    assert_string_equal(complained, "");
}

#ifdef DRAM_CUDA_SIM

static void no_gpu_that_would_do(void **state)
{
    static const struct {
        const char *variable, *value, *why;
    } cases[] = {
        {"CUDASIM_DRIVER", "0", "there is no NVIDIA driver; dram needs one for CUDA 13.0 or newer"},
        {"CUDASIM_DRIVER", "12080", "the NVIDIA driver is for CUDA 12.8; dram needs one for CUDA 13.0 or newer"},
        {"CUDASIM_DEVICES", "0", "there is no CUDA GPU (no CUDA-capable device is detected)"},
        {"CUDASIM_CAPABILITY", "7.5", "simulated GPU has compute capability 7.5; dram needs 8.0 (Ampere) or newer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(setenv(cases[i].variable, cases[i].value, 1), 0);
        refused(state, cases[i].why);
        unsetenv(cases[i].variable);
    }
}

/* A run with these settings does not begin: exit code 3, one line that says `what`, and nothing left behind. */
static void does_not_fit(void **state, const char *set, const char *what)
{
    char args[400];
    snprintf(args, sizeof args, "train run.yaml name=gpu device=cuda%s", set);
    assert_int_equal(dram(state, args), 3);
    if (!strstr(complained, what)) fail_msg("\"%s\" instead of \"%s\"", complained, what);
    const char *line = complained; /* behind what is said of the labels */
    while (strncmp(line, "warning: ", 9) == 0) line = strchr(line, '\n') + 1;
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    assert_false(is_there(in_dir(state, "runs/gpu")));
}

/* With a budget that leaves room for nothing there is no plan; one that is too large is shown before it is refused. */
static void too_little_memory(void **state)
{
    assert_int_equal(setenv("CUDASIM_MEMORY", "8000000", 1), 0);
    dram_fails(state, "train run.yaml name=gpu device=cuda memory.budget=auto", 3,
               "memory.budget: auto leaves nothing for the arena: 7.63 MiB are free, and CUDA's libraries may take ");
    dram_fails(state, "train run.yaml name=gpu device=cuda memory.budget=1GiB", 3,
               "memory.budget: 1.00 GiB is more than the 7.63 MiB that this GPU has");
    does_not_fit(state, "", "the plan needs ");
    assert_non_null(strstr(printed, "device   cuda; "));
    assert_non_null(strstr(complained, "the GPU has free beside 256.0 MiB for CUDA's libraries 0 B"));
    unsetenv("CUDASIM_MEMORY");
}

/* The arena would fit, but there is no memory for what comes before it: staging, the driver's context, a library. */
static void no_memory_to_start(void **state)
{
    static const struct {
        const char *variable, *value, *what;
    } cases[] = {
        {"CUDASIM_PINNED", "1000000", "CUDA says: out of memory"},
        {"CUDASIM_CONTEXT", "1000000001", "CUDA says: out of memory"},
        {"CUDASIM_LIBRARY", "500000001", "cuDNN cannot start: "},
        {"CUDASIM_LIBRARY", "1000000001", "cuBLASLt cannot start: "},
    };
    assert_int_equal(setenv("CUDASIM_MEMORY", "1000000000", 1), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(setenv(cases[i].variable, cases[i].value, 1), 0);
        does_not_fit(state, "", cases[i].what);
        assert_non_null(strstr(complained, "device: cuda: too little memory is free to start: "));
        unsetenv(cases[i].variable);
    }
    unsetenv("CUDASIM_MEMORY");
}

/* The GPU has room for the arena, and the host none for the teacher that waits there: no smaller arena would help. */
static void no_pinned_memory(void **state)
{
    assert_int_equal(setenv("CUDASIM_PINNED", "5000000", 1), 0); /* staging takes 4 MiB */
    does_not_fit(
        state,
        " sam_distill.enabled=true sam_distill.teacher.model_type=vit_micro sam_distill.teacher.weights=random "
        "sam_distill.teacher.placement=stream sam_distill.sam_input_size=32 sam_distill.fidelity_images=0",
        " of host memory cannot be pinned for what waits there; set sam_distill.teacher.placement to device");
    unsetenv("CUDASIM_PINNED");
}

#else

static void this_machine_has_none(void **state)
{
    char why[200];
    assert_false(dram_device_cuda_usable(why, sizeof why));
    refused(state, why);
}

#endif

int main(void)
{
#ifdef DRAM_CUDA_SIM
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_gpu_that_would_do), cmocka_unit_test(too_little_memory),
                                       cmocka_unit_test(no_memory_to_start), cmocka_unit_test(no_pinned_memory)};
#else
    const struct CMUnitTest tests[] = {cmocka_unit_test(this_machine_has_none)};
    if (dram_device_cuda_usable(NULL, 0)) {
        printf("skipped: this machine has a GPU, and device: cuda runs\n");
        return 77;
    }
#endif
    return cmocka_run_group_tests(tests, setup, dram_teardown);
}
