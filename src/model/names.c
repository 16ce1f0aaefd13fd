#include "model/names.h"

#include <stdio.h>
#include <string.h>

#include "model/family.h"

static const dram_convention *convention_of(const dram_arch *arch, dram_names names)
{
    const dram_family *family = arch->family;
    return &family->conventions[(int)names < family->n_conventions ? names : DRAM_NAMES_TIMM];
}

static const dram_rename *rule_for(const dram_rename *rules, const char *text)
{
    for (; rules && rules->ours; rules++)
        if (strncmp(text, rules->ours, strlen(rules->ours)) == 0) return rules;
    return NULL;
}

const char *dram_names_of(const dram_arch *arch, dram_names names, const char *name, char *out, size_t size)
{
    const dram_convention *files = convention_of(arch, names);
    size_t n = strlen(files->prefix);
    if (n >= size) return NULL;
    memcpy(out, files->prefix, n);
    bool part = true; /* at the start of a part */
    while (*name) {
        const dram_rename *rule = part ? rule_for(files->rules, name) : NULL;
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
    *names = DRAM_NAMES_TIMM;
    int best = 0;
    for (int c = 0; c < arch->family->n_conventions; c++) {
        int found = 0;
        char name[128];
        for (const char *const *probe = arch->family->probes; *probe; probe++)
            if (dram_names_of(arch, (dram_names)c, *probe, name, sizeof name) && has(context, name)) found++;
        if (found <= best) continue;
        best = found;
        *names = (dram_names)c;
    }
    return best > 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

bool dram_names_ignored(const dram_arch *arch, const char *name)
{
    for (const char *const *start = arch->family->beside; *start; start++)
        if (strncmp(name, *start, strlen(*start)) == 0) return true;
    return arch->family->batch_norm && dram_names_is_bn_counter(name);
}

bool dram_names_is_bn_counter(const char *name)
{
    return ends_with(name, ".num_batches_tracked");
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
    const dram_shape *s = dram_slot_tensor(slot);
    if (slot->layout == DRAM_LAYOUT_SAME) return *s;
    return DRAM_SHAPE(s->dim[0], s->dim[3], s->dim[1], s->dim[2]);
}

/* Ours is [O, kh*kw, I], the file's [O, I, kh*kw]. */
static void transpose(const dram_slot *slot, int64_t bytes, const void *from, void *to, bool to_file)
{
    const dram_shape *s = dram_slot_tensor(slot);
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
