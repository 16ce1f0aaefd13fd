/* pairs: which label is an image's, by their names alone. Internal to src/data: dataset.c has the folders. */
#ifndef DRAM_DATA_PAIRS_H
#define DRAM_DATA_PAIRS_H

#include <stdbool.h>

#include "base/status.h"
#include "base/str.h"

typedef struct {
    const char *name; /* below its folder: "drive2/004.jpg" */
    const char *why;  /* NULL: a file; else why none can be read there */
    int last;         /* where the last part of the name begins */
    int stem;         /* bytes of the name without its ending */
    int partner;      /* the image's label, the label's image; -1: none */
    bool is_listed;   /* an image of the data set: false for those that a list leaves out, and for labels */
} dram_pair_file;

/* The images of a folder, or the labels of one. */
typedef struct {
    dram_pair_file *files; /* [n], sorted by name */
    int n;
    const char *folder;
    const char *where; /* put before errors, with ": "; NULL: nothing */
} dram_pair_side;

/* Files by what they are found by: their stem, with the folders before it or without. */
typedef struct {
    const char *text;
    int length;
    int file;
    int alone; /* of the keys of this text, how many files had no partner: in the first of them; for pairs.c */
} dram_pair_key;

typedef struct {
    dram_pair_key *keys; /* [n], sorted by text; dram_free */
    int n;
} dram_pair_index;

/* A name cut into its parts. */
dram_pair_file dram_pair_file_of(const char *name, const char *why);

dram_status dram_pair_index_make(const dram_pair_side *side, bool with_folders, dram_pair_index *out);

/* The first key with this text, and how many have it. */
int dram_pair_index_find(const dram_pair_index *index, const char *text, int length, int *count);

/* One folder of images and labels: is_label[i] is set where files[i], a PNG, is the label of another file, or ends as
 * the pattern says that labels do. DRAM_ERR_MEMORY. */
dram_status dram_pairs_split(const dram_pair_side *files, const char *pattern, bool *is_label);

/* Sets `partner` of both. DRAM_ERR_CONFIG: an image of the data set could have two labels, or would have another's, or,
 * in one folder, itself. DRAM_ERR_MEMORY. */
dram_status dram_pairs_match(dram_pair_side *images, dram_pair_side *labels, const char *pattern, bool one_folder);

/* Appends what the labels without a partner are called and, if one would give half of the images without a label one,
 * the pattern. Nothing where there are none. DRAM_ERR_MEMORY. */
dram_status dram_pairs_hint(const dram_pair_side *images, const dram_pair_side *labels, const char *pattern,
                            dram_str *out);

#endif
