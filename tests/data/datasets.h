/* datasets: folders of images and labels for a test, and what dram_dataset_open makes of them. Include after
 * cmocka.h. */
#ifndef DRAM_TESTS_DATASETS_H
#define DRAM_TESTS_DATASETS_H

#include "base/testing.h"
#include "data/dataset.h"
#include "support/tempdir.h"

static char top[4200], images[4300], labels[4300];

/* cmocka setup: images/ and labels/, empty. */
static inline int fresh(void **state)
{
    if (tempdir_make(state)) return -1;
    snprintf(top, sizeof top, "%s", (const char *)*state);
    snprintf(images, sizeof images, "%s/images", top);
    snprintf(labels, sizeof labels, "%s/labels", top);
    dram_error_clear();
    return mkdir(images, 0777) || mkdir(labels, 0777);
}

/* Files of a folder, by a list of names with a blank between; folders before them are made. */
static inline void put(const char *folder, const char *names)
{
    char path[8192], all[2048];
    snprintf(all, sizeof all, "%s", names);
    for (char *name = strtok(all, " "); name; name = strtok(NULL, " ")) {
        snprintf(path, sizeof path, "%s/%s", folder, name);
        for (char *slash = strchr(path + strlen(folder) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
            *slash = '\0';
            mkdir(path, 0777);
            *slash = '/';
        }
        put_file(path, "x", 1);
    }
}

/* A link in place of what has the name; a pipe where target is NULL. */
static inline void put_link(const char *folder, const char *name, const char *target)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    if (target)
        assert_int_equal(symlink(target, path), 0);
    else
        assert_int_equal(mkfifo(path, 0666), 0);
}

static inline dram_dataset_params of_both(void)
{
    return (dram_dataset_params){.images = images, .labels = labels, .label_fraction = 1};
}

static inline dram_dataset *opened(const dram_dataset_params *params)
{
    dram_dataset *d;
    if (dram_dataset_open(params, &d) != DRAM_OK) fail_msg("%s", dram_error_text());
    return d;
}

static inline void refused(const dram_dataset_params *params, const char *reason)
{
    dram_dataset *d;
    int64_t before = dram_alloc_bytes();
    dram_error_clear();
    assert_int_equal(dram_dataset_open(params, &d), DRAM_ERR_CONFIG);
    assert_null(d);
    assert_int_equal(dram_alloc_bytes(), before);
    if (!strstr(dram_error_text(), reason)) fail_msg("\"%s\" does not say \"%s\"", dram_error_text(), reason);
    dram_error_clear();
}

/* The images and their labels, as "a.jpg=a.png b.jpg", with the paths of both held against the names. */
static inline void assert_pairs(const dram_dataset *d, const dram_dataset_params *params, const char *want)
{
    char have[4096] = "", path[8192], wanted[8192];
    int room = dram_dataset_path_room(d), labelled = 0;
    assert_true(room <= (int)sizeof path);
    for (int i = 0; i < dram_dataset_count(d); i++) {
        size_t n = strlen(have);
        const char *name = dram_dataset_name(d, i);
        snprintf(wanted, sizeof wanted, "%s/%s", params->images, name);
        assert_string_equal(dram_dataset_image_path(d, i, path, room), wanted);
        snprintf(have + n, sizeof have - n, "%s%s", i ? " " : "", name);
        if (!dram_dataset_has_label(d, i)) continue;
        labelled++;
        dram_dataset_label_path(d, i, path, room);
        assert_memory_equal(path, params->labels, strlen(params->labels));
        assert_int_equal(path[strlen(params->labels)], '/');
        n = strlen(have);
        snprintf(have + n, sizeof have - n, "=%s", path + strlen(params->labels) + 1);
    }
    assert_string_equal(have, want);
    assert_int_equal(labelled, dram_dataset_labelled(d));
    assert_int_equal(dram_dataset_findings(d)->images, dram_dataset_count(d));
}

/* Opens it, and holds it against what it should be. */
static inline void pairs_are(const dram_dataset_params *params, const char *want)
{
    dram_dataset *d = opened(params);
    assert_pairs(d, params, want);
    dram_dataset_close(d);
}

#define CASE(NAME) cmocka_unit_test_setup_teardown(NAME, fresh, tempdir_remove)

#endif
