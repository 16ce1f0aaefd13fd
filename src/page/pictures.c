/* Sample predictions and features on a run's page, embedded. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"
#include "io/path.h"
#include "page/html.h"
#include "page/parts.h"
#include "report/markup.h"

/* Of each folder: so many bytes and pictures at most, so that a page stays one that is sent by mail. */
enum { MOST_BYTES = 3 << 19, MOST_PICTURES = 12 };

static void add_base64(const unsigned char *data, size_t n, dram_str *out)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char line[4 * 1024 + 1];
    size_t at = 0;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t bits = (uint32_t)data[i] << 16;
        if (i + 1 < n) bits |= (uint32_t)data[i + 1] << 8;
        if (i + 2 < n) bits |= data[i + 2];
        line[at++] = digit[bits >> 18];
        line[at++] = digit[bits >> 12 & 63];
        line[at++] = i + 1 < n ? digit[bits >> 6 & 63] : '=';
        line[at++] = i + 2 < n ? digit[bits & 63] : '=';
        if (at == sizeof line - 1 || i + 3 >= n) {
            line[at] = '\0';
            dram_str_add(out, "%s", line);
            at = 0;
        }
    }
}

/* "png" or "jpeg" by the first bytes; NULL: neither. */
static const char *type_of(const unsigned char *data, size_t n)
{
    if (n > 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0) return "png";
    return n > 3 && memcmp(data, "\xff\xd8\xff", 3) == 0 ? "jpeg" : NULL;
}

typedef struct {
    int shown, left_out, wrong;
    int64_t bytes, left_bytes;
} count;

/* Reads a picture whole if it is one and there is room for it. */
static dram_status read_picture(const char *path, count *c, unsigned char **data, size_t *bytes)
{
    struct stat info;
    const char *why;
    *data = NULL;
    int fd = dram_file_open(path, &info, &why);
    if (fd < 0) {
        c->wrong++;
        return DRAM_OK;
    }
    if (c->shown == MOST_PICTURES || c->bytes + info.st_size > MOST_BYTES) {
        c->left_out++;
        c->left_bytes += info.st_size;
    } else {
        *bytes = (size_t)info.st_size;
        *data = dram_alloc(*bytes + 1);
        bool whole = *data && dram_file_read(fd, *data, *bytes) == (ssize_t)*bytes && type_of(*data, *bytes);
        if (*data && !whole) {
            dram_free(*data);
            *data = NULL;
            c->wrong++;
        } else if (!*data) {
            close(fd);
            return dram_fail(DRAM_ERR_MEMORY, "%s: no memory for this picture", path);
        }
    }
    close(fd);
    return DRAM_OK;
}

static dram_status add_picture(const char *folder, const char *name, count *c, dram_str *out)
{
    char *path;
    unsigned char *data;
    size_t bytes = 0;
    TRY(dram_path_join(folder, name, &path));
    dram_status status = read_picture(path, c, &data, &bytes);
    dram_free(path);
    if (status != DRAM_OK || !data) return status;
    c->shown++;
    c->bytes += (int64_t)bytes;
    dram_str_add(out, "<figure><img alt=\"");
    dram_markup_add(out, name);
    dram_str_add(out, "\" src=\"data:image/%s;base64,", type_of(data, bytes));
    add_base64(data, bytes, out);
    dram_str_add(out, "\"/><figcaption>");
    dram_markup_add(out, name);
    dram_str_add(out, "</figcaption></figure>\n");
    dram_free(data);
    return DRAM_OK;
}

static void say_left_out(const char *name, const count *c, dram_str *out)
{
    char bytes[32];
    if (c->left_out)
        dram_str_add(out,
                     "<p class=\"note\">%d more of %s, are in <code>%s</code>: a page holds at most %d of them, and "
                     "1.5 MiB.</p>\n",
                     c->left_out, dram_format_bytes(c->left_bytes, bytes, sizeof bytes), name, MOST_PICTURES);
    if (c->wrong)
        dram_str_add(
            out, "<p class=\"note\">%d %s of <code>%s</code> cannot be shown: no PNG or JPEG, or not readable.</p>\n",
            c->wrong, c->wrong == 1 ? "file" : "files", name);
}

static dram_status add_folder(const dram_history *r, const char *name, const char *title, const char *text,
                              const char *classes, dram_str *out, bool *there)
{
    char *path;
    struct stat info;
    dram_folder_list list = {0};
    count c = {0};
    TRY(dram_path_join(r->directory, name, &path));
    *there = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    dram_folder_params params = {.path = path, .what = "pictures", .recursive = true};
    dram_status status = *there ? dram_folder_list_read(&params, &list) : DRAM_OK;
    if (status == DRAM_OK && list.n) {
        dram_html_heading(title, out);
        dram_str_add(out, "<p>%s</p>\n<div class=\"shots%s\">\n", text, classes);
        for (int i = 0; i < list.n && status == DRAM_OK; i++) status = add_picture(path, list.files[i].name, &c, out);
        dram_str_add(out, "</div>\n");
        say_left_out(name, &c, out);
    }
    *there = list.n > 0;
    dram_folder_list_free(&list);
    dram_free(path);
    return status;
}

dram_status dram_page_add_pictures(const dram_history *r, dram_str *out)
{
    bool predictions, features;
    TRY(add_folder(r, "predictions", "Predictions", "Each pixel&#8217;s predicted class, laid half over the image.", "",
                   out, &predictions));
    TRY(add_folder(
        r, "features", "Features",
        "The image, the teacher&#8217;s embedding, the student&#8217;s, on the same axes: equal colours are equal "
        "features.",
        " w", out, &features));
    if (predictions && features) return DRAM_OK;
    dram_str_add(out, "<p class=\"note\">%s: <code>%s</code> writes them where this page looks for them.</p>\n",
                 predictions ? "There are no pictures of features" : "There are no pictures of predictions",
                 predictions ? "dram features ... --out RUN/features"
                             : "dram eval ... --save-predictions RUN/predictions");
    return DRAM_OK;
}
