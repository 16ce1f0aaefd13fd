/* A teacher whose weights are of another size than its network's: found in the file, planned, run, cached, refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/safetensors.h"
#include "model/names.h"
#include "session/choose.h"
#include "session/started.h"

#define SMALL "sam_distill.fidelity_images=0 task.enabled=false resolution_distill.enabled=false "

/* The file with other names, and pos_embed cut to [1,h,w,C]. */
static void rewrite(const char *from, const char *to, dram_names names, const char *prefix, int h, int w)
{
    enum { MOST = 200 };
    static dram_st_out out[MOST];
    static char name[MOST][256];
    dram_st *st;
    int n = 0;
    ok(dram_st_open(from, &st));
    for (; n < dram_st_count(st); n++) {
        const dram_st_tensor *t = dram_st_at(st, n);
        assert_true(n < MOST);
        size_t at = (size_t)snprintf(name[n], sizeof name[n], "%s", prefix);
        assert_non_null(dram_names_of(dram_arch_find("vit_micro"), names, t->name, name[n] + at, sizeof name[n] - at));
        out[n] = (dram_st_out){.name = name[n], .dtype = DRAM_ST_F32, .rank = t->rank};
        memcpy(out[n].dim, t->dim, sizeof t->dim);
        float *data = malloc((size_t)t->elements * 4);
        assert_non_null(data);
        ok(dram_st_read_f32(st, t, 0, t->elements, data));
        out[n].data = data;
        if (h && strcmp(t->name, "pos_embed") == 0) {
            assert_true((int64_t)h * w * t->dim[3] <= t->elements);
            out[n].dim[1] = h;
            out[n].dim[2] = w;
        }
    }
    dram_st_close(st);
    ok(dram_st_write(to, out, n, NULL, 0));
    for (int i = 0; i < n; i++) free((void *)(uintptr_t)out[i].data);
}

/* What is found for these overrides. */
static dram_status find(void **state, const char *set, int *native)
{
    dram_config *cfg = run_config(state, "none", set);
    dram_status status = dram_weights_native(cfg, native);
    dram_config_free(cfg);
    return status;
}

static void expect(void **state, const char *set, int want)
{
    int native = -1;
    ok(find(state, set, &native));
    if (native != want) fail_msg("%s: %d instead of %d", set, native, want);
}

static void expect_refused(void **state, const char *set, const char *text)
{
    int native;
    assert_int_equal(find(state, set, &native), DRAM_ERR_CONFIG);
    if (!strstr(dram_error_text(), text)) fail_msg("\"%s\" instead of \"%s\"", dram_error_text(), text);
    dram_error_clear();
}

static const char *weights_of(void **state, int native, char set[600])
{
    char name[64];
    snprintf(name, sizeof name, "native-%d.safetensors", native);
    snprintf(set, 600, SMALL "sam_distill.teacher.native_size=%d", native);
    const char *path = in_dir(state, name);
    if (!is_there(path)) save_started(state, set, "teacher", path, DRAM_PRECISION_FP32);
    return path;
}

static void read_from_the_file(void **state)
{
    static const struct {
        dram_names names;
        const char *prefix;
    } forms[] = {{DRAM_NAMES_TIMM, ""}, {DRAM_NAMES_META, ""}, {DRAM_NAMES_HF, ""}, {DRAM_NAMES_META_BARE, "module."}};
    char set[5000], made[600];
    const char *to = in_dir(state, "renamed.safetensors");
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        rewrite(weights_of(state, 128, made), to, forms[i].names, forms[i].prefix, 0, 0);
        expect(state, with("sam_distill.teacher.weights", to), 128);
    }
    snprintf(set, sizeof set, "%s sam_distill.teacher.native_size=128", with("sam_distill.teacher.weights", to));
    expect(state, set, 128);
    expect(state, with("sam_distill.teacher.weights", weights_of(state, 256, made)), 0); /* vit_micro's own */
    expect(state, with("sam_distill.teacher.weights", weights_of(state, 512, made)), 512);
    snprintf(set, sizeof set, "%s sam_distill.enabled=false", with("sam_distill.teacher.weights", to));
    expect(state, set, 0);
    expect(state, "sam_distill.teacher.weights=random", 0);
    expect(state, "sam_distill.teacher.weights=random sam_distill.teacher.native_size=384", 384);
    /* A plan is made before there is a file; what is wrong with one is said where it is loaded. */
    expect(state, "sam_distill.teacher.weights=nowhere.safetensors sam_distill.teacher.native_size=512", 512);
    put_file(in_dir(state, "text.safetensors"), "no weights", 10);
    expect(state, with("sam_distill.teacher.weights", in_dir(state, "text.safetensors")), 0);
}

static void refused(void **state)
{
    char set[5000], made[600];
    const char *to = in_dir(state, "odd.safetensors"), *from = weights_of(state, 256, made);
    rewrite(from, to, DRAM_NAMES_META, "", 8, 16);
    expect_refused(state, with("sam_distill.teacher.weights", to),
                   "odd.safetensors: its pos_embed is [1,8,16,128]: a teacher is of square images");
    snprintf(set, sizeof set, "%s sam_distill.teacher.native_size=512",
             with("sam_distill.teacher.weights", weights_of(state, 128, made)));
    expect_refused(state, set, "command line: sam_distill.teacher.native_size: it is 512, and ");
    expect_refused(state, set,
                   "native-128.safetensors is of 128 (its pos_embed is [1,8,8,128]); set it to 128, or to 0");
    snprintf(set, sizeof set, SMALL "train.steps=1 %s sam_distill.teacher.native_size=512",
             with("sam_distill.teacher.weights", from));
    run_order o = {.name = "refused", .set = set};
    run_fails(state, &o, DRAM_ERR_CONFIG, "is of 256 (its pos_embed is [1,16,16,128])");
    assert_false(is_there(run_file(state, "refused", "")));
    /* The table of positions is of one size and the relative ones of another: no file of this network. */
    rewrite(from, to, DRAM_NAMES_TIMM, "", 8, 8);
    start_fails(state, with("sam_distill.teacher.weights", to), "pos_embed [1,8,8,128] instead of [1,16,16,128]");
    snprintf(set, sizeof set, "%s sam_distill.teacher.native_size=128", with("sam_distill.teacher.weights", to));
    start_fails(state, set, "attn.rel_pos_h [31,32] instead of [15,32]");
}

static int resizes(const dram_session *s)
{
    const dram_graph *g = s->graphs.io[DRAM_PROGRAM_DISTIL_STEP].graph;
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++)
        n += g->nodes[i]->op == DRAM_OP_resize &&
             strstr(dram_value_at(g, g->nodes[i]->out[0])->name, "teacher.") != NULL;
    return n;
}

/* At its own size nothing is resampled; the plan of a file is that of the key. */
static void planned_at_its_own_size(void **state)
{
    static const struct {
        int native, side, resized;
    } cases[] = {{128, 128, 0}, {512, 512, 0}, {128, 256, 5}, {256, 128, 5}, {0, 256, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char set[600];
        dram_config *cfg;
        dram_session s;
        snprintf(set, sizeof set, SMALL "sam_distill.teacher.native_size=%d sam_distill.sam_input_size=%d",
                 cases[i].native, cases[i].side);
        ok(start(state, set, &cfg, &s));
        assert_int_equal(resizes(&s), cases[i].resized);
        stop(cfg, &s);
    }
}

/* A run from the file is the run of the same drawn weights, and its config.yaml says the size. */
static void runs(void **state)
{
    char made[600], set[5000];
    const char *file = weights_of(state, 128, made);
    snprintf(set, sizeof set, SMALL "train.steps=3 sam_distill.sam_input_size=128 %s",
             with("sam_distill.teacher.weights", file));
    run_order of_file = {.name = "file", .set = set}, drawn = {.name = "drawn"};
    run_ok(state, &of_file);
    drawn.set = SMALL "train.steps=3 sam_distill.sam_input_size=128 sam_distill.teacher.native_size=128";
    run_ok(state, &drawn);
    assert_same_run(state, "file", "drawn", 3);
    char *yaml = get_file(run_file(state, "file", "config.yaml"), NULL);
    assert_non_null(strstr(yaml, "native_size: 128"));
    free(yaml);
    of_file.resume = true;
    run_ok(state, &of_file);
    run_order other = {.name = "other", .set = SMALL "train.steps=3 sam_distill.sam_input_size=128"};
    run_ok(state, &other);
    assert_true(other.summary.final_loss != drawn.summary.final_loss);
    run_remove(state, "file");
    run_remove(state, "drawn");
    run_remove(state, "other");
}

/* It is held against itself at its own size, not at SAM's. */
static void fidelity(void **state)
{
    dram_fidelity result;
    dram_config *cfg = run_config(
        state, "none", "sam_distill.teacher.native_size=128 sam_distill.sam_input_size=128 task.enabled=false");
    assert_false(dram_fidelity_means_something(cfg));
    dram_config_free(cfg);
    cfg = run_config(state, "none",
                     "sam_distill.teacher.native_size=128 sam_distill.sam_input_size=64 task.enabled=false");
    assert_true(dram_fidelity_means_something(cfg));
    ok(dram_fidelity_folder(cfg, in_dir(state, "scenes/images"), NULL, &result));
    assert_int_equal(result.full, 128);
    assert_int_equal(result.images, SCENES);
    assert_true(result.cosine < 1 && result.cosine > -1);
    dram_config_free(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_from_the_file),
        cmocka_unit_test(refused),
        cmocka_unit_test(planned_at_its_own_size),
        cmocka_unit_test(runs),
        cmocka_unit_test(fidelity),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
