#include "session/calibrate.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "io/path.h"
#include "ops/call.h"
#include "session/build.h"
#include "session/headroom.h"
#include "session/machine.h"
#include "session/weights.h"

dram_status dram_stage_made_up(dram_session *s, const dram_io *io)
{
    int32_t side[] = {s->graphs.student_size, s->graphs.teacher_size};
    const dram_graph *g = io->graph;
    for (dram_val v = 0; v < g->n_values; v++) {
        const dram_value *value = g->values[v];
        if (value->kind != DRAM_VALUE_INPUT) continue;
        int64_t n = dram_elements(&value->shape), bytes = dram_value_bytes(value);
        uint8_t *data = dram_alloc((size_t)bytes);
        if (!data) return dram_fail(DRAM_ERR_MEMORY, "no memory to stage %s", value->name);
        for (int64_t i = 0; i < n; i++) {
            if (value->dtype == DRAM_F32) ((float *)(void *)data)[i] = 1.0f;
            if (value->dtype == DRAM_I32) ((int32_t *)(void *)data)[i] = side[v == io->teacher_valid];
            if (value->dtype == DRAM_F16) ((uint16_t *)(void *)data)[i] = 0x3c00; /* 1 */
            if (value->dtype == DRAM_U8) data[i] = dram_mix64((uint64_t)i) & (value->shape.rank == 4 ? 0xff : 1);
        }
        dram_status status = dram_exec_write(s->exec, io->index, v, data, bytes);
        dram_free(data);
        TRY(status);
    }
    return DRAM_OK;
}

static dram_status go_on(const volatile sig_atomic_t *stop)
{
    if (!stop || !*stop) return DRAM_OK;
    return dram_fail(DRAM_INTERRUPTED, "interrupted while the step was timed: nothing was kept of it");
}

static dram_status time_program(dram_session *s, const dram_io *io, const volatile sig_atomic_t *stop, dram_times *t)
{
    enum { ROUNDS = 3 };
    dram_status status = DRAM_OK;
    double *seconds = dram_alloc(((size_t)io->graph->n_nodes + 1) * sizeof *seconds);
    if (!seconds) return dram_fail(DRAM_ERR_MEMORY, "no memory for the times of nodes");
    for (int round = 0; round < ROUNDS; round++) {
        TRY_GOTO(go_on(stop), done);
        TRY_GOTO(dram_stage_made_up(s, io), done);
        TRY_GOTO(dram_exec_time(s->exec, io->index, seconds), done);
        TRY_GOTO(dram_times_add(t, io->graph, seconds), done);
    }
done:
    dram_free(seconds);
    return status;
}

/* What the process takes of the GPU beside the arena. All programs run as they do in training first: that loads every
 * kernel and library that they use, and records them. Of several calibrations the most is kept. Where nothing is left
 * for libraries nothing was measured: the driver gives no count, or other processes freed more meanwhile. */
static dram_status measure_process(dram_session *s, const volatile sig_atomic_t *stop, dram_times_process *most)
{
    enum { RUNS = 3 }; /* a second run is recorded, a third one replayed */
    dram_device *d = s->device;
    if (!s->plan->profile.gpu || d->counted == DRAM_COUNTED_NOT) return DRAM_OK;
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) {
        const dram_io *io = &s->graphs.io[k];
        for (int run = 0; io->graph && run < RUNS; run++) {
            TRY(go_on(stop));
            TRY(dram_stage_made_up(s, io));
            TRY(dram_exec_run(s->exec, io->index));
        }
    }
    int64_t context = d->context_bytes, loaded = d->ops->process_bytes(d) - d->bytes_now - context;
    if (loaded <= 0) return DRAM_OK;
    if (context > most->context_bytes) most->context_bytes = context;
    if (loaded > most->loaded_bytes) most->loaded_bytes = loaded;
    most->counted = d->counted;
    return DRAM_OK;
}

static dram_status measure(dram_session *s, const char *path, const volatile sig_atomic_t *stop,
                           dram_calibration *found)
{
    dram_times *t = NULL;
    dram_times_machine machine;
    dram_status status;
    dram_machine_describe(&s->plan->profile, &machine);
    TRY(dram_machine_open(&s->cfg, &s->plan->profile, &s->device));
    if (dram_path_exists(path))
        TRY(dram_times_open(path, &machine, &t));
    else
        TRY(dram_times_new(&t));
    TRY_GOTO(dram_exec_open(s->device, s->plan, &s->exec), done);
    TRY_GOTO(dram_weights_draw(s), done);
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) {
        const dram_io *io = &s->graphs.io[k];
        bool is_of_update = k == DRAM_PROGRAM_UPDATE || k == DRAM_PROGRAM_PLAIN_UPDATE;
        if (io->graph && (io->graph->backward_begin || is_of_update)) TRY_GOTO(time_program(s, io, stop, t), done);
    }
    TRY_GOTO(measure_process(s, stop, dram_times_of_process(t)), done);
    *found = (dram_calibration){.nodes = dram_times_count(t), .process = *dram_times_of_process(t)};
    status = dram_times_save(t, path, &machine);
done:
    dram_times_close(t);
    return status;
}

dram_status dram_calibrate(const dram_config *cfg, const char *path, const volatile sig_atomic_t *stop,
                           dram_calibration *found)
{
    dram_config stored = *cfg;
    dram_session s;
    stored.memory.checkpoint = DRAM_CHECKPOINT_NONE;
    stored.memory.profile = NULL;
    TRY(dram_session_build(&stored, (dram_plan_request){0}, &s));
    dram_status status = dram_headroom_check(&s);
    if (status == DRAM_OK) status = measure(&s, path, stop, found);
    dram_session_close(&s);
    return status;
}

static dram_status run_first(dram_device *device, const dram_graph *g, const dram_slots *slots, int64_t *bytes)
{
    dram_plan *plan;
    dram_exec *exec = NULL;
    TRY(g->status);
    TRY(dram_plan_make(&g, 1, slots, &device->profile, DRAM_PLAN_USUAL, &plan));
    dram_status status = dram_exec_open(device, plan, &exec);
    if (status == DRAM_OK) status = dram_exec_run(exec, 0);
    int64_t takes = device->ops->process_bytes ? device->ops->process_bytes(device) : 0;
    *bytes = takes > device->bytes_now ? takes - device->bytes_now : 0;
    dram_exec_close(exec);
    dram_plan_free(plan);
    return status;
}

dram_status dram_calibrate_first_run(dram_device *device, int64_t *bytes)
{
    enum { SIDE = 16, WIDE = 64 };
    dram_slots slots = {0};
    dram_graph *g;
    dram_ops_init();
    TRY(dram_graph_new("first run", &slots, &g));
    dram_val x = dram_graph_input(g, "x", DRAM_BF16, DRAM_SHAPE(1, SIDE, SIDE, WIDE)),
             kernel = dram_graph_input(g, "kernel", DRAM_BF16, DRAM_SHAPE(WIDE, 3, 3, WIDE)),
             weight = dram_graph_input(g, "weight", DRAM_BF16, DRAM_SHAPE(WIDE, WIDE)),
             y = DRAM_CALL(g, conv2d, "convolution", DRAM_ATTR(.stride = 1, .pad = 1, .groups = 1), x, kernel);
    y = DRAM_CALL(g, linear, "product", NULL, y, weight);
    dram_graph_output(g, DRAM_CALL(g, gelu, "gelu", NULL, y));
    dram_status status = run_first(device, g, &slots, bytes);
    dram_graph_free(g);
    dram_slots_free(&slots);
    return status;
}
