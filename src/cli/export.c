/* dram export: a trained student, written as others read it. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cli/command.h"
#include "export/onnx.h"
#include "export/sam.h"
#include "export/timm.h"

/* What is asked for; NULL: that is not. */
typedef struct {
    const char *onnx, *timm, *sam, *decoder;
    const char *output; /* of ONNX, as it was given */
    dram_onnx_options options;
} targets;

static dram_status read_size(const char *text, int *size)
{
    char *end;
    *size = 0;
    if (!text) return DRAM_OK;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno || end == text || *end || n < 1 || n > INT_MAX)
        return dram_fail(DRAM_ERR_CONFIG, "export: --size %s: a side in pixels is asked for", text);
    *size = (int)n;
    return DRAM_OK;
}

static dram_status read_output(targets *t)
{
    static const char *const names[] = {
        [DRAM_ONNX_FEATURES] = "features", [DRAM_ONNX_EMBEDDING] = "embedding", [DRAM_ONNX_LOGITS] = "logits"};
    t->options.what = DRAM_ONNX_EMBEDDING;
    if (!t->output) return DRAM_OK;
    for (int i = 0; i < 3; i++) {
        t->options.what = (dram_onnx_what)i;
        if (strcmp(t->output, names[i]) == 0) return DRAM_OK;
    }
    return dram_fail(DRAM_ERR_CONFIG, "export: --output %s: it is one of features, embedding, logits", t->output);
}

/* An option of a target that is not asked for would be ignored. */
static dram_status check_options(const targets *t)
{
    const char *alone = t->output                  ? "--output"
                        : t->options.input         ? "--input-name"
                        : t->options.preprocess    ? "--with-preprocess"
                        : t->options.dynamic_batch ? "--dynamic-batch"
                        : t->options.half          ? "--half"
                                                   : NULL;
    if (!t->onnx && alone)
        return dram_fail(DRAM_ERR_CONFIG, "export: %s is for --onnx FILE, which is not given", alone);
    if (t->decoder && !t->sam)
        return dram_fail(DRAM_ERR_CONFIG, "export: --sam-decoder %s is for --sam FILE, which is not given", t->decoder);
    return DRAM_OK;
}

static dram_status check_targets(const targets *t)
{
    TRY(check_options(t));
    if (!t->onnx && !t->timm && !t->sam)
        return dram_fail(DRAM_ERR_CONFIG,
                         "export: as what? --onnx FILE, --timm DIR, --sam FILE; see `dram export --help`");
    if (t->onnx) TRY(dram_onnx_check(&t->options));
    if (t->onnx) TRY(dram_export_check_target("--onnx", t->onnx));
    if (t->timm) TRY(dram_export_check_target("--timm", t->timm));
    const char *const path[] = {t->onnx, t->timm, t->sam};
    for (int i = 1; i < 3; i++)
        for (int k = 0; k < i; k++)
            if (path[i] && path[k] && strcmp(path[i], path[k]) == 0)
                return dram_fail(DRAM_ERR_CONFIG, "export: %s is given twice; each goes to a place of its own",
                                 path[i]);
    return t->sam ? dram_export_check_target("--sam", t->sam) : DRAM_OK;
}

/* Says what is there now. */
static void print_written(const char *what, const char *path)
{
    char shown[PATH_MAX];
    printf("%-5s %s\n", what, dram_visible(path, shown, sizeof shown));
}

/* First what is most often refused: then nothing is there. */
static dram_status write_targets(dram_export *e, const targets *t)
{
    if (t->sam) {
        TRY(dram_export_sam(e, t->decoder, t->sam));
        print_written("SAM", t->sam);
    }
    if (t->onnx) {
        TRY(dram_onnx_write(e, &t->options, t->onnx));
        print_written("ONNX", t->onnx);
    }
    if (t->timm) {
        TRY(dram_export_timm(e, t->timm));
        print_written("timm", t->timm);
    }
    return DRAM_OK;
}

dram_status dram_command_export(int argc, char **argv)
{
    static dram_export e;
    bool help;
    const char *size = NULL;
    targets t = {0};
    const dram_option options[] = {
        {"--onnx", "FILE", "an ONNX file (IR 8, opset 17), as the options in brackets say", NULL, &t.onnx},
        {"--timm", "DIR", "a folder that timm.create_model(\"local-dir:DIR\", pretrained=True) loads", NULL, &t.timm},
        {"--sam", "FILE", "a SAM checkpoint with the student in the place of its image encoder", NULL, &t.sam},
        {"--sam-decoder", "FILE", "of which the prompt encoder and the mask decoder are; else of the teacher's file",
         NULL, &t.decoder},
        {"--size", "N", "side of the image; else data.size", NULL, &size},
        {"--output", "WHAT", "[ONNX] features of the trunk, embedding of the neck (default), or logits of the task",
         NULL, &t.output},
        {"--input-name", "NAME", "[ONNX] what the input is called; else image", NULL, &t.options.input},
        {"--with-preprocess", NULL, "[ONNX] the input is u8 [H,W,3], normalised and padded inside",
         &t.options.preprocess, NULL},
        {"--dynamic-batch", NULL, "[ONNX] any number of images at a time", &t.options.dynamic_batch, NULL},
        {"--half", NULL, "[ONNX] weights and arithmetic in fp16", &t.options.half, NULL},
    };
    dram_words words;
    dram_export_request request = {0};
    TRY(dram_parse_paths("export", argc, argv, options, sizeof options / sizeof options[0], 1, &words, &help));
    if (help) return DRAM_OK;
    if (words.n_words > 2 || words.n_overrides)
        return dram_fail(DRAM_ERR_CONFIG, "export: what is \"%s\"? See `dram export --help`",
                         words.n_overrides ? words.overrides[0] : words.words[2]);
    TRY(read_output(&t));
    TRY(check_targets(&t));
    TRY(read_size(size, &request.size));
    request.from = words.words[0];
    request.config = words.n_words > 1 ? words.words[1] : NULL;
    dram_status status = dram_export_open(&request, &e);
    if (status == DRAM_OK) status = write_targets(&e, &t);
    dram_export_close(&e);
    return status;
}
