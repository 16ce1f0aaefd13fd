#include "model/names.h"

#include <stdio.h>
#include <string.h>

/* One rule: text at the start of a part of the name (after nothing or a dot), and what a file says instead. */
typedef struct {
    const char *ours, *theirs;
} rewrite;

static const rewrite meta_rules[] = {{"mlp.fc", "mlp.lin"}, {NULL, NULL}};

static const rewrite hf_rules[] = {
    {"blocks.", "layers."},
    {"norm1.", "layer_norm1."},
    {"norm2.", "layer_norm2."},
    {"mlp.fc", "mlp.lin"},
    {"patch_embed.proj.", "patch_embed.projection."},
    {"neck.0.", "neck.conv1."},
    {"neck.1.", "neck.layer_norm1."},
    {"neck.2.", "neck.conv2."},
    {"neck.3.", "neck.layer_norm2."},
    {NULL, NULL},
};

static const rewrite no_rules[] = {{NULL, NULL}};

static const struct {
    const char *text, *prefix;
    const rewrite *rules;
} conventions[DRAM_NAMES_COUNT] = {
    [DRAM_NAMES_TIMM] = {"timm", "", no_rules},
    [DRAM_NAMES_META] = {"Meta", "image_encoder.", meta_rules},
    [DRAM_NAMES_HF] = {"Hugging Face", "vision_encoder.", hf_rules},
};

const char *dram_names_text(dram_names names)
{
    return conventions[names].text;
}

static const rewrite *rule_for(const rewrite *rules, const char *text)
{
    for (; rules->ours; rules++)
        if (strncmp(text, rules->ours, strlen(rules->ours)) == 0) return rules;
    return NULL;
}

const char *dram_names_of(const dram_arch *arch, dram_names names, const char *name, char *out, size_t size)
{
    if (arch->kind == DRAM_ARCH_REGNET) names = DRAM_NAMES_TIMM;
    size_t n = strlen(conventions[names].prefix);
    if (n >= size) return NULL;
    memcpy(out, conventions[names].prefix, n);
    bool part = true; /* at the start of a part */
    while (*name) {
        const rewrite *rule = part ? rule_for(conventions[names].rules, name) : NULL;
        const char *from = rule ? rule->theirs : name;
        size_t length = rule ? strlen(rule->theirs) : 1;
        if (n + length >= size) return NULL;
        memcpy(out + n, from, length);
        n += length;
        name += rule ? strlen(rule->ours) : 1;
        part = out[n - 1] == '.';
    }
    out[n] = '\0';
    return out;
}

bool dram_names_detect(const dram_arch *arch, dram_names_has has, void *context, dram_names *names)
{
    /* Several, so that a file that lacks one of them is still understood and the missing one is named. */
    static const char *const probes[] = {"pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight",
                                         "blocks.0.mlp.fc1.weight", "neck.0.weight"};
    *names = DRAM_NAMES_TIMM;
    if (arch->kind == DRAM_ARCH_REGNET) return has(context, "stem.conv.weight");
    int best = 0;
    for (int c = 0; c < DRAM_NAMES_COUNT; c++) {
        int found = 0;
        char name[128];
        for (size_t i = 0; i < sizeof probes / sizeof *probes; i++)
            if (dram_names_of(arch, (dram_names)c, probes[i], name, sizeof name) && has(context, name)) found++;
        if (found <= best) continue;
        best = found;
        *names = (dram_names)c;
    }
    return best > 0;
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

bool dram_names_ignored(const dram_arch *arch, const char *name)
{
    static const char *const sam[] = {"prompt_encoder.", "mask_decoder.", "shared_image_embedding.",
                                      "pixel_mean",      "pixel_std",     "head."};
    if (arch->kind == DRAM_ARCH_REGNET) return starts_with(name, "head.fc.") || ends_with(name, ".num_batches_tracked");
    for (size_t i = 0; i < sizeof sam / sizeof *sam; i++)
        if (starts_with(name, sam[i])) return true;
    return false;
}

bool dram_names_bn_counter(const char *slot, char *out, size_t size)
{
    static const char mean[] = ".running_mean";
    if (!ends_with(slot, mean)) return false;
    int n = (int)(strlen(slot) - strlen(mean));
    return snprintf(out, size, "%.*s.num_batches_tracked", n, slot) < (int)size;
}

dram_shape dram_file_shape(const dram_slot *slot)
{
    const dram_shape *s = &slot->shape;
    if (slot->layout == DRAM_LAYOUT_SAME) return *s;
    return DRAM_SHAPE(s->dim[0], s->dim[3], s->dim[1], s->dim[2]);
}

/* Ours is [O, kh*kw, I], the file's [O, I, kh*kw]. */
static void transpose(const dram_slot *slot, int64_t bytes, const void *from, void *to, bool to_file)
{
    const dram_shape *s = &slot->shape;
    int64_t total = dram_elements(s);
    if (slot->layout == DRAM_LAYOUT_SAME) {
        memcpy(to, from, (size_t)(total * bytes));
        return;
    }
    int64_t taps = s->dim[1] * s->dim[2], inputs = s->dim[3];
    for (int64_t o = 0; o < s->dim[0]; o++)
        for (int64_t k = 0; k < taps; k++)
            for (int64_t i = 0; i < inputs; i++) {
                int64_t ours = (o * taps + k) * inputs + i, file = (o * inputs + i) * taps + k;
                memcpy((char *)to + (to_file ? file : ours) * bytes,
                       (const char *)from + (to_file ? ours : file) * bytes, (size_t)bytes);
            }
}

void dram_from_file_order(const dram_slot *slot, int64_t bytes, const void *file, void *ours)
{
    transpose(slot, bytes, file, ours, false);
}

void dram_to_file_order(const dram_slot *slot, int64_t bytes, const void *ours, void *file)
{
    transpose(slot, bytes, ours, file, true);
}
