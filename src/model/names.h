/* names: what files call our weights, and how they lay them out.
 *
 * Our slots have timm's names. SAM's image encoder is published under four conventions; RegNet under one. A file may
 * hold more than the trunk (SAM's decoders, a classifier): such tensors are known by their prefix and passed over.
 */
#ifndef DRAM_MODEL_NAMES_H
#define DRAM_MODEL_NAMES_H

#include <stddef.h>

#include "model/model.h"

/* Where weights come from. */
typedef enum {
    DRAM_NAMES_TIMM,      /* blocks.0.mlp.fc1.weight */
    DRAM_NAMES_META,      /* image_encoder.blocks.0.mlp.lin1.weight */
    DRAM_NAMES_HF,        /* vision_encoder.layers.0.mlp.lin1.weight */
    DRAM_NAMES_META_BARE, /* blocks.0.mlp.lin1.weight: Meta's encoder saved by itself */
    DRAM_NAMES_COUNT
} dram_names;

/* The file's name for our slot `name` of `arch`, zero-terminated into out, which is returned; NULL if it does not fit
 * into `size` bytes. A family without that convention has timm's names. */
const char *dram_names_of(const dram_arch *arch, dram_names names, const char *name, char *out, size_t size);

/* Whether the file has a tensor of that name. */
typedef bool (*dram_names_has)(void *context, const char *name);

/* Tells the convention of a file of `arch` by its family's probes. False when it follows none; `names` is then timm, so
 * that a list of missing names reads well. */
bool dram_names_detect(const dram_arch *arch, dram_names_has has, void *context, dram_names *names);

/* Whether a file of `arch` may have this tensor beside the trunk's own: a decoder of SAM, a classifier, a batch norm's
 * counter. Any other tensor that is no slot is an error. */
bool dram_names_ignored(const dram_arch *arch, const char *name);

/* Whether it is a batch norm's counter, "X.num_batches_tracked". */
bool dram_names_is_bn_counter(const char *name);

/* PyTorch's batch norms have a scalar int64 `num_batches_tracked` that we do not keep. For the slot
 * "X.running_mean" writes "X.num_batches_tracked" into out and gives true; for every other slot false. */
bool dram_names_bn_counter(const char *slot, char *out, size_t size);

/* The shape of a slot in a file: [O,kh,kw,I] is [O,I,kh,kw] there. */
dram_shape dram_file_shape(const dram_slot *slot);

/* A whole slot between the file's order and ours, elements of `bytes` bytes. The two must not overlap. */
void dram_from_file_order(const dram_slot *slot, int64_t bytes, const void *file, void *ours);
void dram_to_file_order(const dram_slot *slot, int64_t bytes, const void *ours, void *file);

#endif
