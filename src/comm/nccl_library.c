#include "comm/nccl_library.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/nccl.h"

/* ---- environment ---- */

/* A ring takes the least memory; without registering at capture it stays as it was; one channel for pieces between two
 * ranks. */
static const char *const wanted[][2] = {
    {"NCCL_ALGO", "Ring"}, {"NCCL_NVLS_ENABLE", "0"}, {"NCCL_GRAPH_REGISTER", "0"}, {"NCCL_MAX_P2P_NCHANNELS", "1"}};
enum { WANTED = sizeof wanted / sizeof wanted[0] };

static char address[DRAM_ADDRESS_SIZE + 16]; /* NCCL_COMM_ID, if dram set it */
static const char *set[WANTED + 1][2];
static int sets;

static void set_unless_set(const char *name, const char *value)
{
    if (getenv(name)) return;
    setenv(name, value, 0);
    set[sets][0] = name;
    set[sets++][1] = value;
}

static dram_status prepare(const dram_world *world, bool met)
{
    char host[DRAM_ADDRESS_SIZE];
    int port;
    for (int i = 0; i < WANTED; i++) set_unless_set(wanted[i][0], wanted[i][1]);
    if (met || getenv("NCCL_COMM_ID")) return DRAM_OK;
    TRY(dram_world_address(dram_process_environment, NULL, world, host, &port));
    snprintf(address, sizeof address, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port); /* of IPv6 has colons */
    set_unless_set("NCCL_COMM_ID", address);
    return DRAM_OK;
}

const char *dram_nccl_environment(int i, const char **value)
{
    if (i >= sets) return NULL;
    *value = set[i][1];
    return set[i][0];
}

/* ---- the library ---- */

#ifdef DRAM_CUDA_SIM /* linked in */

static const char simulated[] = "simulated ";

static dram_status find_functions(dram_nccl_functions *functions)
{
    *functions = (dram_nccl_functions){0};
#define X(LIBRARY, NAME) functions->LIBRARY##_##NAME = LIBRARY##NAME;
    DRAM_NCCL_LIST(X)
#undef X
    return DRAM_OK;
}

#else

#include "device/symbol.h"

static const char file[] = "libnccl.so.2", simulated[] = "";

static dram_status find(void *library, const char *name, void *function)
{
    if (dram_symbol(library, name, function)) return DRAM_OK;
    return dram_fail(DRAM_ERR_CONFIG, "%s has no %s: it is too old", file, name);
}

static dram_status find_functions(dram_nccl_functions *functions)
{
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return dram_fail(DRAM_ERR_CONFIG,
                         "%s is missing, which ranks on GPUs need: install NCCL 2, or put its folder into "
                         "LD_LIBRARY_PATH (%s)",
                         file, dlerror());
#define X(LIBRARY, NAME) TRY(find(library, #LIBRARY #NAME, &functions->LIBRARY##_##NAME));
    DRAM_NCCL_LIST(X)
#undef X
    dram_symbol(library, "ncclCommMemStats", &functions->nccl_CommMemStats);
    return DRAM_OK;
}

#endif

dram_status dram_nccl_library_open(const dram_world *world, bool met, dram_nccl_functions *functions)
{
    TRY(prepare(world, met));
    return find_functions(functions);
}

void dram_nccl_library_version(const dram_nccl_functions *functions, char *text, int size)
{
    int version = 0; /* 22809 is 2.28.9 */
    functions->nccl_GetVersion(&version);
    snprintf(text, (size_t)size, "%sNCCL %d.%d.%d", simulated, version / 10000, version / 100 % 100, version % 100);
}

bool dram_nccl_describe(char *text, int size)
{
    dram_nccl_functions functions;
    if (find_functions(&functions) == DRAM_OK) {
        dram_nccl_library_version(&functions, text, size);
        return true;
    }
    snprintf(text, (size_t)size, "%s", dram_error_text());
    dram_error_clear();
    return false;
}
