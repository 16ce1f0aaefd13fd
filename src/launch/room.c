#include "launch/room.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "device/host.h"
#include "io/json.h"
#include "launch/child.h"

dram_pack_item dram_room_item(const dram_sweep *sweep, const dram_sweep_run *run)
{
    const dram_sweep_point *p = &sweep->points[run->point];
    const bool shorter = run->timed && p->steps > DRAM_SWEEP_TIMED_STEPS;
    return (dram_pack_item){.card_bytes = p->gpu ? p->process_bytes : 0,
                            .host_bytes = p->gpu ? p->host_bytes + p->reserve_bytes : p->process_bytes,
                            .flops = shorter ? p->flops * DRAM_SWEEP_TIMED_STEPS / p->steps : p->flops,
                            .cores = p->cores,
                            .ranks = p->ranks > 1 ? p->ranks : 1};
}

static bool is_here(const dram_claim_owner *owner)
{
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    return strcmp(owner->host, host) == 0;
}

/* ---- RAM ---- */

/* What a process has resident; 0: it is not there. */
static int64_t resident(int64_t pid)
{
    char path[64];
    long long pages = 0;
    snprintf(path, sizeof path, "/proc/%lld/statm", (long long)pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%*s %lld", &pages) != 1) pages = 0;
    if (file) fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* ---- cards ---- */

/* What `dram doctor` says of the one card that it sees: opened in a process of its own, since this one would hold a part
 * of it for as long as the sweep lasts. False: it is none, or it will not do. */
static bool read_card(const char *name, int64_t *free_bytes)
{
    static const char *const words[] = {"doctor", "--cuda", "--json", NULL};
    dram_str out = {0};
    cJSON *root = NULL;
    int code = 1;
    bool found = false;
    if (dram_child_ask(words, name, &out, &code) == DRAM_OK && out.text &&
        dram_json_parse(out.text, out.length, &root, NULL) == DRAM_OK) {
        const cJSON *gpu = cJSON_GetObjectItemCaseSensitive(root, "gpu");
        const cJSON *bytes = cJSON_GetObjectItemCaseSensitive(gpu, "free_bytes");
        found = cJSON_IsNumber(bytes);
        if (found) *free_bytes = (int64_t)bytes->valuedouble;
    }
    dram_error_clear();
    cJSON_Delete(root);
    dram_str_free(&out);
    return found;
}

static bool add_card(dram_room *room, const char *name, size_t length)
{
    int64_t bytes;
    int n = room->all.n_cards;
    if (n == DRAM_PACK_CARDS || length == 0 || length >= DRAM_ROOM_CARD_NAME) return false;
    memcpy(room->card[n], name, length);
    room->card[n][length] = '\0';
    if (!read_card(room->card[n], &bytes)) return false;
    room->all.card[n] = (dram_pack_card){.free_bytes = bytes, .share = -1};
    room->all.n_cards++;
    return true;
}

/* Twice in a list its bytes would be promised twice. */
static bool has_card(const dram_room *room, const char *name, size_t length)
{
    for (int i = 0; i < room->all.n_cards; i++)
        if (strlen(room->card[i]) == length && strncmp(room->card[i], name, length) == 0) return true;
    return false;
}

/* The cards of a list, "0,1", all of which must be there; without one those numbers that are. */
static dram_status find_cards(const char *devices, dram_room *room)
{
    const char *list = devices ? devices : getenv("CUDA_VISIBLE_DEVICES");
    char number[16];
    for (int i = 0; !list && i < DRAM_PACK_CARDS; i++)
        if (!add_card(room, number, (size_t)snprintf(number, sizeof number, "%d", i))) break;
    for (const char *at = list; at && *at; at += strcspn(at, ","), at += *at == ',') {
        int length = (int)strcspn(at, ",");
        if (has_card(room, at, (size_t)length))
            return dram_fail(DRAM_ERR_CONFIG, "%s: %.*s is there twice", devices ? "--devices" : "CUDA_VISIBLE_DEVICES",
                             length, at);
        if (!add_card(room, at, (size_t)length))
            return dram_fail(DRAM_ERR_CONFIG,
                             "%s: there is no GPU %.*s that runs can be made on; `dram doctor` says why",
                             devices ? "--devices" : "CUDA_VISIBLE_DEVICES", length, at);
    }
    if (room->all.n_cards) return DRAM_OK;
    return dram_fail(DRAM_ERR_RUN, "the sweep has runs for a GPU, and there is none here: `dram doctor` says why");
}

/* ---- both ---- */

static bool names(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",") == n && strncmp(at, name, n) == 0) return true;
    return false;
}

/* What runs that go on here already have taken of what is planned for them is not free, and is the sweep's. */
static void add_taken(const dram_sweep *sweep, const char *claims, bool host, dram_room *room)
{
    dram_claim_owner owner;
    for (int i = 0; i < sweep->n_runs; i++) {
        if (!dram_claim_look(claims, sweep->runs[i].name, &owner) || !is_here(&owner)) continue;
        int64_t has = resident(owner.child);
        if (host) room->all.host_bytes += has < owner.bytes ? has : owner.bytes;
        for (int c = 0; c < room->all.n_cards; c++)
            if (names(owner.cards, room->card[c])) room->all.card[c].free_bytes += owner.card_bytes;
    }
}

dram_status dram_room_open(const dram_sweep *sweep, const dram_sweep_options *options, const char *claims,
                           dram_room *room)
{
    *room = (dram_room){0};
    room->all.host_bytes = options->memory ? options->memory : dram_host_free_bytes();
    room->all.cores = dram_host_cores();
    room->all.jobs = options->jobs;
    room->all.always = options->share_always;
    for (int i = 0; i < sweep->n_runs; i++) room->gpu = room->gpu || sweep->points[sweep->runs[i].point].gpu;
    if (room->gpu) TRY(find_cards(options->devices, room));
    if (!room->gpu && (options->devices || options->share_always))
        dram_warn("%s means nothing here: no run of this sweep is for a GPU",
                  options->devices ? "--devices" : "--share");
    add_taken(sweep, claims, !options->memory, room);
    if (!options->memory) room->all.host_bytes -= room->all.host_bytes / 50;
    for (int i = 0; i < room->all.n_cards; i++) room->all.card[i].free_bytes -= room->all.card[i].free_bytes / 50;
    return DRAM_OK;
}

void dram_room_take_claim(const dram_room *room, const dram_claim_owner *owner, dram_pack_room *left)
{
    if (!is_here(owner)) return;
    left->host_bytes -= owner->bytes;
    left->cores -= owner->cores;
    if (dram_process_start(owner->pid) == owner->start)
        left->others++;
    else
        left->running++; /* a child of a sweep that is gone: this one has its place */
    for (int i = 0; i < left->n_cards; i++) {
        if (!names(owner->cards, room->card[i])) continue;
        left->card[i].free_bytes -= owner->card_bytes;
        left->card[i].running++;
    }
}

void dram_room_card_names(const dram_room *room, const int *cards, int n, char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (int i = 0; i < n && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", i ? "," : "", room->card[cards[i]]);
}
