/* event: the records of TensorBoard's event files, made and checked.
 *
 * A file is records, one after the other: u64 length, masked CRC-32C of those 8 bytes, the data, masked CRC-32C of it,
 * all little-endian. The data is a protobuf message, Event, of which this makes the few fields that dram has a use for.
 */
#ifndef DRAM_RECORD_EVENT_H
#define DRAM_RECORD_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A record in the making, in memory of the caller's. What does not fit makes it `full`, and the record of no use. */
typedef struct {
    uint8_t *data; /* [room] */
    size_t n, room;
    bool full;
} dram_event;

enum { DRAM_EVENT_ROOM = 2048 }; /* for everything but texts and pictures: those take as much more as they are long */

/* wall_time: seconds since 1970. An event has the version of the format (the first of a file), or the start of a run
 * that goes on, before which steps from `step` on are void, or a summary of values. */
void dram_event_begin(dram_event *event, double wall_time, int64_t step);
void dram_event_version(dram_event *event);
void dram_event_start(dram_event *event);
size_t dram_event_begin_summary(dram_event *event); /* what end_summary takes */
void dram_event_scalar(dram_event *event, const char *tag, float value);
void dram_event_text(dram_event *event, const char *tag, const char *text, size_t bytes); /* Markdown */
void dram_event_image(dram_event *event, const char *tag, int height, int width, const void *png, size_t bytes);
void dram_event_end_summary(dram_event *event, size_t begin);
/* The record is then data[0..n). */
void dram_event_end(dram_event *event);

/* What a file has at a record's place: its first 12 bytes, and then all of it. */
enum { DRAM_EVENT_HEAD = 12, DRAM_EVENT_TAIL = 4 };
/* False: these are no 12 bytes of a record. *bytes: its data's. */
bool dram_event_head(const uint8_t head[DRAM_EVENT_HEAD], uint64_t *bytes);
/* False: data[0..bytes) is not what was written, or no Event. *step is its step. */
bool dram_event_data(const uint8_t *data, size_t bytes, const uint8_t tail[DRAM_EVENT_TAIL], int64_t *step);

#endif
