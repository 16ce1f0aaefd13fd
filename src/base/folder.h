/* folder: the files in a folder and in those inside it, by name. */
#ifndef DRAM_BASE_FOLDER_H
#define DRAM_BASE_FOLDER_H

#include <stdbool.h>

#include "base/status.h"

typedef struct {
    const char *name; /* below the folder: "004.jpg", "drive2/004.jpg" */
    const char *why;  /* NULL: a regular file; else why none can be read here: "a link that leads nowhere" */
} dram_folder_file;

/* Names are the list's, and do not move. */
typedef struct {
    dram_folder_file *files; /* [n], sorted by name, byte by byte */
    int n, room;
    int inside;         /* folders that were not looked into */
    const char *folder; /* name of the first of them, or NULL */
    struct dram_folder_text *text;
} dram_folder_list;

typedef struct {
    const char *path;
    const char *what;  /* "images": for "cannot open the folder of images" */
    const char *where; /* put before errors, with ": "; NULL: nothing */
    const char *apart; /* a folder, of any spelling, that is neither looked into nor counted; NULL: none */
    bool recursive;    /* folders inside are looked into too */
} dram_folder_params;

/* Links are followed. A folder that several names lead to is looked into once, under the name without a link if there
 * is one, and the other names are counted with those not looked into: so a link to a folder above ends, and cost grows
 * with the number of files alone. Names that begin with a dot are passed over.
 *   DRAM_ERR_CONFIG  a folder cannot be opened.
 *   DRAM_ERR_IO      a folder cannot be listed to its end.
 *   DRAM_ERR_MEMORY  memory is out.
 * *list is to be freed after success, and is {0} after a failure. */
dram_status dram_folder_list_read(const dram_folder_params *params, dram_folder_list *list);
void dram_folder_list_free(dram_folder_list *list); /* leaves {0} */

/* A text that lives as long as the list: a and, behind a slash, b (NULL: a alone). NULL: memory is out. */
const char *dram_folder_keep(dram_folder_list *list, const char *a, const char *b);

/* Whether two names lead to one folder, or file; false where one leads nowhere. */
bool dram_same_place(const char *a, const char *b);

#endif
