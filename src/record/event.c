#include "record/event.h"

#include <string.h>

/* Numbers of fields, in the messages that have them. */
enum { EVENT_WALL_TIME = 1, EVENT_STEP = 2, EVENT_FILE_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION_LOG = 7 };
enum { SUMMARY_VALUE = 1 };
enum { VALUE_TAG = 1, VALUE_SIMPLE = 2, VALUE_IMAGE = 4, VALUE_TENSOR = 8, VALUE_METADATA = 9 };
enum { IMAGE_HEIGHT = 1, IMAGE_WIDTH = 2, IMAGE_COLORSPACE = 3, IMAGE_ENCODED = 4 };
enum { TENSOR_TYPE = 1, TENSOR_SHAPE = 2, TENSOR_STRING = 8 };
enum { METADATA_PLUGIN = 1, PLUGIN_NAME = 1, SESSION_STATUS = 1 };
enum { STRING_TYPE = 7, RGB = 3, SESSION_START = 1 };
/* How a field's value is written. */
enum { VARINT = 0, EIGHT_BYTES = 1, LENGTH = 2, FOUR_BYTES = 5 };

/* ---- checksums ---- */

/* CRC-32C (polynomial 0x82f63b78, reflected), by half bytes. */
static uint32_t crc32c(const uint8_t *data, size_t bytes)
{
    static const uint32_t table[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
                                       0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                       0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

static uint32_t masked(const uint8_t *data, size_t bytes)
{
    uint32_t crc = crc32c(data, bytes);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void put_little(uint8_t *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) out[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get_little(const uint8_t *in, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)in[i] << 8 * i;
    return value;
}

/* ---- writing ---- */

static void put(dram_event *e, const void *data, size_t bytes)
{
    e->full |= bytes > e->room - e->n;
    if (e->full || !bytes) return;
    memcpy(e->data + e->n, data, bytes);
    e->n += bytes;
}

static int format_varint(uint64_t value, uint8_t out[10])
{
    int n = 0;
    for (; value >= 0x80; value >>= 7) out[n++] = (uint8_t)(value | 0x80);
    out[n++] = (uint8_t)value;
    return n;
}

static void put_varint(dram_event *e, uint64_t value)
{
    uint8_t bytes[10];
    put(e, bytes, (size_t)format_varint(value, bytes));
}

static void put_key(dram_event *e, int field, int how)
{
    put_varint(e, (uint64_t)(field << 3 | how));
}

static void put_number(dram_event *e, int field, uint64_t value)
{
    put_key(e, field, VARINT);
    put_varint(e, value);
}

static void put_bytes(dram_event *e, int field, const void *data, size_t bytes)
{
    put_key(e, field, LENGTH);
    put_varint(e, bytes);
    put(e, data, bytes);
}

static void put_text(dram_event *e, int field, const char *text)
{
    put_bytes(e, field, text, strlen(text));
}

/* A message in a message: its length is put before it once that is known. */
static size_t begin_message(dram_event *e, int field)
{
    put_key(e, field, LENGTH);
    return e->n;
}

static void end_message(dram_event *e, size_t begin)
{
    uint8_t length[10];
    size_t bytes = e->n - begin, more = (size_t)format_varint(bytes, length);
    put(e, length, more); /* for the room */
    if (e->full) return;
    memmove(e->data + begin + more, e->data + begin, bytes);
    memcpy(e->data + begin, length, more);
}

void dram_event_begin(dram_event *e, double wall_time, int64_t step)
{
    uint8_t bytes[8];
    uint64_t bits;
    memcpy(&bits, &wall_time, sizeof bits);
    put_little(bytes, bits, 8);
    e->n = 0;
    e->full = e->room < DRAM_EVENT_HEAD;
    if (e->full) return;
    e->n = DRAM_EVENT_HEAD;
    put_key(e, EVENT_WALL_TIME, EIGHT_BYTES);
    put(e, bytes, 8);
    if (step) put_number(e, EVENT_STEP, (uint64_t)step);
}

void dram_event_version(dram_event *e)
{
    put_text(e, EVENT_FILE_VERSION, "brain.Event:2");
}

void dram_event_start(dram_event *e)
{
    size_t log = begin_message(e, EVENT_SESSION_LOG);
    put_number(e, SESSION_STATUS, SESSION_START);
    end_message(e, log);
}

size_t dram_event_begin_summary(dram_event *e)
{
    return begin_message(e, EVENT_SUMMARY);
}

void dram_event_end_summary(dram_event *e, size_t begin)
{
    end_message(e, begin);
}

static size_t begin_value(dram_event *e, const char *tag)
{
    size_t value = begin_message(e, SUMMARY_VALUE);
    put_text(e, VALUE_TAG, tag);
    return value;
}

void dram_event_scalar(dram_event *e, const char *tag, float number)
{
    uint8_t bytes[4];
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    put_little(bytes, bits, 4);
    size_t value = begin_value(e, tag);
    put_key(e, VALUE_SIMPLE, FOUR_BYTES);
    put(e, bytes, 4);
    end_message(e, value);
}

void dram_event_text(dram_event *e, const char *tag, const char *text, size_t bytes)
{
    size_t value = begin_value(e, tag), tensor = begin_message(e, VALUE_TENSOR);
    put_number(e, TENSOR_TYPE, STRING_TYPE);
    put_bytes(e, TENSOR_SHAPE, "", 0);
    put_bytes(e, TENSOR_STRING, text, bytes);
    end_message(e, tensor);
    size_t metadata = begin_message(e, VALUE_METADATA), plugin = begin_message(e, METADATA_PLUGIN);
    put_text(e, PLUGIN_NAME, "text");
    end_message(e, plugin);
    end_message(e, metadata);
    end_message(e, value);
}

void dram_event_image(dram_event *e, const char *tag, int height, int width, const void *png, size_t bytes)
{
    size_t value = begin_value(e, tag), image = begin_message(e, VALUE_IMAGE);
    put_number(e, IMAGE_HEIGHT, (uint64_t)height);
    put_number(e, IMAGE_WIDTH, (uint64_t)width);
    put_number(e, IMAGE_COLORSPACE, RGB);
    put_bytes(e, IMAGE_ENCODED, png, bytes);
    end_message(e, image);
    end_message(e, value);
}

void dram_event_end(dram_event *e)
{
    uint8_t tail[DRAM_EVENT_TAIL];
    if (e->full) return;
    size_t bytes = e->n - DRAM_EVENT_HEAD;
    put_little(e->data, bytes, 8);
    put_little(e->data + 8, masked(e->data, 8), 4);
    put_little(tail, masked(e->data + DRAM_EVENT_HEAD, bytes), DRAM_EVENT_TAIL);
    put(e, tail, DRAM_EVENT_TAIL);
}

/* ---- checking ---- */

bool dram_event_head(const uint8_t head[DRAM_EVENT_HEAD], uint64_t *bytes)
{
    *bytes = get_little(head, 8);
    return get_little(head + 8, 4) == masked(head, 8);
}

static bool get_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return true;
    }
    return false;
}

bool dram_event_data(const uint8_t *data, size_t bytes, const uint8_t tail[DRAM_EVENT_TAIL], int64_t *step)
{
    const uint8_t *at = data, *end = data + bytes;
    uint64_t key, value;
    *step = 0;
    if (get_little(tail, 4) != masked(data, bytes)) return false;
    while (at < end) {
        if (!get_varint(&at, end, &key)) return false;
        switch (key & 7) {
        case VARINT:
            if (!get_varint(&at, end, &value)) return false;
            if (key >> 3 == EVENT_STEP) *step = (int64_t)value;
            value = 0;
            break;
        case EIGHT_BYTES:
            value = 8;
            break;
        case FOUR_BYTES:
            value = 4;
            break;
        case LENGTH:
            if (!get_varint(&at, end, &value)) return false;
            break;
        default:
            return false;
        }
        if (value > (uint64_t)(end - at)) return false;
        at += value;
    }
    return true;
}
