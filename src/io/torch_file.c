/* Files of torch.save (1.6 and later): a zip archive whose members lie as they are, in one folder of any name.
 *
 *     data.pkl   what was saved, as a pickle; its tensors name their storage, offset, shape and strides
 *     data/KEY   a storage's numbers
 *     byteorder  "little" or "big", since 2.1
 *
 * minizip reads the archive's directory, and tells where the bytes of each member begin. The tensors are then read from
 * there, as those of safetensors are. */
#include <inttypes.h>
#include <minizip/unzip.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "io/state_dict.h"
#include "io/tensor_table.h"

enum { MAX_MEMBERS = 1 << 17, MAX_MEMBER_NAME = 512, MAX_PICKLE = 64 << 20, WINDOW = 1 << 12 };

typedef struct {
    char *name; /* owned */
    int64_t at, bytes;
    uint32_t crc;
    const char *packed; /* why its bytes are not to be had, or NULL */
} member;

typedef struct {
    const dram_st *st;
    const char *path;
    int64_t at;        /* where minizip reads next */
    int64_t window_at; /* what is in the window: minizip reads byte by byte */
    int64_t window_size;
    dram_status status; /* of the first read that failed */
    member *members;    /* sorted by name */
    int n, room;
    unsigned char window[WINDOW];
} archive;

/* ---- minizip reads through these ---- */

static voidpf open_archive(voidpf a, const void *name, int mode)
{
    (void)name;
    (void)mode;
    return a;
}

static uLong read_archive(voidpf opaque, voidpf stream, void *to, uLong size)
{
    archive *a = opaque;
    uLong done = 0;
    (void)stream;
    while (done < size && a->at < a->st->bytes) {
        if (a->at < a->window_at || a->at >= a->window_at + a->window_size) {
            int64_t left = a->st->bytes - a->at;
            a->window_at = a->at;
            a->window_size = left < WINDOW ? left : WINDOW;
            dram_status status = dram_table_read_at(a->st, a->window, a->window_size, a->at);
            if (status != DRAM_OK) {
                a->status = status;
                a->window_size = 0;
                return done;
            }
        }
        int64_t from = a->at - a->window_at;
        uLong n = (uLong)(a->window_size - from) < size - done ? (uLong)(a->window_size - from) : size - done;
        memcpy((char *)to + done, a->window + from, n);
        done += n;
        a->at += (int64_t)n;
    }
    return done;
}

static ZPOS64_T tell_archive(voidpf opaque, voidpf stream)
{
    (void)stream;
    return (ZPOS64_T)((archive *)opaque)->at;
}

static long seek_archive(voidpf opaque, voidpf stream, ZPOS64_T offset, int origin)
{
    archive *a = opaque;
    ZPOS64_T from = origin == ZLIB_FILEFUNC_SEEK_CUR   ? (ZPOS64_T)a->at
                    : origin == ZLIB_FILEFUNC_SEEK_END ? (ZPOS64_T)a->st->bytes
                                                       : 0;
    (void)stream;
    if (offset > (ZPOS64_T)INT64_MAX - from) return -1;
    a->at = (int64_t)(from + offset);
    return 0;
}

static int close_archive(voidpf opaque, voidpf stream)
{
    (void)opaque;
    (void)stream;
    return 0;
}

static int error_of_archive(voidpf opaque, voidpf stream)
{
    (void)stream;
    return ((archive *)opaque)->status != DRAM_OK;
}

/* ---- the directory ---- */

/* What minizip could not read: the system's error, if that is the cause. */
static dram_status damaged(const archive *a, const char *what)
{
    if (a->status != DRAM_OK) return a->status;
    return dram_fail(DRAM_ERR_FORMAT, "%s: truncated or damaged: %s: fetch or write the file again", a->path, what);
}

static dram_status locate(const archive *a, unzFile file, const unz_file_info64 *info, member *m)
{
    int method, level;
    m->crc = (uint32_t)info->crc;
    m->bytes = (int64_t)info->uncompressed_size;
    if (info->flag & 1) m->packed = "encrypted";
    if (!m->packed && info->compression_method != 0) m->packed = "compressed";
    if (m->packed) return DRAM_OK;
    if (unzOpenCurrentFile2(file, &method, &level, 1) != UNZ_OK)
        return damaged(a, "the zip archive's directory does not fit its members");
    ZPOS64_T at = unzGetCurrentFileZStreamPos64(file);
    unzCloseCurrentFile(file);
    if (at > (ZPOS64_T)a->st->bytes || info->uncompressed_size > (ZPOS64_T)a->st->bytes - at ||
        info->compressed_size != info->uncompressed_size)
        return damaged(a, "a member of the zip archive ends beyond the file");
    m->at = (int64_t)at;
    return DRAM_OK;
}

static dram_status add_member(archive *a, unzFile file)
{
    unz_file_info64 info;
    char name[MAX_MEMBER_NAME];
    if (unzGetCurrentFileInfo64(file, &info, name, sizeof name, NULL, 0, NULL, 0) != UNZ_OK)
        return damaged(a, "the zip archive's directory cannot be read");
    if (info.size_filename >= sizeof name)
        return dram_fail(DRAM_ERR_FORMAT, "%s: a member of the zip archive has a name of %lu bytes", a->path,
                         info.size_filename);
    if (a->n == MAX_MEMBERS)
        return dram_fail(DRAM_ERR_FORMAT, "%s: the zip archive has more than %d members", a->path, MAX_MEMBERS);
    void *members = a->members;
    if (!dram_grow(&members, &a->room, a->n + 1, sizeof *a->members)) return dram_table_no_memory(a->path);
    a->members = members;
    member *m = &a->members[a->n];
    *m = (member){.name = dram_strdup(name)};
    if (!m->name) return dram_table_no_memory(a->path);
    a->n++;
    return locate(a, file, &info, m);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const member *)a)->name, ((const member *)b)->name);
}

/* The record that ends an archive ends the file too: minizip would do without it where there is one of zip64. */
static dram_status check_end(const archive *a)
{
    enum { END = 22 };
    char end[END] = "";
    if (a->st->bytes >= END) TRY(dram_table_read_at(a->st, end, END, a->st->bytes - END));
    if (memcmp(end, "PK\5\6", 4) == 0 && end[END - 2] == 0 && end[END - 1] == 0) return DRAM_OK;
    return damaged(a, "the zip archive's directory, which is its end, is not there");
}

static dram_status read_directory(archive *a)
{
    zlib_filefunc64_def functions = {.zopen64_file = open_archive,
                                     .zread_file = read_archive,
                                     .ztell64_file = tell_archive,
                                     .zseek64_file = seek_archive,
                                     .zclose_file = close_archive,
                                     .zerror_file = error_of_archive,
                                     .opaque = a};
    dram_status status = DRAM_OK;
    TRY(check_end(a));
    unzFile file = unzOpen2_64(a->path, &functions);
    if (!file) return damaged(a, "the zip archive's directory cannot be read");
    int more = unzGoToFirstFile(file);
    for (; more == UNZ_OK && status == DRAM_OK; more = status == DRAM_OK ? unzGoToNextFile(file) : more)
        status = add_member(a, file);
    if (status == DRAM_OK && more != UNZ_END_OF_LIST_OF_FILE)
        status = damaged(a, "the zip archive's directory cannot be read");
    unzClose(file);
    if (status != DRAM_OK) return status;
    qsort(a->members, (size_t)a->n, sizeof *a->members, by_name);
    for (int i = 1; i < a->n; i++)
        if (strcmp(a->members[i - 1].name, a->members[i].name) == 0)
            return dram_fail(DRAM_ERR_FORMAT, "%s: the zip archive has two members of one name", a->path);
    return DRAM_OK;
}

/* ---- members ---- */

/* The member of this name in the folder of `length` bytes of `folder`, or NULL. */
static const member *find(const archive *a, const char *folder, int length, const char *name)
{
    char text[MAX_MEMBER_NAME];
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
    status = fill(st, a, m->name, length, &dict);
done:
    dram_free(dict.tensors);
    dram_free(bytes);
    for (int i = 0; i < a->n; i++) dram_free(a->members[i].name);
    dram_free(a->members);
    dram_free(a);
    return status;
}
