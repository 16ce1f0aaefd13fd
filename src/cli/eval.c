/* dram eval: scores trained weights on data.val, or compares the teacher with itself at full size. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
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

static dram_status evaluate(const dram_config *cfg, const char *weights, const char *folder, dram_comm *comm, bool json)
{
    dram_eval_result result;
    dram_check check;
    dram_progress_view view = {.out = stdout};
    const volatile sig_atomic_t *stop = dram_catch_signals();
    dram_status status = dram_comm_rank(comm) ? DRAM_OK : check_data(cfg, comm, stop, &check);
    TRY(dram_ranks_together(comm, status));
    TRY(dram_evaluate_file(cfg, weights, folder, comm, stop, &result));
    if (dram_comm_rank(comm)) return DRAM_OK;
    if (json) return dram_print_json(dram_eval_json(&result));
    dram_progress_data(&view, cfg, &check);
    print_result(&result, folder);
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

dram_status dram_command_eval(int argc, char **argv)
{
    bool json = false, help;
    const char *weights = NULL, *folder = NULL, *fidelity = NULL;
    const dram_option options[] = {
        {"--weights", "FILE", "the trunk; heads.safetensors is looked for beside it", NULL, &weights},
        {"--save-predictions", "DIR", "write each image with its predicted classes in colour", NULL, &folder},
        {"--teacher-fidelity", "DIR", "the teacher at sam_input_size against 1024, on the images of DIR; no weights",
         NULL, &fidelity},
        {"--json", NULL, "print one JSON object", &json, NULL},
    };
    dram_words words;
    dram_config *cfg;
    TRY(dram_parse("eval", argc, argv, options, 4, 1, &words, &help));
    if (help) return DRAM_OK;
    if (fidelity && (weights || folder))
        return dram_fail(DRAM_ERR_CONFIG, "eval: --teacher-fidelity looks at the teacher alone; leave %s out",
                         weights ? "--weights" : "--save-predictions");
    if (!fidelity && !weights)
        return dram_fail(DRAM_ERR_CONFIG, "eval: --weights FILE is missing; see `dram eval --help`");
    TRY(dram_config_load(words.words[0], words.overrides, words.n_overrides, &cfg));
    dram_comm *comm = NULL;
    dram_status status = fidelity ? dram_one_process("eval --teacher-fidelity") : dram_ranks_open(cfg, &comm);
    if (status == DRAM_OK)
        status = fidelity ? compare_teacher(cfg, fidelity, json) : evaluate(cfg, weights, folder, comm, json);
    dram_ranks_close(comm, status);
    dram_config_free(cfg);
    return status;
}
