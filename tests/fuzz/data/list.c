/* Bytes as a list of the images that a data set takes: a byte of choices, the pattern of labels up to a zero, and the list.
 * -max_len=256 */
#include <sys/stat.h>

#include "data/dataset.h"
#include "fuzz/folder.h"

enum { ROOM = 4096, RECURSIVE = 1, LABELS = 2, TOGETHER = 4, REQUIRED = 8 };

static const char *const entries[] = {
    "images/",          "images/a.jpg",     "images/b.PNG",     "images/c.d.webp",  "images/e f.jpeg",
    "images/g_L.png",   "images/g.png",     "images/h\xc3.jpg", "images/notes.txt", "images/sub/",
    "images/sub/a.jpg", "images/j.jpg",     "images/sub/i.jpg", "labels/",          "labels/a.png",
    "labels/b.png",     "labels/c.d.png",   "labels/e f_L.png", "labels/g_L.png",   "labels/other/",
    "labels/sub/",      "labels/sub/a.png", "labels/sub/k.png", "labels/sub/j.png", "labels/other/j.png"};
enum { ENTRIES = sizeof entries / sizeof entries[0] };
static bool made;

static void make_folder(void)
{
    for (int i = 0; i < ENTRIES; i++) {
        if (entries[i][strlen(entries[i]) - 1] == '/')
            must(mkdir(path_in_folder(entries[i]), 0777) == 0);
        else
            put_in_folder(entries[i], "", 0);
    }
    made = true;
}

/* A list of all names that a data set has is that data set. */
static void check_again(const dram_dataset *dataset, dram_dataset_params params)
{
    dram_dataset *again;
    dram_str names = {0};
    int n = dram_dataset_count(dataset);
    for (int i = 0; i < n; i++) dram_str_add(&names, "%s\r\n", dram_dataset_name(dataset, i));
    must(!names.failed);
    params.list = file_of(names.text, names.length);
    must(dram_dataset_open(&params, &again) == DRAM_OK && dram_dataset_count(again) == n);
    for (int i = 0; i < n; i++) {
        must(strcmp(dram_dataset_name(again, i), dram_dataset_name(dataset, i)) == 0);
        must(dram_dataset_has_label(again, i) == dram_dataset_has_label(dataset, i));
    }
    dram_dataset_close(again);
    dram_str_free(&names);
}

static void check_dataset(const dram_dataset *dataset)
{
    const dram_dataset_found *found = dram_dataset_findings(dataset);
    char path[ROOM];
    int n = dram_dataset_count(dataset), labelled = 0;
    must(n >= 1 && found->images == n && found->pairs <= n && found->broken == 0);
    must(dram_dataset_path_room(dataset) <= ROOM);
    for (int i = 0; i < n; i++) {
        must(i == 0 || strcmp(dram_dataset_name(dataset, i - 1), dram_dataset_name(dataset, i)) < 0);
        must(access(dram_dataset_image_path(dataset, i, path, sizeof path), R_OK) == 0);
        if (!dram_dataset_has_label(dataset, i)) continue;
        must(access(dram_dataset_label_path(dataset, i, path, sizeof path), R_OK) == 0);
        labelled++;
    }
    must(labelled == dram_dataset_labelled(dataset) && labelled == found->pairs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[ROOM], images[96], labels[96];
    dram_dataset *dataset;
    if (!made) make_folder();
    if (size < 1 || size >= sizeof text) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    size_t list = 1 + strlen(text + 1) + 1;
    int64_t before = dram_alloc_bytes();
    snprintf(images, sizeof images, "%s/images", folder());
    snprintf(labels, sizeof labels, "%s/%s", folder(), text[0] & TOGETHER ? "images" : "labels");
    dram_dataset_params params = {.images = images,
                                  .labels = text[0] & LABELS ? labels : NULL,
                                  .label_pattern = text[1] ? text + 1 : NULL,
                                  .recursive = text[0] & RECURSIVE,
                                  .labels_optional = !(text[0] & REQUIRED),
                                  .label_fraction = 1,
                                  .seed = 1};
    if (list <= size) params.list = file_of(text + list, size - list);
    if (dram_dataset_open(&params, &dataset) == DRAM_OK) {
        must(!*dram_error_text());
        check_dataset(dataset);
        check_again(dataset, params);
        dram_dataset_close(dataset);
    } else {
        must(!dataset);
        refused();
    }
    must(dram_alloc_bytes() == before);
    return 0;
}
