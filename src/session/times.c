#include "session/times.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "io/json.h"
#include "ir/op.h"

typedef struct {
    char *key;
    double seconds;
} entry;

struct dram_times {
    entry *at; /* sorted by key */
    int n, room;
    dram_times_process process;
};

enum { KEY_SIZE = 512 };

/* "conv2d f32[8,64,64,48] f32[48,3,3,24] -> f32[8,64,64,48] 1 1 2 ..." */
static void key_of(const dram_graph *g, const dram_node *node, char key[KEY_SIZE])
{
    char shape[96];
    int timed[DRAM_TIMED];
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
    dram_node_timed(node, timed);
    for (int i = 0; i < DRAM_TIMED && n < KEY_SIZE; i++)
        n += snprintf(key + n, (size_t)(KEY_SIZE - n), " %d", timed[i]);
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
    char *copy = dram_strdup(key);
    if (!copy || !DRAM_GROW(t->at, t->room, t->n + 1)) {
        dram_free(copy);
        return dram_fail(DRAM_ERR_MEMORY, "no memory for the times of nodes");
    }
    t->at[t->n++] = (entry){copy, seconds};
    return DRAM_OK;
}

dram_status dram_times_add(dram_times *t, const dram_graph *g, const double *seconds)
{
    char key[KEY_SIZE];
    for (int i = 0; i < g->n_nodes; i++) {
        key_of(g, g->nodes[i], key);
        entry *e = find(t, key);
        if (e) {
            if (seconds[i] < e->seconds) e->seconds = seconds[i];
            continue;
        }
        TRY(append(t, key, seconds[i]));
        qsort(t->at, (size_t)t->n, sizeof *t->at, by_key);
    }
    return DRAM_OK;
}

int dram_times_count(const dram_times *t)
{
    return t->n;
}

dram_times_process *dram_times_of_process(dram_times *t)
{
    return &t->process;
}

void dram_times_close(dram_times *t)
{
    if (!t) return;
    for (int i = 0; i < t->n; i++) dram_free(t->at[i].key);
    dram_free(t->at);
    dram_free(t);
}

dram_status dram_times_new(dram_times **times)
{
    *times = dram_calloc(1, sizeof **times);
    return *times ? DRAM_OK : dram_fail(DRAM_ERR_MEMORY, "no memory for the times of nodes");
}

/* ---- the file ---- */

/* "process": what a process takes of a GPU; null, or none at all: not measured. */
static dram_status parse_process(const cJSON *root, const char *path, dram_times_process *p)
{
    static const int64_t most = (int64_t)1 << 50;
    const char *counted;
    const cJSON *o = cJSON_GetObjectItemCaseSensitive(root, "process");
    if (!o || cJSON_IsNull(o)) return DRAM_OK;
    TRY(dram_json_int(o, path, "context_bytes", 0, most, &p->context_bytes));
    TRY(dram_json_int(o, path, "loaded_bytes", 0, most, &p->loaded_bytes));
    TRY(dram_json_text(o, path, "counted", &counted));
    for (int c = DRAM_COUNTED_GPU; c <= DRAM_COUNTED_PROCESS; c++)
        if (strcmp(counted, dram_counted_word((dram_counted)c)) == 0) p->counted = (dram_counted)c;
    if (p->counted != DRAM_COUNTED_NOT) return DRAM_OK;
    return dram_fail(DRAM_ERR_FORMAT, "%s: \"counted\" is \"%.40s\"", path, counted);
}

static dram_status parse_device(const cJSON *root, const char *path, const dram_times_machine *m)
{
    const char *name;
    int64_t count;
    TRY(dram_json_text(root, path, "device", &name));
    TRY(dram_json_int(root, path, "workers", 1, 1 << 20, &count));
    bool gpu = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "gpu"));
    if (gpu == m->gpu && count == m->workers && (!m->kernels[0] || strcmp(name, m->kernels) == 0)) return DRAM_OK;
    return dram_fail(
        DRAM_ERR_CONFIG,
        "%s holds times of %s with %lld workers, and this is %s with %d: calibrate again, into another file", path,
        name, (long long)count, m->kernels[0] ? m->kernels : "a GPU", m->workers);
}

static dram_status parse(const cJSON *root, const char *path, const dram_times_machine *machine, dram_times *t)
{
    const cJSON *node;
    TRY(parse_device(root, path, machine));
    TRY(parse_process(root, path, &t->process));
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

dram_status dram_times_open(const char *path, const dram_times_machine *machine, dram_times **out)
{
    cJSON *root;
    dram_times *t;
    TRY(dram_times_new(&t));
    dram_status status = dram_json_read(path, &root);
    if (status == DRAM_OK) {
        status = parse(root, path, machine, t);
        cJSON_Delete(root);
    }
    if (status == DRAM_OK)
        *out = t;
    else
        dram_times_close(t);
    return status;
}

static bool add_process(cJSON *root, const dram_times_process *p)
{
    if (p->counted == DRAM_COUNTED_NOT) return cJSON_AddNullToObject(root, "process") != NULL;
    cJSON *o = cJSON_AddObjectToObject(root, "process");
    return o && cJSON_AddNumberToObject(o, "context_bytes", (double)p->context_bytes) &&
           cJSON_AddNumberToObject(o, "loaded_bytes", (double)p->loaded_bytes) &&
           cJSON_AddStringToObject(o, "counted", dram_counted_word(p->counted));
}

dram_status dram_times_save(const dram_times *t, const char *path, const dram_times_machine *machine)
{
    cJSON *root = cJSON_CreateObject();
    bool good = root && cJSON_AddStringToObject(root, "device", machine->kernels) &&
                cJSON_AddBoolToObject(root, "gpu", machine->gpu) &&
                cJSON_AddNumberToObject(root, "workers", machine->workers) && add_process(root, &t->process);
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

/* NULL: no node like this one was timed. */
static const entry *entry_of(const dram_times *t, const dram_graph *g, const dram_node *node)
{
    char key[KEY_SIZE];
    key_of(g, node, key);
    return find(t, key);
}

void dram_times_known(const dram_times *t, const dram_graph *g, double *seconds, double *flops)
{
    *seconds = *flops = 0.0;
    for (int i = 0; i < g->n_nodes; i++) {
        const entry *e = entry_of(t, g, g->nodes[i]);
        if (!e) continue;
        *seconds += e->seconds;
        *flops += (double)dram_node_flops(g, g->nodes[i]);
    }
}

dram_status dram_times_of(const dram_times *t, const dram_graph *g, double *seconds)
{
    double known, flops;
    dram_times_known(t, g, &known, &flops);
    if (!(known > 0) || !(flops > 0))
        return dram_fail(DRAM_ERR_CONFIG,
                         "the file of times has none of this config's layers: calibrate with this config");
    for (int i = 0; i < g->n_nodes; i++) {
        const entry *e = entry_of(t, g, g->nodes[i]);
        seconds[i] = e ? e->seconds : (double)dram_node_flops(g, g->nodes[i]) * known / flops;
    }
    return DRAM_OK;
}
