/* Which image comes when: epochs are permutations, shares are kept, every position is its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "data/order.h"
#include "support/tempdir.h"

enum { IMAGES = 23, LABELS = 7 };

/* IMAGES files that look like images by name, labels for the first LABELS. */
static int setup(void **state)
{
    char name[64];
    if (tempdir_make(state) != 0) return -1;
    assert_int_equal(mkdir(in_dir(state, "images"), 0777), 0);
    assert_int_equal(mkdir(in_dir(state, "labels"), 0777), 0);
    for (int i = 0; i < IMAGES; i++) {
        snprintf(name, sizeof name, "images/%02d.jpg", i);
        put_file(in_dir(state, name), "x", 1);
        snprintf(name, sizeof name, "labels/%02d.png", i);
        if (i < LABELS) put_file(in_dir(state, name), "x", 1);
    }
    return 0;
}

static dram_dataset *open_images(void **state, bool labels)
{
    char images[4400], folder[4400];
    dram_dataset *dataset;
    snprintf(images, sizeof images, "%.4300s", in_dir(state, "images"));
    snprintf(folder, sizeof folder, "%.4300s", in_dir(state, "labels"));
    const dram_dataset_params params = {
        .images = images, .labels = labels ? folder : NULL, .labels_optional = true, .label_fraction = 1.0, .seed = 1};
    if (dram_dataset_open(&params, &dataset) != DRAM_OK) fail_msg("%s", dram_error_text());
    return dataset;
}

static dram_order *open_order(const dram_dataset *dataset, uint64_t seed, double share)
{
    dram_order *order;
    assert_int_equal(dram_order_open(dataset, seed, share, &order), DRAM_OK);
    return order;
}

/* `count` positions of the images [low, high) are whole epochs of them. */
static void check_epochs(const int *image, int count, int low, int high)
{
    int n = high - low, moved = 0;
    assert_true(count > 2 * n);
    for (int e = 0; (e + 1) * n <= count; e++) {
        bool seen[IMAGES] = {false};
        for (int i = 0; i < n; i++) {
            int at = image[e * n + i];
            assert_in_range(at, low, high - 1);
            assert_false(seen[at]);
            seen[at] = true;
            moved += e > 0 && at != image[(e - 1) * n + i];
        }
    }
    assert_true(moved > n / 2);
}

static void epochs_are_permutations(void **state)
{
    dram_dataset *dataset = open_images(state, true);
    int image[5 * IMAGES];
    dram_order *order = open_order(dataset, 3, 0);
    for (int p = 0; p < 5 * IMAGES; p++) image[p] = dram_order_at(order, p);
    check_epochs(image, 5 * IMAGES, 0, IMAGES);
    /* The same at any position, wherever one begins. */
    dram_order *other = open_order(dataset, 3, 0);
    for (int p = 5 * IMAGES - 1; p >= 0; p -= 7) assert_int_equal(dram_order_at(other, p), image[p]);
    dram_order_close(other);
    other = open_order(dataset, 4, 0);
    int same = 0;
    for (int p = 0; p < 5 * IMAGES; p++) same += dram_order_at(other, p) == image[p];
    assert_true(same < IMAGES);
    dram_order_close(other);
    dram_order_close(order);
    dram_dataset_close(dataset);
}

static void shares_are_kept(void **state)
{
    static const double shares[] = {0.1, 0.25, 0.5, 0.875, 1.0};
    dram_dataset *dataset = open_images(state, true);
    for (size_t k = 0; k < sizeof shares / sizeof shares[0]; k++) {
        enum { POSITIONS = 800 };
        static int labelled[POSITIONS], others[POSITIONS];
        int n_labelled = 0, n_others = 0;
        dram_order *order = open_order(dataset, 5, shares[k]);
        for (int p = 0; p < POSITIONS; p++) {
            int at = dram_order_at(order, p);
            if (at < LABELS)
                labelled[n_labelled++] = at;
            else
                others[n_others++] = at;
            /* Never more than one away from the share. */
            double want = shares[k] * (p + 1);
            assert_true(n_labelled <= want + 1e-9 && n_labelled > want - 1);
        }
        check_epochs(labelled, n_labelled, 0, LABELS);
        if (shares[k] < 1.0)
            check_epochs(others, n_others, LABELS, IMAGES);
        else
            assert_int_equal(n_others, 0);
        /* Far into the stream, where a product of position and share would overflow. */
        int64_t far = INT64_MAX / 4;
        int count = 0;
        for (int i = 0; i < 1000; i++) count += dram_order_at(order, far + i) < LABELS;
        assert_true(count >= (int)(1000 * shares[k]) - 1 && count <= (int)(1000 * shares[k]) + 1);
        dram_rng r = dram_rng_make(1, DRAM_RNG_TEST, k);
        for (int p = 0; p < 100; p++)
            assert_int_equal(dram_order_replacement(order, p, &r) < LABELS, dram_order_at(order, p) < LABELS);
        dram_order_close(order);
    }
    dram_dataset_close(dataset);
}

/* Without any label there is nothing to share. */
static void a_share_of_nothing_changes_nothing(void **state)
{
    dram_dataset *dataset = open_images(state, false);
    dram_order *plain = open_order(dataset, 9, 0), *shared = open_order(dataset, 9, 0.5);
    for (int p = 0; p < 100; p++) assert_int_equal(dram_order_at(plain, p), dram_order_at(shared, p));
    dram_order_close(plain);
    dram_order_close(shared);
    dram_dataset_close(dataset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epochs_are_permutations),
        cmocka_unit_test(shares_are_kept),
        cmocka_unit_test(a_share_of_nothing_changes_nothing),
    };
    return cmocka_run_group_tests(tests, setup, tempdir_remove);
}
