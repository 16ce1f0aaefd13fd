/* dram doctor: what this machine has and what a run would take of it. */
#include <cblas.h>
#include <limits.h>
#include <spng.h>
#include <stdio.h>
#include <webp/decode.h>
#include <yaml.h>

#include "base/str.h"
#include "cli/command.h"
#include "comm/mpi.h"
#include "comm/nccl.h"
#include "comm/world.h"
#include "device/blas.h"
#include "device/cpu_kernels.h"
#include "device/device.h"
#include "session/calibrate.h"
#include "session/choose.h"
#include "session/headroom.h"
#include "session/machine.h"

typedef struct {
    int cores, workers, prefetch, tier; /* the last three would be chosen */
    int64_t total, free, limit;         /* limit: of the control groups; 0: none */
    int64_t reserve;                    /* of the free bytes, for all but the arenas */
    dram_host_mappable map;             /* INT64_MAX: no limit */
    bool gpu;                           /* card is known, and would be chosen */
    dram_cuda_card card;
    dram_counted counted; /* how the next two were found out */
    /* Bytes that the process takes of it: for being there, with the libraries open, and after a first run. 0: not known. */
    int64_t context, opened, ran;
    char no_run[320]; /* why the first run failed; "" */
    char no_gpu[320]; /* why not */
    char webp[32];
    bool launched; /* world is known; else no_world says why not */
    dram_world world;
    char no_world[512];
    char mpi_module[PATH_MAX], mpi_version[512]; /* no module: "", and why */
    bool has_nccl;
    char nccl[512]; /* its version, or why there is none */
} facts;

/* The GPU is opened, used and closed again: that finds a missing library too. */
static void find_gpu(bool cuda, facts *f)
{
    dram_device *device = NULL;
    if (!cuda && !dram_device_cuda_usable(f->no_gpu, sizeof f->no_gpu)) return;
    f->gpu = dram_device_cuda_card(0, &f->card) == DRAM_OK && dram_device_open_cuda(0, 1, &device) == DRAM_OK;
    if (!f->gpu) snprintf(f->no_gpu, sizeof f->no_gpu, "%s", dram_error_text());
    dram_error_clear();
    if (f->gpu) {
        f->counted = device->counted;
        f->context = device->context_bytes;
        f->opened = device->ops->process_bytes(device);
        if (dram_calibrate_first_run(device, &f->ran) != DRAM_OK)
            snprintf(f->no_run, sizeof f->no_run, "%s", dram_error_text());
        dram_error_clear();
    }
    dram_device_close(device);
}

/* Who this process is among several, and what they would meet by. */
static void find_ranks(facts *f)
{
    f->launched = dram_world_read(dram_process_environment, NULL, &f->world) == DRAM_OK;
    snprintf(f->no_world, sizeof f->no_world, "%s", dram_error_text());
    dram_error_clear();
    dram_mpi_describe(f->mpi_module, sizeof f->mpi_module, f->mpi_version, sizeof f->mpi_version);
    f->has_nccl = dram_nccl_describe(f->nccl, sizeof f->nccl);
}

/* What a run with the keys' defaults would take. */
static dram_status find_facts(bool cuda, facts *f)
{
    static const char *const choose[] = {"data.workers=0", "data.prefetch=0"};
    dram_config *cfg;
    int version = WebPGetDecoderVersion();
    *f = (facts){.cores = dram_host_cores(),
                 .total = dram_host_total_bytes(),
                 .free = dram_host_free_bytes(),
                 .limit = dram_host_group_limit(),
                 .map = dram_host_to_map()};
    snprintf(f->webp, sizeof f->webp, "%d.%d.%d", version >> 16, version >> 8 & 255, version & 255);
    TRY(dram_config_load(NULL, choose, 2, &cfg));
    dram_choose_loader(cfg, f->cores, dram_host_left_bytes());
    f->workers = cfg->data.workers;
    f->prefetch = cfg->data.prefetch;
    f->reserve = dram_headroom_reserve(cfg);
    find_gpu(cuda, f);
    find_ranks(f);
    const dram_profile gpu = dram_profile_cuda(f->workers);
    if (f->gpu) f->reserve = dram_machine_overhead(&gpu);
    f->tier = dram_headroom_tier((f->gpu ? f->card.free_bytes : dram_host_left_bytes()) - f->reserve);
    dram_config_free(cfg);
    return DRAM_OK;
}

static void print_memory(const facts *f)
{
    char total[32], left[32], limit[32], reserve[32];
    printf("memory        %s, %s free", dram_format_bytes(f->total, total, sizeof total),
           dram_format_bytes(f->free, left, sizeof left));
    if (f->limit)
        printf(" (limited to %s by the control group)\n", dram_format_bytes(f->limit, limit, sizeof limit));
    else
        printf(" (no limit by a control group)\n");
    if (f->map.bytes < INT64_MAX)
        printf("address space %s more, by %s; OpenBLAS takes %s of it for each compute thread\n",
               dram_format_bytes(f->map.bytes, left, sizeof left), f->map.whose,
               dram_format_bytes(DRAM_BLAS_BUFFER, limit, sizeof limit));
    printf("reserve       %s of %s\n", dram_format_bytes(f->reserve, reserve, sizeof reserve),
           f->gpu ? "the GPU's memory for CUDA's libraries and kernels, assumed: `dram plan --calibrate` measures it"
                  : "it for the loader and the process, with the defaults");
}

static void print_choice(const facts *f)
{
    printf("would choose  device: %s, threads: %d, data.workers: %d, data.prefetch: %d\n", f->gpu ? "cuda" : "cpu",
           f->cores, f->workers, f->prefetch);
    if (f->tier)
        printf("tier          configs/tiers/%02dgb.yaml\n", f->tier);
    else
        printf(
            "tier          none: the smallest, 06gb, wants 6 GB free besides the reserve; set memory.budget: auto\n");
}

static void print_gpu(const facts *f)
{
    char left[32], whole[32], ran[32];
    const dram_cuda_card *card = &f->card;
    if (!f->gpu) {
        printf("GPU           none: %s; runs take the CPU\n", f->no_gpu);
        return;
    }
    printf("GPU           %s, compute capability %d.%d, %d multiprocessors; %s, %s free\n", card->name,
           card->capability / 10, card->capability % 10, card->multiprocessors,
           dram_format_bytes(card->total_bytes, whole, sizeof whole),
           dram_format_bytes(card->free_bytes, left, sizeof left));
    printf("CUDA          %d.%d, the driver's %d.%d\n", card->runtime / 1000, card->runtime % 1000 / 10,
           card->driver / 1000, card->driver % 1000 / 10);
    if (f->counted == DRAM_COUNTED_NOT)
        printf("process       the driver does not say what it takes of the GPU (libnvidia-ml.so.1 is missing, too old "
               "or refuses)\n");
    else
        printf("process       %s of the GPU for the driver's context, %s more with the libraries open, %s more after a "
               "first run%s\n",
               dram_format_bytes(f->context, whole, sizeof whole),
               dram_format_bytes(f->opened > f->context ? f->opened - f->context : 0, left, sizeof left),
               dram_format_bytes(f->ran > f->opened ? f->ran - f->opened : 0, ran, sizeof ran),
               f->counted == DRAM_COUNTED_GPU ? ", by the change of the whole GPU's memory" : "");
    if (*f->no_run) printf("first run     failed: %s\n", f->no_run);
}

static void print_ranks(const facts *f)
{
    const dram_world *w = &f->world;
    if (!f->launched)
        printf("launcher      not to be told: %s\n", f->no_world);
    else if (w->launcher == DRAM_LAUNCHER_NONE)
        printf("launcher      none: one process\n");
    else
        printf("launcher      %s: rank %d of %d, %d of %d on this machine\n", dram_launcher_name(w->launcher), w->rank,
               w->size, w->local_rank, w->local_size);
    if (f->mpi_module[0])
        printf("MPI           %s, by %s\n", f->mpi_version, f->mpi_module);
    else
        printf("MPI           none: %s\n", f->mpi_version);
    printf("NCCL          %s%s\n", f->has_nccl ? "" : "none: ", f->nccl);
}

static void print_facts(const facts *f)
{
    printf("dram          %s\n", DRAM_VERSION);
    print_gpu(f);
    printf("cores         %d\nkernels       %s\n", f->cores, dram_cpu_isa());
    print_memory(f);
    printf("BLAS          %s\n", openblas_get_config());
    printf("libraries     libyaml %s, cJSON %s, libspng %s, libwebp %s\n", yaml_get_version_string(), cJSON_Version(),
           spng_version_string(), f->webp);
    print_ranks(f);
    print_choice(f);
}

static bool add_bytes(cJSON *root, const char *key, int64_t bytes)
{
    return cJSON_AddNumberToObject(root, key, (double)bytes) != NULL;
}

/* A tier's name, null if there is none. */
static bool add_tier(cJSON *root, int tier)
{
    char name[32];
    snprintf(name, sizeof name, "%02dgb", tier);
    return (tier ? cJSON_AddStringToObject(root, "tier", name) : cJSON_AddNullToObject(root, "tier")) != NULL;
}

/* The GPU, null if there is none. */
static bool add_gpu(cJSON *root, const facts *f)
{
    const dram_cuda_card *card = &f->card;
    const char *counted = dram_counted_word(f->counted);
    if (!f->gpu) return cJSON_AddNullToObject(root, "gpu") != NULL;
    cJSON *gpu = cJSON_AddObjectToObject(root, "gpu");
    return gpu && cJSON_AddStringToObject(gpu, "name", card->name) &&
           cJSON_AddNumberToObject(gpu, "capability", card->capability / 10.0) &&
           cJSON_AddNumberToObject(gpu, "multiprocessors", card->multiprocessors) &&
           add_bytes(gpu, "total_bytes", card->total_bytes) && add_bytes(gpu, "free_bytes", card->free_bytes) &&
           add_bytes(gpu, "context_bytes", f->context) && add_bytes(gpu, "process_bytes", f->opened) &&
           add_bytes(gpu, "first_run_bytes", f->ran) &&
           (*f->no_run ? cJSON_AddStringToObject(gpu, "first_run_failed", f->no_run)
                       : cJSON_AddNullToObject(gpu, "first_run_failed")) &&
           (counted ? cJSON_AddStringToObject(gpu, "counted", counted) : cJSON_AddNullToObject(gpu, "counted"));
}

/* The launcher's numbers, null if they contradict each other; NCCL's version and the module for MPI, null if there is
 * none. */
static bool add_ranks(cJSON *root, const facts *f)
{
    cJSON *world = f->launched ? cJSON_AddObjectToObject(root, "world") : cJSON_AddNullToObject(root, "world");
    if (!world) return false;
    if (f->launched && !(cJSON_AddStringToObject(world, "launcher", dram_launcher_name(f->world.launcher)) &&
                         cJSON_AddNumberToObject(world, "rank", f->world.rank) &&
                         cJSON_AddNumberToObject(world, "ranks", f->world.size) &&
                         cJSON_AddNumberToObject(world, "local_rank", f->world.local_rank) &&
                         cJSON_AddNumberToObject(world, "local_ranks", f->world.local_size)))
        return false;
    if (!(f->has_nccl ? cJSON_AddStringToObject(root, "nccl", f->nccl) : cJSON_AddNullToObject(root, "nccl")))
        return false;
    if (!f->mpi_module[0]) return cJSON_AddNullToObject(root, "mpi") != NULL;
    cJSON *mpi = cJSON_AddObjectToObject(root, "mpi");
    return mpi && cJSON_AddStringToObject(mpi, "module", f->mpi_module) &&
           cJSON_AddStringToObject(mpi, "version", f->mpi_version);
}

static cJSON *facts_json(const facts *f)
{
    cJSON *root = cJSON_CreateObject();
    bool good = root && cJSON_AddStringToObject(root, "version", DRAM_VERSION) && add_gpu(root, f) &&
                cJSON_AddStringToObject(root, "device", f->gpu ? "cuda" : "cpu") &&
                cJSON_AddNumberToObject(root, "cores", f->cores) &&
                cJSON_AddStringToObject(root, "kernels", dram_cpu_isa()) && add_bytes(root, "total_bytes", f->total) &&
                add_bytes(root, "free_bytes", f->free) &&
                (f->limit ? add_bytes(root, "group_limit_bytes", f->limit)
                          : cJSON_AddNullToObject(root, "group_limit_bytes") != NULL) &&
                (f->map.bytes < INT64_MAX ? add_bytes(root, "mappable_bytes", f->map.bytes)
                                          : cJSON_AddNullToObject(root, "mappable_bytes") != NULL) &&
                add_bytes(root, "reserve_bytes", f->reserve) && cJSON_AddNumberToObject(root, "workers", f->workers) &&
                cJSON_AddNumberToObject(root, "prefetch", f->prefetch) && add_tier(root, f->tier) &&
                cJSON_AddStringToObject(root, "blas", openblas_get_config()) &&
                cJSON_AddStringToObject(root, "libyaml", yaml_get_version_string()) &&
                cJSON_AddStringToObject(root, "cjson", cJSON_Version()) &&
                cJSON_AddStringToObject(root, "libspng", spng_version_string()) &&
                cJSON_AddStringToObject(root, "libwebp", f->webp) && add_ranks(root, f);
    if (good) return root;
    cJSON_Delete(root);
    return NULL;
}

dram_status dram_command_doctor(int argc, char **argv)
{
    bool json = false, cuda = false, help;
    const dram_option options[] = {
        {"--json", NULL, "print one JSON object", &json, NULL},
        {"--cuda", NULL, "open the GPU as `device: cuda` does, also one that `device: auto` would not take", &cuda,
         NULL},
    };
    dram_words words;
    facts f;
    TRY(dram_parse("doctor", argc, argv, options, 2, 0, &words, &help));
    if (help) return DRAM_OK;
    TRY(find_facts(cuda, &f));
    if (json) return dram_print_json(facts_json(&f));
    print_facts(&f);
    return DRAM_OK;
}
