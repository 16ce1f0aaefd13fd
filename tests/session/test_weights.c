/* Weights from files and back: what dram wrote it reads, under every naming, and what does not fit is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "evaluate/eval_file.h"
#include "io/safetensors.h"
#include "model/names.h"
#include "session/started.h"

#define TASK_ONLY                                                                                                      \
    "sam_distill.enabled=false resolution_distill.enabled=false task.enabled=true data.val.images=none "               \
    "data.val.labels=none "                                                                                            \
    "train.steps=3 "

/* The shipped teacher is made like this: a trained ViT, exported as F16, becomes a teacher. */
static void student_becomes_teacher(void **state)
{
    run_order o = {.name = "vit", .set = TASK_ONLY "student.arch=vit_micro run.export=fp16"};
    run_ok(state, &o);
    const char *file = run_file(state, "vit", "student.safetensors"), *again = in_dir(state, "teacher.safetensors");
    save_started(state, with("sam_distill.teacher.weights", file), "teacher", again, DRAM_PRECISION_FP16);
    assert_same_file(file, again);
    /* and it teaches */
    char set[4700];
    snprintf(set, sizeof set, "train.steps=2 %s", with("sam_distill.teacher.weights", again));
    run_order taught = {.name = "taught", .set = set};
    run_ok(state, &taught);
    assert_true(isfinite(taught.summary.eval.embedding_cosine));
    run_remove(state, "taught");
}

static void student_goes_on_from_a_file(void **state)
{
    run_order o = {.name = "net", .set = TASK_ONLY "student.arch=regnety_002"};
    run_ok(state, &o);
    const char *file = run_file(state, "net", "student.safetensors"), *again = in_dir(state, "student.safetensors");
    char set[4800];
    snprintf(set, sizeof set, TASK_ONLY "student.arch=regnety_002 %s", with("student.weights", file));
    save_started(state, set, "student", again, DRAM_PRECISION_FP32);
    assert_same_file(file, again);
    dram_st *st;
    int64_t count = 0;
    ok(dram_st_open(again, &st));
    const dram_st_tensor *t = dram_st_find(st, "s1.b1.conv1.bn.num_batches_tracked");
    assert_non_null(t);
    ok(dram_st_read_raw(st, t, 0, 1, &count));
    assert_int_equal(count, 3); /* steps of the run */
    assert_int_equal(t->rank, 0);
    dram_st_close(st);
}

/* ---- files that are like another one, but for ... ---- */

typedef struct {
    dram_names names;       /* renamed */
    const char *without;    /* left out */
    const char *extra[2];   /* added */
    const char *misshapen;  /* loses its first dimension's last entry */
    const char *as_integer; /* stored as I64 */
    dram_st_dtype dtype;
} change;

static void rewrite(const char *from, const char *to, const char *arch, const change *c)
{
    enum { MOST = 600 };
    static dram_st_out out[MOST];
    static char names[MOST][256];
    static float three[3] = {1, 2, 3};
    static int64_t integers[4096];
    dram_st *st;
    int n = 0;
    ok(dram_st_open(from, &st));
    assert_true(dram_st_count(st) + 2 < MOST);
    for (int i = 0; i < dram_st_count(st); i++) {
        const dram_st_tensor *t = dram_st_at(st, i);
        if (c->without && strcmp(t->name, c->without) == 0) continue;
        assert_non_null(dram_names_of(dram_arch_find(arch), c->names, t->name, names[n], sizeof names[n]));
        out[n] = (dram_st_out){.name = names[n], .dtype = t->dtype == DRAM_ST_I64 ? DRAM_ST_I64 : c->dtype};
        out[n].rank = t->rank;
        memcpy(out[n].dim, t->dim, sizeof out[n].dim);
        void *data = malloc((size_t)t->elements * 8);
        assert_non_null(data);
        if (t->dtype == DRAM_ST_I64)
            ok(dram_st_read_raw(st, t, 0, t->elements, data));
        else
            ok(dram_st_read_f32(st, t, 0, t->elements, data));
        out[n].data = data;
        if (c->misshapen && strcmp(t->name, c->misshapen) == 0) out[n].dim[0]--;
        if (c->as_integer && strcmp(t->name, c->as_integer) == 0) {
            assert_true(t->elements <= 4096);
            free(data);
            out[n].dtype = DRAM_ST_I64;
            out[n].data = integers;
        }
        n++;
    }
    dram_st_close(st);
    int own = n;
    for (int i = 0; i < 2 && c->extra[i]; i++)
        out[n++] = (dram_st_out){.name = c->extra[i], .dtype = DRAM_ST_F32, .rank = 1, .dim = {3}, .data = three};
    ok(dram_st_write(to, out, n, NULL, 0));
    for (int i = 0; i < own; i++)
        if (out[i].data != integers) free((void *)(uintptr_t)out[i].data);
}

/* The same tensors with the same bits, in whatever order they lie. */
static void assert_same_tensors(const char *a, const char *b)
{
    dram_st *x, *y;
    ok(dram_st_open(a, &x));
    ok(dram_st_open(b, &y));
    assert_true(dram_st_count(x) > 30);
    assert_int_equal(dram_st_count(x), dram_st_count(y));
    for (int i = 0; i < dram_st_count(x); i++) {
        const dram_st_tensor *t = dram_st_at(x, i), *u = dram_st_find(y, t->name);
        assert_non_null(u);
        assert_int_equal(t->dtype, u->dtype);
        assert_int_equal(t->elements, u->elements);
        size_t bytes = (size_t)t->bytes;
        char *data = malloc(2 * bytes);
        assert_non_null(data);
        ok(dram_st_read_raw(x, t, 0, t->elements, data));
        ok(dram_st_read_raw(y, u, 0, u->elements, data + bytes));
        if (memcmp(data, data + bytes, bytes) != 0) fail_msg("%s differs", t->name);
        free(data);
    }
    dram_st_close(x);
    dram_st_close(y);
}

/* Meta's, Hugging Face's and timm's names; F32, F16, BF16; with the decoders beside. */
static void names_of_others(void **state)
{
    static const change changes[] = {
        {.names = DRAM_NAMES_META, .dtype = DRAM_ST_F32, .extra = {"mask_decoder.x", "prompt_encoder.y"}},
        {.names = DRAM_NAMES_HF, .dtype = DRAM_ST_F16, .extra = {"shared_image_embedding.z"}},
        {.names = DRAM_NAMES_TIMM, .dtype = DRAM_ST_F32},
        {.names = DRAM_NAMES_META, .dtype = DRAM_ST_F16},
        {.names = DRAM_NAMES_HF, .dtype = DRAM_ST_F32},
    };
    const char *from = run_file(state, "vit", "student.safetensors");
    const char *to = in_dir(state, "named.safetensors"), *again = in_dir(state, "again.safetensors");
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        rewrite(from, to, "vit_micro", &changes[i]);
        save_started(state, with("sam_distill.teacher.weights", to), "teacher", again, DRAM_PRECISION_FP16);
        assert_same_file(from, again);
    }
    /* BF16 keeps 8 bits: the file itself comes back, not the one it was made from. */
    const change bf16 = {.names = DRAM_NAMES_TIMM, .dtype = DRAM_ST_BF16};
    rewrite(from, to, "vit_micro", &bf16);
    save_started(state, with("sam_distill.teacher.weights", to), "teacher", again, DRAM_PRECISION_BF16);
    assert_same_tensors(to, again);
}

static void what_does_not_fit_is_named(void **state)
{
    static const struct {
        change change;
        const char *text;
    } cases[] = {
        {{.without = "blocks.1.norm1.bias", .dtype = DRAM_ST_F32}, "1 missing: blocks.1.norm1.bias"},
        {{.names = DRAM_NAMES_META, .without = "blocks.1.mlp.fc1.bias", .dtype = DRAM_ST_F16},
         "1 missing: image_encoder.blocks.1.mlp.lin1.bias"},
        {{.names = DRAM_NAMES_HF, .without = "pos_embed", .dtype = DRAM_ST_F16}, "1 missing: vision_encoder.pos_embed"},
        {{.extra = {"blocks.99.norm1.bias", "other"}, .dtype = DRAM_ST_F32},
         "2 not known: blocks.99.norm1.bias, other"},
        {{.misshapen = "neck.1.bias", .dtype = DRAM_ST_F32}, "1 misshapen: neck.1.bias [255] instead of [256]"},
        {{.as_integer = "neck.3.bias", .dtype = DRAM_ST_F32}, "neck.3.bias"},
        {{.without = "neck.0.weight", .extra = {"neck.0.wieght"}, .misshapen = "neck.1.bias", .dtype = DRAM_ST_F32},
         "does not hold the weights of vit_micro; 1 missing: neck.0.weight (there is neck.0.wieght); 1 misshapen: "
         "neck.1.bias [255] instead of "
         "[256]; 1 not known: neck.0.wieght"},
    };
    const char *from = run_file(state, "vit", "student.safetensors"), *to = in_dir(state, "unfit.safetensors");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rewrite(from, to, "vit_micro", &cases[i].change);
        start_fails(state, with("sam_distill.teacher.weights", to), cases[i].text);
    }
    /* another network altogether: the list is cut */
    start_fails(state, with("sam_distill.teacher.weights", run_file(state, "net", "student.safetensors")), ", ...");
    start_fails(state, with("student.weights", run_file(state, "net", "student.safetensors")),
                "does not hold the weights of regnetx_002");
}

static void damaged_files(void **state)
{
    size_t bytes;
    char *data = get_file(run_file(state, "vit", "student.safetensors"), &bytes);
    const char *to = in_dir(state, "damaged.safetensors"), *set = with("sam_distill.teacher.weights", to);
    for (size_t keep = 0; keep < bytes; keep = keep ? keep * 40 : 5) {
        put_file(to, data, keep);
        start_fails(state, set, "command line: sam_distill.teacher.weights: ");
    }
    put_file(to, data, bytes - 1);
    start_fails(state, set, "damaged.safetensors");
    free(data);
}

/* Drawn weights depend on seed and name alone. */
static void random_weights(void **state)
{
    const char *a = in_dir(state, "a"), *b = in_dir(state, "b");
    save_started(state, "", "teacher", a, DRAM_PRECISION_FP32);
    save_started(state, "seed=9 student.arch=regnety_002 task.enabled=false", "teacher", b, DRAM_PRECISION_FP32);
    assert_same_file(a, b);
    save_started(state, "sam_distill.teacher.seed=2", "teacher", b, DRAM_PRECISION_FP32);
    size_t n, m;
    char *x = get_file(a, &n), *y = get_file(b, &m);
    assert_int_equal(n, m);
    assert_true(memcmp(x, y, n) != 0);
    free(x);
    free(y);
    save_started(state, "", "student", a, DRAM_PRECISION_FP32);
    save_started(state, "sam_distill.enabled=false task.enabled=true threads=1", "student", b, DRAM_PRECISION_FP32);
    assert_same_file(a, b);
}

/* `dram eval` finds trunk and heads again, and says what the run said. */
static void evaluation_of_a_file(void **state)
{
    run_order o = {.name = "evaluated", .set = "train.steps=2"};
    run_ok(state, &o);
    dram_eval_result result;
    dram_config *cfg = run_config(state, "evaluated", "train.steps=2");
    const char *file = run_file(state, "evaluated", "student.safetensors");
    ok(dram_evaluate_file(cfg, file, NULL, NULL, NULL, &result));
    assert_int_equal(result.images, SCENES);
    assert_true(result.miou == o.summary.eval.miou && result.embedding_cosine == o.summary.eval.embedding_cosine &&
                result.embedding_mse == o.summary.eval.embedding_mse);
    assert_int_equal(remove(run_file(state, "evaluated", "heads.safetensors")), 0);
    assert_int_equal(dram_evaluate_file(cfg, file, NULL, NULL, NULL, &result), DRAM_ERR_CONFIG);
    assert_non_null(strstr(dram_error_text(), "heads.safetensors"));
    dram_error_clear();
    dram_config_free(cfg);
    run_remove(state, "evaluated");
}

/* A ViT has no neck weights: without a task its heads file is empty, and still there to be read. */
static void evaluation_without_heads(void **state)
{
    static const char set[] =
        "train.steps=1 student.arch=vit_micro task.enabled=false resolution_distill.enabled=false";
    run_order o = {.name = "bare", .set = set};
    run_ok(state, &o);
    dram_eval_result result;
    dram_config *cfg = run_config(state, "bare", set);
    ok(dram_evaluate_file(cfg, run_file(state, "bare", "student.safetensors"), NULL, NULL, NULL, &result));
    assert_true(result.embedding_cosine == o.summary.eval.embedding_cosine);
    assert_true(isnan(result.miou));
    dram_config_free(cfg);
    o.resume = true;
    run_ok(state, &o);
    run_remove(state, "bare");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(student_becomes_teacher), cmocka_unit_test(student_goes_on_from_a_file),
        cmocka_unit_test(names_of_others),         cmocka_unit_test(what_does_not_fit_is_named),
        cmocka_unit_test(damaged_files),           cmocka_unit_test(random_weights),
        cmocka_unit_test(evaluation_of_a_file),    cmocka_unit_test(evaluation_without_heads),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
