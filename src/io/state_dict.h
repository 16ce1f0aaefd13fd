/* state_dict: the tensors of a pickle that torch.save wrote.
 *
 * The state dict is the dict with tensors under "model", "state_dict", "teacher" or "ema" of the outermost dict, the first
 * of these in this order, or under one of them in there; else the outermost dict itself. All else in the pickle is
 * passed over.
 */
#ifndef DRAM_IO_STATE_DICT_H
#define DRAM_IO_STATE_DICT_H

#include <stdint.h>

#include "base/status.h"
#include "io/safetensors.h"

/* A tensor as the pickle tells it: what it says about the storage may be a lie. */
typedef struct {
    const char *name; /* `name_length` bytes of the pickle, without an end */
    int name_length;
    const char *key; /* of its storage: digits, of the pickle too */
    int key_length;
    dram_st_dtype dtype;
    const char *dtype_name; /* as safetensors calls it */
    int item_bytes;
    int64_t storage_items; /* items that its storage holds */
    int64_t offset;        /* of its first item, in items */
    int rank;
    int64_t dim[DRAM_ST_MAX_RANK], stride[DRAM_ST_MAX_RANK]; /* in items; none is negative */
} dram_state_tensor;

typedef struct {
    dram_state_tensor *tensors; /* owned: dram_free */
    int count;
    const char *taken, *beside; /* the word it was under, and another that holds tensors too; NULL: there was no choice.
                                 * Static text */
} dram_state_dict;

/* Runs the pickle (io/pickle.h, which tells memory and time). The tensors point into `bytes`, and are in the order of
 * the state dict. `path` is for errors, which are DRAM_ERR_FORMAT and DRAM_ERR_MEMORY; *out is then empty. */
dram_status dram_state_dict_read(const char *path, const unsigned char *bytes, int64_t size, dram_state_dict *out);

#endif
