/* Bytes as a file of weights: opened, and every tensor read. What begins as a pickle does is put into an archive first, with
 * a right checksum and 64 numbers in each of data/0 to data/3. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/safetensors.h"

#define assert_true(so) ((so) ? (void)0 : abort())
#define assert_non_null assert_true
#include "io/pth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static byte_buffer wrapped(const uint8_t *data, size_t size)
{
    static const float numbers[64];
    byte_buffer b = {0};
    const zip_member m[] = {{.name = "f/data.pkl", .data = data, .size = size},
                            {.name = "f/data/0", .data = numbers, .size = 24},
                            {.name = "f/data/1", .data = numbers, .size = 8},
                            {.name = "f/data/2", .data = numbers, .size = 6},
                            {.name = "f/data/3", .data = numbers, .size = sizeof numbers}};
    zip(&b, m, 5, 0);
    return b;
}

static void read_all(const char *path)
{
    enum { MOST = 1 << 16 };
    static char raw[MOST];
    dram_st *st;
    if (dram_st_open(path, &st) == DRAM_OK) {
        dram_st_strip(st, "module.");
        for (int i = 0; i < dram_st_count(st); i++) {
            const dram_st_tensor *t = dram_st_at(st, i);
            int64_t n = t->bytes <= MOST ? t->elements : 64;
            int64_t at = t->elements > n ? t->elements - n : 0;
            if (t->bytes <= MOST / 2) (void)dram_st_read_f32(st, t, 0, t->elements, (float *)raw);
            (void)dram_st_read_raw(st, t, at, n, raw);
        }
        dram_st_close(st);
    }
    dram_error_clear();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    char path[64];
    byte_buffer b = {0};
    if (fd < 0) fd = memfd_create("weights", 0);
    if (size && data[0] == 0x80) {
        b = wrapped(data, size);
        data = b.at;
        size = b.n;
    }
    assert_true(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    free(b.at);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    read_all(path);
    return 0;
}
