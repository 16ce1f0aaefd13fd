/* What the host has: /proc and the limits of the control groups (v2 and v1) this process is in. The files are read with
 * read(2), since stdio would take a buffer. */
#include "device/host.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "device/testing.h"

enum { TEXT_ROOM = 16384, PATH_ROOM = 1024 };

/* The beginning of a small file. False: it cannot be read. */
static bool read_text(const char *root, const char *path, char *text, size_t size)
{
    char whole[PATH_ROOM];
    struct stat info;
    const char *why;
    if ((size_t)snprintf(whole, sizeof whole, "%s%s", root, path) >= sizeof whole) return false;
    int fd = dram_file_open(whole, &info, &why);
    if (fd < 0) return false;
    ssize_t length = dram_file_read(fd, text, size - 1);
    close(fd);
    text[length < 0 ? 0 : length] = '\0';
    return length > 0;
}

/* The number behind a line's first word. */
static bool line_number(const char *text, const char *word, int64_t *value)
{
    size_t n = strlen(word);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, word, n) != 0 || (line[n] != ' ' && line[n] != '\t')) continue;
        *value = strtoll(line + n, NULL, 10);
        return true;
    }
    return false;
}

/* A file that is one number; "max", for one, is none. */
static bool read_number(const char *root, const char *path, int64_t *value)
{
    char text[64], *end;
    if (!read_text(root, path, text, sizeof text)) return false;
    *value = strtoll(text, &end, 10);
    return end > text;
}

/* A line of /proc/meminfo or /proc/self/status, in kB there. 0: it is not there. */
static int64_t kilobytes(const char *root, const char *path, const char *word)
{
    char text[TEXT_ROOM];
    int64_t value;
    return read_text(root, path, text, sizeof text) && line_number(text, word, &value) ? value * 1024 : 0;
}

/* ---- control groups ---- */

typedef struct {
    int64_t limit, room; /* INT64_MAX: none is set */
} group_memory;

/* Bytes of a group that are cached files: they count as used, but the kernel takes them back when they are wanted. */
static int64_t group_cache(const char *root, const char *folder, bool v2)
{
    char path[PATH_ROOM], text[TEXT_ROOM];
    int64_t inactive = 0, active = 0;
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    if (!read_text(root, path, text, sizeof text)) return 0;
    line_number(text, v2 ? "inactive_file" : "total_inactive_file", &inactive);
    line_number(text, v2 ? "active_file" : "total_active_file", &active);
    return inactive + active;
}

/* One group's limit binds with what all processes in it take. */
static void look_at_group(const char *root, const char *folder, bool v2, group_memory *least)
{
    char path[PATH_ROOM];
    int64_t limit, usage;
    snprintf(path, sizeof path, "%s/%s", folder, v2 ? "memory.max" : "memory.limit_in_bytes");
    if (!read_number(root, path, &limit)) return; /* "max", or no such controller */
    snprintf(path, sizeof path, "%s/%s", folder, v2 ? "memory.current" : "memory.usage_in_bytes");
    if (!read_number(root, path, &usage)) return;
    usage -= group_cache(root, folder, v2);
    if (usage < 0) usage = 0;
    int64_t room = limit > usage ? limit - usage : 0;
    if (limit < least->limit) least->limit = limit;
    if (room < least->room) least->room = room;
}

/* A limit on any of the groups above ours binds us too. */
static group_memory groups(const char *root)
{
    char text[TEXT_ROOM], folder[PATH_ROOM / 2], *rest = text;
    group_memory least = {.limit = INT64_MAX, .room = INT64_MAX};
    if (!read_text(root, "/proc/self/cgroup", text, sizeof text)) return least;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        bool v2 = strncmp(line, "0::", 3) == 0, v1 = strstr(line, ":memory:") != NULL;
        char *group = strrchr(line, ':');
        if ((!v1 && !v2) || !group) continue;
        for (group++;;) {
            int n = snprintf(folder, sizeof folder, "%s%s", v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory", group);
            if (n < (int)sizeof folder) look_at_group(root, folder, v2, &least);
            char *slash = strrchr(group, '/');
            if (!slash || !*group) break;
            *slash = '\0';
        }
    }
    return least;
}

/* ---- the host ---- */

int64_t dram_host_free_under(const char *root)
{
    int64_t ram = kilobytes(root, "/proc/meminfo", "MemAvailable:"), room = groups(root).room;
    return room < ram ? room : ram;
}

int64_t dram_host_total_under(const char *root)
{
    int64_t ram = kilobytes(root, "/proc/meminfo", "MemTotal:"), limit = groups(root).limit;
    return limit < ram ? limit : ram;
}

int64_t dram_host_group_limit_under(const char *root)
{
    int64_t ram = kilobytes(root, "/proc/meminfo", "MemTotal:"), limit = groups(root).limit;
    return limit < ram ? limit : 0;
}

static _Atomic int64_t pretended_free = -1, pretended_total = -1;

void dram_host_pretend(int64_t free_bytes, int64_t total_bytes)
{
    atomic_store(&pretended_free, free_bytes);
    atomic_store(&pretended_total, total_bytes);
}

int64_t dram_host_free_bytes(void)
{
    int64_t pretended = atomic_load(&pretended_free);
    return pretended >= 0 ? pretended : dram_host_free_under("");
}

int64_t dram_host_total_bytes(void)
{
    int64_t pretended = atomic_load(&pretended_total);
    return pretended >= 0 ? pretended : dram_host_total_under("");
}

int64_t dram_host_group_limit(void)
{
    return dram_host_group_limit_under("");
}

/* ---- address space ---- */

/* Numbers of /proc/self/statm, in pages there. */
enum { MAPPED = 0, RESIDENT = 1, DATA = 5 };

static int64_t statm_bytes(int number)
{
    char text[256], *at = text, *end;
    int64_t pages = 0;
    if (!read_text("", "/proc/self/statm", text, sizeof text)) return 0;
    for (int i = 0; i <= number; i++, at = end) pages = strtoll(at, &end, 10);
    return pages * sysconf(_SC_PAGESIZE);
}

static void limit_to(dram_host_mappable *least, int64_t bytes, const char *whose)
{
    if (bytes < least->bytes) *least = (dram_host_mappable){.bytes = bytes > 0 ? bytes : 0, .whose = whose};
}

static void limit_to_resource(dram_host_mappable *least, int which, int64_t taken, const char *whose)
{
    struct rlimit limit;
    if (getrlimit(which, &limit) != 0 || limit.rlim_cur > INT64_MAX) return;
    limit_to(least, (int64_t)limit.rlim_cur - taken, whose);
}

dram_host_mappable dram_host_to_map_under(const char *root)
{
    enum { STRICT = 2 };
    dram_host_mappable least = {.bytes = INT64_MAX, .whose = ""};
    int64_t mode;
    limit_to_resource(&least, RLIMIT_AS, statm_bytes(MAPPED), "`ulimit -v`");
    limit_to_resource(&least, RLIMIT_DATA, statm_bytes(DATA), "`ulimit -d`");
    if (read_number(root, "/proc/sys/vm/overcommit_memory", &mode) && mode == STRICT)
        limit_to(&least,
                 kilobytes(root, "/proc/meminfo", "CommitLimit:") - kilobytes(root, "/proc/meminfo", "Committed_AS:"),
                 "vm.overcommit_memory=2");
    return least;
}

static _Atomic int64_t pretended_to_map = -1;

void dram_host_pretend_to_map(int64_t bytes)
{
    atomic_store(&pretended_to_map, bytes);
}

dram_host_mappable dram_host_to_map(void)
{
    int64_t pretended = atomic_load(&pretended_to_map);
    if (pretended >= 0) return (dram_host_mappable){.bytes = pretended, .whose = "a test"};
    return dram_host_to_map_under("");
}

int64_t dram_host_left_bytes(void)
{
    int64_t left = dram_host_free_bytes(), map = dram_host_to_map().bytes;
    return map < left ? map : left;
}

int dram_host_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return CPU_COUNT(&set);
}

/* ---- this process ---- */

int64_t dram_process_rss(void)
{
    return statm_bytes(RESIDENT);
}

int64_t dram_process_peak_rss(void)
{
    return kilobytes("", "/proc/self/status", "VmHWM:");
}

double dram_process_cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
