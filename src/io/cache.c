#include "io/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "io/atomic.h"
#include "io/json.h"
#include "io/path.h"

enum { VERSION = 1, FIRST_ROOM = 64 };
static const uint64_t MAGIC = 0x31424d454d415244u; /* "DRAMEMB1" in a little-endian file */

typedef enum { STATE_WRITING = 1, STATE_DONE, STATE_BAD } record_state;

typedef struct {
    uint64_t magic;
    dram_hash128 key;
    uint64_t payload_hash, made_by, slot;
    uint32_t state, zero;
    uint64_t check;
} header;
_Static_assert(sizeof(header) == DRAM_CACHE_HEADER, "a header lies within one sector");

typedef struct {
    dram_hash128 key;
    int64_t slot; /* EMPTY: no entry; GONE: an entry whose record is not there any more */
} entry;
enum { EMPTY = -1, GONE = -2 };

struct dram_cache {
    char *path; /* of embeddings.bin */
    int fd;
    int64_t payload_bytes;
    uint64_t made_by;
    int64_t known; /* records that were looked at */
    entry *table;  /* [room], a power of two; at least half of it is empty */
    int64_t room, used;
    int count;  /* entries with a record */
    int *spare; /* records that are not done */
    int n_spare, spare_room;
};

static dram_status no_memory(const dram_cache *c)
{
    return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for the list of its records", c->path);
}

/* ---- what finds a record ---- */

static bool same_key(dram_hash128 a, dram_hash128 b)
{
    return a.low == b.low && a.high == b.high;
}

/* The key's entry, or the empty one where it would go. */
static entry *entry_of(entry *table, int64_t room, dram_hash128 key)
{
    int64_t at = (int64_t)(key.low & (uint64_t)(room - 1));
    while (table[at].slot != EMPTY && !same_key(table[at].key, key)) at = (at + 1) & (room - 1);
    return &table[at];
}

static dram_status grow_table(dram_cache *c)
{
    int64_t room = c->room ? 2 * c->room : FIRST_ROOM;
    entry *table = dram_alloc((size_t)room * sizeof *table);
    if (!table) return no_memory(c);
    for (int64_t i = 0; i < room; i++) table[i].slot = EMPTY;
    for (int64_t i = 0; i < c->room; i++)
        if (c->table[i].slot != EMPTY) *entry_of(table, room, c->table[i].key) = c->table[i];
    dram_free(c->table);
    c->table = table;
    c->room = room;
    return DRAM_OK;
}

static dram_status add_entry(dram_cache *c, dram_hash128 key, int64_t slot)
{
    if (2 * (c->used + 1) > c->room) TRY(grow_table(c));
    entry *e = entry_of(c->table, c->room, key);
    if (e->slot >= 0) return DRAM_OK; /* a second record of a key is never read */
    c->used += e->slot == EMPTY;
    c->count++;
    *e = (entry){.key = key, .slot = slot};
    return DRAM_OK;
}

static dram_status add_spare(dram_cache *c, int64_t slot)
{
    if (!DRAM_GROW(c->spare, c->spare_room, c->n_spare + 1)) return no_memory(c);
    c->spare[c->n_spare++] = (int)slot;
    return DRAM_OK;
}

bool dram_cache_has(const dram_cache *c, dram_hash128 key)
{
    return c->room && entry_of(c->table, c->room, key)->slot >= 0;
}

/* ---- the file ---- */

static dram_status lock(const dram_cache *c)
{
    while (flock(c->fd, LOCK_EX) != 0)
        if (errno != EINTR) return dram_fail(DRAM_ERR_IO, "%s: cannot lock this file: %m", c->path);
    return DRAM_OK;
}

static void unlock(const dram_cache *c)
{
    flock(c->fd, LOCK_UN);
}

/* Reads up to `bytes`, fewer at the end of the file. */
static dram_status read_at(const dram_cache *c, int64_t offset, void *data, int64_t bytes, int64_t *got)
{
    *got = dram_file_read_at(c->fd, data, (size_t)bytes, offset);
    return *got < 0 ? dram_fail(DRAM_ERR_IO, "%s: cannot read: %m", c->path) : DRAM_OK;
}

static dram_status write_at(const dram_cache *c, int64_t offset, const void *data, int64_t bytes)
{
    if (dram_file_write_at(c->fd, data, (size_t)bytes, offset)) return DRAM_OK;
    return dram_fail(DRAM_ERR_IO, "%s: cannot write: %m", c->path);
}

static uint64_t check_of(const header *h)
{
    return dram_hash_64(h, offsetof(header, check));
}

static int64_t record_bytes(const dram_cache *c)
{
    return (int64_t)sizeof(header) + c->payload_bytes;
}

static dram_status write_header(const dram_cache *c, int64_t slot, dram_hash128 key, uint64_t payload_hash,
                                record_state state)
{
    header h = {.magic = MAGIC,
                .key = key,
                .payload_hash = payload_hash,
                .made_by = c->made_by,
                .slot = (uint64_t)slot,
                .state = state};
    h.check = check_of(&h);
    return write_at(c, slot * record_bytes(c), &h, sizeof h);
}

/* *sound: there is a header of this record, whatever its state. */
static dram_status read_header(const dram_cache *c, int64_t slot, header *h, bool *sound)
{
    int64_t got;
    TRY(read_at(c, slot * record_bytes(c), h, sizeof *h, &got));
    *sound = got == sizeof *h && h->magic == MAGIC && h->slot == (uint64_t)slot && h->check == check_of(h);
    if (!*sound || h->made_by == c->made_by) return DRAM_OK;
    return dram_fail(
        DRAM_ERR_CONFIG,
        "%s: these embeddings were made by another teacher, size or format than those of this cache; delete "
        "both of its files, or name another directory",
        c->path);
}

/* ---- looking at records ---- */

static dram_status count_records(const dram_cache *c, int64_t *whole, int64_t *all)
{
    struct stat info;
    int64_t each = record_bytes(c);
    if (fstat(c->fd, &info) != 0) return dram_fail(DRAM_ERR_IO, "%s: cannot look at this file: %m", c->path);
    *whole = info.st_size / each;
    *all = *whole + (info.st_size % each != 0);
    if (*all <= INT32_MAX) return DRAM_OK;
    return dram_fail(DRAM_ERR_FORMAT, "%s: too large to be a cache (%lld bytes)", c->path, (long long)info.st_size);
}

/* Looks at the records from `known` on and at those that were not done. *sound counts those with a header. */
static dram_status look(dram_cache *c, int64_t *sound)
{
    int64_t whole = 0, all = 0;
    int kept = 0, spare = c->n_spare;
    header h;
    bool good;
    *sound = 0;
    TRY(count_records(c, &whole, &all));
    for (int i = 0; i < spare; i++) {
        TRY(read_header(c, c->spare[i], &h, &good));
        if (good && h.state == STATE_DONE && c->spare[i] < whole)
            TRY(add_entry(c, h.key, c->spare[i]));
        else
            c->spare[kept++] = c->spare[i];
    }
    c->n_spare = kept;
    for (; c->known < all; c->known++) {
        TRY(read_header(c, c->known, &h, &good));
        *sound += good;
        if (good && h.state == STATE_DONE && c->known < whole)
            TRY(add_entry(c, h.key, c->known));
        else
            TRY(add_spare(c, c->known));
    }
    return DRAM_OK;
}

dram_status dram_cache_refresh(dram_cache *c)
{
    int64_t sound;
    TRY(lock(c));
    dram_status status = look(c, &sound);
    unlock(c);
    return status;
}

/* ---- cache.json ---- */

static void add_value(dram_str *text, const char *value, int64_t number)
{
    if (value)
        dram_str_add(text, "%s", value);
    else
        dram_str_add(text, "%" PRId64, number);
}

static dram_status hash_facts(dram_cache *c, const dram_cache_fact *facts, int n)
{
    dram_str text = {0};
    dram_str_add(&text, "version %d", VERSION);
    for (int i = 0; i < n; i++) {
        dram_str_add(&text, "\n%s ", facts[i].name);
        add_value(&text, facts[i].text, facts[i].number);
    }
    bool failed = text.failed;
    if (!failed) c->made_by = dram_hash_64(text.text, text.length);
    dram_str_free(&text);
    return failed ? no_memory(c) : DRAM_OK;
}

static dram_status write_facts(const char *path, const dram_cache_fact *facts, int n)
{
    cJSON *root = cJSON_CreateObject();
    bool good = root && cJSON_AddNumberToObject(root, "version", VERSION);
    for (int i = 0; i < n && good; i++)
        good = (facts[i].text ? cJSON_AddStringToObject(root, facts[i].name, facts[i].text)
                              : cJSON_AddNumberToObject(root, facts[i].name, (double)facts[i].number)) != NULL;
    dram_status status =
        good ? dram_json_write(path, root) : dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its text", path);
    cJSON_Delete(root);
    return status;
}

static dram_status check_fact(const cJSON *root, const char *path, const dram_cache_fact *fact)
{
    const char *text = NULL;
    int64_t number = 0;
    dram_str was = {0}, is = {0};
    if (fact->text)
        TRY(dram_json_text(root, path, fact->name, &text));
    else
        TRY(dram_json_int(root, path, fact->name, 0, (int64_t)1 << 53, &number));
    if (fact->text ? strcmp(text, fact->text) == 0 : number == fact->number) return DRAM_OK;
    add_value(&was, text, number);
    add_value(&is, fact->text, fact->number);
    dram_status status = dram_fail(DRAM_ERR_CONFIG,
                                   "%s: this cache was made with %s %.200s, and this run has %.200s; name another "
                                   "directory, or delete this one",
                                   path, fact->name, was.text ? was.text : "?", is.text ? is.text : "?");
    dram_str_free(&was);
    dram_str_free(&is);
    return status;
}

/* Under the lock. */
static dram_status check_facts(const char *path, const dram_cache_fact *facts, int n)
{
    cJSON *root;
    dram_status status;
    if (!dram_path_exists(path)) return write_facts(path, facts, n);
    TRY(dram_json_read(path, &root));
    TRY_GOTO(check_fact(root, path, &(dram_cache_fact){.name = "version", .number = VERSION}), done);
    for (int i = 0; i < n; i++) TRY_GOTO(check_fact(root, path, &facts[i]), done);
done:
    cJSON_Delete(root);
    return status;
}

/* ---- opening ---- */

/* A folder that cannot be made or written is a mistake in the config. */
static dram_status open_file(dram_cache *c, const char *directory)
{
    struct stat info;
    dram_status status = dram_make_folders(directory);
    if (status != DRAM_OK) return status == DRAM_ERR_IO ? DRAM_ERR_CONFIG : status;
    const char *why;
    c->fd = dram_file_open_to_write(c->path, O_RDWR | O_NONBLOCK, &why);
    if (c->fd < 0) return dram_fail(DRAM_ERR_CONFIG, "%s: cannot open for writing: %s", c->path, why);
    if (fstat(c->fd, &info) == 0 && S_ISREG(info.st_mode)) return DRAM_OK;
    return dram_fail(DRAM_ERR_CONFIG, "%s: not a file", c->path);
}

/* Under the lock, and beside its cache.json: the file is a cache's, and all of it is damaged. */
static dram_status begin_anew(dram_cache *c)
{
    struct stat info;
    if (fstat(c->fd, &info) != 0 || ftruncate(c->fd, 0) != 0)
        return dram_fail(DRAM_ERR_IO, "%s: there is not one embedding in this file, and it cannot be emptied: %m",
                         c->path);
    dram_warn("%s: there is not one embedding in this file of %lld bytes; it is begun anew", c->path,
              (long long)info.st_size);
    c->known = 0;
    c->n_spare = 0;
    return DRAM_OK;
}

/* Under the lock. */
static dram_status read_all(dram_cache *c, const char *json, const dram_cache_fact *facts, int n)
{
    int64_t sound;
    bool there = dram_path_exists(json);
    if (there) TRY(check_facts(json, facts, n));
    TRY(look(c, &sound));
    if (c->known && !sound) {
        if (!there)
            return dram_fail(DRAM_ERR_FORMAT, "%s: there is not one embedding in this file; move it away", c->path);
        TRY(begin_anew(c));
    }
    return there ? DRAM_OK : check_facts(json, facts, n);
}

dram_status dram_cache_open(const char *directory, const dram_cache_fact *facts, int n, int64_t payload_bytes,
                            dram_cache **out)
{
    dram_status status;
    char *json = NULL;
    *out = NULL;
    dram_cache *c = dram_calloc(1, sizeof *c);
    if (!c) return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory to open this cache", directory);
    c->fd = -1;
    c->payload_bytes = payload_bytes;
    TRY_GOTO(dram_path_join(directory, "embeddings.bin", &c->path), fail);
    TRY_GOTO(dram_path_join(directory, "cache.json", &json), fail);
    TRY_GOTO(hash_facts(c, facts, n), fail);
    TRY_GOTO(open_file(c, directory), fail);
    TRY_GOTO(lock(c), fail);
    status = dram_remove_leftovers(directory);
    if (status == DRAM_OK) status = read_all(c, json, facts, n);
    unlock(c);
    if (status != DRAM_OK) goto fail;
    dram_free(json);
    *out = c;
    return DRAM_OK;
fail:
    dram_free(json);
    dram_cache_close(c);
    return status;
}

void dram_cache_close(dram_cache *c)
{
    if (!c) return;
    if (c->fd >= 0) close(c->fd);
    dram_free(c->table);
    dram_free(c->spare);
    dram_free(c->path);
    dram_free(c);
}

dram_status dram_cache_check_disk(const dram_cache *c, int64_t records, int64_t *need, int64_t *free_bytes)
{
    char asked[32], has[32];
    struct statvfs info;
    while (fstatvfs(c->fd, &info) != 0)
        if (errno != EINTR) return dram_fail(DRAM_ERR_IO, "%s: cannot ask how much disk is free: %m", c->path);
    int64_t more = records > c->n_spare ? records - c->n_spare : 0; /* the others' places are taken already */
    *need = more * record_bytes(c);
    *free_bytes = (int64_t)info.f_bavail * (int64_t)info.f_frsize;
    if (*need <= *free_bytes) return DRAM_OK;
    return dram_fail(DRAM_ERR_CONFIG, "%s: %" PRId64 " embeddings take %s, and %s of this disk are free", c->path,
                     records, dram_format_bytes(*need, asked, sizeof asked),
                     dram_format_bytes(*free_bytes, has, sizeof has));
}

/* ---- records ---- */

/* Under the lock: what is not done now is free. */
static dram_status put_locked(dram_cache *c, dram_hash128 key, const void *payload)
{
    int64_t sound;
    TRY(look(c, &sound));
    if (dram_cache_has(c, key)) return DRAM_OK;
    int64_t slot = c->n_spare ? c->spare[c->n_spare - 1] : c->known;
    uint64_t hash = dram_hash_64(payload, (size_t)c->payload_bytes);
    if (slot > INT32_MAX) return dram_fail(DRAM_ERR_FORMAT, "%s: this cache is full", c->path);
    TRY(write_header(c, slot, key, hash, STATE_WRITING));
    TRY(write_at(c, slot * record_bytes(c) + (int64_t)sizeof(header), payload, c->payload_bytes));
    TRY(write_header(c, slot, key, hash, STATE_DONE));
    if (c->n_spare)
        c->n_spare--;
    else
        c->known++;
    return add_entry(c, key, slot);
}

dram_status dram_cache_put(dram_cache *c, dram_hash128 key, const void *payload)
{
    TRY(lock(c));
    dram_status status = put_locked(c, key, payload);
    unlock(c);
    return status;
}

static dram_status read_record(const dram_cache *c, int64_t slot, dram_hash128 key, void *payload, bool *good)
{
    header h;
    int64_t got;
    TRY(read_header(c, slot, &h, good));
    if (!*good) return DRAM_OK;
    TRY(read_at(c, slot * record_bytes(c) + (int64_t)sizeof h, payload, c->payload_bytes, &got));
    *good = h.state == STATE_DONE && same_key(h.key, key) && got == c->payload_bytes &&
            h.payload_hash == dram_hash_64(payload, (size_t)c->payload_bytes);
    return DRAM_OK;
}

/* Under the lock, since another process may be writing this record again. */
static dram_status read_or_mark(dram_cache *c, entry *e, void *payload)
{
    int64_t slot = e->slot;
    header h;
    bool good;
    TRY(read_record(c, slot, e->key, payload, &good));
    if (good) return DRAM_OK;
    const dram_hash128 key = e->key;
    e->slot = GONE;
    c->count--;
    TRY(read_header(c, slot, &h, &good));
    if (good && h.state == STATE_DONE && !same_key(h.key, key)) { /* found bad by another process, and used again */
        TRY(add_entry(c, h.key, slot));
    } else {
        TRY(add_spare(c, slot));
        TRY(write_header(c, slot, key, 0, STATE_BAD));
    }
    return dram_fail(DRAM_ERR_FORMAT,
                     "%s: embedding %" PRId64 " is damaged; it is marked bad, and the next run makes it again", c->path,
                     slot);
}

dram_status dram_cache_get(dram_cache *c, dram_hash128 key, void *payload)
{
    bool good;
    entry *e = c->room ? entry_of(c->table, c->room, key) : NULL;
    if (!e || e->slot < 0) return dram_fail(DRAM_ERR_INTERNAL, "%s: asked for an embedding it has not", c->path);
    TRY(read_record(c, e->slot, key, payload, &good));
    if (good) return DRAM_OK;
    TRY(lock(c));
    dram_status status = read_or_mark(c, e, payload);
    unlock(c);
    return status;
}
