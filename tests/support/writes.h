/* writes: this program's own write() and close(), of which a test decides what the next calls do. Include after cmocka.h,
 * in one file of a program. */
#ifndef DRAM_TESTS_WRITES_H
#define DRAM_TESTS_WRITES_H

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One call that has something to write: it takes no more than `most` bytes, or fails for a reason. */
typedef struct {
    size_t most;
    int reason; /* an errno; 0: it does not fail */
} write_order;

static const write_order *write_orders;
static int write_orders_left, write_cuts;

/* The next n calls follow the orders, those after them are whole. */
static inline void order_writes(const write_order *orders, int n)
{
    write_orders = orders;
    write_orders_left = n;
    write_cuts = 0;
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    if (fd <= 2 || !write_orders_left) return syscall(SYS_write, fd, data, bytes);
    write_order order = *write_orders++;
    write_orders_left--;
    if (order.reason) {
        errno = order.reason;
        return -1;
    }
    if (order.most < bytes) write_cuts++;
    return syscall(SYS_write, fd, data, order.most < bytes ? order.most : bytes);
}

static int close_reason; /* an errno: the next close() of a file says that, and closes it; 0: it does not fail */

int close(int fd)
{
    int reason = close_reason, done = (int)syscall(SYS_close, fd);
    if (fd <= 2 || !reason) return done;
    close_reason = 0;
    errno = reason;
    return -1;
}

/* All orders were followed, and so many of them cut a text short. */
static inline void assert_written(int cuts)
{
    assert_int_equal(write_orders_left, 0);
    assert_int_equal(write_cuts, cuts);
}

#endif
