/* pth: writes files as torch.save does, and wrong ones. Include after cmocka.h. */
#ifndef DRAM_TESTS_IO_PTH_H
#define DRAM_TESTS_IO_PTH_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* ---- bytes ---- */

typedef struct {
    unsigned char *at;
    size_t n, room;
    uint64_t begin; /* of an archive's second part: where in the file it lies */
} byte_buffer;

static inline void add(byte_buffer *b, const void *from, size_t n)
{
    if (b->n + n > b->room) {
        b->room = 2 * (b->n + n) + 64;
        b->at = realloc(b->at, b->room);
        assert_non_null(b->at);
    }
    if (n) memcpy(b->at + b->n, from, n);
    b->n += n;
}

static inline void add_number(byte_buffer *b, uint64_t number, int size)
{
    for (int i = 0; i < size; i++) add(b, &(unsigned char){(unsigned char)(i < 8 ? number >> (8 * i) : 0)}, 1);
}

static inline void add_text(byte_buffer *b, const char *text)
{
    add(b, text, strlen(text));
}

/* ---- pickles ---- */

/* Opcodes, given as the characters they are, and what follows them: %t a text, %i an integer, %g "module name". */
static inline void pickle(byte_buffer *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    for (; *format; format++) {
        if (*format == ' ') continue;
        if (*format != '%') {
            add(b, format, 1);
            continue;
        }
        const char *text;
        switch (*++format) {
        case 't':
            text = va_arg(args, const char *);
            add_text(b, "X");
            add_number(b, strlen(text), 4);
            add_text(b, text);
            break;
        case 'g':
            text = va_arg(args, const char *);
            add_text(b, "c");
            for (; *text; text++) add(b, *text == ' ' ? "\n" : text, 1);
            add_text(b, "\n");
            break;
        default: {
            int64_t i = va_arg(args, int64_t);
            if (i >= 0 && i < 256) {
                add_text(b, "K");
                add_number(b, (uint64_t)i, 1);
            } else {
                add(b, "\x8a\x08", 2);
                add_number(b, (uint64_t)i, 8);
            }
        }
        }
    }
    va_end(args);
}

typedef struct {
    const char *type, *key; /* "FloatStorage"; of its storage */
    int64_t items, offset;
    int rank;
    int64_t dim[9], stride[9];
} pth_tensor;

static inline void pickle_counts(byte_buffer *b, const int64_t *number, int n)
{
    pickle(b, "(");
    for (int i = 0; i < n; i++) pickle(b, "%i", number[i]);
    pickle(b, "t");
}

static inline void pickle_tensor(byte_buffer *b, const pth_tensor *t)
{
    char type[64];
    snprintf(type, sizeof type, "torch %s", t->type);
    pickle(b, "%g ( (%t%g%t%t%i t Q %i", "torch._utils _rebuild_tensor_v2", "storage", type, t->key, "cpu", t->items,
           t->offset);
    pickle_counts(b, t->dim, t->rank);
    pickle_counts(b, t->stride, t->rank);
    pickle(b, "\x89 %g)R tR", "collections OrderedDict");
}

/* ---- archives ---- */

typedef struct {
    const char *name;
    const void *data;
    size_t size;
    /* lies */
    int method, flags;   /* of the directory and the member's own head */
    int64_t more;        /* added to the sizes in the directory */
    uint32_t crc_change; /* added to its CRC */
    uint64_t at;         /* instead of where it lies, unless 0 */
    size_t name_length;  /* instead of the name's, unless 0 */
} zip_member;

enum { ZIP64 = 1 };

static inline size_t name_length(const zip_member *m)
{
    return m->name_length ? m->name_length : strlen(m->name);
}

static inline void zip_directory(byte_buffer *b, const zip_member *m, int n, const uint64_t *place, const uint32_t *crc,
                                 int how)
{
    uint64_t begin = b->begin + b->n;
    for (int i = 0; i < n; i++) {
        uint64_t size = m[i].size + (uint64_t)m[i].more, at = m[i].at ? m[i].at : place[i];
        add(b, "PK\1\2", 4);
        add_number(b, 45, 2);
        add_number(b, 45, 2);
        add_number(b, (uint64_t)(m[i].flags | 0x808), 2);
        add_number(b, (uint64_t)m[i].method, 2);
        add_number(b, 0, 4); /* time */
        add_number(b, crc[i] + m[i].crc_change, 4);
        add_number(b, how & ZIP64 ? 0xffffffff : size, 4);
        add_number(b, how & ZIP64 ? 0xffffffff : size, 4);
        add_number(b, name_length(&m[i]), 2);
        add_number(b, how & ZIP64 ? 28 : 0, 2);
        add_number(b, 0, 2 + 2 + 2 + 4); /* comment, disk, attributes */
        add_number(b, how & ZIP64 ? 0xffffffff : at, 4);
        add(b, m[i].name, name_length(&m[i]));
        if (how & ZIP64) {
            add_number(b, 1, 2);
            add_number(b, 24, 2);
            add_number(b, size, 8);
            add_number(b, size, 8);
            add_number(b, at, 8);
        }
    }
    uint64_t end = b->begin + b->n;
    if (how & ZIP64) {
        add(b, "PK\6\6", 4);
        add_number(b, 44, 8);
        add_number(b, 45, 2);
        add_number(b, 45, 2);
        add_number(b, 0, 8);
        add_number(b, (uint64_t)n, 8);
        add_number(b, (uint64_t)n, 8);
        add_number(b, end - begin, 8);
        add_number(b, begin, 8);
        add(b, "PK\6\7", 4);
        add_number(b, 0, 4);
        add_number(b, end, 8);
        add_number(b, 1, 4);
    }
    add(b, "PK\5\6", 4);
    add_number(b, 0, 4);
    add_number(b, how & ZIP64 ? 0xffff : (uint64_t)n, 2);
    add_number(b, how & ZIP64 ? 0xffff : (uint64_t)n, 2);
    add_number(b, how & ZIP64 ? 0xffffffff : end - begin, 4);
    add_number(b, how & ZIP64 ? 0xffffffff : begin, 4);
    add_number(b, 0, 2);
}

/* As torch writes it: stored, sizes after the data. */
static inline void zip(byte_buffer *b, const zip_member *m, int n, int how)
{
    uint64_t place[32];
    uint32_t crc[32];
    assert_true(n <= 32);
    for (int i = 0; i < n; i++) {
        place[i] = b->n;
        crc[i] = (uint32_t)crc32(0, m[i].data, (uInt)m[i].size);
        add(b, "PK\3\4", 4);
        add_number(b, 0, 2);
        add_number(b, (uint64_t)(m[i].flags | 0x808), 2);
        add_number(b, (uint64_t)m[i].method, 2);
        add_number(b, 0, 4 + 4 + 4 + 4);
        add_number(b, name_length(&m[i]), 2);
        add_number(b, 0, 2);
        add(b, m[i].name, name_length(&m[i]));
        add(b, m[i].data, m[i].size);
        add(b, "PK\7\10", 4);
        add_number(b, crc[i], 4);
        add_number(b, m[i].size, how & ZIP64 ? 8 : 4);
        add_number(b, m[i].size, how & ZIP64 ? 8 : 4);
    }
    zip_directory(b, m, n, place, crc, how);
}

#endif
