/* dataset: a folder of images and, beside it, a folder of PNG labels of the same stem. Opens no image. */
#ifndef DRAM_DATA_DATASET_H
#define DRAM_DATA_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct dram_dataset dram_dataset;

typedef struct {
    const char *images;       /* folder; files *.jpg *.jpeg *.png *.webp (any case) of it, not of folders inside it */
    const char *labels;       /* folder of STEM.png, or NULL: no labels */
    bool labels_optional;     /* an image without a label file is unlabelled instead of an error */
    double label_fraction;    /* 0..1: this share of the label files is used, the other images are unlabelled */
    uint64_t seed;            /* for the choice of them */
    const char *images_where; /* where the folder was named ("run.yaml:7:12: data.train.images"): put before errors */
    const char *labels_where; /* about it; NULL: nothing. Read during the open only, like all strings here */
} dram_dataset_params;

/* Lists the folders; files are sorted by name, byte by byte. The labelled subset is exactly round(label_fraction * n)
 * of the n label files, those with the smallest key drawn from (seed, DRAM_RNG_LABELS, stem): it does not depend on
 * other files' names, and a larger fraction contains a smaller one.
 *   DRAM_ERR_CONFIG  label_fraction is out of range (read if there are labels); a folder is missing, unreadable or
 *                    empty; a label is missing (the text names the first such images and says how many they are); an
 *                    image's name is a link that leads nowhere, a pipe or a device; a label's name is one of them or a
 *                    folder, or it cannot be found out what it is.
 *   DRAM_ERR_IO      the folder of images cannot be listed to its end.
 *   DRAM_ERR_MEMORY  memory is out. */
dram_status dram_dataset_open(const dram_dataset_params *params, dram_dataset **out);
void dram_dataset_close(dram_dataset *dataset); /* NULL is allowed */

int dram_dataset_count(const dram_dataset *dataset);
int dram_dataset_labelled(const dram_dataset *dataset); /* images whose label is used */

/* File name of image i ("0001.jpg"); owned by the dataset. */
const char *dram_dataset_name(const dram_dataset *dataset, int i);
bool dram_dataset_has_label(const dram_dataset *dataset, int i);

/* Bytes that hold any path of this dataset, its end included. */
int dram_dataset_path_room(const dram_dataset *dataset);

/* Write the path of image i, or of its label (the dataset must have a folder of labels), into out[0..room).
 * Return out. */
const char *dram_dataset_image_path(const dram_dataset *dataset, int i, char *out, int room);
const char *dram_dataset_label_path(const dram_dataset *dataset, int i, char *out, int room);

#endif
