/* TensorBoard's event files: their bytes, what a run tells, what one that goes on finds, and what is damaged. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "base/log.h"
#include "io/helpers.h"
#include "record/event.h"
#include "record/events.h"
#include "record/record.h"
#include "support/writes.h"

/* ---- bytes ---- */

/* What PyPI's tensorboard 2.20 writes of the same events (RecordWriter of Event.SerializeToString). */
static const char version[] = "\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22\x09\0\0\0\0\0\0\xf8\x3f\x1a\x0d"
                              "brain.Event:2\x2a\x28\x64\x6c";
static const char start[] = "\x10\0\0\0\0\0\0\0\x95\xfb\xfe\x18\x09\0\0\0\0\0\0\xf8\x3f\x10\xac\x02\x3a\x02\x08\x01"
                            "\x71\x3b\x78\x8a";
static const char scalars[] = "\x2b\0\0\0\0\0\0\0\x86\x1b\xc3\x4b\x09\0\0\0\0\0\0\xf8\x3f\x10\xac\x02\x2a\x1d\x0a\x11"
                              "\x0a\x0aloss/total\x15\xcd\xcc\xcc\x3d\x0a\x08\x0a\x01"
                              "b\x15\0\0\0\xc0\x30\x9b\x66\xd8";
static const char image[] = "\x1f\0\0\0\0\0\0\0\x51\x4b\x44\x18\x09\0\0\0\0\0\0\xf8\x3f\x2a\x14\x0a\x12\x0a\x01p\x22"
                            "\x0d\x08\x02\x10\xac\x02\x18\x03\x22\x04PNG\0\x1e\xc5\x6d\xda";
static const char text_head[] = "\xb7\0\0\0\0\0\0\0\xe4\x80\x12\x3e\x09\0\0\0\0\0\0\xf8\x3f\x10\x01\x2a\xa9\x01\x0a"
                                "\xa6\x01\x0a\x04plan\x42\x93\x01\x08\x07\x12\0\x42\x8c\x01",
                  text_tail[] = "\x4a\x08\x0a\x06\x0a\x04text\xa5\xbd\x46\x50";

static void assert_event(dram_event *e, const char *bytes, size_t n)
{
    dram_event_end(e);
    assert_false(e->full);
    assert_int_equal(e->n, n);
    assert_memory_equal(e->data, bytes, n);
}

static void bytes_of_events(void **state)
{
    uint8_t room[DRAM_EVENT_ROOM];
    char x[140], text[400];
    dram_event e = {.data = room, .room = sizeof room};
    (void)state;
    dram_event_begin(&e, 1.5, 0);
    dram_event_version(&e);
    assert_event(&e, version, sizeof version - 1);
    dram_event_begin(&e, 1.5, 300);
    dram_event_start(&e);
    assert_event(&e, start, sizeof start - 1);
    dram_event_begin(&e, 1.5, 300);
    size_t summary = dram_event_begin_summary(&e);
    dram_event_scalar(&e, "loss/total", 0.1f);
    dram_event_scalar(&e, "b", -2.0f);
    dram_event_end_summary(&e, summary);
    assert_event(&e, scalars, sizeof scalars - 1);
    dram_event_begin(&e, 1.5, 0);
    summary = dram_event_begin_summary(&e);
    dram_event_image(&e, "p", 2, 300, "PNG", 4);
    dram_event_end_summary(&e, summary);
    assert_event(&e, image, sizeof image - 1);
    memset(x, 'x', sizeof x);
    dram_event_begin(&e, 1.5, 1);
    summary = dram_event_begin_summary(&e);
    dram_event_text(&e, "plan", x, sizeof x);
    dram_event_end_summary(&e, summary);
    memcpy(text, text_head, sizeof text_head - 1);
    memcpy(text + sizeof text_head - 1, x, sizeof x);
    memcpy(text + sizeof text_head - 1 + sizeof x, text_tail, sizeof text_tail - 1);
    assert_event(&e, text, sizeof text_head + sizeof x + sizeof text_tail - 2);
}

/* In too little memory an event is full, and nothing is written behind it. */
static void room_of_events(void **state)
{
    (void)state;
    const size_t needed = sizeof image - 1;
    for (size_t n = 0; n <= needed; n++) {
        uint8_t room[128];
        memset(room, 0xee, sizeof room);
        dram_event e = {.data = room, .room = n};
        dram_event_begin(&e, 1.5, 0);
        size_t summary = dram_event_begin_summary(&e);
        dram_event_image(&e, "p", 2, 300, "PNG", 4);
        dram_event_end_summary(&e, summary);
        dram_event_end(&e);
        assert_int_equal(e.full, n < needed);
        for (size_t i = n; i < sizeof room; i++) assert_int_equal(room[i], 0xee);
    }
}

/* ---- a run ---- */

static dram_record *open_board(int64_t step, const char *folder)
{
    dram_record *record;
    ok(dram_record_open(step, &record));
    ok(dram_record_add(record, &dram_tensorboard_sink, folder));
    return record;
}

static dram_status tell_step(dram_record *record, int64_t step)
{
    const dram_progress progress = {.metrics = {.step = step,
                                                .loss = 2.5,
                                                .loss_task = 0.1f,
                                                .loss_sam = step ? 1.25 : NAN,
                                                .loss_resolution = NAN,
                                                .lr = 1e-3f,
                                                .grad_norm = INFINITY,
                                                .loss_scale = NAN,
                                                .images_per_second = 12.5,
                                                .device_utilization = 0.75,
                                                .planned_peak_bytes = 3 << 20,
                                                .measured_peak_bytes = 5 << 19,
                                                .ranks = step ? 2 : 1,
                                                .comm_seconds = 0.25,
                                                .wait_seconds = 0.5}};
    return dram_record_tell(record, &(dram_fact){DRAM_FACT_STEP, step + 1, {.progress = &progress}});
}

static dram_status tell_memory(dram_record *record, int64_t step, int64_t card)
{
    const dram_memory_reading reading = {.process_bytes = 1 << 19, .free_bytes = 1 << 21, .card_process = card};
    return dram_record_tell(record, &(dram_fact){DRAM_FACT_MEMORY, step, {.memory = &reading}});
}

static dram_status tell_text(dram_record *record, int64_t step, const char *text)
{
    const dram_fact_text told = {.name = "plan", .text = text};
    return dram_record_tell(record, &(dram_fact){DRAM_FACT_TEXT, step, {.text = &told}});
}

/* The names of a folder's event files, in their order; returns how many. */
static int list_files(const char *folder, char paths[][4500], int room)
{
    int n = 0;
    struct dirent **entries;
    int all = scandir(folder, &entries, NULL, alphasort);
    assert_true(all >= 2);
    for (int i = 0; i < all; i++) {
        if (entries[i]->d_name[0] != '.') {
            assert_int_equal(strncmp(entries[i]->d_name, "events.out.tfevents.", 20), 0);
            assert_int_equal(strspn(entries[i]->d_name + 20, "0123456789"), 10);
            assert_true(n < room);
            snprintf(paths[n++], 4500, "%.4000s/%.400s", folder, entries[i]->d_name);
        }
        free(entries[i]);
    }
    free(entries);
    return n;
}

static void assert_scalar(const event_seen *seen, int64_t step, const char *tag, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    assert_string_equal(seen->tag, tag);
    assert_int_equal(seen->step, step);
    assert_true(seen->has_scalar && seen->wall_time > 1.7e9);
    assert_int_equal(seen->scalar, bits);
}

static void what_a_run_tells(void **state)
{
    static event_seen seen[40];
    static char paths[2][4500];
    const char *folder = in_dir(state, "told");
    const dram_eval_result result = {.miou = 0.3, .pixel_accuracy = NAN, .embedding_cosine = 0.7, .embedding_mse = 4};
    const dram_fact_picture picture = {.name = "predictions/a", .height = 2, .width = 3, .png = "PN\0G", .bytes = 4};
    dram_record *record = open_board(0, folder);
    ok(tell_text(record, 0, "first\n\n  # third"));
    ok(tell_step(record, 0));
    ok(tell_memory(record, 1, 0));
    ok(tell_step(record, 1));
    ok(dram_record_tell(record, &(dram_fact){DRAM_FACT_EVALUATION, 2, {.evaluation = &result}}));
    ok(dram_record_tell(record, &(dram_fact){DRAM_FACT_PICTURE, 2, {.picture = &picture}}));
    ok(tell_memory(record, 2, 1 << 20));
    ok(dram_record_close(record, false));

    assert_int_equal(list_files(folder, paths, 2), 1);
    int n = event_read(paths[0], seen, 40), i = 0;
    assert_string_equal(seen[i].version, "brain.Event:2");
    assert_true(seen[i].step == 0 && seen[i].wall_time > 1.7e9 && !seen[i].tag[0]);
    i++;
    assert_true(seen[i].starts && seen[i].step == 0 && !seen[i].tag[0]);
    i++;
    assert_string_equal(seen[i].tag, "plan");
    assert_string_equal(seen[i].plugin, "text");
    assert_int_equal(seen[i].type, 7);
    assert_string_equal(seen[i++].bytes,
                        "    first\n    \n      # third\n"); /* Markdown leaves such lines as they are */
    for (int step = 0; step < 2; step++) {
        assert_scalar(&seen[i++], step, "loss/total", 2.5f);
        assert_scalar(&seen[i++], step, "loss/task", 0.1f);
        if (step) assert_scalar(&seen[i++], step, "loss/sam", 1.25f);
        assert_scalar(&seen[i++], step, "optim/lr", 1e-3f);
        assert_scalar(&seen[i++], step, "throughput/images_per_second", 12.5f);
        assert_scalar(&seen[i++], step, "throughput/device_utilization", 0.75f);
        assert_scalar(&seen[i++], step, "memory/planned", 3.0f);
        assert_scalar(&seen[i++], step, "memory/arena", 2.5f);
        if (step) assert_scalar(&seen[i++], step, "ranks/comm_seconds", 0.25f);
        if (step) assert_scalar(&seen[i++], step, "ranks/wait_seconds", 0.5f);
        if (step) break;
        assert_scalar(&seen[i++], 1, "memory/process", 0.5f);
        assert_scalar(&seen[i++], 1, "memory/free", 2.0f);
    }
    assert_scalar(&seen[i++], 2, "eval/miou", 0.3f);
    assert_scalar(&seen[i++], 2, "eval/embedding_cosine", 0.7f);
    assert_scalar(&seen[i++], 2, "eval/embedding_mse", 4.0f);
    assert_string_equal(seen[i].tag, "predictions/a");
    assert_true(seen[i].step == 2 && seen[i].height == 2 && seen[i].width == 3 && seen[i].colorspace == 3);
    assert_int_equal(seen[i].n, 4);
    assert_memory_equal(seen[i++].bytes, "PN\0G", 4);
    assert_scalar(&seen[i++], 2, "memory/process", 0.5f);
    assert_scalar(&seen[i++], 2, "memory/free", 2.0f);
    assert_scalar(&seen[i++], 2, "memory/device", 1.0f);
    assert_int_equal(i, n);
}

/* ---- going on ---- */

static int warnings;
static char warned[6000];

static void keep_warning(void *context, dram_log_level level, const char *message)
{
    (void)context;
    assert_int_equal(level, DRAM_LOG_WARNING);
    warnings++;
    snprintf(warned, sizeof warned, "%s", message);
}

/* No step is there twice, and a file's name is behind those of the files before it. */
static void steps_are_not_repeated(void **state)
{
    static event_seen seen[200];
    static char paths[4][4500];
    const char *folder = in_dir(state, "again");
    const int64_t from[] = {0, 5, 3}, to[] = {8, 7, 6};
    int64_t next = 0;
    int starts = 0;
    ok(dram_tensorboard_sink.cut(folder, 5)); /* nothing is there */
    for (int i = 0; i < 3; i++) {
        if (i) ok(dram_tensorboard_sink.cut(folder, from[i]));
        dram_record *record = open_board(from[i], folder);
        ok(tell_text(record, from[i], "plan"));
        for (int64_t step = from[i]; step < to[i]; step++) {
            ok(tell_step(record, step));
            ok(tell_memory(record, step + 1, 0));
        }
        ok(dram_record_close(record, false));
        assert_int_equal(list_files(folder, paths, 4), i + 1);
    }
    assert_int_equal(warnings, 0);
    for (int i = 0; i < 3; i++) {
        int n = event_read(paths[i], seen, 200);
        for (int k = 0; k < n; k++) {
            if (strcmp(seen[k].tag, "loss/total") == 0) assert_int_equal(seen[k].step, next++);
            starts += seen[k].starts;
            if (seen[k].starts) assert_int_equal(seen[k].step, from[i]);
        }
    }
    assert_int_equal(next, 6);
    assert_int_equal(starts, 2); /* the second's is of a step that the third begins before */
}

/* ---- damage ---- */

enum { RECORDS = 5 };

/* A file of a version and steps of one value; end[i] is where record i ends. */
static size_t make_file(const char *path, char *data, size_t end[RECORDS])
{
    uint8_t room[DRAM_EVENT_ROOM];
    size_t n = 0;
    for (int i = 0; i < RECORDS; i++) {
        dram_event e = {.data = room, .room = sizeof room};
        dram_event_begin(&e, 1.5, i ? i - 1 : 0);
        if (i == 0) {
            dram_event_version(&e);
        } else {
            size_t summary = dram_event_begin_summary(&e);
            dram_event_scalar(&e, "t", (float)i);
            dram_event_end_summary(&e, summary);
        }
        dram_event_end(&e);
        memcpy(data + n, e.data, e.n);
        end[i] = n += e.n;
    }
    put_file(path, data, n);
    return n;
}

/* Cut off anywhere, a file keeps its whole records, and it is said once that the last one is torn. */
static void torn_ends(void **state)
{
    static char data[1000];
    size_t end[RECORDS];
    const char *folder = in_dir(state, "torn"), *path = in_dir(state, "torn/events.out.tfevents.1000000000.host.1.0");
    assert_int_equal(mkdir(folder, 0700), 0);
    size_t bytes = make_file(path, data, end);
    for (size_t n = 0; n <= bytes; n++) {
        size_t whole = 0;
        for (int i = 0; i < RECORDS; i++)
            if (end[i] <= n) whole = end[i];
        put_file(path, data, n);
        warnings = 0;
        ok(dram_tensorboard_sink.cut(folder, 100));
        assert_int_equal(warnings, n != whole);
        if (n != whole) assert_non_null(strstr(warned, "is left out: it is torn"));
        assert_file_is(path, data, whole);
    }
    ok(dram_tensorboard_sink.cut(folder, 2));
    assert_file_is(path, data, end[2]);
}

/* A bit that is another: the record is left out, and those behind it too where its length is what is damaged. */
static void garbled_bytes(void **state)
{
    static char data[1000], changed[1000], want[1000];
    size_t end[RECORDS];
    const char *folder = in_dir(state, "garbled"),
               *path = in_dir(state, "garbled/events.out.tfevents.1000000000.host.1.0");
    assert_int_equal(mkdir(folder, 0700), 0);
    size_t bytes = make_file(path, data, end);
    for (size_t n = 0; n < bytes; n++) {
        int record = 0;
        while (end[record] <= n) record++;
        size_t begin = record ? end[record - 1] : 0, rest = n - begin < DRAM_EVENT_HEAD ? 0 : bytes - end[record];
        memcpy(changed, data, bytes);
        changed[n] = (char)(changed[n] ^ 1 << n % 8);
        put_file(path, changed, bytes);
        warnings = 0;
        ok(dram_tensorboard_sink.cut(folder, 100));
        assert_int_equal(warnings, 1);
        assert_non_null(
            strstr(warned, rest || n - begin >= DRAM_EVENT_HEAD ? "not those that were written" : "length"));
        memcpy(want, data, begin);
        memcpy(want + begin, data + bytes - rest, rest);
        assert_file_is(path, want, begin + rest);
    }
}

/* What has no end in sight: a length beyond the file, bytes that are no message. */
static void what_is_no_event_file(void **state)
{
    static const char *const names[] = {"x", "events.out.tfevents", "events.out.tfevents.1000000000.h.1.0"};
    static char noise[4096];
    const char *folder = in_dir(state, "noise");
    char path[4500];
    uint32_t seed = 1;
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (char)((seed = seed * 1664525 + 1013904223) >> 24);
    assert_int_equal(mkdir(folder, 0700), 0);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%.4000s/%s", folder, names[i]);
        put_file(path, noise, sizeof noise);
    }
    warnings = 0;
    ok(dram_tensorboard_sink.cut(folder, 100));
    assert_int_equal(warnings, 1);
    assert_file_is(path, noise, 0);
    for (int i = 0; i < 2; i++) { /* others' files stay */
        snprintf(path, sizeof path, "%.4000s/%s", folder, names[i]);
        assert_file_is(path, noise, sizeof noise);
    }
    fails(dram_tensorboard_sink.cut(path, 100), DRAM_ERR_IO, ": cannot open this folder: Not a directory");
    assert_int_equal(mkdir(in_dir(state, "noise/events.out.tfevents.1000000001.h"), 0700), 0);
    fails(dram_tensorboard_sink.cut(folder, 100), DRAM_ERR_IO, ": cannot open: not a file: a folder");
}

/* A full disk: whole records stay, a fact that cannot be written is said, a reading's with the next fact. */
static void a_full_disk(void **state)
{
    static const write_order full[] = {{.most = 20}, {.reason = ENOSPC}};
    static event_seen seen[40];
    static char paths[1][4500];
    const char *folder = in_dir(state, "full");
    dram_record *record = open_board(0, folder);
    ok(tell_step(record, 0));
    order_writes(full, 2);
    assert_int_equal(tell_step(record, 1), DRAM_ERR_IO);
    assert_non_null(strstr(dram_error_text(), ".0: cannot write: No space left on device"));
    dram_error_clear();
    order_writes(full, 2);
    ok(tell_memory(record, 1, 0));
    assert_int_equal(tell_step(record, 1), DRAM_ERR_IO);
    assert_non_null(strstr(dram_error_text(), ".0: cannot write: No space left on device"));
    dram_error_clear();
    ok(tell_step(record, 1));
    order_writes(full, 2);
    ok(tell_memory(record, 2, 0));
    assert_int_equal(dram_record_close(record, false), DRAM_ERR_IO);
    assert_non_null(strstr(dram_error_text(), "full cannot be closed: No space left on device; it may lack its end"));
    dram_error_clear();
    assert_int_equal(list_files(folder, paths, 1), 1);
    int n = event_read(paths[0], seen, 40);
    assert_int_equal(n, 2 + 7 + 10);
    put_file(in_dir(state, "taken"), "", 0);
    ok(dram_record_open(0, &record));
    assert_int_equal(dram_record_add(record, &dram_tensorboard_sink, in_dir(state, "taken")), DRAM_ERR_IO);
    dram_error_clear();
    ok(dram_record_close(record, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_events),        cmocka_unit_test(room_of_events), cmocka_unit_test(what_a_run_tells),
        cmocka_unit_test(steps_are_not_repeated), cmocka_unit_test(torn_ends),      cmocka_unit_test(garbled_bytes),
        cmocka_unit_test(what_is_no_event_file),  cmocka_unit_test(a_full_disk),
    };
    dram_log_set_sink(keep_warning, NULL);
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
