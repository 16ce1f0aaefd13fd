/* loss_sam: one distance, a weighted sum of several, and both sides standardised, against sums in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>

#include "base/rng.h"
#include "distill/distill.h"
#include "ops/autodiff.h"
#include "ops/call.h"
#include "support/run_graph.h"

enum { N = 2, G = 5, C = 40, CELLS = N * G * G, ELEMENTS = CELLS * C };

static const char *const names[] = {
#define X(ID, WORD, ...) [ID] = WORD,
    DRAM_DISTANCE_LIST(X)
#undef X
};

typedef struct {
    float s[ELEMENTS], t[ELEMENTS], mask[CELLS];
} sides;

/* Channels of different loudness and middle, as a teacher's are; the padding, right and below, is not to be read. */
static void fill(sides *x)
{
    dram_rng rng = dram_rng_make(3, DRAM_RNG_TEST, 0);
    for (int i = 0; i < ELEMENTS; i++) {
        int k = i % C, cell = i / C;
        double loud = k % 7 == 3 ? 6 : 0.3, middle = k % 5 - 2;
        x->t[i] = (float)(middle + loud * dram_rng_range(&rng, -1, 1));
        x->s[i] = (float)(0.7 * (double)x->t[i] + dram_rng_range(&rng, -0.5, 0.5));
        x->mask[cell] = cell / G % G < 4 && (cell < G * G || cell % G < 3);
        if (x->mask[cell] == 0) x->s[i] = x->t[i] = NAN;
    }
}

typedef struct {
    dram_slots slots;
    dram_graph *g;
    dram_val s, t, mask, loss, gradient;
} term;

/* The loss and the gradient of the embedding. */
static void open_term(term *b, const dram_embed_choice *choice)
{
    dram_backward *back = NULL;
    dram_ops_init();
    *b = (term){.loss = DRAM_NONE};
    assert_int_equal(dram_graph_new("term", &b->slots, &b->g), DRAM_OK);
    b->s = dram_graph_input(b->g, "s", DRAM_F32, DRAM_SHAPE(N, G, G, C));
    b->t = dram_graph_input(b->g, "t", DRAM_F32, DRAM_SHAPE(N, G, G, C));
    b->mask = dram_graph_input(b->g, "mask", DRAM_F32, DRAM_SHAPE(N, G, G));
    dram_value_at(b->g, b->s)->requires_grad = true;
    b->loss = dram_embed_term(b->g, choice, b->s, b->t, b->mask);
    dram_val seed = dram_call(b->g, DRAM_OP_fill, "seed", DRAM_ATTR(.scale = 1.0f), NULL, 0);
    if (dram_backward_build(b->g, &b->loss, &seed, 1, &back) != DRAM_OK) fail_msg("%s", dram_error_text());
    b->gradient = dram_gradient_of(back, b->s);
    assert_int_equal(dram_gradient_of(back, b->t), DRAM_NONE);
    dram_backward_free(back);
}

static void close_term(term *b)
{
    dram_graph_free(b->g);
    dram_slots_free(&b->slots);
}

static float run_term(const dram_embed_choice *choice, sides *x, float gradient[ELEMENTS])
{
    term b;
    run_state state;
    float loss;
    open_term(&b, choice);
    const run_io in[] = {{b.s, x->s}, {b.t, x->t}, {b.mask, x->mask}};
    const run_io out[] = {{b.loss, &loss}, {b.gradient, gradient}};
    run_open(&state, &b.slots, 2);
    run_graph(&state, b.g, in, 3, out, 2);
    run_close(&state);
    close_term(&b);
    return loss;
}

/* ---- references in double ---- */

static double softmax_log_sum(const double *x, const float *mask, int n, int k, double temperature)
{
    double most = -INFINITY, sum = 0;
    for (int i = n * G * G; i < (n + 1) * G * G; i++)
        if (mask[i] != 0) most = fmax(most, x[i * C + k] / temperature);
    for (int i = n * G * G; i < (n + 1) * G * G; i++)
        if (mask[i] != 0) sum += exp(x[i * C + k] / temperature - most);
    return most + log(sum);
}

static double cwd(const double *s, const double *t, const float *mask, double temperature)
{
    double sum = 0;
    for (int n = 0; n < N; n++)
        for (int k = 0; k < C; k++) {
            double of_s = softmax_log_sum(s, mask, n, k, temperature),
                   of_t = softmax_log_sum(t, mask, n, k, temperature);
            for (int i = n * G * G; i < (n + 1) * G * G; i++) {
                if (mask[i] == 0) continue;
                double log_t = t[i * C + k] / temperature - of_t;
                sum += exp(log_t) * (log_t - (s[i * C + k] / temperature - of_s));
            }
        }
    return temperature * temperature * sum / (N * C);
}

typedef double (*cell)(const double *s, const double *t);

static double mse_cell(const double *s, const double *t)
{
    double sum = 0;
    for (int k = 0; k < C; k++) sum += (s[k] - t[k]) * (s[k] - t[k]);
    return sum / C;
}

static double cosine_cell(const double *s, const double *t)
{
    double st = 0, ss = 0, tt = 0;
    for (int k = 0; k < C; k++) {
        st += s[k] * t[k];
        ss += s[k] * s[k];
        tt += t[k] * t[k];
    }
    return 1 - st / sqrt(ss * tt);
}

static double huber_cell(const double *s, const double *t)
{
    double sum = 0;
    for (int k = 0; k < C; k++) {
        double d = fabs(s[k] - t[k]);
        sum += d < 1 ? 0.5 * d * d : d - 0.5;
    }
    return sum / C;
}

/* The mean over an image's valid cells, and over images. */
static double mean_of(cell of, const double *s, const double *t, const float *mask)
{
    double total = 0;
    for (int n = 0; n < N; n++) {
        double sum = 0, cells = 0;
        for (int i = n * G * G; i < (n + 1) * G * G; i++) {
            if (mask[i] == 0) continue;
            sum += of(s + i * C, t + i * C);
            cells++;
        }
        total += sum / cells / N;
    }
    return total;
}

/* A row of the list without a NAME_reference does not compile. */
#define mse_reference(s, t, mask, temperature) mean_of(mse_cell, s, t, mask)
#define cosine_reference(s, t, mask, temperature) mean_of(cosine_cell, s, t, mask)
#define huber_reference(s, t, mask, temperature) mean_of(huber_cell, s, t, mask)
#define cwd_reference cwd

static double reference(const dram_embed_choice *choice, const double *s, const double *t, const float *mask)
{
    double total = 0;
#define X(ID, WORD, NAME, ...)                                                                                         \
    if (choice->weight[ID] > 0) total += choice->weight[ID] * NAME##_reference(s, t, mask, choice->temperature);
    DRAM_DISTANCE_LIST(X)
#undef X
    return total;
}

/* x by the mean and variance that `of` has over the valid cells. */
static void standardise(const double *x, const double *of, const float *mask, double *out)
{
    for (int k = 0; k < C; k++) {
        double mean = 0, var = 0, n = 0;
        for (int i = 0; i < CELLS; i++)
            if (mask[i] != 0) {
                mean += of[i * C + k];
                n++;
            }
        mean /= n;
        for (int i = 0; i < CELLS; i++)
            if (mask[i] != 0) var += (of[i * C + k] - mean) * (of[i * C + k] - mean);
        for (int i = 0; i < CELLS; i++) out[i * C + k] = (x[i * C + k] - mean) / sqrt(var / n + (double)1e-5f);
    }
}

static double standardised_reference(const dram_embed_choice *choice, const double *s, const double *t,
                                     const float *mask)
{
    static double s1[ELEMENTS], t1[ELEMENTS];
    standardise(s, t, mask, s1);
    standardise(t, t, mask, t1);
    return reference(choice, s1, t1, mask);
}

/* ---- tests ---- */

static void of_one(dram_embed_choice *choice, int distance, bool standardize)
{
    *choice = (dram_embed_choice){.temperature = 2, .standardize = standardize};
    choice->weight[distance] = 1;
}

/* Alone, a distance is one node, whose bits are those of the op. */
static void one_distance_is_one_node(void **state)
{
    (void)state;
    for (int d = 0; d < DRAM_DISTANCE_COUNT; d++) {
        term b;
        dram_embed_choice choice;
        of_one(&choice, d, false);
        open_term(&b, &choice);
        const dram_node *node = b.g->nodes[0];
        assert_int_equal(dram_value_at(b.g, b.loss)->producer, 0);
        assert_string_equal(node->name, "loss_sam");
        assert_int_equal(b.g->backward_begin, 2); /* behind it the seed */
        close_term(&b);
    }
}

/* The sum is rounded once, from the terms as they are alone. Its gradient is the sum of theirs, which is taken in fp32
 * with a rounding for the weight and one for each addition: 2 of 2^-24 a term. CWD's is itself a difference, of two
 * probabilities times w T / (N C), each rounded with the weight in it; the quietest channel, whose deviation is about
 * 1/6, makes that 6 times as much when it is standardised. */
static void several_are_their_weighted_sum(void **state)
{
    (void)state;
    static sides x;
    static float sum[ELEMENTS], one[DRAM_DISTANCE_COUNT][ELEMENTS];
    fill(&x);
    for (int standardize = 0; standardize <= 1; standardize++) {
        dram_embed_choice all = {.temperature = 2, .standardize = standardize};
        for (int d = 0; d < DRAM_DISTANCE_COUNT; d++) all.weight[d] = (const double[]){1, 0.5, 3, 0.3}[d % 4];
        double want = 0, probabilities = 2 * (double)FLT_EPSILON * 0.3 * 2 / (N * C) * (standardize ? 6 : 1);
        for (int d = 0; d < DRAM_DISTANCE_COUNT; d++) {
            dram_embed_choice choice;
            of_one(&choice, d, standardize);
            want += (double)(float)all.weight[d] * (double)run_term(&choice, &x, one[d]);
        }
        assert_true(run_term(&all, &x, sum) == (float)want);
        int compared = 0;
        for (int i = 0; i < ELEMENTS; i++) {
            double g = 0, size = 0;
            if (x.mask[i / C] == 0) {
                assert_true(sum[i] == 0);
                continue;
            }
            for (int d = 0; d < DRAM_DISTANCE_COUNT; d++) {
                g += (double)(float)all.weight[d] * (double)one[d][i];
                size += fabs((double)(float)all.weight[d] * (double)one[d][i]);
            }
            if (!(fabs((double)sum[i] - g) <= DRAM_DISTANCE_COUNT * (double)FLT_EPSILON * size + probabilities))
                fail_msg("element %d: %g instead of %g", i, (double)sum[i], g);
            compared++;
        }
        assert_int_equal(compared, (4 * 5 + 4 * 3) * C);
    }
    /* a weight counts although it is alone */
    dram_embed_choice half = {.weight = {0, 0.5, 0, 0}}, whole = {.weight = {0, 1, 0, 0}};
    assert_true(run_term(&half, &x, sum) == 0.5f * run_term(&whole, &x, one[0]));
}

/* Values and gradients of each distance, plain and standardised. The embeddings are below 10 and the standardised ones
 * below 15 (a student that is not the teacher), so that differences of them are wrong by 10^-6 at most; a loss is a
 * mean of such, and a gradient of it far smaller. */
static void losses_against_double(void **state)
{
    (void)state;
    static sides x;
    static double s[ELEMENTS], t[ELEMENTS];
    static float gradient[ELEMENTS];
    fill(&x);
    for (int i = 0; i < ELEMENTS; i++) s[i] = (double)x.s[i];
    for (int i = 0; i < ELEMENTS; i++) t[i] = (double)x.t[i];
    double values[DRAM_DISTANCE_COUNT][2];
    for (int k = 0; k < 2 * DRAM_DISTANCE_COUNT; k++) {
        dram_embed_choice choice;
        int d = k / 2, compared = 0;
        of_one(&choice, d, k % 2);
        double (*loss)(const dram_embed_choice *, const double *, const double *, const float *) =
            k % 2 ? standardised_reference : reference;
        double want = values[d][k % 2] = loss(&choice, s, t, x.mask), got = (double)run_term(&choice, &x, gradient);
        if (!(fabs(got - want) <= 4e-6 * fabs(want))) fail_msg("%s: %.9g instead of %.9g", names[d], got, want);
        double largest = 0;
        for (int i = 0; i < ELEMENTS; i++) largest = fmax(largest, fabs((double)gradient[i]));
        for (int i = 0; i < ELEMENTS; i += 13) {
            const double at = s[i], step = 1e-5;
            if (x.mask[i / C] == 0) continue;
            s[i] = at + step;
            double above = loss(&choice, s, t, x.mask);
            s[i] = at - step;
            double slope = (above - loss(&choice, s, t, x.mask)) / (2 * step);
            s[i] = at;
            if (!(fabs((double)gradient[i] - slope) <= 1e-5 * largest + 1e-9))
                fail_msg("%s, element %d: a gradient of %g instead of %g", names[d], i, (double)gradient[i], slope);
            compared++;
        }
        assert_true(compared > 80 && largest > 1e-5);
    }
    /* standardising does something to each */
    for (int d = 0; d < DRAM_DISTANCE_COUNT; d++) assert_true(fabs(values[d][0] / values[d][1] - 1) > 0.1);
}

/* A student that is the teacher is at no distance, whatever the choice. */
static void no_distance_to_itself(void **state)
{
    (void)state;
    static sides x;
    static float gradient[ELEMENTS];
    fill(&x);
    memcpy(x.s, x.t, sizeof x.s);
    for (int standardize = 0; standardize <= 1; standardize++)
        for (int d = 0; d < DRAM_DISTANCE_COUNT; d++) {
            dram_embed_choice choice;
            of_one(&choice, d, standardize);
            double loss = (double)run_term(&choice, &x, gradient);
            if (d == DRAM_DISTANCE_COSINE) { /* which rounds products */
                assert_true(fabs(loss) <= 1e-6);
                continue;
            }
            assert_true(loss == 0);
            for (int i = 0; i < ELEMENTS; i++) assert_true(gradient[i] == 0);
        }
}

/* What is made of the target alone is the teacher's, and carries no gradient. */
static void the_target_is_detached(void **state)
{
    (void)state;
    term b;
    dram_embed_choice choice = {.weight = {1, 0, 0, 1}, .temperature = 1, .standardize = true};
    int teachers = 0;
    open_term(&b, &choice);
    for (int v = 0; v < b.g->n_values; v++) {
        const dram_value *value = dram_value_at(b.g, v);
        if (value->producer == DRAM_NONE || strncmp(value->name, "target_", 7) != 0) continue;
        assert_int_equal(value->category, DRAM_CATEGORY_TEACHER_ACTIVATIONS);
        assert_false(value->requires_grad);
        teachers++;
    }
    assert_int_equal(teachers, 3); /* mean, variance, standardised target */
    for (int i = b.g->backward_begin; i < b.g->n_nodes; i++)
        for (int k = 0; k < b.g->nodes[i]->n_in; k++) assert_int_not_equal(b.g->nodes[i]->in[k], b.t);
    assert_int_equal(b.g->category, DRAM_CATEGORY_ACTIVATIONS);
    assert_false(b.g->detached);
    close_term(&b);
}

/* A target that wants a gradient from CWD, and statistics that do, are a mistake of the builder. */
static void gradients_that_do_not_exist_are_refused(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        dram_slots slots = {0};
        dram_graph *g;
        dram_backward *back = NULL;
        assert_int_equal(dram_graph_new("term", &slots, &g), DRAM_OK);
        dram_val x = dram_graph_input(g, "x", DRAM_F32, DRAM_SHAPE(N, G, G, C));
        dram_val t = dram_graph_input(g, "t", DRAM_F32, DRAM_SHAPE(N, G, G, C));
        dram_val mask = dram_graph_input(g, "mask", DRAM_F32, DRAM_SHAPE(N, G, G));
        dram_val mean = dram_graph_input(g, "mean", DRAM_F32, DRAM_SHAPE(C));
        dram_val var = dram_graph_input(g, "var", DRAM_F32, DRAM_SHAPE(C));
        dram_value_at(g, x)->requires_grad = true;
        dram_value_at(g, k == 0 ? t : var)->requires_grad = true;
        dram_val y = k == 0 ? DRAM_CALL(g, cwd_loss, "cwd", DRAM_ATTR(.scale = 1), x, t, mask)
                            : DRAM_CALL(g, standardize, "standardize", DRAM_ATTR(.eps = 1), x, mean, var);
        dram_val seed = dram_graph_input(g, "seed", DRAM_F32, *dram_shape_of(g, y));
        assert_int_not_equal(dram_backward_build(g, &y, &seed, 1, &back), DRAM_OK);
        assert_non_null(strstr(dram_error_text(), k == 0 ? "no gradient for the target" : "no gradient for the stat"));
        dram_error_clear();
        dram_backward_free(back);
        dram_graph_free(g);
        dram_slots_free(&slots);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_distance_is_one_node), cmocka_unit_test(several_are_their_weighted_sum),
        cmocka_unit_test(losses_against_double),    cmocka_unit_test(no_distance_to_itself),
        cmocka_unit_test(the_target_is_detached),   cmocka_unit_test(gradients_that_do_not_exist_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
