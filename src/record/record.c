#include "record/record.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "io/path.h"

/* The sinks of a run's directory. */
static const dram_sink *const files[] = {&dram_metrics_sink, &dram_evaluations_sink, &dram_memory_sink,
                                         &dram_tensorboard_sink};
enum { FILES = sizeof files / sizeof files[0], MOST = FILES + 1 };

typedef struct {
    const dram_sink *sink;
    void *opened;
    char *path; /* NULL: a listener, which is the caller's */
    pthread_mutex_t lock;
} entry;

struct dram_record {
    int64_t step;
    entry entries[MOST];
    int n;
};

/* What is done with the file of each sink that has one on this rank. */
typedef dram_status (*file_call)(const dram_sink *sink, const char *path, void *context);

static dram_status for_each_file(const char *directory, int rank, file_call call, void *context)
{
    char name[64];
    dram_status status = DRAM_OK;
    for (int i = 0; i < FILES && status == DRAM_OK; i++) {
        const char *file = files[i]->file;
        int stem = dram_stem(file);
        char *path;
        if (rank && !files[i]->each_rank) continue;
        if (rank)
            snprintf(name, sizeof name, "%.*s.rank-%04d%s", stem, file, rank, file + stem);
        else
            snprintf(name, sizeof name, "%s", file);
        TRY(dram_path_join(directory, name, &path));
        status = call(files[i], path, context);
        dram_free(path);
    }
    return status;
}

static dram_status put_aside(const dram_sink *sink, const char *path, void *context)
{
    struct stat info;
    char *aside;
    bool there;
    (void)sink;
    (void)context;
    const char *why = dram_file_look(-1, path, &info, &there);
    if (why) return dram_fail(DRAM_ERR_IO, "%s: cannot look at it: %s", path, why);
    if (!there || info.st_size == 0) return DRAM_OK;
    TRY(dram_path_put_aside(path, &aside));
    dram_info("%s is of the attempt before, and is kept as %s", path, aside);
    dram_free(aside);
    return DRAM_OK;
}

dram_status dram_record_put_aside(const char *directory, int rank)
{
    return for_each_file(directory, rank, put_aside, NULL);
}

static dram_status cut(const dram_sink *sink, const char *path, void *step)
{
    return sink->cut(path, *(const int64_t *)step);
}

dram_status dram_record_cut(const char *directory, int rank, int64_t step)
{
    return for_each_file(directory, rank, cut, &step);
}

typedef struct {
    dram_record *record;
    const dram_config *cfg;
} adding;

static dram_status add_file(const dram_sink *sink, const char *path, void *context)
{
    const adding *a = context;
    if (sink->asked && !sink->asked(a->cfg)) return DRAM_OK;
    return dram_record_add(a->record, sink, path);
}

dram_status dram_record_add_files(dram_record *record, const dram_config *cfg, const char *directory, int rank)
{
    return for_each_file(directory, rank, add_file, &(adding){record, cfg});
}

dram_status dram_record_open(int64_t step, dram_record **out)
{
    *out = dram_calloc(1, sizeof **out);
    if (!*out) return dram_fail(DRAM_ERR_MEMORY, "no memory for the record of the run");
    (*out)->step = step;
    return DRAM_OK;
}

static dram_status add(dram_record *record, const entry *added)
{
    if (record->n == MOST) return dram_fail(DRAM_ERR_INTERNAL, "a record has %d sinks at most", MOST);
    record->entries[record->n] = *added;
    pthread_mutex_init(&record->entries[record->n++].lock, NULL);
    return DRAM_OK;
}

dram_status dram_record_add(dram_record *record, const dram_sink *sink, const char *path)
{
    entry e = {.sink = sink, .path = dram_strdup(path)};
    if (!e.path) return dram_fail(DRAM_ERR_MEMORY, "no memory for the record of the run");
    dram_status status = sink->open(e.path, record->step, &e.opened);
    if (status == DRAM_OK) status = add(record, &e);
    if (status != DRAM_OK) dram_free(e.path);
    return status;
}

dram_status dram_record_listen(dram_record *record, const dram_sink *sink, void *opened)
{
    return add(record, &(entry){.sink = sink, .opened = opened});
}

dram_status dram_record_tell(dram_record *record, const dram_fact *fact)
{
    dram_status status = DRAM_OK;
    for (int i = 0; record && i < record->n && status == DRAM_OK; i++) {
        entry *e = &record->entries[i];
        if (!(e->sink->facts & 1u << fact->kind)) continue;
        pthread_mutex_lock(&e->lock);
        status = e->sink->fact(e->opened, fact);
        pthread_mutex_unlock(&e->lock);
    }
    return status;
}

bool dram_record_takes(const dram_record *record, dram_fact_kind kind)
{
    unsigned facts = 0;
    for (int i = 0; i < record->n; i++) facts |= record->entries[i].sink->facts;
    return facts & 1u << kind;
}

dram_status dram_record_close(dram_record *record, bool failed)
{
    static const char text[] = "cannot be closed: %s; it may lack its end";
    char why[128];
    dram_status status = DRAM_OK;
    for (int i = 0; record && i < record->n; i++) {
        entry *e = &record->entries[i];
        int reason = e->path && e->sink->close ? e->sink->close(e->opened) : 0;
        snprintf(why, sizeof why, text, strerror(reason));
        if (reason && failed) dram_warn("%s %s", e->path, why);
        if (reason && !failed) status = dram_fail(DRAM_ERR_IO, "%s %s", e->path, why);
        dram_free(e->path);
        pthread_mutex_destroy(&e->lock);
    }
    dram_free(record);
    return status;
}
