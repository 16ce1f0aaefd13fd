/* The program: `faults MODE N SEED [FOLDER]` tries something N times and says what came of it. FOLDER keeps what was done,
 * and the same command goes on from there; without one it is a temporary folder, which stays where a trial failed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults/drive.h"
#include "faults/modes.h"

static const struct {
    const char *name;
    int (*run)(int n, unsigned long seed);
} modes[] = {
    {"calls", try_calls}, {"sweeps", try_sweeps}, {"kills", try_kills}, {"pairs", try_pairs}, {"stops", try_stops}};
enum { MODES = sizeof modes / sizeof modes[0] };

/* Absolute, as a process's open files have it. */
static void open_work(const char *folder)
{
    static char work[PATH_ROOM];
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) give_up("%s: %s", folder, strerror(errno));
    char *real = realpath(folder, NULL);
    if (!real || strlen(real) > 200) give_up("%s: %s", folder, real ? "its name is too long" : strerror(errno));
    snprintf(work, sizeof work, "%s", real);
    free(real);
    drive_work = work;
    int fd = open(in_work("order"), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    void *memory = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, sizeof *drive_order) == 0)
        memory = mmap(NULL, sizeof *drive_order, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) give_up("%s/order: %s", folder, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) give_up("%s: another process makes trials there", folder); /* to the end */
    drive_order = memory;
}

int main(int argc, char **argv)
{
    char made[256];
    const char *top = getenv("TMPDIR");
    snprintf(made, sizeof made, "%s/dram-faults-XXXXXX", top && *top ? top : "/tmp");
    for (int i = 0; (argc == 4 || argc == 5) && i < MODES; i++) {
        if (strcmp(argv[1], modes[i].name) != 0) continue;
        if (argc == 4 && !mkdtemp(made)) give_up("%s: %s", made, strerror(errno));
        open_work(argc == 5 ? argv[4] : made);
        int failed = modes[i].run(atoi(argv[2]), strtoul(argv[3], NULL, 10));
        if (argc == 4 && !failed) remove_work();
        if (failed) fprintf(stderr, "faults: see %s\n", drive_work);
        return failed > 0;
    }
    fprintf(stderr, "usage: faults calls|sweeps|kills|pairs|stops N SEED [FOLDER]\n");
    return 2;
}
