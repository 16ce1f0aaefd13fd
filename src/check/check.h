/* check: what the data of a config is, found out before the first step: what is paired, what the files are, what the
 * labels hold. Nothing is learned from it: a run is the same whatever was looked at.
 */
#ifndef DRAM_CHECK_CHECK_H
#define DRAM_CHECK_CHECK_H

#include <cjson/cJSON.h>
#include <signal.h>

#include "base/str.h"
#include "config/config.h"
#include "data/dataset.h"

/* Bytes of a text, and of why something is refused: as an error may have. */
enum { DRAM_CHECK_CLASSES = 256, DRAM_CHECK_TEXT = 1200, DRAM_CHECK_REASON = 2048 };

/* How many there are, and of the first of them, by the name of its image, what is to be said: a name, or a reason with
 * the name in it. */
typedef struct {
    int n;
    char first[DRAM_CHECK_TEXT];
} dram_check_some;

/* data.train or data.val. A file that was not looked at is in no number below `looked`. */
typedef struct {
    bool there;                      /* the config has images for it, and they could be listed */
    bool has_labels;                 /* and a folder of labels, which the task needs */
    char refused[DRAM_CHECK_REASON]; /* why it cannot be opened; "": it can, or the config has none */

    int images, labels, pairs; /* as dram_dataset_found */
    int used;                  /* pairs whose label a run reads */
    int unlisted;
    dram_check_some images_alone, labels_alone, folders, others, broken, twins; /* likewise */

    int looked_images; /* whose file was read, bad ones among them */
    int looked_labels; /* whose file was read, bad ones among them; and of these */
    int read_labels;   /* those of which every pixel was */
    int known;         /* files that had been looked at before, and are as they were */

    int smallest[2], largest[2]; /* height, width of the images with the fewest and the most pixels; 0: none is good */
    dram_check_some bad_images, bad_labels; /* that a run cannot use */
    int first_bad[2];                       /* the images that the two name, by their place in the data set */
    int bad;                                /* images that are bad, or their labels */
    dram_check_some unread;                 /* images and labels that are there and cannot be read */
    dram_check_some turned;                 /* images that EXIF turns and that have a label, which is never turned */
    dram_check_some unsure; /* of them those whose label may be as the file is stored: its size does not tell */
    dram_check_some thin;   /* without a cell at data.size, where embeddings are compared */
    dram_check_some copies; /* same content as an image before it by name: "b.jpg is a.jpg" */
    int deep;               /* images of 16 bits, and of these */
    int deep_looked, peak;  /* those whose pixels were read, and the largest value there */

    int classes;                        /* of the config; 0: no labels */
    int64_t pixels[DRAM_CHECK_CLASSES]; /* of the labels that were read and are good, void left out */
    int64_t labelled_pixels, void_pixels;
    char advice[200]; /* what the values of labels say about the config; "": nothing */
    char hint[400];   /* as dram_dataset_found; "": nothing */
} dram_check_set;

typedef struct {
    dram_check_set train, val;
    char refused[DRAM_CHECK_REASON]; /* what else a run needs and has not; "": nothing, or it was not asked */
    dram_data_check how;             /* data.check */
    const dram_texts *class_names;   /* of the config, which must outlive it; NULL: there are none */
    bool sampled;                    /* auto had to leave files out */
    dram_check_some between; /* images of val whose content is in train, under another name or in another folder */
    dram_check_some shared;  /* images of val that are images of train: one folder, one name */
    double seconds;
} dram_check;

typedef struct {
    void *context;
    void (*looked)(void *context, int done, int all); /* on the calling thread, some times a second; images */
    const volatile sig_atomic_t *stop;                /* non-zero: stop looking, DRAM_INTERRUPTED */
} dram_check_hooks;

/* Looks at the data sets as data.check says, by data.workers threads (0: one), and keeps what it found for the next
 * time (check/kept.h). train, val: NULL, or opened from this config. hooks is never NULL; {0} has none.
 * Bad data is no error, but counted. DRAM_INTERRUPTED; DRAM_ERR_MEMORY, DRAM_ERR_RUN: no memory, no threads. */
dram_status dram_check_look(const dram_config *cfg, const dram_dataset *train, const dram_dataset *val,
                            const dram_check_hooks *hooks, dram_check *check);

/* The same for a config alone: opens what it names of data.train (`training`, and then the files of weights too) and
 * data.val. What cannot be opened is `refused`. */
dram_status dram_check_config(const dram_config *cfg, bool training, const dram_check_hooks *hooks, dram_check *check);

/* Whether a run could begin with this data: DRAM_OK, or DRAM_ERR_CONFIG with the first reason. `training`: all of it;
 * else an evaluation, of data.val alone. */
dram_status dram_check_judge(const dram_config *cfg, const dram_check *check, bool training);

/* What is wrong or odd, a line each, handed to `say`; those that judge refuses are not among them. Returns how many. */
int dram_check_warnings(const dram_config *cfg, const dram_check *check, void (*say)(void *context, const char *line),
                        void *context);

/* The same, each a warning of the log. */
void dram_check_warn(const dram_config *cfg, const dram_check *check);

/* Marks in said[images] of the set those that a warning about bad files names. */
void dram_check_mark_said(const dram_check_set *set, bool *said);

/* The summary: at most three lines for each data set, the first beginning with "train: N images, M labels, P pairs". */
void dram_check_summary(const dram_config *cfg, const dram_check *check, dram_str *out);

/* All that is known, a fact a line. */
void dram_check_page(const dram_config *cfg, const dram_check *check, dram_str *out);

/* What a run would do with the data, in a line. */
void dram_check_outlook(const dram_config *cfg, const dram_check *check, dram_str *out);

/* The numbers as an object with "train" and "val" (null where there is none); NULL when memory is out. */
cJSON *dram_check_json(const dram_check *check);

#endif
