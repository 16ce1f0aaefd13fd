#include "base/folder.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/rng.h"

enum { BLOCK = 65536 };

/* Blocks of text, the newest first: what is in them does not move. */
struct dram_folder_text {
    struct dram_folder_text *next;
    size_t used, room;
    char text[];
};

typedef struct {
    dev_t device;
    ino_t inode;
    bool is_there;
} place;

typedef struct {
    const char **names;
    int n, room;
} names;

typedef struct {
    const dram_folder_params *params;
    dram_folder_list *list;
    place apart;
    place *seen; /* [seen_room] a table by hash, of the folders that were looked into */
    int n_seen, seen_room;
    names real, linked; /* folders that are still to be looked into; `linked` may be any, seen before too */
    char *path;         /* of the one that is open */
    int path_room;
} walk;

/* "WHERE: " if the caller said where the folder was named. */
#define AT(where) (where) ? (where) : "", (where) ? ": " : ""

static dram_status no_memory(const walk *w)
{
    return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory while listing the folder", w->params->path);
}

const char *dram_folder_keep(dram_folder_list *list, const char *a, const char *b)
{
    size_t n = strlen(a), bytes = n + 1 + (b ? strlen(b) + 1 : 0);
    struct dram_folder_text *block = list->text;
    if (!block || block->room - block->used < bytes) {
        size_t room = bytes > BLOCK ? bytes : BLOCK;
        block = dram_alloc(sizeof *block + room);
        if (!block) return NULL;
        *block = (struct dram_folder_text){.next = list->text, .room = room};
        list->text = block;
    }
    char *text = block->text + block->used;
    memcpy(text, a, n + 1);
    if (b) {
        text[n] = '/';
        strcpy(text + n + 1, b);
    }
    block->used += bytes;
    return text;
}

/* ---- folders, each once ---- */

static place place_of(const struct stat *info)
{
    return (place){.device = info->st_dev, .inode = info->st_ino, .is_there = true};
}

static bool is_same(place a, place b)
{
    return a.is_there && b.is_there && a.device == b.device && a.inode == b.inode;
}

bool dram_same_place(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && is_same(place_of(&x), place_of(&y));
}

static place *slot_of(const place *table, int room, place p)
{
    uint64_t at = dram_mix64(dram_mix64((uint64_t)p.device) ^ (uint64_t)p.inode);
    while (table[at & (uint64_t)(room - 1)].is_there && !is_same(table[at & (uint64_t)(room - 1)], p)) at++;
    return (place *)&table[at & (uint64_t)(room - 1)];
}

/* Takes a folder into the table; *before: it was there. */
static dram_status see(walk *w, place p, bool *before)
{
    if (2 * (w->n_seen + 1) > w->seen_room) {
        int room = w->seen_room ? 2 * w->seen_room : 16;
        place *table = dram_calloc((size_t)room, sizeof *table);
        if (!table) return no_memory(w);
        for (int i = 0; i < w->seen_room; i++)
            if (w->seen[i].is_there) *slot_of(table, room, w->seen[i]) = w->seen[i];
        dram_free(w->seen);
        w->seen = table;
        w->seen_room = room;
    }
    place *slot = slot_of(w->seen, w->seen_room, p);
    *before = slot->is_there;
    w->n_seen += !*before;
    *slot = p;
    return DRAM_OK;
}

static void count_inside(walk *w, const char *name)
{
    dram_folder_list *list = w->list;
    if (!list->folder || strcmp(name, list->folder) < 0) list->folder = name;
    list->inside++;
}

/* ---- one folder ---- */

typedef enum { A_FILE, A_FOLDER, A_LINKED_FOLDER, NOTHING_TO_READ } kind;

/* What an entry is; *why: what is no file to read, and no folder. */
static kind look_at(DIR *folder, const struct dirent *entry, place *where, const char **why)
{
    struct stat info;
    bool there;
    where->is_there = false;
    if (entry->d_type == DT_REG) return A_FILE;
    if (entry->d_type == DT_DIR) return A_FOLDER;
    *why = dram_file_look(dirfd(folder), entry->d_name, &info, &there);
    if (!there && !*why) *why = "it is gone";
    if (!there) return NOTHING_TO_READ;
    if (S_ISREG(info.st_mode)) return A_FILE;
    *where = place_of(&info);
    if (S_ISDIR(info.st_mode)) return A_LINKED_FOLDER;
    *why = dram_file_kind(&info);
    return NOTHING_TO_READ;
}

static dram_status add_folder(walk *w, DIR *folder, const char *name, const char *entry, kind k, place where)
{
    struct stat info;
    if (w->params->recursive) {
        names *to = k == A_FOLDER ? &w->real : &w->linked;
        if (!DRAM_GROW(to->names, to->room, to->n + 1)) return no_memory(w);
        to->names[to->n++] = name;
        return DRAM_OK;
    }
    if (!where.is_there && fstatat(dirfd(folder), entry, &info, 0) == 0) where = place_of(&info);
    if (!is_same(where, w->apart)) count_inside(w, name);
    return DRAM_OK;
}

static dram_status add_entry(walk *w, DIR *folder, const char *prefix, const struct dirent *entry)
{
    dram_folder_list *list = w->list;
    place where;
    const char *why = NULL;
    kind k = look_at(folder, entry, &where, &why);
    const char *name = dram_folder_keep(list, *prefix ? prefix : entry->d_name, *prefix ? entry->d_name : NULL);
    if (!name) return no_memory(w);
    if (k == A_FOLDER || k == A_LINKED_FOLDER) return add_folder(w, folder, name, entry->d_name, k, where);
    if (why && !(why = dram_folder_keep(list, why, NULL))) return no_memory(w);
    if (!DRAM_GROW(list->files, list->room, list->n + 1)) return no_memory(w);
    list->files[list->n++] = (dram_folder_file){.name = name, .why = why};
    return DRAM_OK;
}

static dram_status read_entries(walk *w, DIR *folder, const char *prefix)
{
    const struct dirent *entry;
    while ((entry = dram_folder_next(folder)))
        if (entry->d_name[0] != '.') TRY(add_entry(w, folder, prefix, entry));
    if (errno == 0) return DRAM_OK;
    return dram_fail(DRAM_ERR_IO, "%s%s%s: cannot list the folder of %s to its end: %s", AT(w->params->where), w->path,
                     w->params->what, strerror(errno));
}

/* prefix: the folder's name below the one that is listed, "" for that one itself. */
static dram_status read_folder(walk *w, const char *prefix)
{
    const char *top = w->params->path;
    int bytes = (int)(strlen(top) + strlen(prefix) + 2);
    struct stat info;
    bool before = false;
    if (!DRAM_GROW(w->path, w->path_room, bytes)) return no_memory(w);
    snprintf(w->path, (size_t)bytes, "%s%s%s", top, *prefix ? "/" : "", prefix);
    DIR *folder = opendir(w->path);
    if (!folder || fstat(dirfd(folder), &info) != 0) {
        dram_status status = dram_fail(DRAM_ERR_CONFIG, "%s%s%s: cannot open the folder of %s: %s",
                                       AT(w->params->where), w->path, w->params->what, strerror(errno));
        if (folder) closedir(folder);
        return status;
    }
    bool is_apart = *prefix && is_same(place_of(&info), w->apart);
    dram_status status = is_apart || !w->params->recursive ? DRAM_OK : see(w, place_of(&info), &before);
    if (before) count_inside(w, prefix);
    if (status == DRAM_OK && !is_apart && !before) status = read_entries(w, folder, prefix);
    closedir(folder);
    return status;
}

/* ---- all of them ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const dram_folder_file *)a)->name, ((const dram_folder_file *)b)->name);
}

/* Folders that no link leads through come first, so that theirs is the name that counts; then links, by name. */
static dram_status read_all(walk *w)
{
    int next = 0, sorted = 0;
    TRY(read_folder(w, ""));
    for (;;) {
        if (w->real.n) {
            TRY(read_folder(w, w->real.names[--w->real.n]));
        } else if (next < w->linked.n) {
            if (next == sorted) {
                sorted = w->linked.n;
                qsort(w->linked.names + next, (size_t)(sorted - next), sizeof *w->linked.names, by_text);
            }
            TRY(read_folder(w, w->linked.names[next++]));
        } else {
            return DRAM_OK;
        }
    }
}

dram_status dram_folder_list_read(const dram_folder_params *params, dram_folder_list *list)
{
    struct stat info;
    walk w = {.params = params, .list = list};
    *list = (dram_folder_list){0};
    if (params->apart && stat(params->apart, &info) == 0)
        w.apart = place_of(&info);
    else if (params->apart && errno != ENOENT && errno != ENOTDIR)
        return dram_fail(DRAM_ERR_CONFIG, "%s%s%s: cannot look at this folder: %m", AT(params->where), params->apart);
    dram_status status = read_all(&w);
    if (status == DRAM_OK && list->n) qsort(list->files, (size_t)list->n, sizeof *list->files, by_name);
    dram_free(w.seen);
    dram_free(w.real.names);
    dram_free(w.linked.names);
    dram_free(w.path);
    if (status != DRAM_OK) dram_folder_list_free(list);
    return status;
}

void dram_folder_list_free(dram_folder_list *list)
{
    while (list->text) {
        struct dram_folder_text *next = list->text->next;
        dram_free(list->text);
        list->text = next;
    }
    dram_free(list->files);
    *list = (dram_folder_list){0};
}
