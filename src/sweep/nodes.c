#include "sweep/nodes.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"

enum { MAX_FILE_BYTES = 1 << 20 };

dram_config_override dram_node_place(const dram_sweep_reader *r, const yaml_node_t *node)
{
    return (dram_config_override){
        .file = r->spec->file, .line = (int)node->start_mark.line + 1, .column = (int)node->start_mark.column + 1};
}

static const yaml_node_t *node_of(const dram_sweep_reader *r, int index)
{
    return yaml_document_get_node(r->document, index);
}

/* Members of a mapping, items of a list; 0 for a scalar. */
int dram_node_count(const yaml_node_t *node)
{
    if (node->type == YAML_MAPPING_NODE) return (int)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
    if (node->type == YAML_SEQUENCE_NODE) return (int)(node->data.sequence.items.top - node->data.sequence.items.start);
    return 0;
}

const yaml_node_t *dram_node_item(const dram_sweep_reader *r, const yaml_node_t *list, int i)
{
    return node_of(r, list->data.sequence.items.start[i]);
}

const yaml_node_t *dram_node_member(const dram_sweep_reader *r, const yaml_node_t *mapping, int i,
                                    const yaml_node_t **value)
{
    const yaml_node_pair_t *pair = &mapping->data.mapping.pairs.start[i];
    *value = node_of(r, pair->value);
    return node_of(r, pair->key);
}

/* The text of a scalar; NULL: it is none, or holds a zero byte. */
const char *dram_node_text(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE) return NULL;
    const char *text = (const char *)node->data.scalar.value;
    return strlen(text) == node->data.scalar.length ? text : NULL;
}

bool dram_node_int(const yaml_node_t *node, int64_t low, int64_t high, int64_t *value)
{
    const char *text = dram_node_text(node);
    return text && dram_sweep_parse_seed(text, value) && *value >= low && *value <= high;
}

bool dram_node_real(const yaml_node_t *node, double *value)
{
    const char *text = dram_node_text(node);
    char *end;
    int64_t bytes;
    if (!text || !*text || isspace((unsigned char)*text)) return false;
    *value = strtod(text, &end);
    if (*end == '\0') return isfinite(*value);
    if (!dram_parse_bytes(text, &bytes)) return false;
    *value = (double)bytes;
    return true;
}

dram_status dram_node_mapping(dram_sweep_reader *r, const char *section, const yaml_node_t *mapping,
                              dram_node_read *read)
{
    const yaml_node_t *value, *other;
    if (mapping->type != YAML_MAPPING_NODE) FAIL(mapping, section, "expected a mapping of keys to values");
    for (int i = 0; i < dram_node_count(mapping); i++) {
        const yaml_node_t *at = dram_node_member(r, mapping, i, &value);
        const char *key = dram_node_text(at);
        if (!key) FAIL(at, section, "a key must be one word");
        for (int k = 0; k < i; k++) {
            const char *before = dram_node_text(dram_node_member(r, mapping, k, &other));
            if (strcmp(before, key) == 0) FAIL(at, section, "%.60s is given twice", key);
        }
        TRY(read(r, key, at, value, i));
    }
    return DRAM_OK;
}

dram_status dram_node_unknown(dram_sweep_reader *r, const yaml_node_t *at, const char *section, const char *key,
                              const char *const *names, int n)
{
    dram_str all = {0};
    const char *nearest = dram_nearest(key, names, n);
    for (int i = 0; i < n; i++) dram_str_add(&all, "%s%s", i ? ", " : "", names[i]);
    const dram_config_override place = dram_node_place(r, at);
    if (nearest)
        dram_sweep_fail(&place, section, "unknown key %.60s, did you mean %s?", key, nearest);
    else
        dram_sweep_fail(&place, section, "unknown key %.60s; it may have: %s", key, all.failed ? "" : all.text);
    dram_str_free(&all);
    return DRAM_ERR_CONFIG;
}

/* What a file has no use of, and what a tree of nodes would not show: anchors, aliases, tags, a second document. */
static dram_status check_event(dram_sweep_spec *spec, const yaml_event_t *event, int *documents)
{
    const yaml_char_t *tag = NULL, *anchor = NULL;
    const dram_config_override at = {
        .file = spec->file, .line = (int)event->start_mark.line + 1, .column = (int)event->start_mark.column + 1};
    if (event->type == YAML_SCALAR_EVENT) tag = event->data.scalar.tag, anchor = event->data.scalar.anchor;
    if (event->type == YAML_MAPPING_START_EVENT)
        tag = event->data.mapping_start.tag, anchor = event->data.mapping_start.anchor;
    if (event->type == YAML_SEQUENCE_START_EVENT)
        tag = event->data.sequence_start.tag, anchor = event->data.sequence_start.anchor;
    if (anchor || event->type == YAML_ALIAS_EVENT)
        return dram_sweep_fail(&at, NULL, "anchors and aliases (& and *) are not supported");
    if (tag) return dram_sweep_fail(&at, NULL, "tags (!) are not supported");
    if (event->type == YAML_DOCUMENT_START_EVENT && ++*documents > 1)
        return dram_sweep_fail(&at, NULL, "there must be one document only");
    return DRAM_OK;
}

static dram_status syntax_error(const yaml_parser_t *p, const char *file)
{
    const dram_config_override at = {
        .file = file, .line = (int)p->problem_mark.line + 1, .column = (int)p->problem_mark.column + 1};
    if (p->error == YAML_MEMORY_ERROR) return dram_fail(DRAM_ERR_MEMORY, "no memory for a sweep");
    return dram_sweep_fail(&at, NULL, "not valid YAML: %s", p->problem ? p->problem : "it cannot be read");
}

static dram_status check_events(dram_sweep_spec *spec)
{
    yaml_parser_t parser;
    dram_status status = DRAM_OK;
    int documents = 0;
    if (!yaml_parser_initialize(&parser)) return dram_fail(DRAM_ERR_MEMORY, "no memory for a sweep");
    yaml_parser_set_input_string(&parser, (const unsigned char *)spec->yaml.text, spec->yaml.length);
    for (bool end = false; !end && status == DRAM_OK;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = syntax_error(&parser, spec->file);
            break;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        status = check_event(spec, &event, &documents);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return status;
}

/* Whether the top of a tree has `sweep`. */
static bool is_sweep(const dram_sweep_reader *r, const yaml_node_t *root)
{
    const yaml_node_t *value;
    if (!root || root->type != YAML_MAPPING_NODE) return false;
    for (int i = 0; i < dram_node_count(root); i++) {
        const char *key = dram_node_text(dram_node_member(r, root, i, &value));
        if (key && strcmp(key, "sweep") == 0) return true;
    }
    return false;
}

dram_status dram_sweep_nodes(dram_sweep_spec *spec, dram_node_read *read, bool *is)
{
    yaml_parser_t parser;
    yaml_document_t document;
    dram_status status = DRAM_OK;
    *is = false;
    if (!yaml_parser_initialize(&parser)) return dram_fail(DRAM_ERR_MEMORY, "no memory for a sweep");
    yaml_parser_set_input_string(&parser, (const unsigned char *)spec->yaml.text, spec->yaml.length);
    if (!yaml_parser_load(&parser, &document)) {
        status = syntax_error(&parser, spec->file);
        goto delete_parser;
    }
    dram_sweep_reader r = {.spec = spec, .document = &document};
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    *is = is_sweep(&r, root);
    if (*is) status = check_events(spec);
    if (*is && status == DRAM_OK) status = dram_node_mapping(&r, NULL, root, read);
    yaml_document_delete(&document);
delete_parser:
    yaml_parser_delete(&parser);
    return status;
}

dram_status dram_sweep_text(const char *file, dram_str *text)
{
    struct stat info;
    const char *why;
    const dram_config_override at = {.file = file};
    dram_status status = DRAM_OK;
    int fd = dram_file_open(file, &info, &why);
    if (fd < 0) return dram_sweep_fail(&at, NULL, "cannot open: %s", why);
    char *room = dram_alloc(MAX_FILE_BYTES + 1);
    ssize_t have = room ? dram_file_read(fd, room, MAX_FILE_BYTES + 1) : 0;
    close(fd);
    if (!room)
        status = dram_fail(DRAM_ERR_MEMORY, "no memory for a sweep");
    else if (have < 0)
        status = dram_sweep_fail(&at, NULL, "cannot read: %m");
    else if (have > MAX_FILE_BYTES)
        status = dram_sweep_fail(&at, NULL, "larger than 1 MiB: this is neither a sweep nor a config");
    else
        dram_str_add(text, "%.*s", (int)have, room);
    dram_free(room);
    if (status != DRAM_OK || text->failed) return status == DRAM_OK ? DRAM_ERR_MEMORY : status;
    if (have == 0 || text->length != (size_t)have)
        return dram_sweep_fail(&at, NULL, "%s", have ? "a zero byte is not allowed" : "an empty file");
    return DRAM_OK;
}
