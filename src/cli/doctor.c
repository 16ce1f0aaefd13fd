/* doctor: what this machine has and what a run would take of it. */
#include <cblas.h>
#include <spng.h>
#include <stdio.h>
#include <webp/decode.h>
#include <yaml.h>

#include "base/str.h"
#include "cli/command.h"
#include "device/cpu_kernels.h"
#include "device/device.h"

dram_status dram_command_doctor(int argc, char **argv)
{
    bool json = false, help;
    const dram_option options[] = {{"--json", NULL, "print one JSON object", &json, NULL}};
    dram_words words;
    char room[32], webp[32];
    TRY(dram_parse("doctor", argc, argv, options, 1, 0, &words, &help));
    if (help) return DRAM_OK;
    int version = WebPGetDecoderVersion(), cores = dram_host_cores();
    snprintf(webp, sizeof webp, "%d.%d.%d", version >> 16, version >> 8 & 255, version & 255);
    int64_t free_bytes = dram_host_free_bytes();
    if (!json) {
        printf("dram          %s\ndevice        cpu (this build has no CUDA device)\n", DRAM_VERSION);
        printf("cores         %d\nkernels       %s\n", cores, dram_cpu_isa());
        printf("free memory   %s\n", dram_format_bytes(free_bytes, room, sizeof room));
        printf("BLAS          %s\n", openblas_get_config());
        printf("libraries     libyaml %s, cJSON %s, libspng %s, libwebp %s\n", yaml_get_version_string(),
               cJSON_Version(), spng_version_string(), webp);
        printf("would choose  device: cpu, threads: %d, data.workers: 2\n", cores);
        return DRAM_OK;
    }
    cJSON *root = cJSON_CreateObject();
    bool good = root && cJSON_AddStringToObject(root, "version", DRAM_VERSION) &&
                cJSON_AddStringToObject(root, "device", "cpu") && cJSON_AddNumberToObject(root, "cores", cores) &&
                cJSON_AddStringToObject(root, "kernels", dram_cpu_isa()) &&
                cJSON_AddNumberToObject(root, "free_bytes", (double)free_bytes) &&
                cJSON_AddStringToObject(root, "blas", openblas_get_config()) &&
                cJSON_AddStringToObject(root, "libyaml", yaml_get_version_string()) &&
                cJSON_AddStringToObject(root, "cjson", cJSON_Version()) &&
                cJSON_AddStringToObject(root, "libspng", spng_version_string()) &&
                cJSON_AddStringToObject(root, "libwebp", webp);
    if (!good) {
        cJSON_Delete(root);
        root = NULL;
    }
    return dram_print_json(root);
}
