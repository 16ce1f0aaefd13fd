#include "export/card.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "io/json.h"
#include "io/path.h"
#include "model/family.h"
#include "report/markup.h"

enum { SHOWN = 512 };

/* The file or folder of a path, as Markdown may have it between backquotes in a table, whose cells end at a bar. */
static const char *name_of(const char *path, char out[SHOWN])
{
    char folder[SHOWN];
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    snprintf(folder, sizeof folder, "%.*s", (int)(n < sizeof folder ? n : sizeof folder - 1), path);
    dram_visible(dram_path_name(folder), out, SHOWN);
    for (char *c = out; *c; c++)
        if (*c == '`' || *c == '|') *c = '\'';
    return out;
}

static const cJSON *member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* ---- the head, and how it is used ---- */

static int64_t parameters(const dram_export *e)
{
    int64_t n = 0;
    for (int i = 0; i < e->session.graphs.slots.n; i++) {
        const dram_slot *slot = e->session.graphs.slots.at[i];
        if (strcmp(slot->group, "student") == 0 && slot->trainable) n += dram_elements(&slot->shape);
    }
    return n;
}

/* The trunk is that of the file that training began from. */
static bool is_frozen(const dram_config *cfg)
{
    return cfg->student.trainable == DRAM_TRAINABLE_HEADS;
}

static void add_head(const dram_export *e, const char *name, const char *timm, dram_str *out)
{
    char shown[SHOWN];
    const struct dram_config_sam_distill *sam = &e->cfg->sam_distill;
    dram_str_add(out, "---\nlibrary_name: timm\npipeline_tag: image-feature-extraction\n"
                      "tags:\n- image-feature-extraction\n- timm\n- distillation\n---\n\n");
    dram_str_add(out, "# ");
    dram_markup_add(out, name_of(name, shown));
    dram_str_add(out, "\n\n`%s`, %.2f M parameters, without a classifier", timm, (double)parameters(e) / 1e6);
    if (!e->has_config)
        dram_str_add(out, ".");
    else if (is_frozen(e->cfg))
        dram_str_add(out, ", as it was before what stands on it was trained.");
    else if (sam->enabled)
        dram_str_add(out, ", distilled from `%s`, an image encoder as SAM's.", sam->teacher.model_type);
    else
        dram_str_add(out, ", trained without a teacher.");
    dram_str_add(out, " Exported by dram %s.\n\n", DRAM_VERSION);
    dram_str_add(
        out,
        "**Licence: not filled in.** Who gives these weights away fills it in, here and as `license:` above: what the\n"
        "teacher's weights, the weights that training began from and the images allow is for them to see to.\n\n");
}

typedef struct {
    int n, stride[DRAM_TAPS], channels[DRAM_TAPS];
} taps;

static taps find_taps(const dram_export *e)
{
    taps t = {0};
    for (; t.n < DRAM_TAPS && e->io->tap[t.n] != DRAM_NONE; t.n++) {
        const dram_shape *shape = dram_shape_of(e->io->graph, e->io->tap[t.n]);
        t.stride[t.n] = e->size / (int)shape->dim[1];
        t.channels[t.n] = (int)shape->dim[3];
    }
    return t;
}

/* A trunk of one tap gives it as its whole output; of several, features_only gives them all. */
static void add_use(const dram_export *e, dram_str *out)
{
    taps t = find_taps(e);
    dram_str_add(out, "## Use\n\n```python\nimport timm\n");
    if (t.n == 1) {
        dram_str_add(out,
                     "model = timm.create_model(\"local-dir:FOLDER\", pretrained=True).eval()\n"
                     "embedding = model.forward_features(image)  # [N, %d, H / %d, W / %d]\n```\n",
                     t.channels[0], t.stride[0], t.stride[0]);
    } else {
        dram_str_add(out,
                     "model = timm.create_model(\"local-dir:FOLDER\", pretrained=True, features_only=True).eval()\n"
                     "features = model(image)  # each [N, channels, H / stride, W / stride]\n```\n\n| stride |");
        for (int i = 0; i < t.n; i++) dram_str_add(out, " %d |", t.stride[i]);
        dram_str_add(out, "\n|---|");
        for (int i = 0; i < t.n; i++) dram_str_add(out, "---|");
        dram_str_add(out, "\n| channels |");
        for (int i = 0; i < t.n; i++) dram_str_add(out, " %d |", t.channels[i]);
        dram_str_add(out, "\n");
    }
    dram_str_add(
        out,
        "\nAn image is RGB, its longer side resized to %d pixels: values of 0 to 255, less (%g, %g, %g), divided\n"
        "by (%g, %g, %g), then padded with zeros to a square, to the right and below.\n\n",
        e->size, e->mean[0], e->mean[1], e->mean[2], e->std[0], e->std[1], e->std[2]);
}

/* ---- how it was trained ---- */

static void add_data(const dram_config *cfg, const cJSON *summary, dram_str *out)
{
    char shown[SHOWN];
    const cJSON *set = member(member(summary, "data"), "train");
    if (cfg->data.train.images) dram_str_add(out, "| images | `%s`", name_of(cfg->data.train.images, shown));
    if (cfg->data.train.images && dram_json_number_or_nan(set, "images") >= 0)
        dram_str_add(out, ", %.0f of them, %.0f with labels", dram_json_number_or_nan(set, "images"),
                     dram_json_number_or_nan(set, "pairs"));
    if (cfg->data.train.images) dram_str_add(out, " |\n");
    dram_str_add(out, "| side in training | %d |\n", cfg->data.size);
    if (cfg->task.enabled) dram_str_add(out, "| classes | %d |\n", cfg->data.classes);
    if (cfg->student.weights) dram_str_add(out, "| began from | `%s` |\n", name_of(cfg->student.weights, shown));
    if (is_frozen(cfg)) dram_str_add(out, "| trained | neck and task head; this trunk is as it was |\n");
}

static void add_teacher(const struct dram_config_sam_distill *sam, dram_str *out)
{
    char shown[SHOWN];
    const char *weights = sam->teacher.weights;
    if (!sam->enabled) return;
    dram_str_add(out, "| teacher | `%s`", sam->teacher.model_type);
    if (weights && strcmp(weights, DRAM_WEIGHTS_RANDOM) == 0)
        dram_str_add(out, ", random weights of seed %" PRId64, sam->teacher.seed);
    else if (weights)
        dram_str_add(out, ", weights of `%s`", name_of(weights, shown));
    dram_str_add(out, ", images of %d |\n", sam->sam_input_size);
}

static void add_losses(const dram_config *cfg, dram_str *out)
{
    const struct dram_config_sam_distill *sam = &cfg->sam_distill;
    const char *between = "";
    dram_str_add(out, "| losses | ");
    if (sam->enabled) {
        dram_str_add(out, "%s to the teacher's embedding", dram_distance_word(sam->loss.type));
        for (int i = 0; i < DRAM_DISTANCE_COUNT; i++)
            if (dram_config_added(&sam->loss, (dram_distance)i) > 0)
                dram_str_add(out, " + %g %s", dram_config_added(&sam->loss, (dram_distance)i),
                             dram_distance_word((dram_distance)i));
        dram_str_add(out, ", weight %g", sam->loss.weight);
        between = "; ";
    }
    if (cfg->resolution_distill.enabled) {
        dram_str_add(out, "%sof resolutions", between);
        if (cfg->resolution_distill.target == DRAM_RESOLUTION_MEAN)
            dram_str_add(out, " to a mean of weights (%g)", cfg->resolution_distill.mean_decay);
        dram_str_add(out, ", weight %g", cfg->resolution_distill.weight);
        between = "; ";
    }
    if (cfg->task.enabled)
        dram_str_add(out, "%s%s, weight %g", between, dram_task_loss_word(cfg->task.loss), cfg->task.weight);
    dram_str_add(out, " |\n");
}

/* state: of a checkpoint, whose step it has; NULL: of a run that has come to its end. */
static void add_training(const dram_export *e, const cJSON *summary, const cJSON *state, dram_str *out)
{
    const dram_config *cfg = e->cfg;
    dram_str_add(out, "## Training\n\n");
    if (!e->has_config) {
        dram_str_add(out, "Not known here: exported from a file of weights without its config.\n\n");
        return;
    }
    dram_str_add(out, "| | |\n|---|---|\n");
    add_data(cfg, summary, out);
    add_teacher(&cfg->sam_distill, out);
    add_losses(cfg, out);
    double ranks = dram_json_number_or_nan(member(summary, "distributed"), "ranks");
    double steps = state ? dram_json_number_or_nan(state, "step") : dram_json_number_or_nan(summary, "steps");
    dram_str_add(out, "| updates | %.0f of %.0f images |\n", steps >= 0 ? steps : (double)cfg->train.steps,
                 cfg->train.batch_size * (ranks > 0 ? ranks : 1));
    dram_str_add(out, "| optimiser | %s, lr %g, weight decay %g |\n| precision | %s |\n\n",
                 dram_optim_word(cfg->optim.type), cfg->optim.lr, cfg->optim.weight_decay,
                 dram_precision_word(cfg->train.precision));
}

/* ---- what came out ---- */

static void add_numbers(const cJSON *summary, dram_str *out)
{
    static const struct {
        const char *key, *text, *of;
    } rows[] = {
        {"miou", "mIoU", "images"},
        {"pixel_accuracy", "pixel accuracy", "images"},
        {"embedding_cosine", "cosine of the student's embedding to the teacher's", "images_compared"},
        {"embedding_mse", "MSE of the student's embedding to the teacher's", "images_compared"},
    };
    const cJSON *eval = member(summary, "eval");
    dram_str_add(out, "## Numbers\n\n");
    if (!cJSON_IsObject(eval)) {
        dram_str_add(out, "None: %s.\n",
                     summary ? "the run was not evaluated" : "no evaluation belongs to these weights");
        return;
    }
    dram_str_add(out, "| | | images |\n|---|---|---|\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (isfinite(dram_json_number_or_nan(eval, rows[i].key)))
            dram_str_add(out, "| %s | %.4f | %.0f |\n", rows[i].text, dram_json_number_or_nan(eval, rows[i].key),
                         dram_json_number_or_nan(eval, rows[i].of));
    const cJSON *data = member(summary, "data");
    double shared = dram_json_number_or_nan(member(data, "val_in_train_by_name"), "count") +
                    dram_json_number_or_nan(member(data, "val_in_train_by_content"), "count"); /* under another name */
    dram_str_add(out, "\nOn `data.val` of the run, as `dram eval` measures.");
    if (shared > 0) dram_str_add(out, " Of these images %.0f are in `data.train` too.", shared);
    dram_str_add(out, "\n");
}

/* A file of the folder that it is exported from; NULL: it is not there, or a file of weights was named. */
static dram_status read_json(const dram_export *e, const char *name, cJSON **root)
{
    char *path;
    *root = NULL;
    if (!e->run) return DRAM_OK;
    TRY(dram_path_join(e->run, name, &path));
    dram_status status = dram_path_exists(path) ? dram_json_read(path, root) : DRAM_OK;
    dram_free(path);
    return status;
}

dram_status dram_export_card(const dram_export *e, const char *name, dram_str *out)
{
    dram_timm timm;
    cJSON *summary, *state = NULL;
    e->arch->family->in_timm(e->arch, &timm);
    TRY(read_json(e, "summary.json", &summary));
    dram_status status = read_json(e, "state.json", &state);
    if (status == DRAM_OK) {
        add_head(e, name, timm.name, out);
        add_use(e, out);
        add_training(e, summary, state, out);
        add_numbers(summary, out);
    }
    cJSON_Delete(summary);
    cJSON_Delete(state);
    if (status == DRAM_OK && out->failed) status = dram_fail(DRAM_ERR_MEMORY, "no memory for the model card");
    return status;
}
