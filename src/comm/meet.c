#include "comm/meet.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"
#include "comm/agree.h"
#include "io/hash.h"

enum { MARK_SIZE = 16, PROGRAM_SIZE = 96 };

/* What a rank says of itself. */
typedef struct {
    unsigned char mark[MARK_SIZE]; /* random */
    int64_t rank, size, config_bytes;
    uint64_t config;
    char program[PROGRAM_SIZE];
    dram_peer peer;
} self;

static void describe(const dram_comm *c, const dram_comm_params *params, self *me)
{
    const char *config = params->config ? params->config : "";
    memset(me, 0, sizeof *me);
    me->rank = c->rank;
    me->size = c->size;
    me->config_bytes = (int64_t)strlen(config) + 1;
    me->config = dram_hash_64(config, strlen(config));
    snprintf(me->program, sizeof me->program, "%s", params->program ? params->program : "");
    me->peer.process = (int)getpid();
    if (gethostname(me->peer.host, sizeof me->peer.host - 1) != 0) strcpy(me->peer.host, "?");
}

/* Rank 0's random bytes come back from all: who is of another job has others. */
static dram_status same_job(dram_comm *c, const self *all)
{
    unsigned char back[MARK_SIZE], *backs = dram_calloc((size_t)c->size, MARK_SIZE);
    if (!backs) return dram_fail(DRAM_ERR_MEMORY, "out of host memory for %d ranks", c->size);
    memcpy(back, all[0].mark, MARK_SIZE);
    dram_status status = dram_host_gather(c, "the ranks' meeting", back, MARK_SIZE, backs);
    for (int r = 0; status == DRAM_OK && r < c->size; r++) {
        if (memcmp(backs + (size_t)r * MARK_SIZE, all[0].mark, MARK_SIZE) == 0 && all[r].rank == r &&
            all[r].size == c->size)
            continue;
        status = dram_fail(
            DRAM_ERR_CONFIG,
            "who answers as rank %d of %d, process %d on %s, is of another job (it calls itself rank %lld "
            "of %lld): two jobs meet at one address; set MASTER_PORT to another port for one of them",
            r, c->size, all[r].peer.process, all[r].peer.host, (long long)all[r].rank, (long long)all[r].size);
    }
    dram_free(backs);
    return status;
}

static dram_status same_program(const dram_comm *c, const self *all)
{
    for (int r = 1; r < c->size; r++)
        if (strcmp(all[r].program, all[0].program) != 0)
            return dram_fail(DRAM_ERR_CONFIG,
                             "the ranks run different programs: dram %s on rank 0 (%s), dram %s on rank %d (%s)",
                             all[0].program, all[0].peer.host, all[r].program, r, all[r].peer.host);
    return DRAM_OK;
}

/* Of line `n` of a YAML text: the sections that it lies in, with its own text: "train.steps: 4". */
static void show_line(const char *text, int n, dram_str *out)
{
    enum { DEEPEST = 8 };
    const char *section[DEEPEST];
    int indent[DEEPEST], depth = 0;
    for (const char *at = text; *at;) {
        int length = (int)strcspn(at, "\n"), spaces = (int)strspn(at, " ");
        while (depth && indent[depth - 1] >= spaces) depth--;
        if (n-- == 0) {
            for (int i = 0; i < depth; i++)
                dram_str_add(out, "%.*s.", (int)strcspn(section[i] + indent[i], ":\n"), section[i] + indent[i]);
            dram_str_add(out, "%.*s", length - spaces, at + spaces);
            return;
        }
        if (depth < DEEPEST) {
            section[depth] = at;
            indent[depth++] = spaces;
        }
        at += length + (at[length] == '\n');
    }
    dram_str_add(out, "nothing more");
}

/* The number of the first line in which two different texts differ. */
static int first_difference(const char *a, const char *b)
{
    int line = 0;
    for (; *a == *b && *a; a++, b++) line += *a == '\n';
    return line;
}

static dram_status name_difference(const dram_comm *c, const self *all, int other, const char *a, const char *b)
{
    dram_str here = {0}, there = {0};
    int line = first_difference(a, b);
    show_line(a, line, &here);
    show_line(b, line, &there);
    dram_status status =
        here.failed || there.failed
            ? dram_fail(DRAM_ERR_MEMORY, "out of host memory for two configs that differ")
            : dram_fail(
                  DRAM_ERR_CONFIG,
                  "the ranks have different configs: \"%s\" on rank 0 (%s), \"%s\" on rank %d (%s); start all of %d "
                  "with the same config and overrides",
                  here.text, all[0].peer.host, there.text, other, all[other].peer.host, c->size);
    dram_str_free(&here);
    dram_str_free(&there);
    return status;
}

/* All ranks come here when one differs: the texts are shown to all, filled up to the longest. */
static dram_status compare_configs(dram_comm *c, const self *all, int other, const char *config)
{
    int64_t most = 0;
    for (int r = 0; r < c->size; r++) most = all[r].config_bytes > most ? all[r].config_bytes : most;
    char *own = dram_calloc(1, (size_t)most), *texts = dram_calloc((size_t)c->size, (size_t)most);
    dram_status status =
        own && texts ? DRAM_OK : dram_fail(DRAM_ERR_MEMORY, "out of host memory for %d configs", c->size);
    if (status == DRAM_OK) {
        strcpy(own, config);
        status = dram_host_gather(c, "the comparison of configs", own, most, texts);
    }
    if (status == DRAM_OK) status = name_difference(c, all, other, texts, texts + other * most);
    dram_free(own);
    dram_free(texts);
    return status;
}

static dram_status same_config(dram_comm *c, const self *all, const char *config)
{
    for (int r = 1; r < c->size; r++)
        if (all[r].config != all[0].config || all[r].config_bytes != all[0].config_bytes)
            return compare_configs(c, all, r, config ? config : "");
    return DRAM_OK;
}

dram_status dram_meet(dram_comm *c, const dram_comm_params *params)
{
    self me, *all = dram_calloc((size_t)c->size, sizeof *all);
    if (!all) return dram_fail(DRAM_ERR_MEMORY, "out of host memory for %d ranks", c->size);
    dram_status status = DRAM_OK;
    describe(c, params, &me);
    strcpy(c->peers[c->rank].host, me.peer.host); /* what the watch says of this rank, whatever comes */
    if (getrandom(me.mark, sizeof me.mark, 0) != sizeof me.mark)
        status = dram_fail(DRAM_ERR_RUN, "the system gives no random bytes: %m");
    if (status == DRAM_OK) status = dram_host_gather(c, "the ranks' meeting", &me, sizeof me, all);
    for (int r = 0; status == DRAM_OK && r < c->size; r++) c->peers[r] = all[r].peer;
    if (status == DRAM_OK) status = same_job(c, all);
    if (status == DRAM_OK) status = same_program(c, all);
    if (status == DRAM_OK) status = same_config(c, all, params->config);
    dram_free(all);
    return status;
}
