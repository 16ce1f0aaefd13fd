#include "report/estimate.h"

#include <stdlib.h>

#include "io/json.h"
#include "session/build.h"

typedef struct {
    const dram_card *card;
    dram_estimate of;
    double images_per_second; /* of all ranks */
    int64_t bytes;            /* of the card's memory: the process, or on the CPU both arenas */
} facts;

static facts find(const dram_session *s, const dram_card *card)
{
    facts f = {.card = card};
    double images = (double)s->graphs.ranks * s->cfg.train.batch_size;
    dram_session_estimate(s, card, &f.of);
    f.images_per_second = f.of.seconds > 0 ? images / f.of.seconds : 0;
    f.bytes = card->gpu ? dram_plan_process(s->plan) : s->plan->arena_bytes + s->plan->host_bytes;
    return f;
}

/* By what most of the kind's time is bound. */
static bool is_bound_by_flops(const dram_kernel_load *load)
{
    return load->bound_by_flops > load->seconds / 2;
}

static double share(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

/* ---- for a person ---- */

/* Three digits, and all of those before the point. */
static int decimals(double number)
{
    return number < 1 ? 3 : number < 10 ? 2 : number < 100 ? 1 : 0;
}

typedef struct {
    dram_kernel_kind kind;
    double seconds;
} row;

/* The longest first; equals in the order of the list. */
static int by_seconds(const void *left, const void *right)
{
    const row *a = left, *b = right;
    if (a->seconds != b->seconds) return a->seconds < b->seconds ? 1 : -1;
    return (int)a->kind - (int)b->kind;
}

static void add_heading(const facts *f, dram_str *out)
{
    const dram_card *c = f->card;
    dram_str_add(out, "\nestimate for %s\n", c->title);
    dram_str_add(out, "  %s: %.4g TFLOP/s in 16 bits, %.3g in fp32, %.4g GB/s, %.4g GB of memory\n",
                 c->gpu ? "its data sheet" : "measured now", c->flops_low * 1e-12, c->flops_fp32 * 1e-12,
                 c->bandwidth * 1e-9, (double)c->memory_bytes * 1e-9);
    if (c->gpu)
        dram_str_add(out, "  An estimate: no card was measured. What kernels reach of the data sheet is assumed.\n");
    else
        dram_str_add(out, "  An estimate: no step was measured. What kernels reach of these rates is assumed.\n");
}

static void add_time(const facts *f, dram_str *out)
{
    const dram_estimate *e = &f->of;
    dram_str_add(out, "  time: about %.*f ms an update, %.3g images/s; of it %.3g ms to start kernels\n",
                 decimals(e->seconds * 1e3), e->seconds * 1e3, f->images_per_second, e->start_seconds * 1e3);
    if (e->copy_seconds > 0)
        dram_str_add(out, "  copies from the host: %.3g GB, %.3g ms beside the kernels, at %.3g GB/s\n",
                     e->copy_bytes * 1e-9, e->copy_seconds * 1e3, f->card->link * 1e-9);
    if (e->left_out > 0)
        dram_str_add(out, "  left out: %.0f nodes that run on the CPU or join ranks, %.3g TFLOP\n", e->left_out,
                     e->left_out_flops * 1e-12);
    dram_str_add(out, "  left out: reading and uploading images\n");
}

static void add_memory(const facts *f, dram_str *out)
{
    char need[32], have[32];
    int64_t all = f->card->memory_bytes;
    dram_format_bytes(f->bytes, need, sizeof need);
    dram_format_bytes(all, have, sizeof have);
    dram_str_add(out, "  memory: %s: %s %s of %s\n", f->bytes <= all ? "fits" : "does not fit",
                 f->card->gpu ? "the process takes" : "the arena takes", need, have);
}

static void add_kinds(const facts *f, dram_str *out)
{
    row rows[DRAM_KERNEL_KIND_COUNT];
    double all = 0;
    for (int k = 0; k < DRAM_KERNEL_KIND_COUNT; k++) {
        rows[k] = (row){(dram_kernel_kind)k, f->of.kind[k].seconds};
        all += rows[k].seconds;
    }
    qsort(rows, DRAM_KERNEL_KIND_COUNT, sizeof *rows, by_seconds);
    dram_str_add(out, "\n%-36s%8s%9s%9s%10s%10s  %-10s%17s%10s\n", "kernels of an update", "nodes", "ms", "share",
                 "TFLOP", "GB", "bound by", "assumed: of peak", "of GB/s");
    for (int i = 0; i < DRAM_KERNEL_KIND_COUNT && rows[i].seconds > 0; i++) {
        const dram_kernel_load *l = &f->of.kind[rows[i].kind];
        dram_kernel_limits limits = dram_kernel_limits_of(rows[i].kind, f->card->gpu);
        dram_str_add(out, "  %-34s%8.0f%9.*f%7.1f %%%10.3g%10.3g  %-10s%15.0f %%%8.0f %%\n", limits.name, l->nodes,
                     decimals(l->seconds * 1e3), l->seconds * 1e3, share(l->seconds, all), l->flops * 1e-12,
                     l->bytes * 1e-9, is_bound_by_flops(l) ? "FLOPs" : "bytes", 100 * limits.of_peak,
                     100 * limits.of_bandwidth);
    }
}

dram_status dram_estimate_text(const dram_session *s, const dram_card *card, dram_str *out)
{
    const facts f = find(s, card);
    add_heading(&f, out);
    add_time(&f, out);
    add_memory(&f, out);
    add_kinds(&f, out);
    return out->failed ? dram_fail(DRAM_ERR_MEMORY, "no memory for the text of the estimate") : DRAM_OK;
}

/* ---- for a program ---- */

static bool add_kernels(cJSON *root, const facts *f)
{
    cJSON *array = cJSON_AddArrayToObject(root, "kernels");
    if (!array) return false;
    for (int k = 0; k < DRAM_KERNEL_KIND_COUNT; k++) {
        const dram_kernel_load *l = &f->of.kind[k];
        dram_kernel_limits limits = dram_kernel_limits_of((dram_kernel_kind)k, f->card->gpu);
        if (!(l->nodes > 0)) continue;
        cJSON *o = dram_json_append(array);
        if (!o || !cJSON_AddStringToObject(o, "name", limits.name) || !cJSON_AddNumberToObject(o, "nodes", l->nodes) ||
            !cJSON_AddNumberToObject(o, "seconds", l->seconds) || !cJSON_AddNumberToObject(o, "flops", l->flops) ||
            !cJSON_AddNumberToObject(o, "bytes", l->bytes) ||
            !cJSON_AddStringToObject(o, "bound_by", is_bound_by_flops(l) ? "flops" : "bytes") ||
            !cJSON_AddNumberToObject(o, "assumed_of_peak", limits.of_peak) ||
            !cJSON_AddNumberToObject(o, "assumed_of_bandwidth", limits.of_bandwidth))
            return false;
    }
    return true;
}

static bool add_card(cJSON *o, const dram_card *c)
{
    return cJSON_AddStringToObject(o, "name", c->name) && cJSON_AddStringToObject(o, "title", c->title) &&
           cJSON_AddStringToObject(o, "rates", c->gpu ? "data sheet" : "measured") &&
           cJSON_AddNumberToObject(o, "flops_16_bit", c->flops_low) &&
           cJSON_AddNumberToObject(o, "flops_fp32", c->flops_fp32) &&
           cJSON_AddNumberToObject(o, "bandwidth", c->bandwidth) &&
           (c->gpu ? cJSON_AddNumberToObject(o, "link", c->link) : cJSON_AddNullToObject(o, "link")) &&
           cJSON_AddNumberToObject(o, "memory_bytes", (double)c->memory_bytes);
}

cJSON *dram_estimate_json(const dram_session *s, const dram_card *card)
{
    const facts f = find(s, card);
    const dram_estimate *e = &f.of;
    cJSON *o = cJSON_CreateObject();
    if (o && add_card(o, card) && cJSON_AddBoolToObject(o, "estimated", true) &&
        cJSON_AddBoolToObject(o, "fits", f.bytes <= card->memory_bytes) &&
        cJSON_AddNumberToObject(o, "needed_bytes", (double)f.bytes) &&
        cJSON_AddNumberToObject(o, "update_seconds", e->seconds) &&
        cJSON_AddNumberToObject(o, "images_per_second", f.images_per_second) &&
        cJSON_AddNumberToObject(o, "start_seconds", e->start_seconds) &&
        cJSON_AddNumberToObject(o, "copy_seconds", e->copy_seconds) &&
        cJSON_AddNumberToObject(o, "copy_bytes", e->copy_bytes) &&
        cJSON_AddNumberToObject(o, "nodes_left_out", e->left_out) &&
        cJSON_AddNumberToObject(o, "flops_left_out", e->left_out_flops) && add_kernels(o, &f))
        return o;
    cJSON_Delete(o);
    dram_fail(DRAM_ERR_MEMORY, "no memory for the estimate");
    return NULL;
}
