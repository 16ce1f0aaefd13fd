/* dram eval: scores trained weights on data.val, at one side of the images or several, or compares the teacher with
 * itself at full size. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "cli/ranks.h"
#include "comm/machines.h"
#include "evaluate/eval_file.h"
#include "evaluate/fidelity.h"
#include "evaluate/palette.h"
#include "report/summary.h"
#include "train/train.h"

enum { NAME_ROOM = 200 };

/* Characters of a text, which is UTF-8. */
static int length_of(const char *text)
{
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* Two spaces and the name, as wide as the longest; nothing where there are no names. */
static void print_name(const dram_texts *names, int k)
{
    char shown[NAME_ROOM];
    int width = 0;
    if (!names) return;
    for (int i = 0; i < names->n; i++) {
        int n = length_of(dram_visible(names->text[i], shown, sizeof shown));
        if (n > width) width = n;
    }
    dram_visible(names->text[k], shown, sizeof shown);
    printf("  %s%*s", shown, width - length_of(shown), "");
}

/* With predictions, the colour of a class is named beside it. */
static void print_classes(const dram_eval_result *r, bool colored)
{
    dram_color color[256];
    int n = r->classes < 256 ? r->classes : 256;
    dram_palette(color, n);
    for (int k = 0; k < n; k++) {
        printf("  class %-3d", k);
        print_name(r->class_names, k);
        if (colored) printf("  #%02x%02x%02x", color[k].r, color[k].g, color[k].b);
        if (isfinite(r->class_iou[k]))
            printf("  IoU %.4f\n", r->class_iou[k]);
        else
            printf("  in no label\n");
    }
}

static void print_result(const dram_eval_result *r, const char *folder)
{
    char note[DRAM_NOTE_ROOM], shown[PATH_MAX];
    printf("%d images%s\n", r->images, r->skipped ? " (some were skipped, see the warnings)" : "");
    dram_format_task_note(r, note);
    if (isfinite(r->miou)) {
        printf("mIoU              %.4f%s\npixel accuracy    %.4f\n", r->miou, note, r->pixel_accuracy);
        print_classes(r, folder != NULL);
    } else if (r->classes) {
        printf("mIoU              -%s\npixel accuracy    -\n", note);
    }
    dram_format_cell_note(r, note);
    if (isfinite(r->embedding_cosine))
        printf("embedding cosine  %.4f%s\nembedding MSE     %.4f\n", r->embedding_cosine, note, r->embedding_mse);
    else if (r->embedded == 0)
        printf("embedding cosine  -%s\nembedding MSE     -\n", note);
    if (folder) printf("predictions: %s\n", dram_visible(folder, shown, sizeof shown));
}

/* How the data is looked at while other ranks wait. */
typedef struct {
    dram_progress_view view;
    dram_comm *comm;
    const volatile sig_atomic_t *stop;
} looking;

static void looked(void *context, int done, int all)
{
    looking *l = context;
    bool asked;
    dram_progress_looked(&l->view, done, all);
    if (dram_comm_busy(l->comm, l->stop, &asked) != DRAM_OK) dram_error_clear(); /* the next exchange says it again */
}

/* Says what is wrong with data.val; what it is, is printed with the result. */
static dram_status check_data(const dram_config *cfg, dram_comm *comm, const volatile sig_atomic_t *stop,
                              dram_check *check)
{
    looking l = {.view = {.out = stderr, .terminal = isatty(STDERR_FILENO) != 0}, .comm = comm, .stop = stop};
    const dram_check_hooks hooks = {.context = &l, .looked = looked, .stop = stop};
    dram_status status = dram_check_config(cfg, false, &hooks, check);
    dram_progress_clear();
    if (status != DRAM_OK) return status;
    dram_check_warn(cfg, check);
    return dram_check_judge(cfg, check, false);
}

/* ---- several sides ---- */

enum { SIDES = 16 };

/* --sizes: the config once for each side; n 0: it was not asked for. */
typedef struct {
    dram_config *cfg[SIDES];
    int n;
} sides;

static void close_sides(sides *s)
{
    for (int i = 0; i < s->n; i++) dram_config_free(s->cfg[i]);
}

/* The config with that side. Resolution distillation, which may not go with a small one, takes no part in an
 * evaluation. */
static dram_status open_side(const dram_words *words, int side, sides *s)
{
    char size[32];
    const char *overrides[DRAM_MAX_WORDS + 2];
    int n = words->n_overrides;
    snprintf(size, sizeof size, "data.size=%d", side);
    memcpy(overrides, words->overrides, (size_t)n * sizeof *overrides);
    overrides[n++] = size;
    overrides[n++] = "resolution_distill.enabled=false";
    dram_status status = dram_config_load(words->words[0], overrides, n, &s->cfg[s->n]);
    if (status != DRAM_OK) return dram_error_prefix(status, "eval: --sizes: ");
    s->n++;
    return DRAM_OK;
}

/* --sizes sets a key that may stand on the command line too. */
static dram_status refuse_size(const dram_words *words)
{
    for (int i = 0; i < words->n_overrides; i++)
        if (strncmp(words->overrides[i], "data.size=", 10) == 0)
            return dram_fail(DRAM_ERR_CONFIG,
                             "eval: --sizes sets data.size, and %.100s stands beside it: leave one out",
                             words->overrides[i]);
    return DRAM_OK;
}

/* Reads "64,96,128". */
static dram_status open_sides(const char *list, const dram_words *words, sides *s)
{
    TRY(refuse_size(words));
    for (const char *at = list;; at++) {
        char *end;
        errno = 0;
        long side = strtol(at, &end, 10);
        if (*at < '0' || *at > '9' || errno || side > INT_MAX || (*end && *end != ','))
            return dram_fail(DRAM_ERR_CONFIG,
                             "eval: --sizes %.200s: sides in pixels with commas between, as in 64,96,128", list);
        for (int i = 0; i < s->n; i++)
            if (s->cfg[i]->data.size == side)
                return dram_fail(DRAM_ERR_CONFIG, "eval: --sizes %.200s: %ld is there twice", list, side);
        if (s->n == SIDES) return dram_fail(DRAM_ERR_CONFIG, "eval: --sizes %.200s: more than %d sides", list, SIDES);
        TRY(open_side(words, (int)side, s));
        at = end;
        if (!*at) return DRAM_OK;
    }
}

static void print_number(double number, int width)
{
    if (isfinite(number))
        printf("%*.4f", width, number);
    else
        printf("%*s", width, "-");
}

static void print_sides(const sides *s, const dram_eval_result *result)
{
    bool skipped = false;
    for (int i = 0; i < s->n; i++) skipped |= result[i].skipped > 0 || result[i].images != result->images;
    printf("%d images%s\n", result->images, skipped ? " (some were skipped, see the warnings)" : "");
    printf("%9s%9s%17s%19s%16s\n", "data.size", "mIoU", "pixel accuracy", "embedding cosine", "embedding MSE");
    for (int i = 0; i < s->n; i++) {
        printf("%9d", s->cfg[i]->data.size);
        print_number(result[i].miou, 9);
        print_number(result[i].pixel_accuracy, 17);
        print_number(result[i].embedding_cosine, 19);
        print_number(result[i].embedding_mse, 16);
        printf("\n");
    }
}

/* {"sizes": [{..., "data_size": 64}, ...]}: each as it is by itself. */
static cJSON *sides_json(const sides *s, const dram_eval_result *result)
{
    cJSON *root = cJSON_CreateObject(), *list = root ? cJSON_AddArrayToObject(root, "sizes") : NULL;
    for (int i = 0; list && i < s->n; i++) {
        cJSON *row = dram_eval_json(&result[i]);
        if (row && cJSON_AddNumberToObject(row, "data_size", s->cfg[i]->data.size) && cJSON_AddItemToArray(list, row))
            continue;
        cJSON_Delete(row);
        list = NULL;
    }
    if (list) return root;
    cJSON_Delete(root);
    return NULL;
}

static dram_status evaluate(const dram_config *cfg, const sides *s, const char *weights, const char *folder,
                            dram_comm *comm, bool json)
{
    dram_eval_result result[SIDES];
    dram_check check;
    dram_progress_view view = {.out = stdout};
    const volatile sig_atomic_t *stop = dram_catch_signals();
    dram_status status = dram_comm_rank(comm) ? DRAM_OK : check_data(cfg, comm, stop, &check);
    TRY(dram_ranks_together(comm, status));
    if (!s->n) TRY(dram_evaluate_file(cfg, weights, folder, comm, stop, &result[0]));
    for (int i = 0; i < s->n; i++) TRY(dram_evaluate_file(s->cfg[i], weights, NULL, comm, stop, &result[i]));
    if (dram_comm_rank(comm)) return DRAM_OK;
    if (json) return dram_print_json(s->n ? sides_json(s, result) : dram_eval_json(&result[0]));
    dram_progress_data(&view, cfg, &check);
    if (s->n)
        print_sides(s, result);
    else
        print_result(&result[0], folder);
    return DRAM_OK;
}

static void print_fidelity(const dram_fidelity *r)
{
    char size[64], worst[4 * sizeof r->worst_image];
    dram_format_teacher_size(r, size, sizeof size);
    if (!r->images && r->without_cell) {
        printf("cosine            -  no cell to compare: %d image%s too thin\n", r->without_cell,
               r->without_cell == 1 ? " is" : "s are");
        return;
    }
    if (!r->images) {
        printf("the teacher sees %s in training too: there is nothing to compare\n", size);
        return;
    }
    printf("%d image%s%s: the teacher's embedding at %s, on the grid of %d, against that at %d\n", r->images,
           r->images == 1 ? "" : "s", r->skipped ? " (some were skipped, see the warnings)" : "", size, r->full,
           r->full);
    printf("cosine            %.4f\nworst             %.4f  %s\n", r->cosine, r->worst,
           dram_visible(r->worst_image, worst, sizeof worst));
    if (r->without_cell) printf("left out          %d too thin for a cell\n", r->without_cell);
}

static dram_status compare_teacher(const dram_config *cfg, const char *folder, bool json)
{
    dram_fidelity result;
    TRY(dram_fidelity_folder(cfg, folder, dram_catch_signals(), &result));
    if (json) return dram_print_json(dram_fidelity_json(&result));
    print_fidelity(&result);
    return DRAM_OK;
}

static dram_status check_options(const char *weights, const char *folder, const char *fidelity, const char *sizes)
{
    const char *other = weights ? "--weights" : folder ? "--save-predictions" : "--sizes";
    if (fidelity && (weights || folder || sizes))
        return dram_fail(DRAM_ERR_CONFIG, "eval: --teacher-fidelity looks at the teacher alone; leave %s out", other);
    if (!fidelity && !weights)
        return dram_fail(DRAM_ERR_CONFIG, "eval: --weights FILE is missing; see `dram eval --help`");
    if (sizes && folder)
        return dram_fail(DRAM_ERR_CONFIG,
                         "eval: --save-predictions makes one picture of an image: leave --sizes out, and "
                         "set data.size");
    return DRAM_OK;
}

dram_status dram_command_eval(int argc, char **argv)
{
    bool json = false, help;
    const char *weights = NULL, *folder = NULL, *fidelity = NULL, *sizes = NULL;
    const dram_option options[] = {
        {"--weights", "FILE", "the trunk; heads.safetensors is looked for beside it", NULL, &weights},
        {"--save-predictions", "DIR", "write each image with its predicted classes in colour", NULL, &folder},
        {"--sizes", "64,96", "at each of these sides in turn, instead of data.size", NULL, &sizes},
        {"--teacher-fidelity", "DIR", "the teacher at sam_input_size against 1024, on the images of DIR; no weights",
         NULL, &fidelity},
        {"--json", NULL, "print one JSON object", &json, NULL},
    };
    dram_words words;
    dram_config *cfg;
    TRY(dram_parse("eval", argc, argv, options, 5, 1, &words, &help));
    if (help) return DRAM_OK;
    TRY(check_options(weights, folder, fidelity, sizes));
    sides several = {0};
    TRY(dram_config_load(words.words[0], words.overrides, words.n_overrides, &cfg));
    dram_comm *comm = NULL;
    dram_status status = sizes ? open_sides(sizes, &words, &several) : DRAM_OK;
    if (status == DRAM_OK)
        status = fidelity ? dram_one_process("eval --teacher-fidelity") : dram_ranks_open(cfg, &comm);
    if (status == DRAM_OK)
        status = fidelity ? compare_teacher(cfg, fidelity, json) : evaluate(cfg, &several, weights, folder, comm, json);
    dram_ranks_close(comm, status);
    close_sides(&several);
    dram_config_free(cfg);
    return status;
}
