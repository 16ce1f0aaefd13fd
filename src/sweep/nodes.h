/* nodes: the tree of a sweep's YAML, and what is asked of its nodes. For spec.c. */
#ifndef DRAM_SWEEP_NODES_H
#define DRAM_SWEEP_NODES_H

#include <yaml.h>

#include "sweep/spec.h"

typedef struct {
    dram_sweep_spec *spec;
    yaml_document_t *document;
} dram_sweep_reader;

/* Where a node begins. */
dram_config_override dram_node_place(const dram_sweep_reader *r, const yaml_node_t *node);

/* Fails there: for a function with a local `r`. */
#define FAIL(NODE, KEY, ...)                                                                                           \
    do {                                                                                                               \
        const dram_config_override at_ = dram_node_place(r, NODE);                                                     \
        return dram_sweep_fail(&at_, KEY, __VA_ARGS__);                                                                \
    } while (0)

/* Members of a mapping, items of a list; 0 for a scalar. */
int dram_node_count(const yaml_node_t *node);
const yaml_node_t *dram_node_item(const dram_sweep_reader *r, const yaml_node_t *list, int i);
const yaml_node_t *dram_node_member(const dram_sweep_reader *r, const yaml_node_t *mapping, int i,
                                    const yaml_node_t **value);

/* The text of a scalar; NULL: it is none, or holds a zero byte. Numbers: false where it is none in the range; a real may
 * be a size, as in 200MiB. */
const char *dram_node_text(const yaml_node_t *node);
bool dram_node_int(const yaml_node_t *node, int64_t low, int64_t high, int64_t *value);
bool dram_node_real(const yaml_node_t *node, double *value);

/* Calls `read` for each member of a mapping, none of which may be there twice; `at` is the key's node. */
typedef dram_status dram_node_read(dram_sweep_reader *r, const char *key, const yaml_node_t *at,
                                   const yaml_node_t *value, int i);
dram_status dram_node_mapping(dram_sweep_reader *r, const char *section, const yaml_node_t *mapping,
                              dram_node_read *read);

/* Fails: the key is none of these. */
dram_status dram_node_unknown(dram_sweep_reader *r, const yaml_node_t *at, const char *section, const char *key,
                              const char *const *names, int n);

/* The whole text of a file of 1 MiB at most. */
dram_status dram_sweep_text(const char *file, dram_str *text);

/* Calls `read` for what is at the top of spec->yaml if that is a sweep file: *is. What is wrong with a config is for who
 * reads it as one. */
dram_status dram_sweep_nodes(dram_sweep_spec *spec, dram_node_read *read, bool *is);

#endif
