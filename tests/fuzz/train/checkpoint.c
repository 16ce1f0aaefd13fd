/* Bytes as a checkpoint.json, beside which there are state.json and a folder: as they are, or (first byte odd) as the members of
 * its object, for which a right hash is put behind them. A hash that is all zeros is made the one of state.json.
 * -max_len=1024 */
#include <sys/stat.h>

#include "fuzz/folder.h"
#include "io/checkpoint.h"
#include "io/hash.h"
#include "io/json.h"
#include "train/depends.h"

enum { ROOM = 4096, DIGITS = DRAM_HASH_SIZE - 1 };

static const char state_text[] = "{\"step\":1}\n", zeros[] = "00000000000000000000000000000000";
static char state_hash[DRAM_HASH_SIZE];

static void make_files(void)
{
    must(mkdir(path_in_folder("step-00000001"), 0777) == 0);
    must(mkdir(path_in_folder("step-00000001/folder"), 0777) == 0);
    put_in_folder("step-00000001/state.json", state_text, sizeof state_text - 1);
    dram_hash_memory(state_text, sizeof state_text - 1, state_hash);
}

/* "{ members, hash }" with its right hash; returns its length. */
static size_t sealed(const uint8_t *members, size_t n, char out[ROOM])
{
    char hash[DRAM_HASH_SIZE];
    size_t at = 0;
    out[at++] = '{';
    memcpy(out + at, members, n);
    for (char *place; (place = memmem(out + at, n, zeros, DIGITS));) memcpy(place, state_hash, DIGITS);
    at += n;
    at += (size_t)snprintf(out + at, ROOM - at, ",\n\t\"hash\":\t\"%s\"\n}\n", zeros);
    dram_hash_memory(out, at, hash);
    memcpy(out + at - 4 - DIGITS, hash, DIGITS);
    return at;
}

/* All files that it names are as it says: here that can be state.json alone. */
static void check_files(const cJSON *root)
{
    const cJSON *files = cJSON_GetObjectItemCaseSensitive(root, "files"), *item;
    must(cJSON_IsObject(files) && files->child);
    cJSON_ArrayForEach(item, files)
    {
        size_t n = strlen(item->string);
        must(n >= 10 && strcmp(item->string + n - 10, "state.json") == 0);
        must(cJSON_IsString(item) && strcmp(item->valuestring, state_hash) == 0);
    }
}

static void check_depends(const cJSON *root)
{
    dram_depends d = {0};
    dram_status status = dram_depends_read(root, "checkpoint.json", &d);
    if (status != DRAM_OK) {
        must(status == DRAM_ERR_FORMAT);
        refused();
        return;
    }
    must(strlen(d.teacher) % DIGITS == 0 && strlen(d.student) % DIGITS == 0);
    must(strlen(d.train.hash) % DIGITS == 0 && strlen(d.val.hash) % DIGITS == 0);
    must(d.train.images >= 0 && d.train.labels >= 0 && d.val.images >= 0 && d.val.labels >= 0 && d.threads >= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[ROOM];
    cJSON *root;
    if (!state_hash[0]) make_files();
    if (size < 1 || size > ROOM / 2) return 0;
    int64_t before = dram_alloc_bytes();
    bool seal = data[0] & 1;
    size_t n = size - 1;
    memcpy(text, data + 1, n);
    if (seal) n = sealed(data + 1, size - 1, text);
    put_in_folder("step-00000001/checkpoint.json", text, n);
    dram_status status = dram_checkpoint_verify(path_in_folder("step-00000001"), NULL, &root);
    if (status == DRAM_OK) {
        must(root && !*dram_error_text());
        check_files(root);
        check_depends(root);
        cJSON_Delete(root);
    } else {
        must(!root && status == DRAM_ERR_FORMAT);
        must(strstr(dram_error_text(), "step-00000001/") || strstr(dram_error_text(), "/"));
        refused();
    }
    must(dram_alloc_bytes() == before);
    return 0;
}
