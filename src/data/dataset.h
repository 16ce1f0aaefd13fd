/* dataset: a folder of images, a folder of PNG labels, and which label belongs to which image. Opens no image. */
#ifndef DRAM_DATA_DATASET_H
#define DRAM_DATA_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct dram_dataset dram_dataset;

typedef struct {
    const char *images;        /* folder; files *.jpg *.jpeg *.png *.webp, any case */
    const char *labels;        /* folder of *.png, any case; it may be the folder of images; NULL: no labels */
    const char *label_pattern; /* how a label's stem differs from its image's: "_L" or "OLD:NEW"; NULL: it does not */
    const char *list;          /* file of names: the images that are taken, of those in the folder; NULL: all */
    bool recursive;            /* folders inside are looked into as well */
    bool labels_aside;         /* labels are not used: their folder is only known to hold no photographs */
    bool labels_optional;      /* an image without a label file is unlabelled instead of an error */
    double label_fraction;     /* 0..1: this share of the label files is used, the other images are unlabelled */
    uint64_t seed;             /* for the choice of them */
    const char *images_where;  /* where the folder was named ("run.yaml:7:12: data.train.images"): put before errors */
    const char *labels_where;  /* about it; NULL: nothing. Read during the open only, like all strings here */
    const char *list_where;
} dram_dataset_params;

/* What was found. The texts are the dataset's; each is the first by name, or NULL where there is none. Without a folder
 * of labels, or with labels aside, nothing is alone. */
typedef struct {
    int images;              /* of the data set */
    int labels;              /* label files in their folder */
    int pairs;               /* images with a label, before label_fraction */
    int images_alone;        /* of the data set, without a label */
    int labels_alone;        /* without an image, listed or not */
    int folders;             /* not looked into; with `recursive`, names that lead to folders that were */
    int others;              /* files that are no image or, in the folder of labels, no PNG */
    int unlisted;            /* images in the folder that the list leaves out */
    int broken;              /* images left out because they, or their labels, are no file: a link to nowhere, a pipe */
    int twins;               /* images with the stem of another image, where no folder of labels is known */
    bool broken_is_label;    /* the first of them by its image's name */
    const char *image_alone; /* name */
    const char *label_alone; /* name */
    const char *folder;      /* path */
    const char *other;       /* path */
    const char *broken_name; /* path */
    const char *broken_why;  /* "a link that leads nowhere" */
    const char *twin;        /* name */
    const char *hint; /* what the labels that are alone are called, and the pattern that fits: "labels are called like
                         000_L.png: set data.label_pattern to _L". NULL where no image or no label is alone */
} dram_dataset_found;

/* Lists the folders; images are sorted by name, byte by byte. docs/data.md, "What is a pair", has the rules. The
 * labelled subset is exactly round(label_fraction * n) of the n pairs, those with the smallest key drawn from (seed,
 * DRAM_RNG_LABELS, the image's name without its ending): it does not depend on other files' names, and a larger
 * fraction contains a smaller one.
 *   DRAM_ERR_CONFIG  label_fraction is out of range (read if there are labels); a folder is missing, unreadable or
 *                    without an image; a label is missing (the text names the first such images, says how many they
 *                    are, and what the labels are called); two images have one label, an image could have two, or would
 *                    be its own; the list cannot be read, is empty, or a line of it names no image, two, or one that
 *                    another line names.
 *   DRAM_ERR_IO      a folder cannot be listed to its end.
 *   DRAM_ERR_MEMORY  memory is out. */
dram_status dram_dataset_open(const dram_dataset_params *params, dram_dataset **out);
void dram_dataset_close(dram_dataset *dataset); /* NULL is allowed */

/* Valid as long as the dataset. */
const dram_dataset_found *dram_dataset_findings(const dram_dataset *dataset);

/* Writes what is wrong with the first broken name: "images/a.jpg: no image can be read here: a link that leads nowhere".
 * Returns out. */
const char *dram_dataset_broken_text(const dram_dataset_found *found, char *out, size_t size);

/* Whether so many images are bad that a run is to give up: more than a tenth. */
bool dram_dataset_is_too_bad(int bad, int images);

int dram_dataset_count(const dram_dataset *dataset);
int dram_dataset_labelled(const dram_dataset *dataset); /* images whose label is used */

/* Name of image i below the folder ("0001.jpg", "drive2/0001.jpg"); owned by the dataset. */
const char *dram_dataset_name(const dram_dataset *dataset, int i);
bool dram_dataset_has_label(const dram_dataset *dataset, int i);

/* Bytes that hold any path of this dataset, its end included. */
int dram_dataset_path_room(const dram_dataset *dataset);

/* Write the path of image i, or of its label (it must have one), into out[0..room). Return out. */
const char *dram_dataset_image_path(const dram_dataset *dataset, int i, char *out, int room);
const char *dram_dataset_label_path(const dram_dataset *dataset, int i, char *out, int room);

#endif
