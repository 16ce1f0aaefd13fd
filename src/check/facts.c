#include "check/facts.h"

#include <string.h>

#include "base/alloc.h"
#include "data/look.h"

enum { CHUNK = 1 << 18, LONGEST_NUMBER = 10 };

void dram_desk_free(dram_desk *desk)
{
    for (int i = 0; i < desk->chunks; i++) dram_free(desk->chunk[i]);
    dram_free(desk->chunk);
    *desk = (dram_desk){0};
}

int64_t dram_facts_time(const struct stat *info)
{
    return (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec;
}

bool dram_facts_stat(const char *path, dram_facts *facts)
{
    struct stat info;
    *facts = (dram_facts){.size = -1};
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) return false;
    facts->size = info.st_size;
    facts->time = dram_facts_time(&info);
    return true;
}

/* A file that changed while it was read is not to be kept. */
static void settle(const char *path, dram_facts *facts)
{
    dram_facts now;
    if (!dram_facts_stat(path, &now) || now.size != facts->size || now.time != facts->time) facts->size = -1;
}

static dram_status bad(dram_facts *facts, dram_status status)
{
    *facts = (dram_facts){.size = -1, .depth = DRAM_DEPTH_HEADER, .bad = 1, .unread = status == DRAM_ERR_IO};
    return status;
}

static void take_header(const dram_image_header *header, dram_facts *facts)
{
    facts->height = header->height;
    facts->width = header->width;
    facts->orientation = (uint8_t)header->orientation;
    facts->bits = (uint8_t)header->bits;
    facts->is_png = strcmp(header->format, "PNG") == 0;
    facts->depth = DRAM_DEPTH_HEADER;
}

dram_status dram_facts_image(const char *path, int64_t max_bytes, dram_facts *facts)
{
    uint8_t *bytes;
    size_t n;
    dram_image_header header;
    dram_facts_stat(path, facts); /* that it is not there, the next line says */
    dram_status status = dram_image_read(path, max_bytes, &bytes, &n);
    if (status == DRAM_OK) status = dram_image_look(bytes, n, path, &header);
    if (status == DRAM_OK) {
        take_header(&header, facts);
        facts->hash = dram_hash_128(bytes, n);
        settle(path, facts);
    }
    dram_free(bytes);
    return status == DRAM_OK || status == DRAM_ERR_MEMORY ? status : bad(facts, status);
}

/* ---- values: numbers in groups of seven bits, the lowest first ---- */

static uint8_t *put(uint8_t *to, uint64_t number)
{
    for (; number >= 0x80; number >>= 7) *to++ = (uint8_t)(number | 0x80);
    *to++ = (uint8_t)number;
    return to;
}

/* NULL: there is no whole number before the end. */
static const uint8_t *get(const uint8_t *from, const uint8_t *end, uint64_t *number)
{
    *number = 0;
    for (int shift = 0; from && from < end && shift < 64; shift += 7) {
        *number |= (uint64_t)(*from & 0x7f) << shift;
        if (*from++ < 0x80) return from;
    }
    return NULL;
}

static dram_status pack(dram_desk *desk, dram_facts *facts)
{
    const dram_label_values *v = &desk->values;
    int n = v->n < DRAM_LABEL_VALUES ? v->n : DRAM_LABEL_VALUES;
    size_t most = (size_t)(2 + 3 * n) * LONGEST_NUMBER;
    if (!desk->chunks || desk->used + most > CHUNK) {
        uint8_t *chunk = dram_alloc(CHUNK);
        if (!chunk || !DRAM_GROW(desk->chunk, desk->room, desk->chunks + 1)) {
            dram_free(chunk);
            return dram_fail(DRAM_ERR_MEMORY, "no memory to look at labels");
        }
        desk->chunk[desk->chunks++] = chunk;
        desk->used = 0;
    }
    uint8_t *begin = desk->chunk[desk->chunks - 1] + desk->used, *to = begin;
    to = put(to, v->color);
    to = put(to, (uint64_t)v->n);
    for (int i = 0; i < n; i++) {
        to = put(to, v->found[i].value);
        to = put(to, v->found[i].color);
        to = put(to, (uint64_t)v->found[i].pixels);
    }
    facts->packed = begin;
    facts->packed_bytes = (int)(to - begin);
    desk->used += (size_t)(to - begin);
    return DRAM_OK;
}

bool dram_facts_values(const dram_facts *facts, dram_label_values *out)
{
    const uint8_t *at = facts->packed, *end = at + facts->packed_bytes;
    uint64_t color, n, number[3];
    at = get(at, end, &color);
    at = get(at, end, &n);
    if (!at || color > 1 || n > DRAM_LABEL_VALUES + 1) return false;
    *out = (dram_label_values){.height = facts->height, .width = facts->width, .n = (int)n, .color = color != 0};
    for (int i = 0; i < out->n && i < DRAM_LABEL_VALUES; i++) {
        for (int k = 0; k < 3; k++) at = get(at, end, &number[k]);
        if (!at || number[0] > UINT32_MAX || number[1] > UINT32_MAX || number[2] > INT64_MAX / DRAM_LABEL_VALUES)
            return false;
        out->found[i].value = (uint32_t)number[0];
        out->found[i].color = (uint32_t)number[1];
        out->found[i].pixels = (int64_t)number[2];
    }
    return at == end;
}

dram_status dram_facts_label(dram_desk *desk, const char *path, dram_depth depth, int64_t max_bytes, dram_facts *facts)
{
    uint8_t *bytes;
    size_t n;
    dram_image_header header;
    dram_facts_stat(path, facts);
    dram_status status = dram_image_read(path, max_bytes, &bytes, &n);
    if (status == DRAM_OK && depth == DRAM_DEPTH_PIXELS) {
        status = dram_label_look(bytes, n, path, max_bytes, &desk->values);
        if (status == DRAM_OK) status = pack(desk, facts);
        facts->height = desk->values.height;
        facts->width = desk->values.width;
        facts->depth = DRAM_DEPTH_PIXELS;
        facts->is_png = 1;
    } else if (status == DRAM_OK) {
        status = dram_image_look(bytes, n, path, &header);
        if (status == DRAM_OK) take_header(&header, facts);
    }
    if (status == DRAM_OK) settle(path, facts);
    dram_free(bytes);
    return status == DRAM_OK || status == DRAM_ERR_MEMORY ? status : bad(facts, status);
}
