#include "launch/claim.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "io/json.h"
#include "io/path.h"

enum { TEXT_BYTES = 2000 };

int64_t dram_process_start(int64_t pid)
{
    char path[64], text[1024];
    unsigned long long start = 0;
    if (pid <= 0) return 0;
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = dram_file_read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strrchr(text, ')'); /* a name may hold anything */
    char state = 0;
    if (!at || sscanf(at, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state,
                      &start) != 2)
        return 0;
    return state == 'Z' ? 0 : (int64_t)start;
}

dram_claim_owner dram_claim_self(void)
{
    dram_claim_owner me = {.pid = getpid()};
    const char *job = getenv("SLURM_JOB_ID");
    gethostname(me.host, sizeof me.host - 1);
    me.start = dram_process_start(me.pid);
    if (job) snprintf(me.job, sizeof me.job, "%s", job);
    return me;
}

/* ---- what the file says ---- */

static void copy_text(const cJSON *object, const char *key, char *out, size_t size)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (cJSON_IsString(item)) snprintf(out, size, "%s", item->valuestring);
}

static int64_t number(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? (int64_t)item->valuedouble : 0;
}

/* A file that is just being made may be empty. */
static void read_owner(int fd, dram_claim_owner *owner)
{
    char text[TEXT_BYTES];
    cJSON *root = NULL;
    *owner = (dram_claim_owner){0};
    ssize_t n = dram_file_read_at(fd, text, sizeof text - 1, 0);
    if (n <= 0) return;
    text[n] = '\0';
    if (dram_json_parse(text, (size_t)n, &root, NULL) != DRAM_OK) dram_error_clear();
    copy_text(root, "host", owner->host, sizeof owner->host);
    copy_text(root, "job", owner->job, sizeof owner->job);
    copy_text(root, "cards", owner->cards, sizeof owner->cards);
    owner->pid = number(root, "pid");
    owner->start = number(root, "start");
    owner->child = number(root, "child");
    owner->child_start = number(root, "child_start");
    owner->bytes = number(root, "bytes");
    owner->cores = (int)number(root, "cores");
    owner->card_bytes = number(root, "card_bytes");
    cJSON_Delete(root);
}

dram_status dram_claim_say(const dram_claim *claim, const dram_claim_owner *me)
{
    cJSON *root = cJSON_CreateObject();
    char *text = NULL;
    if (root && dram_json_add_text(root, "host", me->host) && dram_json_add_text(root, "job", me->job) &&
        dram_json_add_text(root, "cards", me->cards) && cJSON_AddNumberToObject(root, "pid", (double)me->pid) &&
        cJSON_AddNumberToObject(root, "start", (double)me->start) &&
        cJSON_AddNumberToObject(root, "child", (double)me->child) &&
        cJSON_AddNumberToObject(root, "child_start", (double)me->child_start) &&
        cJSON_AddNumberToObject(root, "bytes", (double)me->bytes) &&
        cJSON_AddNumberToObject(root, "cores", me->cores) &&
        cJSON_AddNumberToObject(root, "card_bytes", (double)me->card_bytes))
        text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    if (!text) return dram_fail(DRAM_ERR_MEMORY, "no memory for a claim");
    int cut;
    while ((cut = ftruncate(claim->fd, 0)) != 0 && errno == EINTR) continue;
    bool written = cut == 0 && dram_file_write_at(claim->fd, text, strlen(text), 0);
    cJSON_free(text);
    return written ? DRAM_OK : dram_fail(DRAM_ERR_IO, "the claim of a run: cannot write: %m");
}

/* ---- the lock ---- */

/* 0: it is ours now; EWOULDBLOCK: another's; ENOLCK: there are none here; else the system's errno. */
static int lock(int fd)
{
    while (flock(fd, LOCK_EX | LOCK_NB) != 0)
        if (errno != EINTR) return errno == EOPNOTSUPP || errno == ENOSYS ? ENOLCK : errno;
    return 0;
}

/* Without locks: on this host it is known whether the sweep and its child are there, on another it is not. */
static bool is_dead(const dram_claim_owner *owner)
{
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    bool here = owner->pid && strcmp(host, owner->host) == 0;
    bool lives = dram_process_start(owner->pid) == owner->start ||
                 (owner->child && dram_process_start(owner->child) == owner->child_start);
    return here && !lives;
}

static int open_claim(const char *path, bool *made, const char **why)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    *made = fd >= 0;
    if (fd < 0 && errno == EEXIST) fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) *why = strerror(errno);
    return fd;
}

static dram_status take(const char *path, const dram_claim_owner *me, dram_claim *claim, bool *taken,
                        dram_claim_owner *before)
{
    bool made;
    const char *why = NULL;
    claim->fd = open_claim(path, &made, &why);
    if (claim->fd < 0) return dram_fail(DRAM_ERR_IO, "%s: cannot make this file: %s", path, why);
    int reason = lock(claim->fd);
    if (!made) read_owner(claim->fd, before);
    *taken = reason == 0 || (reason == ENOLCK && made);
    if (reason == ENOLCK && !made && is_dead(before))
        dram_warn("%s: process %lld of this host has left it and is gone, and this file system has no locks: if no run "
                  "goes on there, remove this file",
                  path, (long long)before->pid);
    if (*taken) return dram_claim_say(claim, me);
    return reason == EWOULDBLOCK || reason == ENOLCK
               ? DRAM_OK
               : dram_fail(DRAM_ERR_IO, "%s: cannot lock this file: %s", path, strerror(reason));
}

dram_status dram_claim_take(const char *folder, const char *name, const dram_claim_owner *me, dram_claim *claim,
                            bool *taken, dram_claim_owner *before)
{
    char *path;
    dram_claim_owner other = {0};
    claim->fd = -1;
    *taken = false;
    TRY(dram_path_join(folder, name, &path));
    dram_status status = take(path, me, claim, taken, &other);
    if (status != DRAM_OK || !*taken) dram_claim_close(claim);
    if (before) *before = other;
    dram_free(path);
    return status;
}

void dram_claim_close(dram_claim *claim)
{
    if (claim->fd >= 0) close(claim->fd);
    claim->fd = -1;
}

bool dram_claim_look(const char *folder, const char *name, dram_claim_owner *owner)
{
    char *path;
    *owner = (dram_claim_owner){0};
    if (dram_path_join(folder, name, &path) != DRAM_OK) {
        dram_error_clear();
        return false;
    }
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    dram_free(path);
    if (fd < 0) return false;
    read_owner(fd, owner);
    int reason = lock(fd);
    close(fd);
    return reason == EWOULDBLOCK || (reason == ENOLCK && !is_dead(owner));
}
