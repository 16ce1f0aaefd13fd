/* Opens a file of tensors by its first bytes, and reads tensors. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/half.h"
#include "base/signature.h"
#include "io/path.h"
#include "io/tensor_table.h"

enum { CHUNK = 1 << 14, HEAD = 512, MAX_SHARDS = 256 };

static const struct {
    const char *name;
    int bytes;
} dtypes[] = {[DRAM_ST_F32] = {"F32", 4},
              [DRAM_ST_F16] = {"F16", 2},
              [DRAM_ST_BF16] = {"BF16", 2},
              [DRAM_ST_I64] = {"I64", 8},
              [DRAM_ST_OTHER] = {"another type", 0}};

const char *dram_st_dtype_name(dram_st_dtype dtype)
{
    return dtypes[dtype].name;
}

int dram_st_dtype_bytes(dram_st_dtype dtype)
{
    return dtypes[dtype].bytes;
}

/* ---- what a file is ---- */

#define SAVE_AGAIN "in Python, torch.save(torch.load(OLD), NEW) with torch 1.6 or later writes what dram reads"

/* Files that people have in the place of weights, by their bytes at `at`. */
static const dram_signature others[] = {
    DRAM_SIGNATURE_LFS,
    {0, 13, "\x80\2\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P", "written by torch before 1.6, in the old format: " SAVE_AGAIN},
    {257, 5, "ustar", "a tar archive (torch before 0.4, or packed): unpack it, or " SAVE_AGAIN},
    {0, 2, "\x80\2", "a bare pickle, not made by torch.save: " SAVE_AGAIN},
    {0, 2, "\x80\3", "a bare pickle, not made by torch.save: " SAVE_AGAIN},
    {0, 2, "\x80\4", "a bare pickle, not made by torch.save: " SAVE_AGAIN},
    {0, 2, "\x80\5", "a bare pickle, not made by torch.save: " SAVE_AGAIN},
    {0, 4, "PK\5\6", "an empty zip archive"},
    {0, 2, "\x1f\x8b", "compressed by gzip: unpack it first"},
    {0, 3, "BZh", "compressed by bzip2: unpack it first"},
    {0, 5,
     "\xfd"
     "7zXZ",
     "compressed by xz: unpack it first"},
    {0, 4, "\x28\xb5\x2f\xfd", "compressed by zstd: unpack it first"},
    {0, 6, "7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"},
    {0, 4, "\x89HDF", "an HDF5 file (Keras): dram reads safetensors and what torch.save writes"},
    {0, 6, "\x93NUMPY", "a NumPy array: dram reads safetensors and what torch.save writes"},
    {0, 4, "GGUF", "a GGUF file: dram reads safetensors and what torch.save writes"},
};

static const char *name_other(const char *head, size_t n)
{
    static const char *const page[] = {"<!doctype", "<html", "<?xml", "<head", "<body"};
    const char *text = dram_signature_find(others, sizeof others / sizeof others[0], head, n);
    if (text || dram_signature_word(page, sizeof page / sizeof page[0], head, n) < 0) return text;
    return "a web page, as a failed download leaves: download the file itself";
}

/* Reads the directory of a file that is open. *json: it may be text of JSON instead, and was not read. */
static dram_status read_table(dram_st *st, bool *json)
{
    char head[HEAD];
    uint64_t length = 0;
    size_t n = st->bytes < HEAD ? (size_t)st->bytes : HEAD;
    *json = false;
    TRY(dram_table_read_at(st, head, (int64_t)n, 0));
    if (n >= 8) memcpy(&length, head, 8);
    if (n >= 4 && memcmp(head, "PK\3\4", 4) == 0 && (n < 9 || head[8] != '{')) return dram_table_read_torch(st);
    if (length > DRAM_ST_MAX_HEADER || n < 9 || head[8] != '{') {
        const char *other = name_other(head, n);
        if (other) return dram_fail(DRAM_ERR_FORMAT, "%s: it is %s", st->path, other);
        *json = n && head[0] == '{' && !memchr(head, 0, n);
        if (*json) return DRAM_OK;
    }
    return dram_table_read_safetensors(st);
}

/* ---- several files under an index ---- */

static dram_status no_index(const dram_st *st)
{
    return dram_fail(DRAM_ERR_FORMAT, "%s: it is JSON text, and no index of files of weights (weight_map)", st->path);
}

/* The shard of this name, opened when it is met first. */
static dram_status shard_of(dram_st *st, const char *name, int *shard)
{
    dram_status status;
    char *folder = NULL, *path = NULL;
    bool json = false;
    if (!name[0] || strchr(name, '/'))
        return dram_fail(DRAM_ERR_FORMAT, "%s: its weight_map names a file that is not beside it", st->path);
    TRY_GOTO(dram_path_folder(st->path, &folder), done);
    TRY_GOTO(dram_path_join(folder, name, &path), done);
    for (*shard = 0; *shard < st->n_shards; ++*shard)
        if (strcmp(st->shards[*shard]->path, path) == 0) goto done;
    if (*shard == MAX_SHARDS) {
        status = dram_fail(DRAM_ERR_FORMAT, "%s: it names more than %d files", st->path, MAX_SHARDS);
        goto done;
    }
    TRY_GOTO(dram_table_open(path, &st->shards[*shard]), done);
    st->n_shards++;
    TRY_GOTO(read_table(st->shards[*shard], &json), done);
    if (json) status = dram_fail(DRAM_ERR_FORMAT, "%s: it is JSON text, and no file of weights", path);
done:
    dram_free(folder);
    dram_free(path);
    return status;
}
static dram_status add_from_shard(dram_st *st, const char *name, const char *file)
{
    int shard = 0;
    TRY(shard_of(st, file, &shard));
    const dram_st_tensor *from = dram_st_find(st->shards[shard], name);
    if (!from)
        return dram_fail(DRAM_ERR_FORMAT, "%s: it has no tensor \"%.256s\", which %s says is there",
                         st->shards[shard]->path, name, st->path);
    dram_st_tensor *t = &st->tensors[st->count];
    *t = *from;
    t->shard = shard;
    t->name = dram_strdup(name);
    if (!t->name) return dram_table_no_memory(st->path);
    st->count++;
    return DRAM_OK;
}

static dram_status read_index(dram_st *st)
{
    dram_status status;
    cJSON *root;
    const cJSON *item;
    TRY(dram_json_read(st->path, &root));
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(root, "weight_map");
    if (!cJSON_IsObject(map)) {
        status = no_index(st);
        goto done;
    }
    st->tensors = dram_calloc((size_t)cJSON_GetArraySize(map), sizeof *st->tensors);
    st->shards = dram_calloc(MAX_SHARDS, sizeof *st->shards);
    status = st->tensors && st->shards ? DRAM_OK : dram_table_no_memory(st->path);
    cJSON_ArrayForEach(item, map)
    {
        if (status == DRAM_OK)
            status = cJSON_IsString(item) ? add_from_shard(st, item->string, item->valuestring) : no_index(st);
    }
    if (status == DRAM_OK) status = dram_table_sort(st);
done:
    cJSON_Delete(root);
    return status;
}

dram_status dram_st_open(const char *path, dram_st **out)
{
    dram_status status;
    dram_st *st;
    bool json = false;
    *out = NULL;
    TRY(dram_table_open(path, &st));
    TRY_GOTO(read_table(st, &json), fail);
    if (json) TRY_GOTO(read_index(st), fail);
    *out = st;
    return DRAM_OK;
fail:
    dram_st_close(st);
    return status;
}

/* A file that does not open has its own bytes: whoever loads it says why. */
dram_status dram_st_hash(const char *path, const volatile sig_atomic_t *stop, char out[DRAM_HASH_SIZE])
{
    dram_status status;
    dram_st *st = NULL;
    char hash[(MAX_SHARDS + 1) * DRAM_HASH_SIZE] = "";
    if (dram_st_open(path, &st) != DRAM_OK) dram_error_clear();
    TRY_GOTO(dram_hash_file(path, stop, out), done);
    if (!st || !st->n_shards) goto done;
    memcpy(hash, out, DRAM_HASH_SIZE);
    for (int i = 0; i < st->n_shards; i++)
        TRY_GOTO(dram_hash_file(st->shards[i]->path, stop, hash + (i + 1) * DRAM_HASH_SIZE), done);
    dram_hash_memory(hash, (size_t)(st->n_shards + 1) * DRAM_HASH_SIZE, out);
done:
    dram_st_close(st);
    return status;
}

bool dram_st_choice(const dram_st *st, const char **taken, const char **beside)
{
    *taken = st->taken;
    *beside = st->beside;
    return st->beside != NULL;
}

char *dram_st_format_shape(const dram_st_tensor *tensor, char *out, int size)
{
    int n = snprintf(out, (size_t)size, "[");
    for (int i = 0; i < tensor->rank && n < size; i++)
        n += snprintf(out + n, (size_t)(size - n), "%s%" PRId64, i ? "," : "", tensor->dim[i]);
    if (n < size) snprintf(out + n, (size_t)(size - n), "]");
    return out;
}

/* ---- reading ---- */

static dram_status check_read(const dram_st *st, const dram_st_tensor *t, int64_t offset, int64_t count)
{
    if (dram_st_dtype_bytes(t->dtype) == 0)
        return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" has dtype %s, which dram does not read", st->path, t->name,
                         t->dtype_name);
    if (offset < 0 || count < 0 || offset > t->elements || count > t->elements - offset)
        return dram_fail(DRAM_ERR_INTERNAL,
                         "%s: elements %" PRId64 " + %" PRId64 " of tensor \"%s\", which has %" PRId64, st->path,
                         offset, count, t->name, t->elements);
    if (t->elements && !t->run)
        return dram_fail(
            DRAM_ERR_FORMAT,
            "%s: the elements of tensor \"%s\" do not lie in order (it is transposed or expanded): save it "
            "again after tensor.contiguous()",
            st->path, t->name);
    return DRAM_OK;
}

/* Where in the file, in elements after the tensor's first, its run of that number begins. */
static int64_t run_begin(const dram_st_tensor *t, int64_t run)
{
    int outer = t->rank;
    int64_t at = 0;
    for (int64_t inner = 1; outer > 0 && inner < t->run; outer--) inner *= t->dim[outer - 1];
    for (int d = outer - 1; d >= 0; d--) {
        at += run % t->dim[d] * t->stride[d];
        run /= t->dim[d];
    }
    return at;
}

dram_status dram_st_read_raw(const dram_st *st, const dram_st_tensor *t, int64_t offset, int64_t count, void *dst)
{
    TRY(check_read(st, t, offset, count));
    const dram_st *in = st->n_shards ? st->shards[t->shard] : st;
    int64_t bytes = dram_st_dtype_bytes(t->dtype), begin = in->data_start + t->begin;
    char *to = dst;
    while (count > 0) {
        int64_t within = offset % t->run, n = t->run - within < count ? t->run - within : count;
        int64_t first = n == t->elements ? 0 : run_begin(t, offset / t->run) + within;
        TRY(dram_table_read_at(in, to, n * bytes, begin + first * bytes));
        offset += n;
        count -= n;
        to += n * bytes;
    }
    return DRAM_OK;
}

dram_status dram_st_read_f32(const dram_st *st, const dram_st_tensor *t, int64_t offset, int64_t count, float *dst)
{
    uint16_t chunk[CHUNK];
    if (t->dtype != DRAM_ST_F32 && t->dtype != DRAM_ST_F16 && t->dtype != DRAM_ST_BF16)
        return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" has dtype %s, want F32, F16 or BF16", st->path, t->name,
                         t->dtype_name);
    if (t->dtype == DRAM_ST_F32) return dram_st_read_raw(st, t, offset, count, dst);
    TRY(check_read(st, t, offset, count));
    while (count > 0) {
        int64_t n = count < CHUNK ? count : CHUNK;
        TRY(dram_st_read_raw(st, t, offset, n, chunk));
        if (t->dtype == DRAM_ST_F16)
            for (int64_t i = 0; i < n; i++) dst[i] = dram_f16_to_f32(chunk[i]);
        else
            for (int64_t i = 0; i < n; i++) dst[i] = dram_bf16_to_f32(chunk[i]);
        offset += n;
        count -= n;
        dst += n;
    }
    return DRAM_OK;
}
