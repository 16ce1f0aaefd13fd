/* What the host has free: /proc/meminfo and the limits of the control groups (v2 and v1) this process is in. */
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "device/device.h"

static bool read_number(const char *path, int64_t *value)
{
    long long number;
    FILE *file = fopen(path, "r");
    if (!file) return false;
    bool good = fscanf(file, "%lld", &number) == 1;
    fclose(file);
    if (good) *value = number;
    return good;
}

static int64_t available_ram(void)
{
    char line[256];
    long long kilobytes = 0;
    FILE *file = fopen("/proc/meminfo", "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %lld kB", &kilobytes) == 1) break;
    fclose(file);
    return kilobytes * 1024;
}

/* Bytes of a group that are cached files: they count as used, but the kernel takes them back when they are wanted. */
static int64_t group_cache(const char *folder, const char *inactive, const char *active)
{
    char path[768], name[64];
    long long value, sum = 0;
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    while (fscanf(file, "%63s %lld", name, &value) == 2)
        if (strcmp(name, inactive) == 0 || strcmp(name, active) == 0) sum += value;
    fclose(file);
    return sum;
}

/* The room left in one control group; INT64_MAX when it sets no limit. */
static int64_t group_room(const char *folder, bool v2)
{
    char path[768];
    int64_t limit, usage;
    snprintf(path, sizeof path, "%s/%s", folder, v2 ? "memory.max" : "memory.limit_in_bytes");
    if (!read_number(path, &limit)) return INT64_MAX; /* "max", or no such controller */
    snprintf(path, sizeof path, "%s/%s", folder, v2 ? "memory.current" : "memory.usage_in_bytes");
    if (!read_number(path, &usage)) return INT64_MAX;
    usage -= v2 ? group_cache(folder, "inactive_file", "active_file")
                : group_cache(folder, "total_inactive_file", "total_active_file");
    if (usage < 0) usage = 0;
    return limit > usage ? limit - usage : 0;
}

/* A limit on any of the groups above ours binds us too. */
static int64_t groups_room(void)
{
    char line[512];
    int64_t room = INT64_MAX;
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (!file) return room;
    while (fgets(line, sizeof line, file)) {
        bool v2 = strncmp(line, "0::", 3) == 0, v1 = strstr(line, ":memory:") != NULL;
        char *group = strrchr(line, ':');
        if ((!v1 && !v2) || !group) continue;
        group[strcspn(group, "\n")] = '\0';
        for (group++;;) {
            char folder[600];
            snprintf(folder, sizeof folder, "%s%s", v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory", group);
            int64_t here = group_room(folder, v2);
            if (here < room) room = here;
            char *slash = strrchr(group, '/');
            if (!slash || !*group) break;
            *slash = '\0';
        }
    }
    fclose(file);
    return room;
}

int64_t dram_host_free_bytes(void)
{
    int64_t ram = available_ram(), room = groups_room();
    return room < ram ? room : ram;
}

int dram_host_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return CPU_COUNT(&set);
}
