/* What dram itself makes of images, for what is exported to be held against (scripts/check_export.sh).
 * usage: bench_exported FROM CONFIG|- SIZE IMAGES OUT.safetensors
 * FROM and CONFIG as for `dram export`. The images are drawn: whole squares of SIZE, pixels in f32 [N,S,S,3]. Besides them
 * OUT has image_embeddings [N,g,g,256], features_STRIDE [N,h,w,C] and, of a task, logits [N,h,w,K]. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "export/export.h"
#include "io/safetensors.h"
#include "session/machine.h"

enum { MOST = 3 + DRAM_TAPS };

typedef struct {
    dram_st_out out[MOST];
    dram_val v[MOST];
    char name[MOST][32];
    int n;
} results;

static void add(results *r, const dram_graph *g, dram_val v, int images, const char *name)
{
    if (v == DRAM_NONE) return;
    const dram_shape *s = dram_shape_of(g, v);
    dram_st_out *out = &r->out[r->n];
    snprintf(r->name[r->n], sizeof r->name[0], "%s", name);
    *out = (dram_st_out){
        .name = r->name[r->n], .dtype = DRAM_ST_F32, .rank = 4, .dim = {images, s->dim[1], s->dim[2], s->dim[3]}};
    out->data = dram_alloc((size_t)images * (size_t)dram_elements(s) * sizeof(float));
    r->v[r->n++] = v;
}

static void list_results(results *r, const dram_export *e, int images)
{
    char name[32];
    const dram_graph *g = e->io->graph;
    add(r, g, e->io->image, images, "pixels");
    if (e->neck) add(r, g, e->io->student_embedding, images, "image_embeddings");
    for (int i = 0; i < DRAM_TAPS && e->io->tap[i] != DRAM_NONE; i++) {
        snprintf(name, sizeof name, "features_%d", (int)(e->size / dram_shape_of(g, e->io->tap[i])->dim[1]));
        dram_graph_output(e->io->graph, e->io->tap[i]);
        add(r, g, e->io->tap[i], images, name);
    }
    if (e->head) add(r, g, e->io->logits, images, "logits");
}

static dram_status run_image(const dram_export *e, dram_exec *exec, results *r, int image)
{
    const int64_t pixels = (int64_t)e->size * e->size * 3;
    const int32_t valid[2] = {e->size, e->size};
    uint8_t *bytes = malloc((size_t)pixels);
    float *floats = (float *)(uintptr_t)r->out[0].data + image * pixels;
    dram_rng rng = dram_rng_make(1, DRAM_RNG_INIT, (uint64_t)image);
    int wave = 3 + image;
    for (int64_t i = 0; i < pixels; i++) {
        int64_t y = i / 3 / e->size, x = i / 3 % e->size;
        int level = (int)(y * wave * 255 / e->size + x * (i % 3 + 1)) % 200 + (int)dram_rng_below(&rng, 56);
        bytes[i] = (uint8_t)level;
        floats[i] = bytes[i];
    }
    TRY(dram_exec_write(exec, 0, e->io->image, bytes, pixels));
    TRY(dram_exec_write(exec, 0, e->io->image_valid, valid, sizeof valid));
    free(bytes);
    TRY(dram_exec_run(exec, 0));
    for (int i = 1; i < r->n; i++) {
        int64_t n = dram_elements(dram_shape_of(e->io->graph, r->v[i]));
        float *to = (float *)(uintptr_t)r->out[i].data + image * n;
        TRY(dram_exec_read(exec, 0, r->v[i], to, n * 4));
    }
    return DRAM_OK;
}

/* The weights, from the session that has them. */
static dram_status copy_slots(const dram_export *e, dram_exec *to)
{
    for (int i = 0; i < e->session.graphs.slots.n; i++) {
        int64_t bytes = dram_elements(&e->session.graphs.slots.at[i]->shape) * 4;
        void *data = dram_alloc((size_t)bytes);
        dram_status status = dram_exec_read_slot(e->session.exec, i, 0, data, bytes);
        if (status == DRAM_OK) status = dram_exec_write_slot(to, i, 0, data, bytes);
        dram_free(data);
        TRY(status);
    }
    return DRAM_OK;
}

static dram_status run(dram_export *e, int images, const char *path)
{
    results r = {0};
    dram_plan *plan;
    dram_exec *exec;
    list_results(&r, e, images);
    const dram_graph *const graphs[] = {e->io->graph};
    TRY(dram_plan_make(graphs, 1, &e->session.graphs.slots, &e->session.plan->profile, DRAM_PLAN_USUAL, &plan));
    TRY(dram_exec_open(e->session.device, plan, &exec));
    TRY(copy_slots(e, exec));
    for (int i = 0; i < images; i++) TRY(run_image(e, exec, &r, i));
    return dram_st_write(path, r.out, r.n, NULL, 0);
}

int main(int argc, char **argv)
{
    dram_export e;
    if (argc != 6) {
        fprintf(stderr, "usage: bench_exported FROM CONFIG|- SIZE IMAGES OUT.safetensors\n");
        return 2;
    }
    const dram_export_request request = {
        .from = argv[1], .config = strcmp(argv[2], "-") ? argv[2] : NULL, .size = atoi(argv[3])};
    dram_status status = dram_export_open(&request, &e);
    if (status == DRAM_OK) status = run(&e, atoi(argv[4]), argv[5]);
    if (status != DRAM_OK) fprintf(stderr, "bench_exported: %s\n", dram_error_text());
    return dram_status_exit(status);
}
