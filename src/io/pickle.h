/* pickle: runs a pickle that torch.save wrote (protocol 2 or 3).
 *
 * A pickle is a program for a stack machine that makes Python objects. This machine makes values and never an object:
 * nothing is looked up, called or imported. It knows dicts, torch's storages and torch's tensors; what any other class
 * or function would have made is carried as "an object of that class", and what is put into it is dropped. An opcode
 * that it does not know is refused.
 */
#ifndef DRAM_IO_PICKLE_H
#define DRAM_IO_PICKLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { DRAM_PICKLE_NESTING = 64, DRAM_PICKLE_SHOWN = 96 };

/* Classes of module torch, what their numbers are here and for safetensors, and bytes of each. */
#define DRAM_PICKLE_STORAGES(X)                                                                                        \
    X("FloatStorage", DRAM_ST_F32, "F32", 4)                                                                           \
    X("HalfStorage", DRAM_ST_F16, "F16", 2)                                                                            \
    X("BFloat16Storage", DRAM_ST_BF16, "BF16", 2)                                                                      \
    X("LongStorage", DRAM_ST_I64, "I64", 8)                                                                            \
    X("DoubleStorage", DRAM_ST_OTHER, "F64", 8)                                                                        \
    X("IntStorage", DRAM_ST_OTHER, "I32", 4)                                                                           \
    X("ShortStorage", DRAM_ST_OTHER, "I16", 2)                                                                         \
    X("CharStorage", DRAM_ST_OTHER, "I8", 1)                                                                           \
    X("ByteStorage", DRAM_ST_OTHER, "U8", 1)                                                                           \
    X("BoolStorage", DRAM_ST_OTHER, "BOOL", 1)                                                                         \
    X("ComplexFloatStorage", DRAM_ST_OTHER, "C64", 8)

typedef enum {
    DRAM_PICKLE_OTHER, /* None, a truth value, a number that is no int64, bytes, a list: nothing is done with it */
    DRAM_PICKLE_INTEGER,
    DRAM_PICKLE_TEXT,
    DRAM_PICKLE_TUPLE,
    DRAM_PICKLE_DICT,
    DRAM_PICKLE_GLOBAL, /* a class or function */
    DRAM_PICKLE_STORAGE,
    DRAM_PICKLE_TENSOR,
    DRAM_PICKLE_OBJECT /* made by a class or function that is not known here */
} dram_pickle_kind;

/* INTEGER: the number is `at`. TEXT, GLOBAL ("module\nname") and OBJECT (its class, as a GLOBAL): `length` bytes of the
 * pickle from `at`. TUPLE: `length` values from `at` among the items. DICT: its number. STORAGE, TENSOR: the index. */
typedef struct {
    dram_pickle_kind kind;
    int length;
    int64_t at;
} dram_pickle_value;

typedef struct {
    int64_t dict;                 /* whose entry it is */
    dram_pickle_value key, value; /* key: a TEXT; entries under other keys are dropped */
} dram_pickle_entry;

/* A storage lies outside of the pickle, under its key. */
typedef struct {
    int type;              /* index in DRAM_PICKLE_STORAGES; -1: none of these */
    dram_pickle_value key; /* digits */
    int64_t items;
} dram_pickle_storage;

typedef struct {
    int64_t storage, offset;
    dram_pickle_value dim, stride; /* tuples of as many integers, none of them negative */
} dram_pickle_tensor;

typedef struct {
    void *at; /* values, entries, storages or tensors */
    int n, room;
} dram_pickle_pool;

/* The machine, and after its run what the pickle says. */
typedef struct {
    const char *path; /* for errors */
    const unsigned char *bytes;
    int64_t size, at;
    int marks[DRAM_PICKLE_NESTING], n_marks; /* heights of the stack */
    dram_pickle_pool stack, memo, items, entries, storages, tensors;
    int64_t dicts;
    dram_pickle_value root;
} dram_pickle;

/* Runs the pickle; `pickle` needs the path, the bytes and their size, and zeros. To be freed, after an error as well,
 * which is DRAM_ERR_FORMAT or DRAM_ERR_MEMORY. Takes 250 MiB at most, whatever the pickle says, and time linear in its
 * size. */
dram_status dram_pickle_run(dram_pickle *pickle);
void dram_pickle_free(dram_pickle *pickle);

const dram_pickle_value *dram_pickle_item(const dram_pickle *pickle, dram_pickle_value tuple, int i);

/* Whether the bytes of a TEXT, GLOBAL or OBJECT are these. */
bool dram_pickle_is(const dram_pickle *pickle, dram_pickle_value value, const char *text);

/* Those bytes for an error: cut, "." for the end of a line, "?" for what does not belong into one. Returns `out`. */
const char *dram_pickle_show(const dram_pickle *pickle, dram_pickle_value value, char out[DRAM_PICKLE_SHOWN]);

#endif
