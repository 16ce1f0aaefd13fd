/* Bytes as a config: a file's text and, each behind a zero byte, settings of the command line.
 * -max_len=1024 */
#include "config/config.h"
#include "fuzz/fuzz.h"

enum { MOST = 8, ROOM = 4096 };

/* What loads is written, and read back from that as the same. */
static void check_written(const dram_config *cfg)
{
    dram_config *again;
    dram_str first = {0}, second = {0};
    must(dram_config_write_yaml(cfg, &first) == DRAM_OK);
    must(dram_config_load(file_of(first.text, first.length), NULL, 0, &again) == DRAM_OK);
    must(dram_config_write_yaml(again, &second) == DRAM_OK);
    must(strcmp(first.text, second.text) == 0);
    dram_config_free(again);
    dram_str_free(&first);
    dram_str_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[ROOM + 1];
    const char *settings[MOST];
    int n = 0;
    dram_config *cfg;
    int64_t before = dram_alloc_bytes();
    if (size > ROOM) return 0;
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    size_t length = strlen(text);
    for (size_t at = length + 1; at <= size && n < MOST; at += strlen(settings[n++]) + 1) settings[n] = text + at;
    dram_status status = dram_config_load(file_of(text, length), settings, n, &cfg);
    if (status == DRAM_OK) {
        must(!*dram_error_text());
        check_written(cfg);
        dram_config_free(cfg);
    } else {
        must(!cfg && status == DRAM_ERR_CONFIG);
        refused();
    }
    must(dram_alloc_bytes() == before);
    return 0;
}
