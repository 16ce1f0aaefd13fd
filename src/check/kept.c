#include "check/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "io/atomic.h"
#include "io/path.h"

/* The file: a head, then records by name, each a fixed part, the name and the packed values. Numbers are as the
 * processor has them; another byte order fails the hash. */
static const char MAGIC[16] = "dram-check 1\n";
typedef struct {
    char magic[16];
    uint64_t hash; /* of all that follows the head */
    int64_t bytes; /* of it */
    int64_t records;
} head;

typedef struct {
    int64_t size, time;
    uint64_t hash[2];
    int32_t height, width;
    uint32_t packed_bytes;
    uint16_t name_bytes, peak;
    uint8_t depth, orientation, bits, is_png, label, zero[7];
} fixed;
_Static_assert(sizeof(fixed) == 64, "records have no holes, which would not be the same twice");

/* A record in memory. */
typedef struct {
    const char *name; /* not terminated */
    int name_bytes;
    bool label;
    dram_facts facts;
} entry;

typedef struct {
    uint8_t *data; /* the file; names and values lie in it */
    entry *entry;  /* [n] by name */
    int n;
} table;

struct dram_kept {
    const char *folder;
    char *inside, *beside; /* where it may be */
    table read[2];         /* of the two */
    entry *added;
    int n_added, room;
    char *names;
    int names_used, names_room;
};

static dram_status no_memory(const char *folder)
{
    return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for what is kept of this folder", folder);
}

static int by_name(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int n = x->name_bytes, m = y->name_bytes, order = memcmp(x->name, y->name, (size_t)(n < m ? n : m));
    if (order) return order;
    return n != m ? n - m : x->label - y->label;
}

/* ---- reading ---- */

static void free_table(table *t)
{
    dram_free(t->data);
    dram_free(t->entry);
    *t = (table){0};
}

/* Whether bytes[0..n) behind the head are its records, by rising name. */
static bool take_records(table *t, const uint8_t *bytes, int64_t n)
{
    int64_t at = 0;
    for (int i = 0; i < t->n; i++) {
        fixed f;
        entry *e = &t->entry[i];
        if (n - at < (int64_t)sizeof f) return false;
        memcpy(&f, bytes + at, sizeof f);
        at += (int64_t)sizeof f;
        if (n - at < (int64_t)f.name_bytes + f.packed_bytes || f.packed_bytes > INT32_MAX) return false;
        *e = (entry){.name = (const char *)bytes + at, .name_bytes = f.name_bytes, .label = f.label != 0};
        e->facts = (dram_facts){.size = f.size,
                                .time = f.time,
                                .hash = {.low = f.hash[0], .high = f.hash[1]},
                                .height = f.height,
                                .width = f.width,
                                .packed_bytes = (int)f.packed_bytes,
                                .packed = bytes + at + f.name_bytes,
                                .peak = f.peak,
                                .depth = f.depth,
                                .orientation = f.orientation,
                                .bits = f.bits,
                                .is_png = f.is_png};
        at += f.name_bytes + (int64_t)f.packed_bytes;
        if (f.size < 0 || f.height < 1 || f.width < 1 || f.depth < DRAM_DEPTH_HEADER || f.depth > DRAM_DEPTH_PIXELS)
            return false;
        if (f.depth == DRAM_DEPTH_PIXELS && !f.label) return false;
        if (i && by_name(e - 1, e) >= 0) return false;
    }
    return at == n;
}

/* NULL, or what is wrong with a file of n bytes. */
static const char *take_file(table *t, int64_t n)
{
    head h;
    if (n < (int64_t)sizeof h) return "it is damaged";
    memcpy(&h, t->data, sizeof h);
    if (memcmp(h.magic, MAGIC, sizeof MAGIC) != 0)
        return memcmp(h.magic, MAGIC, strlen("dram-check ")) == 0 ? "another version of dram wrote it"
                                                                  : "it is damaged";
    const uint8_t *bytes = t->data + sizeof h;
    n -= (int64_t)sizeof h;
    if (h.bytes != n || h.records < 0 || h.records > n / (int64_t)sizeof(fixed)) return "it is damaged";
    if (dram_hash_64(bytes, (size_t)n) != h.hash) return "it is damaged";
    t->entry = dram_alloc((size_t)h.records * sizeof *t->entry);
    t->n = (int)h.records;
    if (!t->entry) return "";
    return take_records(t, bytes, n) ? NULL : "it is damaged";
}

/* Reads the file into an empty table. Nothing there, or of no use (which is said, if it is to be): it stays empty. */
static dram_status read_table(const char *path, bool says, table *t)
{
    struct stat info;
    const char *why = NULL;
    bool memory = true;
    if (!dram_path_exists(path)) return DRAM_OK;
    int fd = dram_file_open(path, &info, &why);
    if (fd >= 0) {
        t->data = dram_alloc((size_t)info.st_size);
        memory = t->data != NULL;
        ssize_t n = memory ? dram_file_read(fd, t->data, (size_t)info.st_size) : 0;
        if (memory) why = n < 0 ? strerror(errno) : take_file(t, n);
        memory = memory && !(why && !*why);
        close(fd);
    }
    if (!memory || why) free_table(t);
    if (!memory) return no_memory(path);
    if (why && says) dram_info("%s: %s, and what it kept is looked at anew", path, why);
    return DRAM_OK;
}

dram_status dram_kept_open(const char *folder, const char *run_dir, dram_kept **out)
{
    char name[64];
    dram_kept *k = dram_calloc(1, sizeof *k);
    dram_status status;
    *out = NULL;
    if (!k) return no_memory(folder);
    k->folder = folder;
    snprintf(name, sizeof name, "dram-check-%016llx", (unsigned long long)dram_hash_64(folder, strlen(folder)));
    TRY_GOTO(dram_path_join(folder, ".dram-check", &k->inside), failed);
    TRY_GOTO(dram_path_join(run_dir, name, &k->beside), failed);
    TRY_GOTO(read_table(k->inside, true, &k->read[0]), failed);
    TRY_GOTO(read_table(k->beside, true, &k->read[1]), failed);
    *out = k;
    return DRAM_OK;
failed:
    dram_kept_close(k);
    return status;
}

void dram_kept_close(dram_kept *k)
{
    if (!k) return;
    for (int i = 0; i < 2; i++) free_table(&k->read[i]);
    dram_free(k->inside);
    dram_free(k->beside);
    dram_free(k->added);
    dram_free(k->names);
    dram_free(k);
}

static bool find(const table *t, const char *name, bool label, dram_facts *facts)
{
    const entry key = {.name = name, .name_bytes = (int)strlen(name), .label = label};
    const entry *e = t->n ? bsearch(&key, t->entry, (size_t)t->n, sizeof key, by_name) : NULL;
    if (!e || e->facts.size != facts->size || e->facts.time != facts->time) return false;
    *facts = e->facts;
    return true;
}

bool dram_kept_find(const dram_kept *k, const char *name, bool label, dram_facts *facts)
{
    return find(&k->read[0], name, label, facts) || find(&k->read[1], name, label, facts);
}

/* ---- writing ---- */

/* Until dram_kept_save, `name` is a place in `names`, which may move. */
dram_status dram_kept_add(dram_kept *k, const char *name, bool label, const dram_facts *facts)
{
    int n = (int)strlen(name);
    if (n > UINT16_MAX) return DRAM_OK;
    if (!DRAM_GROW(k->added, k->room, k->n_added + 1) || !DRAM_GROW(k->names, k->names_room, k->names_used + n))
        return no_memory(k->folder);
    memcpy(k->names + k->names_used, name, (size_t)n);
    k->added[k->n_added++] = (entry){.name_bytes = n, .label = label, .facts = *facts};
    k->names_used += n;
    return DRAM_OK;
}

/* What is about to be written, in parts: a call of write() for each of 300,000 records would take longer than all the
 * rest. */
typedef struct {
    uint8_t *data;
    int used, room;
} text;

static bool add_bytes(text *t, const void *data, size_t n)
{
    if ((int64_t)t->used + (int64_t)n > INT32_MAX || !DRAM_GROW(t->data, t->room, t->used + (int)n)) return false;
    if (n) memcpy(t->data + t->used, data, n);
    t->used += (int)n;
    return true;
}

static bool add_record(text *t, const entry *e)
{
    const dram_facts *f = &e->facts;
    const fixed record = {.size = f->size,
                          .time = f->time,
                          .hash = {f->hash.low, f->hash.high},
                          .height = f->height,
                          .width = f->width,
                          .packed_bytes = (uint32_t)f->packed_bytes,
                          .name_bytes = (uint16_t)e->name_bytes,
                          .peak = f->peak,
                          .depth = f->depth,
                          .orientation = f->orientation,
                          .bits = f->bits,
                          .is_png = f->is_png,
                          .label = e->label};
    return add_bytes(t, &record, sizeof record) && add_bytes(t, e->name, (size_t)e->name_bytes) &&
           add_bytes(t, f->packed, (size_t)f->packed_bytes);
}

static bool stat_entry(int folder, const entry *e, struct stat *info)
{
    char name[UINT16_MAX + 1];
    memcpy(name, e->name, (size_t)e->name_bytes);
    name[e->name_bytes] = '\0';
    return fstatat(folder, name, info, 0) == 0;
}

/* Whether what is kept of a file that was not looked at now may be needed again: it is there. */
static bool is_there(int folder, const entry *e)
{
    struct stat info;
    return stat_entry(folder, e, &info);
}

/* Of one file, what was added wins, unless another process has looked deeper at the same, or at what is there by now. */
static bool is_overtaken(int folder, const entry *mine, const entry *its)
{
    struct stat info;
    const dram_facts *a = &mine->facts, *b = &its->facts;
    if (a->size == b->size && a->time == b->time) return b->depth > a->depth;
    return stat_entry(folder, its, &info) && info.st_size == b->size && dram_facts_time(&info) == b->time;
}

/* Both are sorted. */
static dram_status merge(const dram_kept *k, const table *old, int folder, text *out)
{
    head h = {.records = 0};
    int i = 0, j = 0;
    bool good = add_bytes(out, &h, sizeof h);
    while (good && (i < k->n_added || j < old->n)) {
        const entry *mine = i < k->n_added ? &k->added[i] : NULL, *its = j < old->n ? &old->entry[j] : NULL;
        int order = !its ? -1 : !mine ? 1 : by_name(mine, its);
        i += order <= 0;
        j += order >= 0;
        if (order > 0 && !is_there(folder, its)) continue;
        bool takes_its = order > 0 || (order == 0 && is_overtaken(folder, mine, its));
        good = add_record(out, takes_its ? its : mine);
        h.records++;
    }
    if (!good) return no_memory(k->folder);
    memcpy(h.magic, MAGIC, sizeof MAGIC);
    h.bytes = out->used - (int)sizeof h;
    h.hash = dram_hash_64(out->data + sizeof h, (size_t)h.bytes);
    memcpy(out->data, &h, sizeof h);
    return DRAM_OK;
}

/* Drops the second of two that were added under one name, and sets the names. */
static void sort_added(dram_kept *k)
{
    const char *name = k->names;
    int n = 0;
    for (int i = 0; i < k->n_added; name += k->added[i++].name_bytes) k->added[i].name = name;
    qsort(k->added, (size_t)k->n_added, sizeof *k->added, by_name);
    for (int i = 0; i < k->n_added; i++)
        if (!n || by_name(&k->added[n - 1], &k->added[i]) != 0) k->added[n++] = k->added[i];
    k->n_added = n;
}

/* `path` in `place`, a folder that is locked while it is written to, against another process that does the same. A file
 * system without locks goes without: a file that two have written is refused by its hash. */
static dram_status write_to(const dram_kept *k, const char *place, const char *path)
{
    table old = {0};
    text out = {0};
    dram_status status;
    int folder = open(k->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int lock = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock >= 0 && flock(lock, LOCK_EX) == 0) TRY_GOTO(dram_remove_leftovers(place), done);
    TRY_GOTO(read_table(path, false, &old), done); /* dram_kept_open has said it */
    TRY_GOTO(merge(k, &old, folder, &out), done);
    status = dram_atomic_save(path, out.data, (size_t)out.used);
done:
    if (lock >= 0) close(lock);
    if (folder >= 0) close(folder);
    dram_free(out.data);
    free_table(&old);
    return status;
}

/* Where the folder is not to be written to, beside the runs. */
static dram_status write_beside(const dram_kept *k, const char *why)
{
    char *place = NULL;
    dram_status status;
    TRY_GOTO(dram_path_folder(k->beside, &place), done);
    TRY_GOTO(dram_make_folders(place), done);
    TRY_GOTO(write_to(k, place, k->beside), done);
    dram_info("%s; what was found out about the files of %s is kept in %s", why, k->folder, k->beside);
done:
    dram_free(place);
    return status;
}

dram_status dram_kept_save(dram_kept *k)
{
    char why[600];
    if (!k->n_added) return DRAM_OK;
    sort_added(k);
    dram_status status = write_to(k, k->folder, k->inside);
    if (status == DRAM_OK || status == DRAM_ERR_MEMORY) return status;
    snprintf(why, sizeof why, "%s", dram_error_text());
    dram_error_clear();
    status = write_beside(k, why);
    if (status == DRAM_OK || status == DRAM_ERR_MEMORY) return status;
    dram_info("what was found out about the files of %s is not kept: %s; %s", k->folder, why, dram_error_text());
    dram_error_clear();
    return DRAM_OK;
}
