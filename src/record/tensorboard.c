/* The sink of tb/events.out.tfevents.SECONDS.HOST.PROCESS.N, which TensorBoard reads: a new file each time that a run is
 * begun or gone on with. Steps are those of metrics.jsonl, evaluations.jsonl and memory.jsonl. What a step has no number
 * for has no point, as what is not finite. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "io/atomic.h"
#include "io/lines.h"
#include "io/path.h"
#include "record/event.h"
#include "record/sink.h"

static const char prefix[] = "events.out.tfevents.";

typedef struct {
    dram_str path; /* of the file */
    dram_lines file;
    int reason; /* errno with which a reading of the memory failed; the next fact says it */
} board;

/* ---- records ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int append(const board *b, dram_event *e)
{
    dram_event_end(e);
    return e->full ? ENOMEM : dram_lines_write(&b->file, (const char *)e->data, e->n);
}

/* What it is, and that steps from here on are told anew: a TensorBoard that has read the old ones forgets them then. It
 * takes the first such event of a run for its beginning, so that each file has one. */
static int append_head(const board *b, int64_t step)
{
    uint8_t room[DRAM_EVENT_ROOM];
    dram_event e = {.data = room, .room = sizeof room};
    dram_event_begin(&e, now(), 0);
    dram_event_version(&e);
    int reason = append(b, &e);
    if (reason) return reason;
    dram_event_begin(&e, now(), step);
    dram_event_start(&e);
    return append(b, &e);
}

/* ---- facts ---- */

typedef struct {
    const char *tag;
    double value;
} scalar;

static int append_scalars(const board *b, int64_t step, const scalar *scalars, size_t n)
{
    uint8_t room[DRAM_EVENT_ROOM];
    dram_event e = {.data = room, .room = sizeof room};
    dram_event_begin(&e, now(), step);
    size_t summary = dram_event_begin_summary(&e), values = 0;
    for (size_t i = 0; i < n; i++) {
        float value = (float)scalars[i].value;
        if (!isfinite(value)) continue;
        dram_event_scalar(&e, scalars[i].tag, value);
        values++;
    }
    dram_event_end_summary(&e, summary);
    return values ? append(b, &e) : 0;
}

static double mib(int64_t bytes)
{
    return (double)bytes / (1 << 20);
}

static int append_step(const board *b, const dram_metrics *m)
{
    const scalar scalars[] = {{"loss/total", m->loss},
                              {"loss/task", m->loss_task},
                              {"loss/sam", m->loss_sam},
                              {"loss/resolution", m->loss_resolution},
                              {"optim/lr", m->lr},
                              {"optim/grad_norm", m->grad_norm},
                              {"optim/loss_scale", m->loss_scale},
                              {"throughput/images_per_second", m->images_per_second},
                              {"throughput/device_utilization", m->device_utilization},
                              {"memory/planned", mib(m->planned_peak_bytes)},
                              {"memory/arena", mib(m->measured_peak_bytes)},
                              {"ranks/comm_seconds", m->ranks > 1 ? m->comm_seconds : NAN},
                              {"ranks/wait_seconds", m->ranks > 1 ? m->wait_seconds : NAN}};
    return append_scalars(b, m->step, scalars, sizeof scalars / sizeof scalars[0]);
}

static int append_evaluation(const board *b, int64_t step, const dram_eval_result *r)
{
    const scalar scalars[] = {{"eval/miou", r->miou},
                              {"eval/pixel_accuracy", r->pixel_accuracy},
                              {"eval/embedding_cosine", r->embedding_cosine},
                              {"eval/embedding_mse", r->embedding_mse}};
    return append_scalars(b, step, scalars, sizeof scalars / sizeof scalars[0]);
}

static int append_memory(const board *b, int64_t step, const dram_memory_reading *m)
{
    const scalar scalars[] = {{"memory/process", mib(m->process_bytes)},
                              {"memory/free", mib(m->free_bytes)},
                              {"memory/device", m->card_process ? mib(m->card_process) : NAN}};
    return append_scalars(b, step, scalars, sizeof scalars / sizeof scalars[0]);
}

/* A text and a picture have room of their own. */
static int append_large(const board *b, int64_t step, size_t bytes, const dram_fact *fact, const dram_str *markdown)
{
    dram_event e = {.room = bytes + DRAM_EVENT_ROOM};
    if (!(e.data = dram_alloc(e.room))) return ENOMEM;
    dram_event_begin(&e, now(), step);
    size_t summary = dram_event_begin_summary(&e);
    if (markdown)
        dram_event_text(&e, fact->text->name, markdown->text, markdown->length);
    else
        dram_event_image(&e, fact->picture->name, fact->picture->height, fact->picture->width, fact->picture->png,
                         fact->picture->bytes);
    dram_event_end_summary(&e, summary);
    int reason = append(b, &e);
    dram_free(e.data);
    return reason;
}

/* Lines that begin with four spaces are shown as they are. */
static int append_text(const board *b, int64_t step, const dram_fact *fact)
{
    dram_str markdown = {0};
    for (const char *line = fact->text->text; *line;) {
        size_t n = strcspn(line, "\n");
        dram_str_add(&markdown, "    %.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
    int reason = markdown.failed ? ENOMEM : markdown.text ? append_large(b, step, markdown.length, fact, &markdown) : 0;
    dram_str_free(&markdown);
    return reason;
}

static dram_status take(void *sink, const dram_fact *fact)
{
    board *b = sink;
    int reason = b->reason;
    if (!reason) switch (fact->kind) {
        case DRAM_FACT_STEP:
            reason = append_step(b, &fact->progress->metrics);
            break;
        case DRAM_FACT_EVALUATION:
            reason = append_evaluation(b, fact->step, fact->evaluation);
            break;
        case DRAM_FACT_MEMORY:
            b->reason = append_memory(b, fact->step, fact->memory);
            break;
        case DRAM_FACT_TEXT:
            reason = append_text(b, fact->step, fact);
            break;
        case DRAM_FACT_PICTURE:
            reason = append_large(b, fact->step, fact->picture->bytes, fact, NULL);
            break;
        }
    if (!reason || fact->kind == DRAM_FACT_MEMORY) return DRAM_OK;
    b->reason = 0;
    return dram_fail(DRAM_ERR_IO, "%s: cannot write: %s", b->path.text, strerror(reason));
}

/* ---- files ---- */

typedef dram_status (*file_call)(const char *path, const char *name, void *context);

/* No folder is no error. */
static dram_status for_each_file(const char *folder, file_call call, void *context)
{
    const struct dirent *entry;
    dram_status status = DRAM_OK;
    DIR *listing = opendir(folder);
    if (!listing && errno == ENOENT) return DRAM_OK;
    if (!listing) return dram_fail(DRAM_ERR_IO, "%s: cannot open this folder: %m", folder);
    while (status == DRAM_OK && (entry = dram_folder_next(listing))) {
        char *path;
        if (strncmp(entry->d_name, prefix, sizeof prefix - 1) != 0) continue;
        status = dram_path_join(folder, entry->d_name, &path);
        if (status == DRAM_OK) status = call(path, entry->d_name, context);
        dram_free(path);
    }
    if (status == DRAM_OK && errno) status = dram_fail(DRAM_ERR_IO, "%s: cannot list this folder: %m", folder);
    closedir(listing);
    return status;
}

/* TensorBoard reads files in the order of their names: the seconds of a later one are higher, whatever the clock says. */
static dram_status note_seconds(const char *path, const char *name, void *context)
{
    (void)path;
    long long *seconds = context, its = strtoll(name + sizeof prefix - 1, NULL, 10);
    if (its >= *seconds && its < 9999999999) *seconds = its + 1;
    return DRAM_OK;
}

static dram_status name_file(const char *folder, dram_str *path)
{
    char host[256] = "";
    long long seconds = (long long)now();
    TRY(for_each_file(folder, note_seconds, &seconds));
    if (gethostname(host, sizeof host - 1) != 0 || !host[0]) snprintf(host, sizeof host, "localhost");
    dram_str_add(path, "%s/%s%010lld.%s.%ld.0", folder, prefix, seconds, host, (long)getpid());
    return path->failed ? dram_fail(DRAM_ERR_MEMORY, "no memory for the name of a file in %s", folder) : DRAM_OK;
}

static void release(board *b)
{
    dram_str_free(&b->path);
    dram_free(b);
}

static dram_status open_board(const char *folder, int64_t step, void **sink)
{
    dram_status status;
    board *b = dram_calloc(1, sizeof *b);
    if (!b) return dram_fail(DRAM_ERR_MEMORY, "no memory for %s", folder);
    TRY_GOTO(dram_make_folders(folder), done);
    TRY_GOTO(dram_remove_leftovers(folder), done);
    TRY_GOTO(name_file(folder, &b->path), done);
    TRY_GOTO(dram_lines_open(b->path.text, &b->file), done);
    int reason = append_head(b, step);
    if (!reason) *sink = b;
    if (!reason) return DRAM_OK;
    status = dram_fail(DRAM_ERR_IO, "%s: cannot write: %s", b->path.text, strerror(reason));
    dram_lines_close(&b->file);
done:
    release(b);
    return status;
}

static int close_board(void *sink)
{
    board *b = sink;
    int reason = dram_lines_close(&b->file);
    if (b->reason) reason = b->reason;
    release(b);
    return reason;
}

/* ---- going on ---- */

typedef struct {
    FILE *from;
    dram_atomic *to;
    int64_t step; /* kept are the events of those below */
    uint8_t *data;
    size_t room;
    int64_t place;   /* of the record in the file */
    int later;       /* left out, since they are of later steps */
    int64_t damaged; /* place of the first damaged one, -1: none; what is wrong with it */
    const char *wrong;
} cutting;

static void note_damage(cutting *c, const char *wrong)
{
    if (c->damaged < 0) c->wrong = wrong;
    if (c->damaged < 0) c->damaged = c->place;
}

/* The record after its head, as far as the file has one. */
static dram_status read_data(cutting *c, const char *path, uint64_t bytes, bool *torn)
{
    size_t wanted = (size_t)bytes + DRAM_EVENT_TAIL;
    if (wanted > c->room) {
        dram_free(c->data);
        c->room = 0;
        c->data = dram_alloc(wanted);
        if (!c->data) return dram_fail(DRAM_ERR_MEMORY, "%s: no memory for a record", path);
        c->room = wanted;
    }
    *torn = fread(c->data, 1, wanted, c->from) < wanted;
    return DRAM_OK;
}

/* Copies the records that stay. After one whose length is damaged it is not known where the next begins. */
static dram_status copy_records(cutting *c, const char *path, int64_t size)
{
    uint8_t head[DRAM_EVENT_HEAD];
    uint64_t bytes;
    int64_t step;
    for (size_t n; (n = fread(head, 1, sizeof head, c->from));
         c->place += (int64_t)bytes + DRAM_EVENT_HEAD + DRAM_EVENT_TAIL) {
        bool torn = n < sizeof head, sound = !torn && dram_event_head(head, &bytes);
        torn |= sound && bytes > (uint64_t)(size - c->place);
        if (sound && !torn) TRY(read_data(c, path, bytes, &torn));
        if (torn || !sound) {
            note_damage(c, torn ? "it is torn" : "its length is damaged, and what follows cannot be found");
            break;
        }
        if (!dram_event_data(c->data, bytes, c->data + bytes, &step)) {
            note_damage(c, "its bytes are not those that were written");
        } else if (step >= c->step) {
            c->later++;
        } else {
            TRY(dram_atomic_write(c->to, head, sizeof head));
            TRY(dram_atomic_write(c->to, c->data, bytes + DRAM_EVENT_TAIL));
        }
    }
    return ferror(c->from) ? dram_fail(DRAM_ERR_IO, "%s: cannot read: %m", path) : DRAM_OK;
}

static dram_status cut_file(const char *path, const char *name, void *step)
{
    struct stat info;
    dram_status status;
    dram_atomic file = {0};
    cutting c = {.to = &file, .step = *(const int64_t *)step, .damaged = -1};
    (void)name;
    TRY(dram_lines_open_to_mend(path, &c.from));
    if (fstat(fileno(c.from), &info) != 0) {
        status = dram_fail(DRAM_ERR_IO, "%s: cannot look at it: %m", path);
        goto done;
    }
    TRY_GOTO(dram_atomic_open(&file, path), done);
    TRY_GOTO(copy_records(&c, path, (int64_t)info.st_size), done);
    if (c.later || c.damaged >= 0) TRY_GOTO(dram_atomic_commit(&file), done);
    if (c.damaged >= 0) dram_warn("%s: the record at byte %" PRId64 " is left out: %s", path, c.damaged, c.wrong);
done:
    dram_atomic_abort(&file);
    fclose(c.from);
    dram_free(c.data);
    return status;
}

static dram_status cut(const char *folder, int64_t step)
{
    return for_each_file(folder, cut_file, &step);
}

static bool is_asked(const dram_config *cfg)
{
    return cfg->run.tensorboard;
}

const dram_sink dram_tensorboard_sink = {.file = "tb",
                                         .asked = is_asked,
                                         .facts = 1u << DRAM_FACT_STEP | 1u << DRAM_FACT_EVALUATION |
                                                  1u << DRAM_FACT_MEMORY | 1u << DRAM_FACT_PICTURE |
                                                  1u << DRAM_FACT_TEXT,
                                         .cut = cut,
                                         .open = open_board,
                                         .fact = take,
                                         .close = close_board};
