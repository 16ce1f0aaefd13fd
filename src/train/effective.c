#include "train/effective.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "io/json.h"
#include "io/path.h"

static dram_status read(const cJSON *root, const char *path, dram_effective *was)
{
    int64_t ranks, batch, accumulate;
    TRY(dram_json_int(root, path, "ranks", 1, 4096, &ranks));
    TRY(dram_json_int(root, path, "effective_batch", ranks, ranks * 65536, &batch));
    TRY(dram_json_int(root, path, "accumulate", 1, batch / ranks, &accumulate));
    if (batch % (ranks * accumulate))
        return dram_fail(DRAM_ERR_FORMAT, "%s: effective_batch %d is not shared by %d ranks in %d micro-batches each",
                         path, (int)batch, (int)ranks, (int)accumulate);
    *was = (dram_effective){.ranks = (int)ranks, .batch = (int)batch, .accumulate = (int)accumulate};
    return DRAM_OK;
}

dram_status dram_effective_read(const char *checkpoint, const dram_config *before, dram_effective *was)
{
    char *path;
    cJSON *root = NULL;
    *was = (dram_effective){.ranks = 1, .batch = before->train.batch_size, .accumulate = before->train.accumulate};
    TRY(dram_path_join(checkpoint, "state.json", &path));
    dram_status status = dram_json_read(path, &root);
    if (status == DRAM_OK && cJSON_HasObjectItem(root, "ranks")) status = read(root, path, was);
    cJSON_Delete(root);
    dram_free(path);
    return status;
}

/* "1, 2, 3, 4, 6, 12": the largest are kept where there are many. */
static void list_divisors(int n, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (int d = 1; d <= n && used + 16 < size; d++)
        if (n % d == 0) used += (size_t)snprintf(out + used, size - used, "%s%d", used ? ", " : "", d);
}

static bool is_given(const dram_config *cfg, const char *key)
{
    return strcmp(dram_config_where(cfg, key), "command line") == 0;
}

dram_status dram_effective_keep(const dram_effective *was, int ranks, dram_config *cfg)
{
    char divisors[200];
    int most = was->batch / was->ranks / was->accumulate, each = was->batch / ranks;
    bool one = ranks == 1 && was->ranks == 1;
    if (one || ranks * cfg->train.batch_size == was->batch) return DRAM_OK;
    if (is_given(cfg, "train.batch_size")) {
        dram_warn("an update was of %d images (%d ranks), and is of %d now (%d ranks): train.batch_size of the command "
                  "line shifts the samples that each update sees",
                  was->batch, was->ranks, ranks * cfg->train.batch_size, ranks);
        return DRAM_OK;
    }
    if (was->batch % ranks) {
        list_divisors(was->batch, divisors, sizeof divisors);
        return dram_fail(
            DRAM_ERR_CONFIG,
            "this run's updates are of %d images, which %d ranks cannot share: go on with one of %s ranks, "
            "or give train.batch_size on the command line for another batch",
            was->batch, ranks, divisors);
    }
    cfg->train.batch_size = each;
    if (!is_given(cfg, "train.accumulate") || each % cfg->train.accumulate)
        for (cfg->train.accumulate = 1; each % cfg->train.accumulate || each / cfg->train.accumulate > most;)
            cfg->train.accumulate++;
    dram_info("updates stay of %d images: train.batch_size %d on each of %d ranks (%d before), train.accumulate %d",
              was->batch, each, ranks, was->ranks, cfg->train.accumulate);
    return DRAM_OK;
}
