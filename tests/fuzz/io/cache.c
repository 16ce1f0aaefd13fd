/* Bytes as a cache of embeddings: a byte of choices, the text of cache.json up to a zero where they say so, and
 * embeddings.bin, in which a byte before each record says what of its header is put right.
 * -max_len=640 */
#include <errno.h>
#include <stddef.h>

#include "base/log.h"
#include "fuzz/folder.h"
#include "io/cache.h"

enum { PAYLOAD = 64, RECORD = DRAM_CACHE_HEADER + PAYLOAD, MOST = 8, ROOM = 4096 };
enum { HAS_FACTS = 1, OWN_FACTS = 2 };                                                 /* of the first byte */
enum { MAGIC = 1, KEY = 2, MADE_BY = 4, SLOT = 8, STATE = 16, HASH = 32, CHECK = 64 }; /* of a record's */

/* As src/io/cache.h describes it. */
typedef struct {
    uint64_t magic;
    dram_hash128 key;
    uint64_t payload_hash, made_by, slot;
    uint32_t state, zero;
    uint64_t check;
    uint8_t payload[PAYLOAD];
} record;
_Static_assert(sizeof(record) == RECORD, "a record has no gaps");

static const dram_cache_fact facts[] = {{.name = "teacher", .text = "random:1"},
                                        {.name = "sam_input_size", .number = 512}};
enum { FACTS = sizeof facts / sizeof facts[0] };

static record sound; /* one that dram wrote; slot 0 */
static char right_facts[256];
static size_t n_right_facts;
static int warnings;

static void keep_warning(void *context, dram_log_level level, const char *message)
{
    (void)context;
    must(level == DRAM_LOG_WARNING && strlen(message) > 10 && is_one_line(message));
    warnings++;
}

static dram_cache *opened(void)
{
    dram_cache *c;
    must(dram_cache_open(folder(), facts, FACTS, PAYLOAD, &c) == DRAM_OK);
    return c;
}

static void make_sound(void)
{
    char file[ROOM];
    dram_log_set_sink(keep_warning, NULL);
    dram_cache *c = opened();
    must(dram_cache_put(c, (dram_hash128){1, 2}, sound.payload) == DRAM_OK);
    dram_cache_close(c);
    must(get_from_folder("embeddings.bin", file, sizeof file) == sizeof sound);
    memcpy(&sound, file, sizeof sound);
    n_right_facts = get_from_folder("cache.json", right_facts, sizeof right_facts);
}

static void mend(record *r, int slot, int what)
{
    if (what & MAGIC) r->magic = sound.magic;
    if (what & KEY) r->key = (dram_hash128){r->key.low & 3, 0};
    if (what & MADE_BY) r->made_by = sound.made_by;
    if (what & SLOT) r->slot = (uint64_t)slot;
    if (what & STATE) r->state = r->state % 4;
    if (what & HASH) r->payload_hash = dram_hash_64(r->payload, PAYLOAD);
    if (what & CHECK) r->check = dram_hash_64(r, offsetof(record, check));
}

/* Returns the bytes of the file; a last record may be cut short. */
static size_t make_records(const uint8_t *data, size_t size, record out[MOST])
{
    size_t bytes = 0;
    for (int i = 0; i < MOST && size > 1; i++) {
        size_t n = size - 1 < RECORD ? size - 1 : RECORD;
        memset(&out[i], 0, sizeof out[i]);
        memcpy(&out[i], data + 1, n);
        mend(&out[i], i, data[0]);
        bytes += n;
        data += 1 + n;
        size -= 1 + n;
    }
    return bytes;
}

static bool has_header(const record *r, int slot)
{
    return r->magic == sound.magic && r->slot == (uint64_t)slot && r->check == dram_hash_64(r, offsetof(record, check));
}

/* The key's record in a file of n whole ones: the first that is done. NULL: there is none. */
static const record *find(const record *r, int n, dram_hash128 key, int *how_many)
{
    const record *first = NULL;
    *how_many = 0;
    for (int i = n - 1; i >= 0; i--) {
        if (!has_header(&r[i], i) || r[i].state != 2 || r[i].key.low != key.low || r[i].key.high != key.high) continue;
        first = &r[i];
        ++*how_many;
    }
    return first;
}

/* What the file is to be taken for. *anew: not one record is sound. */
static dram_status expected(const record *r, size_t bytes, bool with_facts, bool *anew)
{
    int n = 0;
    *anew = false;
    for (int i = 0; i < (int)(bytes / RECORD) + (bytes % RECORD >= DRAM_CACHE_HEADER); i++) {
        if (!has_header(&r[i], i)) continue;
        if (r[i].made_by != sound.made_by) return DRAM_ERR_CONFIG;
        n++;
    }
    if (n || !bytes) return DRAM_OK;
    *anew = with_facts;
    return with_facts ? DRAM_OK : DRAM_ERR_FORMAT;
}

/* embeddings.bin, which is never replaced, is held open. */
static int records_fd(void)
{
    static int fd = -1;
    if (fd < 0) fd = open(path_in_folder("embeddings.bin"), O_RDWR);
    must(fd >= 0);
    return fd;
}

static void put_files(const record *r, size_t bytes, const void *facts_text, size_t n)
{
    must(pwrite(records_fd(), r, bytes, 0) == (ssize_t)bytes && ftruncate(records_fd(), (off_t)bytes) == 0);
    if (facts_text)
        put_in_folder("cache.json", facts_text, n);
    else
        must(unlink(path_in_folder("cache.json")) == 0 || errno == ENOENT);
}

static void check_records(const record *r, size_t bytes)
{
    static char now[ROOM];
    must(pread(records_fd(), now, sizeof now, 0) == (ssize_t)bytes && memcmp(now, r, bytes) == 0);
}

static void check_facts(const void *text, size_t n)
{
    static char now[ROOM];
    must(get_from_folder("cache.json", now, sizeof now) == n && memcmp(now, text, n) == 0);
}

/* A key that is not there, or not any more, can be put there. */
static void check_put(dram_cache *c, dram_hash128 key)
{
    uint8_t put[PAYLOAD], got[PAYLOAD];
    memset(put, 0x5a, sizeof put);
    must(!dram_cache_has(c, key));
    must(dram_cache_put(c, key, put) == DRAM_OK && dram_cache_has(c, key));
    must(dram_cache_get(c, key, got) == DRAM_OK && memcmp(put, got, PAYLOAD) == 0);
}

static void check_key(dram_cache *c, const record *r, int n, dram_hash128 key)
{
    uint8_t got[PAYLOAD];
    int how_many;
    const record *of = find(r, n, key, &how_many);
    must(dram_cache_has(c, key) == (of != NULL));
    if (of && of->payload_hash == dram_hash_64(of->payload, PAYLOAD)) {
        must(dram_cache_get(c, key, got) == DRAM_OK && memcmp(got, of->payload, PAYLOAD) == 0);
    } else if (of) {
        must(dram_cache_get(c, key, got) == DRAM_ERR_FORMAT);
        refused();
        check_put(c, key);
    }
}

/* Every record is found or is not, as it is; what is put there stays. */
static void check_cache(dram_cache *c, const record *r, int n)
{
    uint8_t got[PAYLOAD];
    const dram_hash128 other = {77, 78};
    int how_many;
    for (int i = 0; i < n; i++) {
        bool before = false;
        for (int k = 0; k < i; k++) before = before || (r[k].key.low == r[i].key.low && r[k].key.high == r[i].key.high);
        if (!before) check_key(c, r, n, r[i].key);
    }
    if (!find(r, n, other, &how_many)) check_put(c, other);
    dram_cache_close(c);
    if (n % 2) return; /* it takes long */
    c = opened();
    must(dram_cache_has(c, other));
    for (int i = 0; i < n; i++) {
        if (!find(r, n, r[i].key, &how_many) || how_many > 1) continue;
        must(dram_cache_get(c, r[i].key, got) == DRAM_OK);
        if (r[i].payload_hash == dram_hash_64(r[i].payload, PAYLOAD) && find(r, n, r[i].key, &how_many) == &r[i])
            must(memcmp(got, r[i].payload, PAYLOAD) == 0);
    }
    dram_cache_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static record r[MOST];
    if (!right_facts[0]) make_sound();
    if (size < 1) return 0;
    int64_t before = dram_alloc_bytes();
    int what = *data++;
    size--;
    const uint8_t *text = data, *zero = what & OWN_FACTS ? memchr(data, 0, size) : NULL;
    size_t n_text = zero ? (size_t)(zero - data) : 0;
    bool own = zero, with_facts = own || what & HAS_FACTS, anew;
    if (own) data += n_text + 1, size -= n_text + 1;
    size_t bytes = make_records(data, size, r);
    const void *json = own ? (const void *)text : right_facts;
    if (!own) n_text = n_right_facts;
    put_files(r, bytes, with_facts ? json : NULL, n_text);
    warnings = 0;
    dram_cache *c;
    dram_status status = dram_cache_open(folder(), facts, FACTS, PAYLOAD, &c),
                want = expected(r, bytes, with_facts, &anew);
    if (status != DRAM_OK) {
        must(!c && (own ? status == DRAM_ERR_FORMAT || status == DRAM_ERR_CONFIG : status == want) && !warnings);
        refused();
        check_records(r, bytes);
        if (with_facts) check_facts(json, n_text);
    } else {
        must(!*dram_error_text() && want == DRAM_OK && warnings == anew);
        if (!own && size % 4 == 0) check_facts(json, n_text);
        check_cache(c, r, (int)(bytes / RECORD));
    }
    must(dram_alloc_bytes() == before);
    return 0;
}
