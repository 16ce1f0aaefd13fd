/* safetensors: files of tensors. Reads safetensors (the container of huggingface/safetensors) and what torch.save writes
 * (.pth, .pt, .bin), told by the first bytes and never by the name; writes safetensors.
 *
 * A safetensors file is an 8-byte little-endian length N, N bytes of JSON, then the data, row-major, without holes:
 *
 *     {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {text: text}}
 *
 * A file of torch.save is a zip archive of stored members: a pickle (io/pickle.h) and one member for each storage.
 * Nothing in it is executed.
 *
 * Hugging Face's index of several files (`weight_map` of a `*.index.json`) is opened as one file: it names files beside it.
 *
 * Nothing is mapped: tensors are read from where they lie, through a small buffer. While a file is opened its header is
 * in memory, or its pickle (64 MiB at most, and what io/pickle.h says); an open file costs some 250 bytes a tensor.
 *
 * Errors name the file. DRAM_ERR_CONFIG: it cannot be opened. DRAM_ERR_FORMAT: it is not a whole, sound file of these
 * kinds, or a tensor's dtype is not the one asked for. DRAM_ERR_IO: the system failed.
 */
#ifndef DRAM_IO_SAFETENSORS_H
#define DRAM_IO_SAFETENSORS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "io/hash.h"

enum { DRAM_ST_MAX_RANK = 8 };

/* Element types in a file. All others that the formats know are listed as DRAM_ST_OTHER and refused when read. */
typedef enum { DRAM_ST_F32, DRAM_ST_F16, DRAM_ST_BF16, DRAM_ST_I64, DRAM_ST_OTHER } dram_st_dtype;

/* "F32", ...; "another type" for DRAM_ST_OTHER. Bytes an element: 0 for DRAM_ST_OTHER. */
const char *dram_st_dtype_name(dram_st_dtype dtype);
int dram_st_dtype_bytes(dram_st_dtype dtype);

typedef struct {
    const char *name; /* owned by the reader; without control characters */
    dram_st_dtype dtype;
    const char *dtype_name; /* as in the file */
    int rank;               /* 0 is a scalar: one element */
    int64_t dim[DRAM_ST_MAX_RANK];
    int64_t elements;
    int64_t begin, bytes; /* place in the file's data section, and what its elements take */
    int64_t run; /* elements that lie one after another: all, or fewer in a view of a larger tensor; 0: not readable */
    int64_t stride[DRAM_ST_MAX_RANK]; /* of a view, in elements */
    int shard;                        /* which file of an index it lies in */
} dram_st_tensor;

typedef struct dram_st dram_st;

/* Reads and checks the header: *st is to be closed. What is neither kind of file is called what it is, with the way out.
 * Any thread may read from an open file, several at a time. */
dram_status dram_st_open(const char *path, dram_st **st);
void dram_st_close(dram_st *st); /* NULL is allowed */

/* Tensors 0 .. count - 1, sorted by name. Valid until the file is closed. */
int dram_st_count(const dram_st *st);
const dram_st_tensor *dram_st_at(const dram_st *st, int i);
const dram_st_tensor *dram_st_find(const dram_st *st, const char *name); /* NULL if there is none */

/* Value of a key in "__metadata__", or NULL. Valid until the file is closed. */
const char *dram_st_metadata(const dram_st *st, const char *key);

/* Whether the file holds several sets of weights: the word of the one that was taken ("model"), and of another ("ema").
 * Static text. */
bool dram_st_choice(const dram_st *st, const char **taken, const char **beside);

/* "[64,3,7,7]" into out, which is returned; cut to size. */
char *dram_st_format_shape(const dram_st_tensor *tensor, char *out, int size);

/* Takes "module.", "model." and the like from the front of all names, where every name begins with it. */
void dram_st_strip(dram_st *st, const char *prefix);

/* Elements offset .. offset + count - 1 in row-major order of the tensor's shape, widened to float. The tensor must be
 * F32, F16 or BF16; one whose elements lie in another order (transposed, expanded) is DRAM_ERR_FORMAT. A range outside
 * the tensor is DRAM_ERR_INTERNAL. */
dram_status dram_st_read_f32(const dram_st *st, const dram_st_tensor *tensor, int64_t offset, int64_t count,
                             float *dst);

/* The same elements as they lie in the file, little-endian; dst holds count * dram_st_dtype_bytes(dtype). */
dram_status dram_st_read_raw(const dram_st *st, const dram_st_tensor *tensor, int64_t offset, int64_t count, void *dst);

/* Tells a file of weights from every other: the hash of its bytes, of an index with those of the files that it names.
 * stop as dram_hash_file has it. */
dram_status dram_st_hash(const char *path, const volatile sig_atomic_t *stop, char out[DRAM_HASH_SIZE]);

/* Gives elements offset .. offset + count - 1 of a tensor that is being written: float for the F types, int64_t for
 * I64; those of a raw tensor as they are stored. Called with ascending ranges that cover the tensor once. */
typedef dram_status (*dram_st_source)(void *context, int64_t offset, int64_t count, void *out);

typedef struct {
    const char *name;
    dram_st_dtype dtype; /* as stored; F16 and BF16 are rounded to nearest even from float */
    int rank;
    int64_t dim[DRAM_ST_MAX_RANK];
    const void *data;      /* float or int64_t, the whole tensor; or NULL and */
    dram_st_source source; /* the piecewise source */
    void *context;
    bool raw; /* data and source give elements as they are stored, little-endian: bits are copied */
} dram_st_out;

typedef struct {
    const char *key, *value;
} dram_st_pair;

/* Writes path through a temporary name, synced and renamed (io/atomic.h): after an error the old file, if any, is
 * still there. The wider types come first in the data, so that every tensor is aligned; metadata is {"format": "pt"}
 * and the n_pairs given ones. A finite number beyond fp16 in a tensor of F16 is DRAM_ERR_FORMAT. A bad list (two equal names, say) is DRAM_ERR_INTERNAL. */
dram_status dram_st_write(const char *path, const dram_st_out *tensors, int n, const dram_st_pair *pairs, int n_pairs);

/* Bytes of the file that dram_st_write makes of the same list without pairs. Nothing is read of the tensors' data; path
 * is for errors alone. */
dram_status dram_st_size(const char *path, const dram_st_out *tensors, int n, int64_t *bytes);

#endif
