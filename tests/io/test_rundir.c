/* One process trains in a run: the lock of a run directory. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/atomic.h"
#include "io/helpers.h"
#include "io/path.h"
#include "io/rundir.h"
#include "support/warnings.h"

/* Stands before the system's: the lock of a file system that has none. */
static int lock_fails;
int flock(int fd, int how)
{
    if (!lock_fails) return (int)syscall(SYS_flock, fd, how);
    errno = lock_fails;
    return -1;
}

/* A process that opens a run and holds it until it is told to end: by SIGKILL, or by the end of the pipe. */
typedef struct {
    pid_t id;
    int tell, hear;
} holder;

static holder hold(const char *parent, const char *name, bool resume)
{
    int tell[2], hear[2];
    char said = 0;
    assert_int_equal(pipe(tell), 0);
    assert_int_equal(pipe(hear), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dram_rundir *run;
        close(tell[1]);
        close(hear[0]);
        bool good = dram_rundir_find(parent, name, resume, &run) == DRAM_OK && dram_rundir_open(run) == DRAM_OK;
        if (write(hear[1], good ? "y" : "n", 1) != 1) _exit(1);
        if (read(tell[0], &said, 1) != 0) _exit(1);
        dram_rundir_close(good ? run : NULL);
        _exit(42);
    }
    close(tell[0]);
    close(hear[1]);
    assert_int_equal(read(hear[0], &said, 1), 1);
    assert_int_equal(said, 'y');
    return (holder){.id = child, .tell = tell[1], .hear = hear[0]};
}

static void let_go(holder h, bool killed)
{
    int rc;
    if (killed) assert_int_equal(kill(h.id, SIGKILL), 0);
    close(h.tell);
    close(h.hear);
    assert_int_equal(waitpid(h.id, &rc, 0), h.id);
    assert_true(killed ? WIFSIGNALED(rc) : WIFEXITED(rc) && WEXITSTATUS(rc) == 42);
}

/* Refused, with and without resume; the owner is named and nothing is touched. */
static void refused(const char *parent, const char *name, pid_t owner)
{
    char want[300], host[200] = "";
    dram_rundir *run;
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    snprintf(want, sizeof want, "/%s: process %ld on host %s, since 2", name, (long)owner, host);
    for (int resume = 0; resume < 2; resume++) {
        assert_int_equal(dram_rundir_find(parent, name, resume, &run), DRAM_ERR_CONFIG);
        assert_null(run);
        if (!strstr(dram_error_text(), want)) fail_msg("\"%s\" is not in: %s", want, dram_error_text());
        assert_non_null(strstr(dram_error_text(), " UTC is training in this run: wait until it has ended, or choose"));
        dram_error_clear();
    }
}

static void open_and_close(const char *parent, const char *name, bool resume)
{
    dram_rundir *run;
    ok(dram_rundir_find(parent, name, resume, &run));
    ok(dram_rundir_open(run));
    dram_rundir_close(run);
}

static void a_second_process_is_refused(void **state)
{
    const char *parent = in_dir(state, "runs"), *lock = in_dir(state, "runs/two/lock");
    for (int resume = 0; resume < 2; resume++) {
        holder h = hold(parent, "two", resume);
        put_file(in_dir(state, "runs/two/.dram-tmp-1-1"), "half", 4);
        size_t bytes;
        char *before = get_file(lock, &bytes);
        refused(parent, "two", h.id);
        assert_file_is(lock, before, bytes);
        assert_file_is(in_dir(state, "runs/two/.dram-tmp-1-1"), "half", 4);
        free(before);
        let_go(h, false);
        assert_false(is_there(lock));
    }
    open_and_close(parent, "two", true);
    assert_false(is_there(in_dir(state, "runs/two/.dram-tmp-1-1")));
    assert_false(is_there(lock));
}

static void a_dead_owners_lock_is_taken_over(void **state)
{
    const char *parent = in_dir(state, "dead"), *lock = in_dir(state, "dead/run/lock");
    for (int resume = 0; resume < 2; resume++) {
        let_go(hold(parent, "run", resume), true);
        assert_true(is_there(lock));
    }
    open_and_close(parent, "run", false); /* it has no checkpoint: another may begin there */
    holder h = hold(parent, "run", true);
    refused(parent, "run", h.id);
    let_go(h, false);
    static const char *const left[] = {"", "dram l",
                                       "dram lock: ", "dram lock: process 1 on host elsewhere, since 1\n"};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        put_file(lock, left[i], strlen(left[i]));
        open_and_close(parent, "run", true);
        assert_false(is_there(lock));
    }
}

/* Of many that begin at once one is let in at a time, and the last leaves no lock. */
static void many_at_once(void **state)
{
    enum { MANY = 8, ROUNDS = 40 };
    const char *parent = in_dir(state, "many"), *inside = in_dir(state, "many/run/inside");
    int entered = 0;
    open_and_close(parent, "run", false);
    for (int i = 0; i < MANY; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child > 0) continue;
        for (int k = 0; k < ROUNDS; k++) {
            dram_rundir *run;
            dram_error_clear();
            if (dram_rundir_find(parent, "run", true, &run) != DRAM_OK) {
                if (!strstr(dram_error_text(), "is training in this run")) _exit(2);
                continue;
            }
            if (mkdir(inside, 0777) != 0) _exit(3); /* another is in here */
            usleep(500);
            if (rmdir(inside) != 0) _exit(4);
            dram_rundir_close(run);
            entered++;
        }
        _exit(entered ? 42 : 43);
    }
    for (int i = 0; i < MANY; i++) {
        int rc;
        assert_true(wait(&rc) > 0);
        assert_true(WIFEXITED(rc) && (WEXITSTATUS(rc) == 42 || WEXITSTATUS(rc) == 43));
        entered += WEXITSTATUS(rc) == 42;
    }
    assert_true(entered > 0);
    assert_false(is_there(in_dir(state, "many/run/lock")));
}

/* What has the name of the lock and is none of ours stays as it is. */
static void no_lock_of_ours(void **state)
{
    const char *parent = in_dir(state, "mine"), *lock = in_dir(state, "mine/run/lock");
    dram_rundir *run;
    open_and_close(parent, "run", false);
    put_file(lock, "a key\n", 6);
    fails(dram_rundir_find(parent, "run", true, &run), DRAM_ERR_CONFIG,
          "mine/run/lock: the lock of this run would take the place of what is no lock of dram's");
    assert_file_is(lock, "a key\n", 6);
    put_file(lock, "\0\0", 2);
    fails(dram_rundir_find(parent, "run", true, &run), DRAM_ERR_CONFIG, "what is no lock of dram's");
    assert_file_is(lock, "\0\0", 2);
    assert_int_equal(unlink(lock), 0);
    put_file(in_dir(state, "others"), "x", 1);
    for (int dangling = 0; dangling < 2; dangling++) {
        assert_int_equal(symlink(dangling ? "../../gone" : "../../others", lock), 0);
        fails(dram_rundir_find(parent, "run", true, &run), DRAM_ERR_CONFIG,
              "mine/run/lock: a link, and dram writes through none within a run; run.dir may be one");
        assert_int_equal(unlink(lock), 0);
    }
    assert_file_is(in_dir(state, "others"), "x", 1);
    assert_false(is_there(in_dir(state, "gone")));
    assert_int_equal(mkdir(lock, 0777), 0);
    fails(dram_rundir_find(parent, "run", true, &run), DRAM_ERR_IO,
          "mine/run/lock: cannot make this file: Is a directory");
    assert_int_equal(rmdir(lock), 0);
}

static void links_to_folders(void **state)
{
    const char *parent = in_dir(state, "linked");
    dram_rundir *run;
    open_and_close(parent, "run", false);
    ok(dram_make_folders(in_dir(state, "elsewhere/.dram-tmp-1-1")));
    assert_int_equal(symlink("run", in_dir(state, "linked/other")), 0);
    open_and_close(parent, "other", true); /* the run itself may be one */
    assert_int_equal(rmdir(in_dir(state, "linked/run/checkpoints")), 0);
    assert_int_equal(symlink("../../elsewhere", in_dir(state, "linked/run/checkpoints")), 0);
    ok(dram_rundir_find(parent, "run", true, &run));
    fails(dram_rundir_open(run), DRAM_ERR_CONFIG,
          "linked/run/checkpoints: a link, and dram writes through none within a run; run.dir may be one");
    dram_rundir_close(run);
    assert_true(is_there(in_dir(state, "elsewhere/.dram-tmp-1-1")));
    /* Two names of one run are one run. */
    holder h = hold(in_dir(state, "linked"), "free", false);
    assert_int_equal(symlink("free", in_dir(state, "linked/alias")), 0);
    refused(parent, "alias", h.id);
    let_go(h, false);
}

static void a_file_system_without_locks(void **state)
{
    static const int none[] = {ENOLCK, EOPNOTSUPP, ENOSYS};
    const char *parent = in_dir(state, "nowhere");
    dram_rundir *run;
    open_and_close(parent, "run", false);
    dram_log_set_sink(keep_warning, NULL);
    for (int i = 0; i < 3; i++) {
        warnings = 0;
        lock_fails = none[i];
        open_and_close(parent, "run", true);
        lock_fails = 0;
        assert_int_equal(warnings, 1);
        assert_non_null(strstr(last_warning, "nowhere/run: this file system has no locks ("));
        assert_non_null(strstr(last_warning, "would not be noticed"));
    }
    dram_log_set_sink(NULL, NULL);
    lock_fails = EIO;
    dram_status status = dram_rundir_find(parent, "run", true, &run);
    lock_fails = 0;
    fails(status, DRAM_ERR_IO, "nowhere/run/lock: cannot lock this file: Input/output error");
    open_and_close(parent, "run", true);
}

static void mounts_that_keep_locks(void **state)
{
    (void)state;
    static const struct {
        const char *line, *why;
    } cases[] = {
        {"36 35 8:1 / / rw,noatime shared:1 - ext4 /dev/sda1 rw,errors=continue", NULL},
        {"36 35 0:45 / /n rw shared:1 - nfs4 host:/a rw,vers=4.2,hard,local_lock=none,addr=1.2.3.4", NULL},
        {"36 35 0:45 / /n rw - nfs host:/a rw,vers=3,nolock,local_lock=all,addr=1.2.3.4",
         "it is mounted with local_lock"},
        {"36 35 0:45 / /n rw - nfs host:/a rw,vers=3,local_lock=flock", "it is mounted with local_lock"},
        {"36 35 0:45 / /n rw - nfs host:/a rw,vers=3,local_lock=posix", NULL}, /* of fcntl's locks alone */
        {"36 35 0:46 / /l rw - lustre 1@tcp:/fs rw,localflock,lazystatfs", "it is mounted with localflock"},
        {"36 35 0:46 / /l rw - lustre 1@tcp:/fs rw,flock,lazystatfs", NULL},
        {"36 35 0:47 / /s rw - cifs //host/a rw,nobrl", "it is mounted with nobrl"},
        {"36 35 0:48 / /f rw - fuse.sshfs host: rw,user_id=0", "it is a FUSE file system"},
        {"36 35 8:2 / /w rw - fuseblk /dev/sda2 rw", NULL},
        {"36 35 0:49 / /v rw - 9p share rw", "it is another machine's"},
        {"36 35 0:50 / /v rw - virtiofs share rw", "it is another machine's"},
        {"36 35 0:51 / /o rw - overlay overlay rw,lowerdir=/a", NULL},
        {"", NULL},
        {"36 35 8:1 / / rw -", NULL},
        {"36 35 8:1 / / rw - ", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *why = dram_mount_keeps_locks(cases[i].line);
        if (cases[i].why)
            assert_string_equal(why ? why : "", cases[i].why);
        else
            assert_null(why);
    }
}

/* What another user finds who may look into the folders. Returns the exit code of a process that is not root's. */
static int found_by_another(const char *parent, const char *name, bool resume, const char *text)
{
    int rc;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dram_rundir *run = NULL;
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(3);
        dram_error_clear();
        if (dram_rundir_find(parent, name, resume, &run) == DRAM_OK) {
            dram_rundir_close(run);
            _exit(0);
        }
        if (!strstr(dram_error_text(), text)) fprintf(stderr, "%s\n", dram_error_text());
        _exit(strstr(dram_error_text(), text) ? 2 : 1);
    }
    assert_int_equal(waitpid(child, &rc, 0), child);
    return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
}

/* It is said before a step is made, not where the first file is written. */
static void folders_that_cannot_be_written(void **state)
{
    const char *parent = in_dir(state, "shared"), *run = in_dir(state, "shared/run");
    const char *checkpoints = in_dir(state, "shared/run/checkpoints");
    assert_int_equal(chmod(*state, 0711), 0);
    ok(dram_make_folders(checkpoints));
    assert_int_equal(chmod(parent, 0555), 0);
    assert_int_equal(chmod(run, 0777), 0);
    assert_int_equal(chmod(checkpoints, 0777), 0);
    assert_int_equal(found_by_another(parent, "new", false, "/shared: files cannot be written to this folder"), 2);
    assert_int_equal(found_by_another(in_dir(state, "shared/a/b"), "new", false, "/shared: files cannot be"), 2);
    assert_int_equal(found_by_another(parent, "run", true, ""), 0);
    assert_int_equal(chmod(checkpoints, 0555), 0);
    assert_int_equal(found_by_another(parent, "run", true, "/run/checkpoints: files cannot be written to"), 2);
    assert_int_equal(chmod(run, 0555), 0);
    assert_int_equal(found_by_another(parent, "run", true, "/run/lock: cannot make this file"), 2);
    assert_int_equal(chmod(parent, 0777), 0);
    assert_int_equal(found_by_another(parent, "new", false, ""), 0);
    assert_int_equal(chmod(run, 0777), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_process_is_refused),
        cmocka_unit_test(a_dead_owners_lock_is_taken_over),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(no_lock_of_ours),
        cmocka_unit_test(links_to_folders),
        cmocka_unit_test(a_file_system_without_locks),
        cmocka_unit_test(mounts_that_keep_locks),
        cmocka_unit_test(folders_that_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
