#include "export/export.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "io/atomic.h"
#include "io/checkpoint.h"
#include "io/path.h"
#include "io/safetensors.h"
#include "model/guess.h"
#include "report/summary.h"
#include "session/machine.h"
#include "session/weights.h"
#include "train/configs.h"

static const char student_file[] = "student.safetensors", heads_file[] = "heads.safetensors";

/* ---- where it is ---- */

/* A run's student.safetensors is of its end, or of an earlier one where the run has gone on since. *newest: its last
 * checkpoint, -1 where there is none. */
static dram_status check_run(const char *run, bool exported)
{
    char *folder;
    int64_t newest;
    bool done = true;
    TRY(dram_path_join(run, "checkpoints", &folder));
    dram_status status = dram_checkpoint_latest(folder, &newest);
    dram_free(folder);
    TRY(status);
    if (newest >= 0 && exported) TRY(dram_summary_done(run, newest, &done));
    if (exported && done) return DRAM_OK;
    if (newest < 0)
        return dram_fail(DRAM_ERR_CONFIG,
                         "%s: this run has not come to its end, nor to a checkpoint; `dram train` goes on with it",
                         run);
    return dram_fail(DRAM_ERR_CONFIG,
                     "%s: this run has not come to its end; `dram train` goes on with it, or export its last "
                     "checkpoint, %s/checkpoints/step-%08" PRId64,
                     run, run, newest);
}

/* A run's folder has config.yaml; a checkpoint's state.json too, and its weights are whole. */
static dram_status find_in_folder(const char *folder, dram_export *e, char **config)
{
    TRY(dram_path_join(folder, student_file, &e->weights));
    TRY(dram_configs_latest(folder, config));
    if (!*config)
        return dram_fail(DRAM_ERR_CONFIG, "%s: no run's folder, for it has no config.yaml; name a file of weights",
                         folder);
    e->run = folder;
    return dram_path_has(folder, "state.json") ? DRAM_OK : check_run(folder, dram_path_exists(e->weights));
}

/* The file of weights, that of the heads beside it if there is one, and the config. */
static dram_status find_files(const dram_export_request *request, dram_export *e, char **config)
{
    struct stat info;
    bool there;
    char *folder;
    const char *why = dram_file_look(-1, request->from, &info, &there);
    if (why || !there)
        return dram_fail(DRAM_ERR_CONFIG, "%s: %s", request->from, why ? why : "there is no such run or file");
    if (S_ISDIR(info.st_mode)) {
        if (request->config)
            return dram_fail(DRAM_ERR_CONFIG, "%s: a run has its own config; leave %s out", request->from,
                             request->config);
        TRY(find_in_folder(request->from, e, config));
    } else {
        TRY(dram_path_join("", request->from, &e->weights));
        if (request->config) TRY(dram_path_join("", request->config, config));
    }
    TRY(dram_path_folder(e->weights, &folder));
    dram_status status = dram_path_join(folder, heads_file, &e->heads);
    dram_free(folder);
    if (status == DRAM_OK && !dram_path_exists(e->heads)) {
        dram_free(e->heads);
        e->heads = NULL;
    }
    return status;
}

/* ---- what it is ---- */

static bool shape_of(const void *context, const char *name, dram_shape *shape)
{
    const dram_st_tensor *tensor = dram_st_find(context, name);
    if (!tensor || tensor->rank > DRAM_MAX_RANK) return false;
    *shape = (dram_shape){.rank = tensor->rank};
    memcpy(shape->dim, tensor->dim, (size_t)tensor->rank * sizeof tensor->dim[0]);
    return true;
}

/* The network that a file without config holds. */
static dram_status guess(const char *weights, const dram_arch **arch)
{
    dram_st *file;
    TRY(dram_st_open(weights, &file));
    dram_st_strip(file, "module.");
    dram_st_strip(file, "model.");
    *arch = dram_arch_guess(shape_of, file);
    dram_st_close(file);
    if (*arch) return DRAM_OK;
    return dram_fail(DRAM_ERR_FORMAT, "%s: it holds no network that dram knows; name its config behind it", weights);
}

static dram_status load_config(const char *config, dram_export *e)
{
    char arch[128];
    const char *const overrides[] = {arch};
    e->has_config = config != NULL;
    if (!config) {
        TRY(guess(e->weights, &e->arch));
        snprintf(arch, sizeof arch, "student.arch=%s", e->arch->name);
    }
    TRY(dram_config_load(config, overrides, config ? 0 : 1, &e->cfg));
    e->arch = dram_arch_find(e->cfg->student.arch); /* NULL: building the graph will say so */
    return DRAM_OK;
}

/* By the rules of data.size. */
static dram_status choose_size(int size, dram_export *e)
{
    char text[64];
    const char *const overrides[] = {text};
    dram_config *checked;
    e->size = size ? size : !e->has_config && e->arch->native ? e->arch->native : e->cfg->data.size;
    if (!size) return DRAM_OK;
    snprintf(text, sizeof text, "data.size=%d", size);
    dram_status status = dram_config_load(NULL, overrides, 1, &checked);
    dram_config_free(checked);
    snprintf(text, sizeof text, "--size %d: ", size);
    return status == DRAM_OK ? status : dram_error_prefix(status, text);
}

/* Which parts the file of the heads has. Without a config its classifier says how many classes there are. */
static dram_status find_heads(dram_export *e)
{
    dram_st *file;
    if (!e->heads) return DRAM_OK;
    TRY(dram_st_open(e->heads, &file));
    for (int i = 0; i < dram_st_count(file); i++) {
        const dram_st_tensor *tensor = dram_st_at(file, i);
        if (strncmp(tensor->name, "neck.", 5) == 0) e->neck = true;
        if (strncmp(tensor->name, "head.", 5) == 0) e->head = true;
        if (strcmp(tensor->name, "head.classifier.bias") == 0 && tensor->rank == 1) e->classes = (int)tensor->dim[0];
    }
    dram_st_close(file);
    if (e->head && e->has_config && e->cfg->task.enabled) e->classes = e->cfg->data.classes;
    e->head = e->head && e->classes > 0;
    return DRAM_OK;
}

/* ---- the graph, and its weights ---- */

/* What the evaluation program is built from: the student alone, one image, fp32. The teacher is in no graph, as with a
 * cache, and which weights there are decides whether there is a head. */
static dram_config config_of(const dram_export *e)
{
    static char cache[] = "none is read", teacher[] = "vit_b";
    dram_config cfg = dram_config_one_image(e->cfg);
    cfg.device = DRAM_RUN_DEVICE_CPU;
    cfg.threads = 1;
    cfg.distributed.ranks = 1;
    cfg.train.precision = DRAM_PRECISION_FP32;
    cfg.data.size = e->size;
    cfg.data.classes = e->classes;
    cfg.task.enabled = e->head;
    cfg.resolution_distill.enabled = false;
    cfg.sam_distill.enabled = true;
    cfg.sam_distill.cache = cache;
    cfg.sam_distill.teacher.model_type = teacher;
    return cfg;
}

/* A slot of a part that is not there holds zeros. */
static dram_status read_slot(void *from, int slot, int64_t at, int64_t count, float *out)
{
    const dram_export *e = from;
    const char *group = e->session.graphs.slots.at[slot]->group;
    bool student = strcmp(group, "student") == 0, there = strcmp(group, "neck") == 0 ? e->neck : e->head;
    if (student) return dram_weights_read(e->student_file, slot, at, count, out);
    if (there && e->heads_file) return dram_weights_read(e->heads_file, slot, at, count, out);
    memset(out, 0, (size_t)count * sizeof *out);
    return DRAM_OK;
}

/* A device for the kernels that prepare weights, and no arena: slots are read from their files. */
static dram_status open_session(dram_export *e)
{
    dram_session *s = &e->session;
    dram_profile profile;
    s->cfg = config_of(e);
    s->set = DRAM_SET_FEATURES;
    TRY(dram_graph_set_build(&s->cfg, s->set, &s->graphs));
    TRY(dram_machine_profile(&s->cfg, &profile));
    TRY(dram_plan_make(NULL, 0, &s->graphs.slots, &profile, DRAM_PLAN_USUAL, &s->plan));
    s->reader = read_slot;
    s->reads_from = e;
    return dram_machine_open(&s->cfg, &profile, &s->device);
}

static bool has_group(const dram_session *s, const char *group)
{
    for (int i = 0; i < s->graphs.slots.n; i++)
        if (strcmp(s->graphs.slots.at[i]->group, group) == 0) return true;
    return false;
}

static dram_status open_weights(dram_export *e)
{
    static const char *const student[] = {"student"};
    const char *groups[2];
    int n = 0;
    TRY(dram_weights_open(&e->session, e->weights, student, 1, false, &e->student_file));
    TRY(dram_st_hash(e->weights, NULL, e->weights_hash));
    if (e->neck) groups[n++] = "neck";
    if (e->head) groups[n++] = "head";
    if (!has_group(&e->session, "neck")) e->neck = true; /* it needs no weights */
    if (!n) return DRAM_OK;
    TRY(dram_weights_open(&e->session, e->heads, groups, n, true, &e->heads_file));
    return dram_st_hash(e->heads, NULL, e->heads_hash);
}

/* What the evaluation program normalises its image with. */
static void find_norm(dram_export *e)
{
    const dram_graph *g = e->io->graph;
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i]->op != DRAM_OP_image_norm || g->nodes[i]->in[0] != e->io->image) continue;
        memcpy(e->mean, g->nodes[i]->attr.mean, sizeof e->mean);
        memcpy(e->std, g->nodes[i]->attr.std, sizeof e->std);
    }
}

dram_status dram_export_open(const dram_export_request *request, dram_export *e)
{
    char *config = NULL;
    dram_status status;
    *e = (dram_export){0};
    TRY_GOTO(find_files(request, e, &config), done);
    TRY_GOTO(load_config(config, e), done);
    TRY_GOTO(choose_size(request->size, e), done);
    TRY_GOTO(find_heads(e), done);
    TRY_GOTO(open_session(e), done);
    TRY_GOTO(open_weights(e), done);
    e->grid = e->session.graphs.grid;
    e->io = &e->session.graphs.io[DRAM_PROGRAM_EVALUATION];
    find_norm(e);
done:
    dram_free(config);
    return status;
}

void dram_export_close(dram_export *e)
{
    dram_weights_close(e->student_file);
    dram_weights_close(e->heads_file);
    dram_session_close(&e->session);
    dram_config_free(e->cfg);
    dram_free(e->weights);
    dram_free(e->heads);
    *e = (dram_export){0};
}

dram_status dram_export_check_target(const char *option, const char *path)
{
    char *name = NULL, *folder = NULL;
    size_t n = strlen(path);
    dram_status status = DRAM_OK;
    if (dram_path_exists(path))
        return dram_fail(DRAM_ERR_CONFIG, "%s %s: it is there already; take another name, or remove it", option, path);
    TRY_GOTO(dram_path_join("", path, &name), done);
    while (n > 1 && name[n - 1] == '/') name[--n] = '\0'; /* a folder's may end so */
    TRY_GOTO(dram_path_folder(name, &folder), done);
    if (!dram_path_exists(folder))
        status = dram_fail(DRAM_ERR_CONFIG, "%s %s: there is no folder %s", option, path, folder);
    else
        dram_remove_leftovers_beside(path);
done:
    dram_free(name);
    dram_free(folder);
    return status;
}
