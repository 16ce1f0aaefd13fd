/* Bytes as a log of a run that goes on: a byte of choices (the step from which it goes on, whether steps may repeat), and the
 * file. Most inputs are mended in memory, the others as files too.
 * -max_len=400 */
#include <math.h>

#include "base/log.h"
#include "fuzz/folder.h"
#include "io/json.h"
#include "io/lines.h"

enum { ROOM = 4096, MOST = 512 };

typedef struct {
    const char *text;
    size_t n; /* with its newline, which the last one may lack */
    double step;
    bool sound;
} line;

static int warnings;
static int64_t kept_lines;

static void keep_warning(void *context, dram_log_level level, const char *message)
{
    (void)context;
    must(level == DRAM_LOG_WARNING && strlen(message) > 10 && is_one_line(message));
    warnings++;
}

static void judge(line *l)
{
    cJSON *root;
    (void)dram_json_parse(l->text, l->n, &root, NULL);
    const cJSON *step = cJSON_IsObject(root) ? cJSON_GetObjectItemCaseSensitive(root, "step") : NULL;
    l->step = cJSON_IsNumber(step) ? step->valuedouble : -1;
    l->sound = l->step >= 0 && l->step == floor(l->step) && !memchr(l->text, 0, l->n);
    cJSON_Delete(root);
}

static int split(const char *text, size_t n, line lines[MOST])
{
    int count = 0;
    for (size_t at = 0; at < n; at += lines[count++].n) {
        const char *end = memchr(text + at, '\n', n - at);
        must(count < MOST);
        lines[count] = (line){.text = text + at, .n = end ? (size_t)(end - text) + 1 - at : n - at};
        judge(&lines[count]);
    }
    return count;
}

/* Whether all lines are sound and their steps rise; *prefix: how many before the first that is not so. */
static bool in_order(const line *lines, int n, bool again, int *prefix)
{
    double last = -1;
    int i = 0;
    while (i < n && lines[i].sound && (again ? lines[i].step >= last : lines[i].step > last)) last = lines[i++].step;
    *prefix = i;
    return i == n;
}

static bool same(const line *a, const line *b)
{
    size_t n = a->text[a->n - 1] == '\n' ? a->n - 1 : a->n;
    return b->n == n + 1 && memcmp(a->text, b->text, n) == 0 && b->text[n] == '\n';
}

static size_t mended(const void *log, size_t n, double step, bool again, char out[ROOM])
{
    static dram_atomic to = {.path = "metrics.jsonl", .fd = -1};
    dram_lines_mended found;
    if (to.fd < 0) to.fd = memfd_create("mended", 0);
    must(to.fd >= 0 && ftruncate(to.fd, 0) == 0 && lseek(to.fd, 0, SEEK_SET) == 0);
    FILE *from = fmemopen((void *)(uintptr_t)log, n ? n : 1, "r");
    must(from);
    if (!n) (void)getc(from);
    must(dram_lines_mend(from, &to, (int64_t)step, again, &found) == DRAM_OK && !*dram_error_text());
    fclose(from);
    kept_lines = found.kept;
    warnings = found.first != 0;
    must(warnings == (found.wrong != NULL) && (warnings || found.others == 0));
    ssize_t got = pread(to.fd, out, ROOM, 0);
    must(got >= 0 && got < ROOM);
    return (size_t)got;
}

/* The same as a file. */
static void check_file(const void *log, size_t n, double step, bool again, const char *want, size_t bytes)
{
    static char got[ROOM];
    int warned = warnings;
    int64_t kept;
    warnings = 0;
    put_in_folder("metrics.jsonl", log, n);
    must(dram_lines_truncate(path_in_folder("metrics.jsonl"), (int64_t)step, again, &kept) == DRAM_OK &&
         kept == kept_lines);
    must(!*dram_error_text() && warnings == warned);
    must(get_from_folder("metrics.jsonl", got, sizeof got) == bytes && memcmp(got, want, bytes) == 0);
    must(files_in_folder() == 1);
}

/* What is kept is lines of the file in their order, below `step`, sound and rising. The sound beginning of the file stays: of it
 * the last line alone may be taken for one that is ahead. A file that is all sound loses nothing and is not spoken of. */
static void check_kept(const line *before, int n, const line *kept, int m, double step, bool again)
{
    int prefix, rising, at = 0;
    must(kept_lines == m);
    bool sound = in_order(before, n, again, &prefix);
    must(in_order(kept, m, again, &rising));
    for (int i = 0; i < m; i++, at++) {
        must(kept[i].step < step);
        for (; at < n && !same(&before[at], &kept[i]); at++) must(before[at].step >= step || !sound);
        must(at < n);
    }
    must(!sound || warnings == 0);
    at = 0;
    for (int i = 0; i < (sound ? n : prefix - 1); i++) {
        if (before[i].step >= step) break;
        must(at < m && same(&before[i], &kept[at]));
        at++;
    }
    for (int i = 0; i < n; i++) must(before[i].sound || warnings == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const double steps[] = {0, 1, 3, 10, 12, 100, 1e6, 0x1p53};
    static char once[ROOM], twice[ROOM];
    line before[MOST], kept[MOST];
    int64_t held = dram_alloc_bytes();
    if (size < 1 || size > MOST) return 0;
    dram_log_set_sink(keep_warning, NULL);
    bool again = data[0] & 1;
    double step = steps[data[0] >> 1 & 7];
    size_t n = mended(data + 1, size - 1, step, again, once);
    check_kept(before, split((const char *)data + 1, size - 1, before), kept, split(once, n, kept), step, again);
    if (size % 64 == 0) check_file(data + 1, size - 1, step, again, once, n);
    must(mended(once, n, step, again, twice) == n && memcmp(once, twice, n) == 0 && warnings == 0);
    must(dram_alloc_bytes() == held);
    return 0;
}
