/* sweep: many configs from one file. All of them are planned before the first runs, they are run by child processes
 * (launch/launch.h), and what they came to is read back.
 *
 *   dram_sweep_read    a file or words        -> points, each with its config; equal ones are merged
 *   dram_sweep_plan    points                 -> what each takes, what is wrong, what does not fit, and the runs
 *   dram_sweep_open    the sweep's folder     -> made, or found to be of this very sweep
 *   dram_sweep_collect the folder             -> what each run and each point came to
 *
 * A sweep's folder, run.dir/NAME, holds sweep.yaml (a copy of what was asked for), base.yaml (the config of its base),
 * plan.json (all that is below, but for results), configs/0007-3f9c12ab.yaml (the settled config of each point that can
 * run), one directory for each run, and what others write: events.jsonl, runs.csv, points.csv, pareto.svg, report.html.
 */
#ifndef DRAM_SWEEP_SWEEP_H
#define DRAM_SWEEP_SWEEP_H

#include <cjson/cJSON.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"
#include "config/config.h"

enum {
    DRAM_SWEEP_POINTS = 9999, /* at most, so that numbers of four digits sort */
    DRAM_SWEEP_SEEDS = 1000,
    DRAM_SWEEP_RUNGS = 16,
    DRAM_SWEEP_HASH = 9, /* 8 hexadecimal digits and a zero */
    DRAM_SWEEP_RUN_NAME = 48,
    DRAM_SWEEP_TIMED_STEPS = 20 /* of a run that is made for its time alone */
};

/* What a sweep compares: a field of an evaluation (report/summary.h) and whether less of it is better. */
#define DRAM_QUALITY_LIST(X)                                                                                           \
    X(MIOU, miou, false)                                                                                               \
    X(PIXEL_ACCURACY, pixel_accuracy, false)                                                                           \
    X(EMBEDDING_COSINE, embedding_cosine, false)                                                                       \
    X(EMBEDDING_MSE, embedding_mse, true)

typedef enum {
#define X(ID, NAME, LESS) DRAM_QUALITY_##ID,
    DRAM_QUALITY_LIST(X)
#undef X
        DRAM_QUALITY_COUNT
} dram_quality;

const char *dram_quality_name(dram_quality quality); /* "miou" */
bool dram_quality_less_is_better(dram_quality quality);

typedef enum {
    DRAM_POINT_PLANNED, /* it can run */
    DRAM_POINT_WRONG,   /* its config cannot be used: text */
    DRAM_POINT_TOO_BIG  /* above its budget, or above all that the machine has: text, floor_bytes, advice */
} dram_point_status;

const char *dram_point_status_word(dram_point_status status); /* "planned", "wrong", "too_big" */

/* A point: a config, apart from its seed. Bytes and FLOPs are 0 until it is planned, and where it is wrong. */
typedef struct {
    int index;                  /* from 1, its place in the sweep's points plus 1 */
    char hash[DRAM_SWEEP_HASH]; /* of its config as it was asked for, without name and seed */
    char *overrides;  /* what was asked for besides the base, "train.precision=bf16 optim.state=int8"; owned */
    char *differs;    /* the part of it that is not the same in all points; "" for one point; owned */
    int asked;        /* how often it was asked for: more than once where equal ones were merged */
    dram_config *cfg; /* as it was asked for, until it is planned; owned */
    char *settled; /* its config as it is run, as YAML, once it is planned; owned. NULL after dram_sweep_load, and for
                         a point that cannot run */
    dram_point_status status;
    char *text;            /* why it is wrong or too big, one line; NULL otherwise; owned */
    char *advice;          /* too big: the lever that would help; NULL otherwise; owned */
    int64_t floor_bytes;   /* too big: the fewest bytes that exact levers reach */
    char *pulled;          /* levers that the planner pulled, "teacher_placement=stream"; NULL: none; owned */
    int64_t planned_bytes; /* the arena on the device */
    int64_t host_bytes;    /* what the plan keeps in host memory besides */
    int64_t reserve_bytes; /* host memory for code, loader and decoding (session/headroom.h) */
    int64_t process_bytes; /* what a run takes of its card; on the CPU, of RAM: arena, host and reserve. With a cache
                                 * to fill: the larger of filling and training */
    double flops;          /* of a whole run and rank: a long one has more than 2^63 */
    bool gpu;              /* it is planned for one */
    int cores;             /* that a run keeps busy on the host: threads (1 on a GPU) and data.workers; of a rank */
    int ranks;             /* processes of a run, 1 or more; bytes, FLOPs and cores are those of each */
    int steps;             /* train.steps */
    /* Another point with the same results bit for bit, by index; 0: none. equal_to: the plan is the same too, nothing of
     * it is run; that point may be timed_with a third. timed_with: the plan differs by exact levers alone, so its quality
     * is that point's, which is trained, and one short run gives its time. */
    int equal_to, timed_with;
} dram_sweep_point;

/* One process, or one job of ranks, to be made. */
typedef struct {
    int point; /* place in the sweep's points, from 0 */
    int64_t seed;
    bool timed; /* for its time alone: DRAM_SWEEP_TIMED_STEPS steps, or all of fewer; its quality counts nowhere */
    char name[DRAM_SWEEP_RUN_NAME]; /* its directory below the sweep's: 0007-3f9c12ab-s2, and 0008-77d01e45-time */
} dram_sweep_run;

typedef struct {
    char *name, *directory; /* run.dir/NAME; owned */
    char *source;           /* the file as it was named, or the config of the command line; owned */
    char *yaml, *base;      /* what sweep.yaml and base.yaml will hold; owned; NULL after dram_sweep_load */
    dram_quality quality;
    int64_t *seeds; /* [n_seeds]; owned */
    int n_seeds;
    int64_t rungs[DRAM_SWEEP_RUNGS]; /* rising, below train.steps of every point; halving */
    int n_rungs;                     /* 0: no halving */
    double keep;                     /* share that goes on at a rung, above 0 and below 1 */
    int asked;                       /* points that were asked for, before equal ones were merged */
    dram_sweep_point *points;        /* [n_points]; owned */
    int n_points;
    dram_sweep_run *runs; /* [n_runs], those of planned points, in the order of points, then seeds; owned */
    int n_runs;
} dram_sweep;

/* Reads a sweep file, or takes a config, and the words key=a,b,c of the command line, which are swept beside what the
 * file says. Every config is read and checked; what is wrong with one point alone is that point's status.
 * DRAM_ERR_CONFIG: the file, a key or a value of it is wrong: the text begins with file:line:column. */
dram_status dram_sweep_read(const char *file, const char *const *words, int n_words, dram_sweep *sweep);
void dram_sweep_free(dram_sweep *sweep); /* leaves {0} */

/* Settles and plans every point that is not wrong, on so many threads, finds which have the same results, and lists the
 * runs. inputs: what a run needs of data and weights on the disk is asked for too. *stop (NULL: nobody asks) non-zero:
 * DRAM_INTERRUPTED. */
dram_status dram_sweep_plan(dram_sweep *sweep, int threads, bool inputs, const volatile sig_atomic_t *stop);

/* What a person reads of a point: what differs, or where that is nothing, what it is. Its own text, or a static one. */
const char *dram_sweep_shown(const dram_sweep *sweep, const dram_sweep_point *point);

/* Whether a point is trained: it is planned, and its results are no other's. */
bool dram_sweep_is_trained(const dram_sweep_point *point);

/* Planned points: 0 is exit code 3 of a sweep. */
int dram_sweep_count(const dram_sweep *sweep, dram_point_status status);

/* Makes the sweep's folder with sweep.yaml, plan.json and configs/, or finds them there: of two processes that begin at
 * once both go by what the first has written. What a sweep of other points has written is refused with the first
 * difference (DRAM_ERR_CONFIG). What was planned before holds: the sweep then has the bytes and configs of plan.json,
 * and may be opened without being planned. *is_new, which may be NULL: it was made. */
dram_status dram_sweep_open(dram_sweep *sweep, bool *is_new);

/* Whether dram_sweep_open would find it there. */
bool dram_sweep_is_there(const dram_sweep *sweep);

/* The sweep that a folder is of, by its plan.json: for a report, or to go on. DRAM_ERR_CONFIG: it is none. */
dram_status dram_sweep_load(const char *directory, dram_sweep *sweep);

/* What is run: the config of one run as YAML, all keys, with its name, seed and run.dir, memory.budget no less than its
 * plan, and train.stop_at for a timed one. It is made of configs/ in the sweep's folder. */
dram_status dram_sweep_config(const dram_sweep *sweep, const dram_sweep_run *run, dram_str *yaml);

/* The table before the first run, for a person, and the same as JSON (plan.json's content; cJSON_Delete). */
dram_status dram_sweep_table(const dram_sweep *sweep, dram_str *out);
cJSON *dram_sweep_json(const dram_sweep *sweep);

/* ---- what came of it ---- */

typedef enum {
    DRAM_SWEEP_WAITING, /* nothing of it is there */
    DRAM_SWEEP_BEGUN,   /* its directory is there, and it has not ended: it runs, or was broken off */
    DRAM_SWEEP_PAUSED,  /* it came to train.stop_at, and may go on */
    DRAM_SWEEP_DONE,    /* all its steps */
    DRAM_SWEEP_FAILED,  /* text has why */
    DRAM_SWEEP_GONE     /* it was begun by events.jsonl, and its directory is no longer there */
} dram_sweep_state;

const char *dram_sweep_state_word(dram_sweep_state state);

/* What a run came to. A number that is not known is NAN, bytes and counts are 0. */
typedef struct {
    dram_sweep_state state;
    int exit;                           /* of summary.json, else of events.jsonl; -1: not ended */
    char *text;                         /* its last words where it failed; NULL; owned by the results */
    int64_t steps;                      /* done */
    double quality[DRAM_QUALITY_COUNT]; /* of the last evaluation */
    int64_t measured_bytes;             /* of the arena */
    int64_t process_bytes;              /* resident at most on the CPU, by the driver on a GPU */
    double seconds_per_image, images_per_second;
    double final_loss;
} dram_sweep_result;

/* What a point came to. Its quality is that of the point it equals or is timed with; bytes and time are its own. */
enum { DRAM_SWEEP_DOMINATED = 16 };
typedef struct {
    int n;                     /* runs that are done and have a quality */
    double mean, sd;           /* of the sweep's quality; NAN: none; sd NAN below 2 runs */
    int64_t measured_bytes;    /* of the arena, the most of its runs */
    int64_t process_bytes;     /* of the process, likewise */
    double seconds_per_image;  /* mean of its runs; NAN: none is done */
    int failed, gone, waiting; /* of its runs; waiting: neither done nor failed */
    bool known;                /* it has quality and time: it is compared */
    bool single; /* known, by one run: it is compared with others of one run as they are, without a test */
    bool pareto; /* known, and no other known point has at most its bytes and its time (5 % more is the same) and a
                    better quality (sweep/frontier.h) */
    int dominated_by[DRAM_SWEEP_DOMINATED]; /* [n_dominated_by], indices of the first such points */
    int n_dominated_by;
} dram_sweep_outcome;

typedef struct {
    dram_sweep_result *runs;    /* [sweep->n_runs] */
    dram_sweep_outcome *points; /* [sweep->n_points] */
} dram_sweep_results;

/* Reads what is in the sweep's folder; nothing is written. What is not there yet is no error. */
dram_status dram_sweep_collect(const dram_sweep *sweep, dram_sweep_results *results);
void dram_sweep_results_free(const dram_sweep *sweep, dram_sweep_results *results); /* leaves {0} */

/* Plan and results as one JSON object (cJSON_Delete). */
cJSON *dram_sweep_results_json(const dram_sweep *sweep, const dram_sweep_results *results);

/* Writes runs.csv and points.csv into the sweep's folder, whole or not at all. */
dram_status dram_sweep_write_csv(const dram_sweep *sweep, const dram_sweep_results *results);

/* Points by planned bytes, then quality, the better first, then index: places in sweep->points into order[n_points]. */
void dram_sweep_sort(const dram_sweep *sweep, const dram_sweep_results *results, int *order);

/* What one run came to by its own files, summary.json first: state WAITING, BEGUN, PAUSED or DONE, exit -1 where it has
 * not ended, no text. A summary that cannot be read is warned of, and counts as none. */
dram_status dram_sweep_read_summary(const dram_sweep *sweep, int run, dram_sweep_result *result);

/* What is printed at the end, for a person. */
dram_status dram_sweep_report(const dram_sweep *sweep, const dram_sweep_results *results, dram_str *out);

#endif
