/* events: an event file of TensorBoard's, read by the format's own words: nothing of src/record is called. Include after
 * cmocka.h. */
#ifndef DRAM_TESTS_RECORD_EVENTS_H
#define DRAM_TESTS_RECORD_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "support/tempdir.h"

/* One value, or an event without any. */
typedef struct {
    double wall_time;
    int64_t step;
    char version[32], tag[64], plugin[16]; /* "": it has none */
    bool starts, has_scalar;
    uint32_t scalar; /* its bits */
    int64_t height, width, colorspace, type;
    char bytes[16384]; /* of a text or a picture */
    size_t n;
} event_seen;

typedef struct {
    const uint8_t *at, *end;
} event_part;

static inline uint32_t event_crc(const uint8_t *data, size_t bytes)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < 8 * bytes; i++) {
        uint32_t bit = (crc ^ data[i / 8] >> i % 8) & 1;
        crc = crc >> 1 ^ (bit ? 0x82f63b78 : 0);
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static inline uint64_t event_little(const uint8_t *in, int bytes)
{
    uint64_t value = 0;
    while (bytes--) value = value << 8 | in[bytes];
    return value;
}

static inline uint64_t event_varint(event_part *p)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(p->at < p->end && shift < 64);
        value |= (uint64_t)(*p->at & 0x7f) << shift;
        if (!(*p->at++ & 0x80)) return value;
    }
}

/* The next field of a message: its number, and its value as a number or as a part; 0 at the end. */
static inline int event_field(event_part *p, uint64_t *number, event_part *part)
{
    if (p->at == p->end) return 0;
    uint64_t key = event_varint(p);
    int how = (int)(key & 7);
    assert_true(how == 0 || how == 1 || how == 2 || how == 5);
    *number = how == 0 || how == 2 ? event_varint(p) : 0;
    size_t bytes = how == 1 ? 8 : how == 5 ? 4 : how == 2 ? (size_t)*number : 0;
    assert_true(bytes <= (size_t)(p->end - p->at));
    if (how == 1 || how == 5) *number = event_little(p->at, (int)bytes);
    *part = (event_part){p->at, p->at + bytes};
    p->at += bytes;
    return (int)(key >> 3);
}

static inline void event_copy(event_part part, char *out, size_t room)
{
    size_t n = (size_t)(part.end - part.at);
    assert_true(n < room);
    memcpy(out, part.at, n);
    out[n] = '\0';
}

static inline void event_keep(event_part part, event_seen *seen)
{
    event_copy(part, seen->bytes, sizeof seen->bytes);
    seen->n = (size_t)(part.end - part.at);
}

static inline void event_value(event_part value, event_seen *seen)
{
    uint64_t number;
    event_part part, inner;
    for (int f; (f = event_field(&value, &number, &part));) {
        if (f == 1) event_copy(part, seen->tag, sizeof seen->tag);
        if (f == 2) seen->has_scalar = true;
        if (f == 2) seen->scalar = (uint32_t)number;
        for (int g; f == 4 && (g = event_field(&part, &number, &inner));) {
            if (g == 1) seen->height = (int64_t)number;
            if (g == 2) seen->width = (int64_t)number;
            if (g == 3) seen->colorspace = (int64_t)number;
            if (g == 4) event_keep(inner, seen);
        }
        for (int g; f == 8 && (g = event_field(&part, &number, &inner));) {
            if (g == 1) seen->type = (int64_t)number;
            if (g == 2) assert_ptr_equal(inner.at, inner.end); /* a scalar */
            if (g == 8) event_keep(inner, seen);
        }
        for (int g; f == 9 && (g = event_field(&part, &number, &inner));) {
            event_part name = {0};
            assert_int_equal(g, 1);
            assert_int_equal(event_field(&inner, &number, &name), 1);
            event_copy(name, seen->plugin, sizeof seen->plugin);
        }
    }
}

static inline int event_values(event_part event, event_seen *seen, int room)
{
    event_seen common = {0};
    uint64_t number;
    event_part part, inner;
    int n = 0;
    for (int f; (f = event_field(&event, &number, &part));) {
        if (f == 1) memcpy(&common.wall_time, &number, sizeof number);
        if (f == 2) common.step = (int64_t)number;
        if (f == 3) event_copy(part, common.version, sizeof common.version);
        if (f == 7) assert_int_equal(event_field(&part, &number, &inner), 1);
        if (f == 7) common.starts = number == 1;
        for (int g; f == 5 && (g = event_field(&part, &number, &inner)); n++) {
            assert_true(g == 1 && n < room);
            seen[n] = common;
            event_value(inner, &seen[n]);
        }
    }
    assert_true(n < room);
    if (n == 0) seen[n++] = common;
    return n;
}

/* All that a file has; its checksums must be right and its last record whole. Returns how much that is. */
static inline int event_read(const char *path, event_seen *seen, int room)
{
    size_t bytes;
    uint8_t *data = (uint8_t *)get_file(path, &bytes), *at = data, *end = data + bytes;
    int n = 0;
    while (at < end) {
        assert_true(end - at >= 16);
        uint64_t length = event_little(at, 8);
        assert_int_equal(event_little(at + 8, 4), event_crc(at, 8));
        assert_true(length <= (uint64_t)(end - at - 16));
        assert_int_equal(event_little(at + 12 + length, 4), event_crc(at + 12, length));
        n += event_values((event_part){at + 12, at + 12 + length}, seen + n, room - n);
        at += length + 16;
    }
    free(data);
    return n;
}

#endif
