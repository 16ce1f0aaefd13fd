/* dram export: writes a trained student as others take it. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cli/command.h"
#include "export/onnx.h"

/* What the command line asks for; NULL: not. */
typedef struct {
    const char *onnx;
    bool force;
    dram_export_request request;
    dram_onnx_options options;
} order;

static dram_status read_size(const char *text, int *size)
{
    char *end;
    if (!text) return DRAM_OK;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (*text && !*end && errno == 0 && value > 0 && value <= INT_MAX) {
        *size = (int)value;
        return DRAM_OK;
    }
    return dram_fail(DRAM_ERR_CONFIG, "export: --size %s: a number of pixels is expected, a multiple of 32", text);
}

static dram_status read_output(const char *text, dram_onnx_what *what)
{
    static const char *const names[] = {
        [DRAM_ONNX_FEATURES] = "features", [DRAM_ONNX_EMBEDDING] = "embedding", [DRAM_ONNX_LOGITS] = "logits"};
    *what = DRAM_ONNX_EMBEDDING;
    if (!text) return DRAM_OK;
    for (int i = 0; i < 3; i++) {
        *what = (dram_onnx_what)i;
        if (strcmp(text, names[i]) == 0) return DRAM_OK;
    }
    return dram_fail(DRAM_ERR_CONFIG, "export: --output %s: it is one of features, embedding, logits", text);
}

/* An option of ONNX without --onnx would be ignored. */
static dram_status check_onnx_options(const order *o, const char *output)
{
    const char *alone = output                     ? "--output"
                        : o->options.input         ? "--input-name"
                        : o->options.preprocess    ? "--with-preprocess"
                        : o->options.dynamic_batch ? "--dynamic-batch"
                        : o->options.half          ? "--half"
                                                   : NULL;
    if (o->onnx || !alone) return DRAM_OK;
    return dram_fail(DRAM_ERR_CONFIG, "export: %s is about ONNX; add --onnx FILE", alone);
}

static dram_status check_order(const order *o, const char *output)
{
    if (!o->onnx) return dram_fail(DRAM_ERR_CONFIG, "export: nothing is asked for: add --onnx FILE");
    TRY(check_onnx_options(o, output));
    return dram_export_check_target("--onnx", o->onnx, o->force);
}

static void print_export(const dram_export *e)
{
    char shown[PATH_MAX];
    printf("%s at %d x %d, from %s\n", e->arch->name, e->size, e->size, dram_visible(e->weights, shown, sizeof shown));
}

static void print_written(const char *what, const char *path)
{
    char shown[PATH_MAX];
    printf("%-6s %s\n", what, dram_visible(path, shown, sizeof shown));
}

static dram_status write_all(const order *o, const dram_export *e)
{
    print_export(e);
    if (o->onnx) {
        TRY(dram_onnx_write(e, &o->options, o->onnx));
        print_written("onnx", o->onnx);
    }
    return DRAM_OK;
}

static dram_status carry_out(const order *o)
{
    dram_export e;
    dram_status status = dram_export_open(&o->request, &e);
    if (status == DRAM_OK) status = write_all(o, &e);
    dram_export_close(&e);
    return status;
}

dram_status dram_command_export(int argc, char **argv)
{
    bool help;
    order o = {0};
    const char *size = NULL, *output = NULL;
    const dram_option options[] = {
        {"--onnx", "FILE", "write an ONNX file (IR 8, opset 17)", NULL, &o.onnx},
        {"--size", "N", "side of its image, in pixels (default: data.size)", NULL, &size},
        {"--output", "WHAT",
         "of ONNX: features (the trunk's), embedding (of the neck; the default), logits (of the task)", NULL, &output},
        {"--input-name", "NAME", "of ONNX: what its input is called (default: image)", NULL, &o.options.input},
        {"--with-preprocess", NULL, "of ONNX: the input is u8 [H,W,3], and is normalised inside", &o.options.preprocess,
         NULL},
        {"--dynamic-batch", NULL, "of ONNX: any number of images", &o.options.dynamic_batch, NULL},
        {"--half", NULL, "of ONNX: fp16 inside", &o.options.half, NULL},
        {"--force", NULL, "write over what is there", &o.force, NULL},
    };
    dram_words words;
    TRY(dram_parse_paths("export", argc, argv, options, sizeof options / sizeof options[0], 1, &words, &help));
    if (help) return DRAM_OK;
    if (words.n_overrides || words.n_words > 2)
        return dram_fail(DRAM_ERR_CONFIG,
                         "export: what is \"%s\"? A run, or a file of weights and its config, is all "
                         "that is named; see `dram export --help`",
                         words.n_overrides ? words.overrides[0] : words.words[2]);
    o.request = (dram_export_request){.from = words.words[0], .config = words.n_words > 1 ? words.words[1] : NULL};
    TRY(read_size(size, &o.request.size));
    TRY(read_output(output, &o.options.what));
    TRY(check_order(&o, output));
    return carry_out(&o);
}
