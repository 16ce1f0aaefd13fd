#include "evaluate/picture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "data/image.h"
#include "io/atomic.h"

static const char maker[] = "dram";
static const char mark[] = "tEXtSoftware\0dram"; /* the chunk that says it, before the pixels */
enum { HEAD = 128 };                             /* bytes that hold it */

/* Whether a file begins as a picture of dram's does. NULL, or why that cannot be known. */
static const char *look(const char *path, bool *own)
{
    char head[HEAD];
    struct stat info;
    const char *why = NULL;
    int fd = dram_file_open(path, &info, &why);
    if (fd < 0) return why;
    ssize_t n = dram_file_read(fd, head, HEAD);
    if (n < 0) why = strerror(errno);
    *own = n > 0 && memmem(head, (size_t)n, mark, sizeof mark - 1) != NULL;
    close(fd);
    return why;
}

dram_status dram_picture_check(const char *path)
{
    struct stat info;
    bool own = false;
    if (lstat(path, &info) != 0)
        return errno == ENOENT ? DRAM_OK : dram_fail(DRAM_ERR_CONFIG, "%s: cannot look at it: %m", path);
    const char *why = S_ISLNK(info.st_mode)   ? "a link"
                      : S_ISREG(info.st_mode) ? look(path, &own)
                                              : dram_file_kind(&info);
    if (own) return DRAM_OK;
    return dram_fail(DRAM_ERR_CONFIG,
                     "%s: a picture would take the place of what is no picture of dram's%s%s; name another folder",
                     path, why ? ": " : "", why ? why : "");
}

static dram_status make_folder(const char *path)
{
    struct stat info;
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return dram_fail(DRAM_ERR_CONFIG, "%s: cannot make this folder: %m", path);
    if (lstat(path, &info) != 0) return dram_fail(DRAM_ERR_CONFIG, "%s: cannot look at it: %m", path);
    if (S_ISDIR(info.st_mode)) return DRAM_OK;
    return dram_fail(DRAM_ERR_CONFIG,
                     "%s: a folder of pictures would have this name, and %s has it; name another folder", path,
                     S_ISLNK(info.st_mode) ? "a link" : "a file");
}

dram_status dram_picture_folders(const char *path, size_t top)
{
    dram_status status = DRAM_OK;
    const char *slash = path + top;
    while (status == DRAM_OK && (slash = strchr(slash + 1, '/'))) {
        char *part = dram_strdup(path);
        if (!part) return dram_fail(DRAM_ERR_MEMORY, "no memory for the name of a picture");
        part[slash - path] = '\0';
        status = make_folder(part);
        dram_free(part);
    }
    return status;
}

dram_status dram_picture_write(const char *path, const uint8_t *rgb, int height, int width)
{
    void *bytes;
    size_t n;
    TRY(dram_picture_check(path));
    TRY(dram_image_encode_png(path, maker, rgb, height, width, &bytes, &n));
    dram_status status = dram_atomic_save(path, bytes, n);
    dram_free(bytes);
    return status;
}
