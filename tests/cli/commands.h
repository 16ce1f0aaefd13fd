/* commands: runs the dram program in a temporary folder and keeps what it printed. Include after cmocka.h. */
#ifndef DRAM_TESTS_CLI_COMMANDS_H
#define DRAM_TESTS_CLI_COMMANDS_H

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "io/json.h"
#include "support/tempdir.h"

/* What the last program wrote. */
static char *printed, *complained;

/* Starts `dram ARGS` (one space between words) in the folder; `out` and `err` are file descriptors it takes over. */
static inline pid_t dram_start(void **state, const char *args, int out, int err)
{
    static char text[4096];
    char *argv[64] = {(char *)(uintptr_t) "dram"}, *rest = text;
    int n = 1;
    snprintf(text, sizeof text, "%s", args);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) argv[n++] = word;
    argv[n] = NULL;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child > 0) return child;
    if (chdir(*state) != 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0) _exit(99);
    execv(DRAM_PROGRAM, argv);
    _exit(99);
}

/* Its exit code; a signal fails the test. */
static inline int dram_wait(pid_t child)
{
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    if (!WIFEXITED(how)) fail_msg("dram was killed by signal %d", WTERMSIG(how));
    return WEXITSTATUS(how);
}

static inline int open_output(void **state, const char *name)
{
    int fd = open(in_dir(state, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    return fd;
}

static inline void keep_output(void **state)
{
    free(printed);
    free(complained);
    printed = get_file(in_dir(state, "stdout.txt"), NULL);
    complained = get_file(in_dir(state, "stderr.txt"), NULL);
}

/* Runs `dram ARGS` to its end. */
static inline int dram(void **state, const char *args)
{
    int out = open_output(state, "stdout.txt"), err = open_output(state, "stderr.txt");
    pid_t child = dram_start(state, args, out, err);
    close(out);
    close(err);
    int code = dram_wait(child);
    keep_output(state);
    return code;
}

static inline void dram_ok(void **state, const char *args)
{
    int code = dram(state, args);
    if (code != 0) fail_msg("dram %s: exit code %d: %s", args, code, complained);
}

/* It has said that classes are in no label, as where the scenes are few, and nothing else. */
static inline void assert_classes_missed(void)
{
    assert_true(*complained);
    for (char *line = complained, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        char *text = end ? strstr(line, " in none of the labels of data.train") : NULL;
        if (!text || text > end || strncmp(line, "warning: class", 14) != 0)
            fail_msg("\"%s\" is not what is said of missing classes", complained);
    }
}

/* It must end with this code, say this on standard error in one line, and print nothing. */
static inline void dram_fails(void **state, const char *args, int want, const char *text)
{
    int code = dram(state, args);
    if (code != want || !strstr(complained, text))
        fail_msg("dram %s: exit code %d, \"%s\" instead of \"%s\"", args, code, complained, text);
    assert_int_equal(strncmp(complained, "dram: ", 6), 0);
    assert_ptr_equal(strchr(complained, '\n'), complained + strlen(complained) - 1);
    assert_string_equal(printed, "");
}

/* Standard output as one JSON object and nothing else; cJSON_Delete it. */
static inline cJSON *printed_json(void)
{
    cJSON *root;
    if (dram_json_parse(printed, strlen(printed), &root, NULL) != DRAM_OK) fail_msg("no JSON: %s", printed);
    assert_true(cJSON_IsObject(root));
    return root;
}

static inline double number_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(item)) fail_msg("%s is no number", key);
    return item->valuedouble;
}

static inline const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsString(item)) fail_msg("%s is no text", key);
    return item->valuestring;
}

/* Group setup: a folder with `scenes` scenes, as many held out, and run.yaml, three steps over them without a look
 * at the fidelity. */
static inline int dram_setup(void **state, int scenes)
{
    static const char run_yaml[] = "name: net\n"
                                   "threads: 2\n"
                                   "data:\n"
                                   "  size: 64\n"
                                   "  prefetch: 4\n"
                                   "  train: {images: scenes/images, labels: scenes/labels}\n"
                                   "  val: {images: held/images, labels: held/labels}\n"
                                   "  classes: 12\n"
                                   "student: {arch: regnetx_002}\n"
                                   "sam_distill: {teacher: {model_type: vit_micro, weights: random}, "
                                   "sam_input_size: 64, fidelity_images: 0}\n"
                                   "task: {enabled: true}\n"
                                   "optim: {warmup_steps: 1}\n"
                                   "train: {steps: 3, batch_size: 2}\n"
                                   "run: {log_every: 1}\n";
    char synth[64];
    if (tempdir_make(state) != 0) return -1;
    put_file(in_dir(state, "run.yaml"), run_yaml, sizeof run_yaml - 1);
    snprintf(synth, sizeof synth, "synth scenes --count %d --seed 3", scenes);
    dram_ok(state, synth);
    snprintf(synth, sizeof synth, "synth held --count %d --seed 4", scenes);
    dram_ok(state, synth);
    return 0;
}

/* Group teardown. */
static inline int dram_teardown(void **state)
{
    free(printed);
    free(complained);
    return tempdir_remove(state);
}

#endif
