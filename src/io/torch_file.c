/* Files of torch.save (1.6 and later): a zip archive whose members lie as they are, in one folder of any name.
 *
 *     data.pkl   what was saved, as a pickle; its tensors name their storage, offset, shape and strides
 *     data/KEY   a storage's numbers
 *     byteorder  "little" or "big", since 2.1
 *
 * The archive's directory is read here and not by a library: what is wanted of it is where the bytes of each member
 * begin, so that tensors are read from there as those of safetensors are. Debian's minizip 1.1 does not read a member
 * beyond 4 GiB. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/alloc.h"
#include "io/state_dict.h"
#include "io/tensor_table.h"

enum { MAX_MEMBERS = 1 << 17, MAX_NAME = 512, MAX_PICKLE = 64 << 20, MAX_DIRECTORY = 64 << 20 };

typedef struct {
    char *name; /* owned */
    int64_t at, bytes;
    uint32_t crc;
    const char *packed; /* why its bytes are not to be had, or NULL */
} member;

typedef struct {
    const dram_st *st;
    const char *path;
    member *members; /* sorted by name */
    int n, room;
} archive;

/* ---- the directory ---- */

/* Records of an archive: their lengths without what follows them. */
enum { END = 22, END_64 = 56, LOCATOR_64 = 20, ENTRY = 46, LOCAL = 30, IS_64_BITS = 1 };
static const uint64_t SEE_64 = 0xffffffff; /* a number that the 64-bit record has */

static uint64_t number(const unsigned char *from, int bytes)
{
    uint64_t n = 0;
    for (int i = 0; i < bytes; i++) n |= (uint64_t)from[i] << (8 * i);
    return n;
}

static dram_status damaged(const archive *a, const char *what)
{
    return dram_fail(DRAM_ERR_FORMAT, "%s: truncated or damaged: %s: fetch or write the file again", a->path, what);
}

/* Whether `bytes` bytes from `at` are within the file. */
static bool within(const archive *a, uint64_t at, uint64_t bytes)
{
    return at <= (uint64_t)a->st->bytes && bytes <= (uint64_t)a->st->bytes - at;
}

/* Reads a record with this mark, which must be there. */
static dram_status read_record(const archive *a, uint64_t at, const char *mark, unsigned char *to, int bytes,
                               const char *otherwise)
{
    if (!within(a, at, (uint64_t)bytes)) return damaged(a, otherwise);
    TRY(dram_table_read_at(a->st, to, bytes, (int64_t)at));
    return memcmp(to, mark, 4) == 0 ? DRAM_OK : damaged(a, otherwise);
}

/* Where the directory is: the file's last bytes tell it. An archive with a comment behind them is not torch's. */
static dram_status find_directory(const archive *a, uint64_t *at, uint64_t *bytes, uint64_t *entries)
{
    static const char none[] = "the zip archive's directory, which is its end, is not there";
    unsigned char end[END_64];
    uint64_t size = (uint64_t)a->st->bytes;
    TRY(read_record(a, size - END, "PK\5\6", end, END, none));
    if (number(end + 20, 2) != 0) return damaged(a, none);
    *entries = number(end + 10, 2);
    *bytes = number(end + 12, 4);
    *at = number(end + 16, 4);
    if (*entries != 0xffff && *bytes != SEE_64 && *at != SEE_64) return DRAM_OK;
    TRY(read_record(a, size - END - LOCATOR_64, "PK\6\7", end, LOCATOR_64, none));
    TRY(read_record(a, number(end + 8, 8), "PK\6\6", end, END_64, none));
    *entries = number(end + 32, 8);
    *bytes = number(end + 40, 8);
    *at = number(end + 48, 8);
    return DRAM_OK;
}

/* The numbers that were too large for their 32 bits stand in an extra field, in this order. */
static bool take_64(const unsigned char *extra, size_t bytes, uint64_t *const numbers[3])
{
    while (bytes >= 4) {
        size_t length = number(extra + 2, 2);
        if (length > bytes - 4) return false;
        if (number(extra, 2) == IS_64_BITS) {
            extra += 4;
            for (int i = 0; i < 3; i++) {
                if (*numbers[i] != SEE_64) continue;
                if (length < 8) return false;
                *numbers[i] = number(extra, 8);
                extra += 8;
                length -= 8;
            }
            return true;
        }
        extra += 4 + length;
        bytes -= 4 + length;
    }
    return true;
}

/* Where the bytes of a stored member begin: behind its own head, which has other extra fields than the directory. */
static dram_status locate(const archive *a, uint64_t head_at, uint64_t bytes, size_t name_length, member *m)
{
    unsigned char head[LOCAL];
    TRY(read_record(a, head_at, "PK\3\4", head, LOCAL, "the zip archive's directory does not fit its members"));
    uint64_t at = head_at + LOCAL + number(head + 26, 2) + number(head + 28, 2);
    if (number(head + 8, 2) != 0 || number(head + 26, 2) != name_length)
        return damaged(a, "the zip archive's directory does not fit its members");
    if (!within(a, at, bytes)) return damaged(a, "a member of the zip archive ends beyond the file");
    m->at = (int64_t)at;
    m->bytes = (int64_t)bytes;
    return DRAM_OK;
}

static dram_status add_member(archive *a, const unsigned char *entry, const unsigned char *name, size_t name_length,
                              size_t extra_length)
{
    uint64_t packed = number(entry + 20, 4), bytes = number(entry + 24, 4), at = number(entry + 42, 4);
    void *members = a->members;
    if (!dram_grow(&members, &a->room, a->n + 1, sizeof *a->members)) return dram_table_no_memory(a->path);
    a->members = members;
    member *m = &a->members[a->n];
    *m = (member){.name = dram_alloc(name_length + 1), .crc = (uint32_t)number(entry + 16, 4)};
    if (!m->name) return dram_table_no_memory(a->path);
    a->n++;
    memcpy(m->name, name, name_length);
    m->name[name_length] = '\0';
    if (!take_64(name + name_length, extra_length, (uint64_t *const[]){&bytes, &packed, &at}))
        return damaged(a, "the zip archive's directory cannot be read");
    if (number(entry + 8, 2) & 1) m->packed = "encrypted";
    if (!m->packed && number(entry + 10, 2) != 0) m->packed = "compressed";
    if (m->packed) return DRAM_OK;
    if (bytes != packed) return damaged(a, "the zip archive's directory does not fit its members");
    return locate(a, at, bytes, name_length, m);
}

static dram_status add_members(archive *a, const unsigned char *directory, uint64_t bytes, uint64_t entries)
{
    static const char broken[] = "the zip archive's directory cannot be read";
    for (; entries > 0; entries--) {
        if (bytes < ENTRY || memcmp(directory, "PK\1\2", 4) != 0) return damaged(a, broken);
        size_t name = number(directory + 28, 2), extra = number(directory + 30, 2), note = number(directory + 32, 2);
        if (name + extra + note > bytes - ENTRY) return damaged(a, broken);
        if (name >= MAX_NAME || memchr(directory + ENTRY, 0, name))
            return damaged(a, "a member of the zip archive has no proper name");
        TRY(add_member(a, directory, directory + ENTRY, name, extra));
        directory += ENTRY + name + extra + note;
        bytes -= ENTRY + name + extra + note;
    }
    return bytes == 0 ? DRAM_OK : damaged(a, broken);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const member *)a)->name, ((const member *)b)->name);
}

static dram_status read_directory(archive *a)
{
    dram_status status;
    uint64_t at = 0, bytes = 0, entries = 0;
    TRY(find_directory(a, &at, &bytes, &entries));
    if (!within(a, at, bytes) || bytes > MAX_DIRECTORY || entries > MAX_MEMBERS)
        return damaged(a, "the zip archive's directory is larger than that of any file of weights");
    unsigned char *directory = dram_alloc((size_t)bytes);
    if (!directory) return dram_table_no_memory(a->path);
    TRY_GOTO(dram_table_read_at(a->st, directory, (int64_t)bytes, (int64_t)at), done);
    TRY_GOTO(add_members(a, directory, bytes, entries), done);
    if (a->n > 0) qsort(a->members, (size_t)a->n, sizeof *a->members, by_name);
    for (int i = 1; i < a->n && status == DRAM_OK; i++)
        if (strcmp(a->members[i - 1].name, a->members[i].name) == 0)
            status = dram_fail(DRAM_ERR_FORMAT, "%s: the zip archive has two members of one name", a->path);
done:
    dram_free(directory);
    return status;
}

/* ---- members ---- */

/* The member of this name in the folder of `length` bytes of `folder`, or NULL. */
static const member *find(const archive *a, const char *folder, int length, const char *name)
{
    char text[MAX_NAME];
    if (snprintf(text, sizeof text, "%.*s/%s", length, folder, name) >= (int)sizeof text) return NULL;
    return bsearch(&(member){.name = text}, a->members, (size_t)a->n, sizeof *a->members, by_name);
}

/* The only data.pkl, which tells the folder's name. */
static dram_status find_pickle(const archive *a, const member **pickle, int *folder)
{
    *pickle = NULL;
    for (int i = 0; i < a->n; i++) {
        const char *name = a->members[i].name, *slash = strchr(name, '/');
        if (!slash || strcmp(slash, "/data.pkl") != 0) continue;
        if (*pickle)
            return dram_fail(DRAM_ERR_FORMAT, "%s: the zip archive has two data.pkl: torch.save writes one", a->path);
        *pickle = &a->members[i];
        *folder = (int)(slash - name);
    }
    if (!*pickle)
        return dram_fail(
            DRAM_ERR_FORMAT,
            "%s: it is a zip archive that torch.save did not write: it has no data.pkl. If it holds a file "
            "of weights, unpack it",
            a->path);
    for (int i = 0; i < a->n; i++) {
        const char *name = a->members[i].name;
        if (strncmp(name, (*pickle)->name, (size_t)*folder + 1) != 0) continue;
        name += *folder + 1;
        if (strncmp(name, "code/", 5) == 0 || strcmp(name, "constants.pkl") == 0)
            return dram_fail(DRAM_ERR_FORMAT,
                             "%s: it is a TorchScript program: in Python, "
                             "torch.save(torch.jit.load(OLD).state_dict(), NEW) writes what dram reads",
                             a->path);
    }
    return DRAM_OK;
}

static dram_status check_stored(const archive *a, const member *m)
{
    if (!m->packed) return DRAM_OK;
    return dram_fail(
        DRAM_ERR_FORMAT,
        "%s: %s is %s in the zip archive, and torch.save stores it as it is: save it again with torch.save", a->path,
        strchr(m->name, '/') + 1, m->packed);
}

static dram_status check_byte_order(const archive *a, const char *folder, int length)
{
    char text[16] = "";
    const member *m = find(a, folder, length, "byteorder");
    if (!m) return DRAM_OK;
    TRY(check_stored(a, m));
    if (m->bytes < (int64_t)sizeof text) TRY(dram_table_read_at(a->st, text, m->bytes, m->at));
    if (strcmp(text, "little") == 0) return DRAM_OK;
    return dram_fail(DRAM_ERR_FORMAT, "%s: its numbers are not little-endian: save it again on another computer",
                     a->path);
}

static dram_status read_pickle(const archive *a, const member *m, unsigned char **bytes, dram_state_dict *dict)
{
    *bytes = NULL;
    TRY(check_stored(a, m));
    if (m->bytes > MAX_PICKLE)
        return dram_fail(DRAM_ERR_FORMAT, "%s: its data.pkl has %" PRId64 " bytes, %d are allowed", a->path, m->bytes,
                         MAX_PICKLE);
    *bytes = dram_alloc((size_t)m->bytes);
    if (!*bytes) return dram_table_no_memory(a->path);
    TRY(dram_table_read_at(a->st, *bytes, m->bytes, m->at));
    if (crc32(0, *bytes, (uInt)m->bytes) != m->crc) return damaged(a, "data.pkl is not what was written");
    return dram_state_dict_read(a->path, *bytes, m->bytes, dict);
}

/* ---- tensors ---- */

/* Elements, the bytes they take and the last one's place in the storage; false where one of them is beyond all numbers.
 */
static bool measure(const dram_state_tensor *from, dram_st_tensor *t, int64_t *last)
{
    *last = from->offset;
    t->elements = 1;
    for (int i = 0; i < from->rank; i++)
        if (from->dim[i] == 0) t->elements = 0;
    for (int i = 0; i < from->rank && t->elements; i++) {
        int64_t span;
        if (__builtin_mul_overflow(t->elements, from->dim[i], &t->elements) ||
            __builtin_mul_overflow(from->dim[i] - 1, from->stride[i], &span) ||
            __builtin_add_overflow(*last, span, last))
            return false;
    }
    return !__builtin_mul_overflow(t->elements, from->item_bytes, &t->bytes);
}

/* Elements that lie one after another, from the last dimension on; 0 where a dimension steps less than the ones after it
 * take: a transposed tensor, or an expanded one. The storage holds the span, so nothing here is too large. */
static int64_t run_of(const dram_st_tensor *t)
{
    int64_t run = 1, extent = 1;
    bool together = true;
    for (int d = t->rank - 1; d >= 0; d--) {
        if (t->dim[d] == 1) continue;
        if (t->stride[d] < extent) return 0;
        together = together && t->stride[d] == run;
        if (together) run *= t->dim[d];
        extent = t->stride[d] * (t->dim[d] - 1) + extent;
    }
    return run;
}

static dram_status place(const archive *a, const char *folder, int length, const dram_state_tensor *from,
                         dram_st_tensor *t)
{
    char key[40];
    int64_t last, storage_bytes;
    snprintf(key, sizeof key, "data/%.*s", from->key_length, from->key);
    const member *m = find(a, folder, length, key);
    if (!m)
        return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" lies in %s, which is not there", a->path, t->name, key);
    TRY(check_stored(a, m));
    if (__builtin_mul_overflow(from->storage_items, from->item_bytes, &storage_bytes) || storage_bytes != m->bytes)
        return dram_fail(DRAM_ERR_FORMAT,
                         "%s: %s, of tensor \"%s\", has %" PRId64 " bytes instead of %" PRId64 " numbers of %d bytes",
                         a->path, key, t->name, m->bytes, from->storage_items, from->item_bytes);
    t->dtype = from->dtype;
    t->dtype_name = from->dtype_name;
    t->rank = from->rank;
    memcpy(t->dim, from->dim, sizeof t->dim);
    memcpy(t->stride, from->stride, sizeof t->stride);
    if (!measure(from, t, &last) || from->offset > from->storage_items || (t->elements && last >= from->storage_items))
        return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" ends beyond %s, where it lies", a->path, t->name, key);
    t->begin = m->at + from->offset * from->item_bytes;
    if (t->elements) t->run = run_of(t);
    return DRAM_OK;
}

static dram_status fill(dram_st *st, const archive *a, const char *folder, int length, const dram_state_dict *dict)
{
    st->tensors = dram_calloc((size_t)dict->count, sizeof *st->tensors);
    if (!st->tensors) return dram_table_no_memory(st->path);
    for (int i = 0; i < dict->count; i++) {
        const dram_state_tensor *from = &dict->tensors[i];
        dram_st_tensor *t = &st->tensors[st->count];
        TRY(dram_table_name(st->path, from->name, (size_t)from->name_length, &t->name));
        st->count++;
        TRY(place(a, folder, length, from, t));
    }
    return dram_table_sort(st);
}

dram_status dram_table_read_torch(dram_st *st)
{
    dram_status status;
    const member *m;
    int length = 0;
    unsigned char *bytes = NULL;
    dram_state_dict dict = {0};
    archive *a = dram_calloc(1, sizeof *a);
    if (!a) return dram_table_no_memory(st->path);
    a->st = st;
    a->path = st->path;
    TRY_GOTO(read_directory(a), done);
    TRY_GOTO(find_pickle(a, &m, &length), done);
    TRY_GOTO(check_byte_order(a, m->name, length), done);
    TRY_GOTO(read_pickle(a, m, &bytes, &dict), done);
    st->taken = dict.taken;
    st->beside = dict.beside;
    status = fill(st, a, m->name, length, &dict);
done:
    dram_free(dict.tensors);
    dram_free(bytes);
    for (int i = 0; i < a->n; i++) dram_free(a->members[i].name);
    dram_free(a->members);
    dram_free(a);
    return status;
}
