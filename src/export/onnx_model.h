/* onnx_model: an ONNX model under construction, and its file: IR 8, opset 17. For src/export alone.
 *
 * A tensor is described, not held: its numbers are made when the file is written, one tensor at a time. So the model
 * takes a few hundred bytes a node, and writing it the bytes of its largest tensor twice.
 *
 * Building is sticky: after a failure the model keeps the status, later calls give NULL and do nothing.
 */
#ifndef DRAM_EXPORT_ONNX_MODEL_H
#define DRAM_EXPORT_ONNX_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* Element types, by ONNX's numbers. */
typedef enum { DRAM_ONNX_F32 = 1, DRAM_ONNX_U8 = 2, DRAM_ONNX_I64 = 7, DRAM_ONNX_F16 = 10 } dram_onnx_type;

enum { DRAM_ONNX_RANK = 6, DRAM_ONNX_INTS = 8 };

/* An attribute: a list of whole numbers (n > 0), a text, a whole number (whole), or a number. */
typedef struct {
    const char *name;
    int n;
    bool whole;
    int64_t i[DRAM_ONNX_INTS];
    float f;
    const char *text;
} dram_onnx_attr;
#define DRAM_ONNX_LIST_OF(NAME, ...)                                                                                   \
    {                                                                                                                  \
        .name = (NAME), .n = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .i = { __VA_ARGS__ }           \
    }
#define DRAM_ONNX_WHOLE(NAME, VALUE)                                                                                   \
    {                                                                                                                  \
        .name = (NAME), .whole = true, .i = { VALUE }                                                                  \
    }
#define DRAM_ONNX_NUMBER(NAME, VALUE)                                                                                  \
    {                                                                                                                  \
        .name = (NAME), .f = (VALUE)                                                                                   \
    }
#define DRAM_ONNX_TEXT(NAME, TEXT)                                                                                     \
    {                                                                                                                  \
        .name = (NAME), .text = (TEXT)                                                                                 \
    }

/* A dimension without number is named by `any`: "batch". */
typedef struct {
    const char *name; /* of the value */
    dram_onnx_type type;
    int rank;
    int64_t dim[DRAM_ONNX_RANK];
    const char *any[DRAM_ONNX_RANK]; /* NULL: dim is the number */
} dram_onnx_port;

typedef struct dram_onnx_model dram_onnx_model;

dram_status dram_onnx_model_new(const char *name, dram_onnx_model **model);
void dram_onnx_model_free(dram_onnx_model *model); /* NULL is allowed */

/* The status of all calls so far; a call that failed has set the text. */
dram_status dram_onnx_model_status(const dram_onnx_model *model);
dram_status dram_onnx_model_fail(dram_onnx_model *model, dram_status status);

/* A copy of a text that lives as long as the model. */
const char *dram_onnx_text(dram_onnx_model *model, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends a node with one output, and gives that. Inputs that are "" are optional ones which are not given. Names are
 * copied. NULL among the inputs is a failure before. */
const char *dram_onnx_node(dram_onnx_model *model, const char *op, const char *out, const dram_onnx_attr *attrs,
                           int n_attrs, const char *const *in, int n_in);
#define DRAM_ONNX_IN(...)                                                                                              \
    (const char *const[]){__VA_ARGS__}, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *))
#define DRAM_ONNX_ATTRS(...)                                                                                           \
    (const dram_onnx_attr[]){__VA_ARGS__}, (int)(sizeof((dram_onnx_attr[]){__VA_ARGS__}) / sizeof(dram_onnx_attr))

/* Writes all elements of a tensor, float or int64_t, into out; scratch has room for as many. */
typedef dram_status (*dram_onnx_fill)(void *context, void *out, void *scratch);

/* Adds a tensor that `fill` makes when the file is written: F32, I64, or F16, which is rounded to nearest from float;
 * `context`, of context_bytes, is copied. A name that is there already gives the tensor that has it. */
const char *dram_onnx_tensor(dram_onnx_model *model, const char *name, dram_onnx_type type, int rank,
                             const int64_t *dim, dram_onnx_fill fill, const void *context, int context_bytes);

/* A tensor of the numbers given, which is named after them. n 0 of a float: a scalar. */
const char *dram_onnx_ints(dram_onnx_model *model, int n, const int64_t *values);
#define DRAM_ONNX_SHAPE(MODEL, ...)                                                                                    \
    dram_onnx_ints(MODEL, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__})
const char *dram_onnx_scalar(dram_onnx_model *model, dram_onnx_type type, float value);

void dram_onnx_input(dram_onnx_model *model, const dram_onnx_port *port);
void dram_onnx_output(dram_onnx_model *model, const dram_onnx_port *port);
void dram_onnx_metadata(dram_onnx_model *model, const char *key, const char *value);

/* Whether a node or a tensor gives a value of that name. */
bool dram_onnx_has(const dram_onnx_model *model, const char *name);

/* Writes the file through a temporary name: it is there whole or not at all. DRAM_ERR_CONFIG: a file of ONNX holds less
 * than 2 GiB, or a number is too large for fp16. DRAM_ERR_IO: the disk. */
dram_status dram_onnx_model_write(dram_onnx_model *model, const char *path);

#endif
