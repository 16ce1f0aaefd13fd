/* dram train and dram eval as a user runs them, and the signals a user sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <poll.h>
#include <sys/ioctl.h>

#include <cmocka.h>

#include "cli/commands.h"

static int setup(void **state)
{
    return dram_setup(state, 4);
}

static void train_then_eval(void **state)
{
    dram_ok(state, "train run.yaml");
    assert_string_equal(complained, "");
    static const char *const said[] = {"needs ",          "distil_step",     "step 1/3  loss ",
                                       "step 2/3  loss ", "step 3/3  loss ", "evaluated 4 images:",
                                       "3 steps done, ",  "planned peak ",   "runs/net/student.safetensors"};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
        if (!strstr(printed, said[i])) fail_msg("\"%s\" is not in: %s", said[i], printed);
    cJSON *summary, *result;
    assert_int_equal(dram_json_read(in_dir(state, "runs/net/summary.json"), &summary), DRAM_OK);
    const cJSON *eval = cJSON_GetObjectItemCaseSensitive(summary, "eval");

    dram_ok(state, "eval run.yaml --weights runs/net/student.safetensors");
    assert_non_null(strstr(printed, "mIoU"));
    assert_non_null(strstr(printed, "embedding cosine"));
    dram_ok(state, "eval run.yaml --weights runs/net/student.safetensors --json");
    result = printed_json();
    assert_true(number_of(result, "miou") == number_of(eval, "miou"));
    assert_true(number_of(result, "embedding_cosine") == number_of(eval, "embedding_cosine"));
    cJSON_Delete(result);
    cJSON_Delete(summary);
    char *with = strdup(printed);
    dram_ok(
        state,
        "eval run.yaml --weights runs/net/student.safetensors --json data.train.images=none data.train.labels=none");
    assert_string_equal(printed, with);
    free(with);

    dram_fails(state, "train run.yaml", 2, "runs/net: this run exists already: add --resume to continue it");
    dram_fails(state, "train run.yaml name=other --resume", 2, "runs/other: there is no run to resume");
    assert_int_equal(dram(state, "train run.yaml name=other student.weights=run.yaml"),
                     2); /* the plan is made before */
    assert_non_null(strstr(complained, "dram: command line: student.weights: "));
    dram_fails(state, "eval run.yaml --weights nowhere.safetensors", 2, "nowhere.safetensors");
    dram_fails(state, "eval run.yaml --weights runs/net/heads.safetensors", 2,
               "does not hold the weights of regnetx_002");
    assert_false(is_there(in_dir(state, "runs/other")));
    assert_true(is_there(in_dir(state, "runs/net/memory.jsonl")));
}

/* A budget that no machine has: the plan only notes it. */
static void too_large_a_budget(void **state)
{
    dram_fails(state, "train run.yaml name=other memory.budget=1000TiB", 3,
               "dram: command line: memory.budget: 1000.0 TiB is more than the ");
    assert_false(is_there(in_dir(state, "runs/other")));
}

/* Standard output is the summary as one object, whatever the end. */
static void json(void **state)
{
    dram_ok(state, "train run.yaml name=json --json");
    cJSON *root = printed_json();
    assert_true(number_of(root, "steps") == 3 && number_of(root, "exit") == 0);
    assert_true(number_of(root, "planned_peak_bytes") == number_of(root, "measured_peak_bytes"));
    assert_non_null(strstr(complained, "step 3/3  loss "));
    char *file = get_file(in_dir(state, "runs/json/summary.json"), NULL);
    assert_string_equal(file, printed);
    free(file);
    cJSON_Delete(root);

    assert_int_equal(dram(state, "train run.yaml name=json --json"), 2);
    root = printed_json();
    assert_true(number_of(root, "exit") == 2);
    cJSON_Delete(root);
    assert_int_equal(dram(state, "train run.yaml name=large --json memory.budget=1MiB"), 3);
    root = printed_json();
    assert_true(number_of(root, "exit") == 3);
    assert_true(number_of(root, "planned_peak_bytes") > 1 << 20);
    cJSON_Delete(root);
    assert_false(is_there(in_dir(state, "runs/large")));
}

/* Exit code 1: it went wrong while running. */
static void failed_run(void **state)
{
    int code = dram(state, "train run.yaml name=wild train.steps=20 optim.type=sgd optim.lr=1000 optim.clip_norm=0");
    assert_int_equal(code, 1);
    assert_non_null(strstr(complained, "dram: step "));
    assert_non_null(strstr(complained, "is not finite"));
}

static int64_t lines_of(void **state, const char *name)
{
    int64_t n = 0;
    if (!is_there(in_dir(state, name))) return 0;
    char *text = get_file(in_dir(state, name), NULL);
    for (char *at = text; (at = strchr(at, '\n')); at++) n++;
    free(text);
    return n;
}

/* Sends the signal once two steps are done; then --resume goes on to the end. */
static void interrupt(void **state, const char *name, int number)
{
    char args[256], metrics[64], student[64];
    snprintf(metrics, sizeof metrics, "runs/%s/metrics.jsonl", name);
    snprintf(student, sizeof student, "runs/%s/student.safetensors", name);
    snprintf(args, sizeof args, "train run.yaml name=%s train.steps=100000", name);
    int out = open_output(state, "stdout.txt"), err = open_output(state, "stderr.txt");
    pid_t child = dram_start(state, args, out, err);
    close(out);
    close(err);
    for (int i = 0; i < 12000 && lines_of(state, metrics) < 2 && waitpid(child, NULL, WNOHANG) == 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL); /* two minutes at most */
    assert_int_equal(kill(child, number), 0);
    assert_int_equal(dram_wait(child), 130);
    keep_output(state);
    assert_non_null(strstr(complained, "dram: interrupted: "));
    assert_non_null(strstr(complained, "go on with --resume"));
    assert_false(is_there(in_dir(state, student)));
    int64_t done = lines_of(state, metrics);
    assert_true(done >= 2);
    snprintf(args, sizeof args, "train run.yaml name=%s train.steps=%d --resume", name, (int)done + 2);
    dram_ok(state, args);
    assert_int_equal(lines_of(state, metrics), done + 2);
    assert_true(is_there(in_dir(state, student)));
    snprintf(args, sizeof args, "%d steps done", (int)done + 2);
    assert_non_null(strstr(printed, args));
}

static void sigint(void **state)
{
    interrupt(state, "int", SIGINT);
}

static void sigterm(void **state)
{
    interrupt(state, "term", SIGTERM);
}

/* What the run NAME shows on a terminal of COLUMNS, or NULL if this machine has no pseudo-terminals. */
static const char *shown_on(void **state, const char *name, unsigned short columns)
{
    static char text[4096];
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0) return NULL;
    int side = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC), out = open_output(state, "stdout.txt");
    assert_true(side >= 0);
    assert_int_equal(ioctl(side, TIOCSWINSZ, &(struct winsize){.ws_row = 24, .ws_col = columns}), 0);
    char args[64];
    snprintf(args, sizeof args, "train run.yaml name=%s", name);
    pid_t child = dram_start(state, args, out, side);
    close(out);
    assert_int_equal(dram_wait(child), 0);
    size_t length = 0;
    struct pollfd ready = {.fd = terminal, .events = POLLIN}; /* the last bytes may come a moment later */
    while (length < sizeof text - 1 && poll(&ready, 1, 200) == 1) {
        ssize_t n = read(terminal, text + length, sizeof text - 1 - length);
        assert_true(n > 0);
        length += (size_t)n;
    }
    text[length] = '\0';
    close(side);
    close(terminal);
    keep_output(state);
    return text;
}

static size_t longest_line(const char *text)
{
    size_t longest = 0;
    for (size_t n; *text; text += n + (text[n] != '\0')) {
        if (strncmp(text, "\033[K", 3) == 0) text += 3;
        n = strcspn(text, "\r\n");
        longest = n > longest ? n : longest;
    }
    return longest;
}

/* On a terminal there is a bar instead of lines; standard output stays free of it. */
static void terminal(void **state)
{
    const char *text = shown_on(state, "wide", 200);
    if (!text) {
        print_message("skipped: this machine gives no pseudo-terminal\n");
        skip();
    }
    assert_non_null(strstr(text, "[########................] 1/3 loss "));
    assert_non_null(strstr(text, "[########################] 3/3 loss "));
    assert_non_null(strstr(text, " planned"));
    assert_null(strstr(printed, "step 1/3"));
    assert_non_null(strstr(printed, "3 steps done"));

    text = shown_on(state, "usual", 80); /* every number, however fast the machine */
    assert_non_null(strstr(text, "3/3 loss "));
    assert_non_null(strstr(text, " planned"));
    assert_true(longest_line(text) < 80);

    text = shown_on(state, "narrow", 40);
    assert_non_null(strstr(text, "\033[K3/3 loss "));
    assert_true(longest_line(text) > 30 && longest_line(text) < 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(train_then_eval),
        cmocka_unit_test(too_large_a_budget),
        cmocka_unit_test(json),
        cmocka_unit_test(failed_run),
        cmocka_unit_test(sigint),
        cmocka_unit_test(sigterm),
        cmocka_unit_test(terminal),
    };
    return cmocka_run_group_tests(tests, setup, dram_teardown);
}
