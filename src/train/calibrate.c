#include "train/calibrate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "io/json.h"
#include "train/fit.h"
#include "train/machine.h"
#include "train/room.h"
#include "train/weights.h"

typedef struct {
    char *key;
    double seconds;
} entry;

struct dram_times {
    entry *at; /* sorted by key */
    int n, room;
};

enum { KEY_SIZE = 512 };

/* "conv2d f32[8,64,64,48] f32[48,3,3,24] -> f32[8,64,64,48] 1 1 2 ..." */
static void key_of(const dram_graph *g, const dram_node *node, char key[KEY_SIZE])
{
    const dram_attr *a = &node->attr;
    char shape[96];
    int n = snprintf(key, KEY_SIZE, "%s", dram_op_rows[node->op].name);
    for (int k = 0; k < node->n_in + node->n_out && n < KEY_SIZE; k++) {
        dram_val v = k < node->n_in ? node->in[k] : node->out[k - node->n_in];
        const char *arrow = k == node->n_in ? " ->" : "";
        if (v == DRAM_NONE)
            n += snprintf(key + n, (size_t)(KEY_SIZE - n), "%s -", arrow);
        else
            n += snprintf(key + n, (size_t)(KEY_SIZE - n), "%s %s%s", arrow, dram_dtype_name(g->values[v]->dtype),
                          dram_format_shape(&g->values[v]->shape, shape, sizeof shape));
    }
    if (n < KEY_SIZE)
        snprintf(key + n, (size_t)(KEY_SIZE - n), " %d %d %d %d %d %d %d", a->stride, a->pad, a->groups, a->heads,
                 a->window, a->act, a->mode);
}

static int by_key(const void *left, const void *right)
{
    return strcmp(((const entry *)left)->key, ((const entry *)right)->key);
}

static entry *find(const dram_times *t, const char *key)
{
    const entry wanted = {.key = (char *)(uintptr_t)key};
    return t->n ? bsearch(&wanted, t->at, (size_t)t->n, sizeof *t->at, by_key) : NULL;
}

static dram_status append(dram_times *t, const char *key, double seconds)
{
    void *items = t->at;
    char *copy = dram_strdup(key);
    bool room = dram_grow(&items, &t->room, t->n + 1, sizeof *t->at);
    t->at = items;
    if (!room || !copy) {
        dram_free(copy);
        return dram_fail(DRAM_ERR_MEMORY, "no memory for the times of nodes");
    }
    t->at[t->n++] = (entry){copy, seconds};
    return DRAM_OK;
}

void dram_times_close(dram_times *t)
{
    if (!t) return;
    for (int i = 0; i < t->n; i++) dram_free(t->at[i].key);
    dram_free(t->at);
    dram_free(t);
}

static dram_status new_times(dram_times **times)
{
    *times = dram_calloc(1, sizeof **times);
    return *times ? DRAM_OK : dram_fail(DRAM_ERR_MEMORY, "no memory for the times of nodes");
}

/* ---- the file ---- */

static dram_status parse(const cJSON *root, const char *path, const char *device, int workers, dram_times *t)
{
    const char *name;
    int64_t count;
    const cJSON *node;
    TRY(dram_json_text(root, path, "device", &name));
    TRY(dram_json_int(root, path, "workers", 1, 1 << 20, &count));
    if (strcmp(name, device) != 0 || count != workers)
        return dram_fail(
            DRAM_ERR_CONFIG,
            "%s holds times of %s with %lld workers, and this is %s with %d: calibrate again, into another file", path,
            name, (long long)count, device, workers);
    const cJSON *nodes = cJSON_GetObjectItemCaseSensitive(root, "seconds");
    if (!cJSON_IsObject(nodes)) return dram_fail(DRAM_ERR_FORMAT, "%s: \"seconds\" is no object", path);
    cJSON_ArrayForEach(node, nodes)
    {
        if (!cJSON_IsNumber(node) || !(node->valuedouble >= 0.0) || !isfinite(node->valuedouble))
            return dram_fail(DRAM_ERR_FORMAT, "%s: the time of \"%.80s\" is no number of seconds", path, node->string);
        TRY(append(t, node->string, node->valuedouble));
    }
    if (t->n) qsort(t->at, (size_t)t->n, sizeof *t->at, by_key);
    return DRAM_OK;
}

dram_status dram_times_open(const char *path, const char *device, int workers, dram_times **out)
{
    cJSON *root;
    dram_times *t;
    TRY(new_times(&t));
    dram_status status = dram_json_read(path, &root);
    if (status == DRAM_OK) {
        status = parse(root, path, device, workers, t);
        cJSON_Delete(root);
    }
    if (status == DRAM_OK)
        *out = t;
    else
        dram_times_close(t);
    return status;
}

static dram_status save(const dram_times *t, const char *path, const char *device, int workers)
{
    cJSON *root = cJSON_CreateObject();
    bool good =
        root && cJSON_AddStringToObject(root, "device", device) && cJSON_AddNumberToObject(root, "workers", workers);
    cJSON *seconds = good ? cJSON_AddObjectToObject(root, "seconds") : NULL;
    good = good && seconds;
    for (int i = 0; good && i < t->n; i++)
        good = cJSON_AddNumberToObject(seconds, t->at[i].key, t->at[i].seconds) != NULL;
    dram_status status =
        good ? dram_json_write(path, root) : dram_fail(DRAM_ERR_MEMORY, "no memory to write the times of nodes");
    cJSON_Delete(root);
    return status;
}

/* ---- lookup ---- */

dram_status dram_times_of(const dram_times *t, const dram_graph *g, double *seconds)
{
    char key[KEY_SIZE];
    double known = 0, flops = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        key_of(g, g->nodes[i], key);
        const entry *e = find(t, key);
        seconds[i] = e ? e->seconds : -1.0;
        if (!e) continue;
        known += e->seconds;
        flops += (double)dram_node_flops(g, g->nodes[i]);
    }
    if (!(known > 0) || !(flops > 0))
        return dram_fail(DRAM_ERR_CONFIG,
                         "the file of times has none of this config's layers: calibrate with this config");
    for (int i = 0; i < g->n_nodes; i++)
        if (seconds[i] < 0) seconds[i] = (double)dram_node_flops(g, g->nodes[i]) * known / flops;
    return DRAM_OK;
}

/* ---- measuring ---- */

/* Pixels of noise, labels of 0 and 1, the whole picture valid, every other number 1. */
static dram_status stage(dram_session *s, const dram_io *io)
{
    int32_t side[] = {s->programs.student_size, s->programs.teacher_size};
    const dram_graph *g = io->graph;
    for (dram_val v = 0; v < g->n_values; v++) {
        const dram_value *value = g->values[v];
        if (value->kind != DRAM_VALUE_INPUT) continue;
        int64_t n = dram_elements(&value->shape), bytes = dram_value_bytes(value);
        uint8_t *data = dram_alloc((size_t)bytes);
        if (!data) return dram_fail(DRAM_ERR_MEMORY, "no memory to stage %s", value->name);
        for (int64_t i = 0; i < n; i++) {
            if (value->dtype == DRAM_F32) ((float *)(void *)data)[i] = 1.0f;
            if (value->dtype == DRAM_I32) ((int32_t *)(void *)data)[i] = side[v == io->teacher_valid];
            if (value->dtype == DRAM_F16) ((uint16_t *)(void *)data)[i] = 0x3c00; /* 1 */
            if (value->dtype == DRAM_U8) data[i] = dram_mix64((uint64_t)i) & (value->shape.rank == 4 ? 0xff : 1);
        }
        dram_status status = dram_exec_write(s->exec, io->index, v, data, bytes);
        dram_free(data);
        TRY(status);
    }
    return DRAM_OK;
}

static dram_status time_program(dram_session *s, const dram_io *io, dram_times *t)
{
    enum { ROUNDS = 3 };
    char key[KEY_SIZE];
    dram_status status = DRAM_OK;
    double *seconds = dram_alloc(((size_t)io->graph->n_nodes + 1) * sizeof *seconds);
    if (!seconds) return dram_fail(DRAM_ERR_MEMORY, "no memory for the times of nodes");
    for (int round = 0; round < ROUNDS; round++) {
        TRY_GOTO(stage(s, io), done);
        TRY_GOTO(dram_exec_time(s->exec, io->index, seconds), done);
        for (int i = 0; i < io->graph->n_nodes; i++) {
            key_of(io->graph, io->graph->nodes[i], key);
            entry *e = find(t, key);
            if (e) {
                if (seconds[i] < e->seconds) e->seconds = seconds[i];
                continue;
            }
            TRY_GOTO(append(t, key, seconds[i]), done);
            qsort(t->at, (size_t)t->n, sizeof *t->at, by_key);
        }
    }
done:
    dram_free(seconds);
    return status;
}

static dram_status measure(dram_session *s, const char *path, int *n)
{
    dram_times *t = NULL;
    dram_status status;
    TRY(dram_machine_open(s->cfg, &s->plan->profile, &s->device));
    const char *kernels = s->device->name;
    if (access(path, F_OK) == 0)
        TRY(dram_times_open(path, kernels, s->plan->profile.workers, &t));
    else
        TRY(new_times(&t));
    TRY_GOTO(dram_exec_open(s->device, s->plan, &s->exec), done);
    TRY_GOTO(dram_weights_draw(s), done);
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) {
        const dram_io *io = &s->programs.io[k];
        if (io->graph && io->graph->backward_begin) TRY_GOTO(time_program(s, io, t), done);
    }
    *n = t->n;
    status = save(t, path, kernels, s->plan->profile.workers);
done:
    dram_times_close(t);
    return status;
}

dram_status dram_calibrate(const dram_config *cfg, const char *path, int *n)
{
    dram_config stored = *cfg;
    dram_session s;
    stored.memory.checkpoint = DRAM_CHECKPOINT_NONE;
    stored.memory.profile = NULL;
    TRY(dram_fit_build(&stored, (dram_fit){0}, &s));
    dram_status status = dram_room_check(&s);
    if (status == DRAM_OK) status = measure(&s, path, n);
    dram_session_close(&s);
    return status;
}
