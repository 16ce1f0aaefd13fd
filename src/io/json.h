/* json: summary.json, state.json and the like, as cJSON trees. cJSON's memory goes through base/alloc.h.
 *
 * Numbers are doubles: an integer of more than 15 digits is to be written as text, other numbers are written to an
 * epsilon of theirs. NaN and infinities become null.
 */
#ifndef DRAM_IO_JSON_H
#define DRAM_IO_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

/* Parses text that is one JSON value, with nothing but white space after it; text[bytes] is readable. *root is the
 * caller's (cJSON_Delete). DRAM_ERR_FORMAT, or DRAM_ERR_MEMORY: no text is recorded (the caller knows what it read),
 * *root is NULL and *place, if asked for, is where it stopped. */
dram_status dram_json_parse(const char *text, size_t bytes, cJSON **root, const char **place);

/* Writes the tree, indented and with a last newline, through a temporary name (io/atomic.h). The tree stays the
 * caller's. */
dram_status dram_json_write(const char *path, const cJSON *root);

/* Reads a file whose content must be one JSON object, of 64 MiB at most: *root is the caller's (cJSON_Delete).
 * DRAM_ERR_CONFIG: cannot be opened; DRAM_ERR_FORMAT: not such an object. */
dram_status dram_json_read(const char *path, cJSON **root);

/* The same with a hash of its own text as the last member, "hash", which is added to the tree: every change of the file
 * is found. DRAM_ERR_FORMAT: the bytes are not those that were written. */
dram_status dram_json_write_sealed(const char *path, cJSON *root);
dram_status dram_json_read_sealed(const char *path, cJSON **root);

/* A name as JSON may hold it: `text` itself, or, where it is not UTF-8, a copy in *room (start from {0}) in which every
 * byte that belongs to no UTF-8 character is \xHH. NULL: memory is out. */
const char *dram_json_name(const char *text, dram_str *room);

/* Building a tree. An object at the end of the array, NULL when memory is out; a member that is the text, as
 * dram_json_name has it, or null where there is none (NULL), false when memory is out. */
cJSON *dram_json_append(cJSON *array);
bool dram_json_add_text(cJSON *object, const char *key, const char *text);

/* A member that is the list of n texts, all UTF-8; false when memory is out. */
bool dram_json_add_texts(cJSON *object, const char *key, const char *const *texts, int n);

/* A number of an object; NAN where it has none there, null, or is no object. */
double dram_json_number_or_nan(const cJSON *object, const char *key);

/* Members of an object that was read from the file `path`. DRAM_ERR_FORMAT names file and key if the member is absent,
 * of another type, not an integer or out of range. Text belongs to the tree. */
dram_status dram_json_int(const cJSON *object, const char *path, const char *key, int64_t low, int64_t high,
                          int64_t *value);
dram_status dram_json_number(const cJSON *object, const char *path, const char *key, double *value);
dram_status dram_json_text(const cJSON *object, const char *path, const char *key, const char **value);

#endif
