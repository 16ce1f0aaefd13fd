/* export_numbers: what dram itself makes of some images, for scripts/check_export.sh to hold exports against.
 *
 *     export_numbers FROM CONFIG|- SIZE IMAGES SEED OUT.safetensors
 *
 * FROM and CONFIG are those of `dram export`; SIZE 0 is the config's. OUT has, of all images, `pixels` [N,S,S,3] of 0 to
 * 255, `valid` [N,2], `image` [N,3,S,S] as the student sees it, `tap0`.. and `embedding` [N,C,h,w], and `logits` where
 * there is a head. Every second image is padded from three quarters of its height on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "export/export.h"
#include "io/safetensors.h"
#include "session/slot_floats.h"
#include "support/ok.h"
#include "support/run_graph.h"

enum { MOST = 10, WORKERS = 2 };

/* A value of the graph, [1,h,w,c] of floats: of all images as [N,c,h,w]. */
typedef struct {
    char name[16];
    dram_val v;
    int64_t h, w, c;
    float *one, *all;
} number;

typedef struct {
    dram_export *e;
    int images;
    uint64_t seed;
    number of[MOST];
    int n;
    float *pixels, *valid;
} work;

static void add(work *w, const char *name, dram_val v)
{
    if (v == DRAM_NONE) return;
    const dram_value *value = dram_value_at(w->e->io->graph, v);
    assert_int_equal(value->dtype, DRAM_F32);
    assert_int_equal(value->shape.rank, 4);
    number *a = &w->of[w->n++];
    *a = (number){.v = v, .h = value->shape.dim[1], .w = value->shape.dim[2], .c = value->shape.dim[3]};
    snprintf(a->name, sizeof a->name, "%s", name);
    a->one = calloc((size_t)(a->h * a->w * a->c), sizeof *a->one);
    a->all = calloc((size_t)(a->h * a->w * a->c * w->images), sizeof *a->all);
    assert_true(a->one && a->all);
}

/* What the trunk is given: the image, normalised. */
static dram_val normalised(const dram_export *e)
{
    const dram_graph *g = e->io->graph;
    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i]->op == DRAM_OP_image_norm && g->nodes[i]->in[0] == e->io->image) return g->nodes[i]->out[0];
    fail_msg("the program normalises no image");
    return DRAM_NONE;
}

static void choose(work *w)
{
    char name[16];
    add(w, "image", normalised(w->e));
    for (int i = 0; i < DRAM_TAPS; i++) {
        snprintf(name, sizeof name, "tap%d", i);
        add(w, name, w->e->io->tap[i]);
    }
    add(w, "embedding", w->e->io->student_embedding);
    add(w, "logits", w->e->io->logits);
}

/* Soft blobs with noise on them. */
static void draw(const work *w, int k, uint8_t *pixels, int32_t valid[2])
{
    int size = w->e->size;
    dram_rng r = dram_rng_make(w->seed, DRAM_RNG_TEST, (uint64_t)k);
    double fx = 1 + 3 * dram_rng_uniform(&r), fy = 1 + 3 * dram_rng_uniform(&r);
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++)
            for (int c = 0; c < 3; c++) {
                double wave = sin(fx * x / size * 6.28 + c) * cos(fy * y / size * 6.28);
                pixels[((size_t)y * (size_t)size + (size_t)x) * 3 + (size_t)c] =
                    (uint8_t)(127 + 90 * wave + 30 * (dram_rng_uniform(&r) - 0.5));
            }
    valid[0] = k % 2 ? size * 3 / 4 : size;
    valid[1] = size;
}

static void keep(work *w, int k, const uint8_t *pixels, const int32_t valid[2])
{
    int64_t n = (int64_t)w->e->size * w->e->size * 3;
    for (int64_t i = 0; i < n; i++) w->pixels[k * n + i] = pixels[i];
    for (int i = 0; i < 2; i++) w->valid[2 * k + i] = (float)valid[i];
    for (int t = 0; t < w->n; t++) {
        const number *a = &w->of[t];
        int64_t cells = a->h * a->w;
        for (int64_t i = 0; i < cells; i++)
            for (int64_t c = 0; c < a->c; c++) a->all[(k * a->c + c) * cells + i] = a->one[i * a->c + c];
    }
}

static void run_all(work *w)
{
    run_state s;
    run_io in[MOST], out[MOST];
    int n_in = 0;
    size_t n = (size_t)w->e->size * (size_t)w->e->size * 3;
    uint8_t *pixels = malloc(n);
    w->pixels = malloc(n * (size_t)w->images * sizeof *w->pixels);
    w->valid = malloc(2 * (size_t)w->images * sizeof *w->valid);
    assert_true(pixels && w->pixels && w->valid);
    run_open(&s, &w->e->session.graphs.slots, WORKERS);
    for (int i = 0; i < s.slots->n; i++) {
        assert_int_equal(s.slots->at[i]->dtype, DRAM_F32);
        ok(dram_slot_read_floats(&w->e->session, i, 0, dram_elements(&s.slots->at[i]->shape), run_slot(&s, i)));
    }
    for (int v = 0; v < w->e->io->graph->n_values;
         v++) { /* the teacher's, too: zeros, which no output here depends on */
        const dram_value *value = dram_value_at(w->e->io->graph, v);
        if (value->kind != DRAM_VALUE_INPUT) continue;
        assert_true(n_in < MOST);
        in[n_in++] = (run_io){v, calloc(1, (size_t)dram_value_bytes(value))};
        assert_non_null(in[n_in - 1].data);
    }
    for (int i = 0; i < w->n; i++) out[i] = (run_io){w->of[i].v, w->of[i].one};
    for (int k = 0; k < w->images; k++) {
        int32_t valid[2];
        draw(w, k, pixels, valid);
        for (int i = 0; i < n_in; i++) {
            if (in[i].v == w->e->io->image) memcpy(in[i].data, pixels, n);
            if (in[i].v == w->e->io->image_valid) memcpy(in[i].data, valid, sizeof valid);
        }
        run_graph(&s, w->e->io->graph, in, n_in, out, w->n);
        keep(w, k, pixels, valid);
    }
    while (n_in > 0) free(in[--n_in].data);
    run_close(&s);
    free(pixels);
}

static void write_all(const work *w, const char *path)
{
    int size = w->e->size;
    dram_st_out out[MOST + 2] = {
        {.name = "pixels", .dtype = DRAM_ST_F32, .rank = 4, .dim = {w->images, size, size, 3}, .data = w->pixels},
        {.name = "valid", .dtype = DRAM_ST_F32, .rank = 2, .dim = {w->images, 2}, .data = w->valid},
    };
    for (int i = 0; i < w->n; i++) {
        const number *a = &w->of[i];
        out[2 + i] = (dram_st_out){
            .name = a->name, .dtype = DRAM_ST_F32, .rank = 4, .dim = {w->images, a->c, a->h, a->w}, .data = a->all};
    }
    ok(dram_st_write(path, out, 2 + w->n, NULL, 0));
    printf("%s: %s, %d images of %d:", path, w->e->arch->name, w->images, size);
    for (int i = 0; i < w->n; i++) printf(" %s", w->of[i].name);
    printf("\n");
}

int main(int argc, char **argv)
{
    static dram_export e;
    if (argc != 7) {
        fprintf(stderr, "usage: export_numbers FROM CONFIG|- SIZE IMAGES SEED OUT.safetensors\n");
        return 2;
    }
    const dram_export_request request = {
        .from = argv[1], .config = strcmp(argv[2], "-") ? argv[2] : NULL, .size = atoi(argv[3])};
    work w = {.e = &e, .images = atoi(argv[4]), .seed = (uint64_t)atoi(argv[5])};
    dram_status status = dram_export_open(&request, &e);
    if (status != DRAM_OK || w.images < 1) {
        fprintf(stderr, "export_numbers: %s\n", dram_error_text());
        return 2;
    }
    choose(&w);
    run_all(&w);
    write_all(&w, argv[6]);
    for (int i = 0; i < w.n; i++) {
        free(w.of[i].one);
        free(w.of[i].all);
    }
    free(w.pixels);
    free(w.valid);
    dram_export_close(&e);
    return 0;
}
