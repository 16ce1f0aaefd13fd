/* What --resume compares: every key is of one kind, and a change of each is found, with both values. */
#include "config/helpers.h"

#include "base/log.h"
#include "config/keys.h"

enum { MOST = 24 };

/* The keys of the three kinds that are few; all others are LISTED. A new key that stands in none of these changes
 * results. */
static const char *const of_kind[][MOST] = {
    [DRAM_RESUME_FREE] = {"name",
                          "data.workers",
                          "data.prefetch",
                          "data.class_names",
                          "data.check",
                          "sam_distill.fidelity_images",
                          "run.dir",
                          "run.save_every",
                          "run.eval_every",
                          "run.export",
                          "run.keep",
                          "run.log_every",
                          "distributed.ranks",
                          "distributed.bucket",
                          "distributed.check_every",
                          "distributed.rendezvous",
                          "distributed.nccl_channels",
                          "distributed.timeout",
                          "train.stop_at",
                          "run.tensorboard"},
    [DRAM_RESUME_SAID] = {"device", "threads", "cuda.graph", "cuda.workspace", "sam_distill.teacher.placement",
                          "optim.fused", "optim.shard", "train.steps", "memory.budget", "memory.checkpoint",
                          "memory.recompute_norms", "memory.in_place", "memory.share_teacher", "memory.eager_free",
                          "memory.profile", "memory.may_change", "distributed.backend"},
    [DRAM_RESUME_LISTED] = {NULL},
    [DRAM_RESUME_REFUSED] = {"seed", "data.classes", "data.class_map", "data.reduce_zero_label", "student.arch",
                             "student.weights", "student.heads", "student.trainable", "student.zero_init_last",
                             "optim.type", "resolution_distill.target"},
};

static bool is_named(dram_resume_kind kind, const char *path)
{
    for (int i = 0; i < MOST && of_kind[kind][i]; i++)
        if (strcmp(of_kind[kind][i], path) == 0) return true;
    return false;
}

static void every_key_is_of_the_kind_that_is_meant(void **state)
{
    (void)state;
    int n[4] = {0};
    for (int i = 0; i < dram_n_keys; i++) {
        const dram_key *key = &dram_keys[i];
        if (key->kind <= DRAM_KEY_SECTION) continue;
        assert_in_range(key->resume, DRAM_RESUME_FREE, DRAM_RESUME_REFUSED);
        n[key->resume]++;
        for (int kind = 0; kind < 4; kind++) {
            if (kind == DRAM_RESUME_LISTED || is_named((dram_resume_kind)kind, key->path) == ((int)key->resume == kind))
                continue;
            fail_msg("%s: src/config/keys.def and the list above do not say the same", key->path);
        }
    }
    assert_int_equal(n[DRAM_RESUME_FREE], 20);
    assert_int_equal(n[DRAM_RESUME_SAID], 17);
    assert_int_equal(n[DRAM_RESUME_REFUSED], 11);
    assert_true(n[DRAM_RESUME_LISTED] > 50);
}

/* Gives a key another value than it has. */
static void change(dram_config *cfg, const dram_key *key)
{
    dram_key_value value = dram_key_get(cfg, key);
    switch (key->kind) {
    case DRAM_KEY_BOOL:
        value.integer = !value.integer;
        break;
    case DRAM_KEY_CHOICE:
        value.integer = (value.integer + 1) % key->n_words;
        break;
    case DRAM_KEY_CHOICES:
        value.integer ^= 1;
        break;
    case DRAM_KEY_INT:
    case DRAM_KEY_INT64:
    case DRAM_KEY_BYTES:
        value.integer += value.integer < key->high ? 1 : -1;
        break;
    case DRAM_KEY_REAL:
        value.real = value.real * 0.5 + 1e-9;
        break;
    case DRAM_KEY_STEPS:
        value.steps = dram_steps_always(7);
        break;
    case DRAM_KEY_TEXT:
    case DRAM_KEY_INPUT:
    case DRAM_KEY_OUTPUT:
        value.text = dram_strdup("/another");
        assert_non_null(value.text);
        break;
    case DRAM_KEY_MAP: {
        const dram_class_map one = {.n = 1};
        value.map = dram_alloc(sizeof one + sizeof(dram_class_pair));
        assert_non_null(value.map);
        *value.map = one;
        value.map->pair[0] = (dram_class_pair){255, 1};
        break;
    }
    case DRAM_KEY_TEXTS:
        value.texts = dram_calloc(1, sizeof *value.texts + sizeof(char *));
        assert_non_null(value.texts);
        value.texts->n = 1;
        value.texts->text[0] = dram_strdup("a");
        break;
    default:
        fail_msg("%s", key->path);
    }
    dram_key_set(cfg, key, &value);
}

typedef struct {
    int n;
    char key[64], values[400];
    dram_resume_kind kind;
} found;

static dram_status find(void *context, const char *key, dram_resume_kind kind, const char *values)
{
    found *f = context;
    f->n++;
    f->kind = kind;
    snprintf(f->key, sizeof f->key, "%s", key);
    snprintf(f->values, sizeof f->values, "%s", values);
    return DRAM_OK;
}

/* Configs of which each key has an effect in one. */
static dram_config *config_of(int i)
{
    static const char *const sets[][12] = {
        {"task.enabled=true", "resolution_distill.enabled=true", "data.classes=3", "data.val.images=/val",
         "data.train.images=/train", "data.train.labels=/labels", "data.train.label_fraction=0.5",
         "sam_distill.distill_interval=2", "sam_distill.loss.type=cwd", "sam_distill.teacher.weights=random",
         "resolution_distill.target=mean"},
        {"optim.type=sgd"},
        {"data.augment.crop=false", "data.augment.color_jitter=0", "sam_distill.cache=cache"},
    };
    dram_config *cfg;
    int n = 0;
    if (i >= COUNT(sets)) return NULL;
    while (n < 12 && sets[i][n]) n++;
    if (dram_config_load(NULL, sets[i], n, &cfg) != DRAM_OK) fail_msg("%s", dram_error_text());
    return cfg;
}

static void a_change_of_each_key_is_found(void **state)
{
    (void)state;
    int compared = 0;
    for (int k = 0; k < dram_n_keys; k++) {
        const dram_key *key = &dram_keys[k];
        found f = {0};
        if (key->kind <= DRAM_KEY_SECTION) continue;
        if (key->kind == DRAM_KEY_CHOICE && key->n_words == 1) continue; /* there is no other */
        dram_config *before = NULL, *now = NULL;
        for (int i = 0; (now = config_of(i)) != NULL && !dram_key_has_effect(now, key); i++) dram_config_free(now);
        if (!now) fail_msg("%s has an effect in none of the configs above", key->path);
        for (int i = 0; (before = config_of(i)) != NULL; i++) {
            if (dram_config_compare(before, now, find, &f) == DRAM_OK && f.n == 0) break;
            dram_config_free(before);
            f.n = 0;
        }
        assert_non_null(before); /* equal to `now` */
        change(before, key);
        assert_int_equal(dram_config_compare(before, now, find, &f), DRAM_OK);
        assert_int_equal(f.n, key->resume == DRAM_RESUME_FREE ? 0 : 1);
        if (f.n) {
            dram_str want = {0};
            dram_key_value was = dram_key_get(before, key), is = dram_key_get(now, key);
            assert_string_equal(f.key, key->path);
            assert_int_equal(f.kind, key->resume);
            assert_int_equal(dram_key_write(key, &was, &want), DRAM_OK);
            dram_str_add(&want, " -> ");
            assert_int_equal(dram_key_write(key, &is, &want), DRAM_OK);
            assert_string_equal(f.values, want.text);
            dram_str_free(&want);
            compared++;
        }
        dram_config_free(before);
        dram_config_free(now);
    }
    assert_true(compared > 70);
}

/* What has no effect now is passed over, and a failure of the one who is told ends it. */
static dram_status stop(void *context, const char *key, dram_resume_kind kind, const char *values)
{
    (void)kind;
    (void)values;
    ++*(int *)context;
    return dram_fail(DRAM_ERR_CONFIG, "%s", key);
}

static void what_has_no_effect_is_passed_over(void **state)
{
    (void)state;
    static const char *const set[] = {"optim.lr=5e-4", "optim.momentum=0.5", "optim.eps=1e-6", "data.size=64"};
    dram_config *before, *now;
    int told = 0;
    found f = {0};
    assert_int_equal(dram_config_load(NULL, NULL, 0, &before), DRAM_OK);
    assert_int_equal(dram_config_load(NULL, set, 4, &now), DRAM_OK);
    assert_int_equal(dram_config_compare(before, now, find, &f), DRAM_OK);
    assert_int_equal(f.n, 3); /* momentum is of sgd */
    assert_string_equal(f.values, "1.0e-08 -> 1.0e-06");
    assert_int_equal(dram_config_compare(before, now, stop, &told), DRAM_ERR_CONFIG);
    assert_int_equal(told, 1);
    assert_string_equal(dram_error_text(), "data.size");
    dram_error_clear();
    dram_config_free(before);
    dram_config_free(now);
}

/* The kept text is the config but for the keys that change nothing, and is read back. */
static void the_kept_text(void **state)
{
    (void)state;
    static const char *const set[] = {"name=mine", "run.dir=there", "optim.lr=5e-4", "train.steps=7", "data.workers=3"};
    dram_config *cfg, *again;
    dram_str text = {0};
    found f = {0};
    assert_int_equal(dram_config_load(NULL, set, 5, &cfg), DRAM_OK);
    assert_int_equal(dram_config_write_kept(cfg, &text), DRAM_OK);
    assert_null(strstr(text.text, "mine"));
    assert_null(strstr(text.text, "run:"));
    assert_null(strstr(text.text, "workers"));
    assert_non_null(strstr(text.text, "\noptim:\n  type: adamw\n  lr: 0.0005\n"));
    write_bytes_to("kept.yaml", text.text, text.length);
    assert_int_equal(dram_config_load("kept.yaml", NULL, 0, &again), DRAM_OK);
    assert_int_equal(dram_config_compare(cfg, again, find, &f), DRAM_OK);
    assert_int_equal(f.n, 0);
    assert_string_equal(again->name, "run");
    dram_str_free(&text);
    dram_config_free(cfg);
    dram_config_free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_of_the_kind_that_is_meant),
        cmocka_unit_test(a_change_of_each_key_is_found),
        cmocka_unit_test(what_has_no_effect_is_passed_over),
        cmocka_unit_test(the_kept_text),
    };
    return cmocka_run_group_tests(tests, enter_test_folder, leave_test_folder);
}
