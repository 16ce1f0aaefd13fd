/* YAML files and overrides, event by event: no document is ever built, so nothing can grow out of a small file. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "base/alloc.h"
#include "base/file.h"
#include "config/keys.h"

enum {
    USUAL_BYTES = 1 << 14,
    MAX_FILE_BYTES = 1 << 20,
    MAX_BASES = 32,
    PATH_ROOM = 128,
    MAX_SHOWN = 40,
    COMMAND_LINE_RANK = 1
};

typedef struct {
    yaml_parser_t parser;
    dram_config *cfg;
    dram_key_place place; /* of the event last looked at */
    const char *override; /* path of the key, on the command line */
    int rank;             /* 0 for the file itself, -1 for its base, ... */
    bool fixed;           /* it was written in a file, at `place` */
    bool *seen;           /* for each key: it is in this file already */
    char *base;           /* as written; owned */
    dram_key_place base_place;
} reader;

static void look_at(reader *r, const yaml_mark_t *mark)
{
    if (r->fixed) return;
    r->place.line = (int)mark->line + 1;
    r->place.column = (int)mark->column + 1;
}

/* What is written wrongly where a class map is, is mostly a colour; else in a file it may be a tab. */
static const char *advise(const char *path, const char *problem)
{
    int index = path ? dram_key_find(path) : -1;
    if (index >= 0 && dram_keys[index].kind == DRAM_KEY_MAP) return " (put a colour in quotes: # begins a comment)";
    if (!strstr(problem, "cannot start any token")) return "";
    return " (indent with spaces, not tabs; quote a word that begins with @, ` or %)";
}

/* path: of the key that is read, or NULL. */
static dram_status syntax_error(reader *r, const char *path)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "it cannot be read";
    if (p->error == YAML_MEMORY_ERROR) return dram_config_no_memory();
    if (!r->fixed) r->place.line = 0;
    if (p->error == YAML_READER_ERROR)
        return dram_key_fail(&r->place, r->override, "not valid YAML: %s at byte %zu", problem, p->problem_offset);
    look_at(r, &p->problem_mark);
    const char *advice = advise(path, problem);
    if (!p->context) return dram_key_fail(&r->place, r->override, "not valid YAML: %s%s", problem, advice);
    return dram_key_fail(&r->place, r->override, "not valid YAML: %s, %s%s", problem, p->context, advice);
}

/* The next event, checked for what a config has no use of. yaml_event_delete it, whatever is returned. */
static dram_status next_event(reader *r, const char *path, yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (!yaml_parser_parse(&r->parser, event)) {
        memset(event, 0, sizeof *event);
        return syntax_error(r, path);
    }
    look_at(r, &event->start_mark);
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    case YAML_ALIAS_EVENT:
        anchor = event->data.alias.anchor;
        break;
    default:
        break;
    }
    if (anchor)
        return dram_key_fail(&r->place, path, "anchors and aliases (& and *) are not supported; use base: to share");
    if (tag) return dram_key_fail(&r->place, path, "tags (!) are not supported");
    return DRAM_OK;
}

static dram_scalar scalar_of(const yaml_event_t *event)
{
    return (dram_scalar){.text = (const char *)event->data.scalar.value,
                         .length = event->data.scalar.length,
                         .plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE};
}

/* What it has read of a list belongs to the caller, also where it fails. */
static dram_status read_list(reader *r, const dram_key *key, dram_key_value *value)
{
    *value = (dram_key_value){0};
    for (;;) {
        yaml_event_t event;
        dram_key_value one = {0};
        dram_status status = next_event(r, key->path, &event);
        bool end = status == DRAM_OK && event.type == YAML_SEQUENCE_END_EVENT;
        if (status == DRAM_OK && !end) {
            dram_scalar word = scalar_of(&event);
            if (event.type == YAML_SCALAR_EVENT)
                status = dram_key_read(key, &word, &r->place, &one);
            else
                status = dram_key_unexpected(key, &r->place, "a list or a mapping inside the list");
        }
        yaml_event_delete(&event);
        if (status != DRAM_OK || end) return status;
        value->integer |= one.integer;
        if (one.text) TRY(dram_key_add_text(key, one.text, &r->place, &value->texts));
    }
}

static dram_status read_scalar(reader *r, int index, const dram_scalar *s)
{
    const dram_key *key = &dram_keys[index];
    dram_key_place place = r->place;
    dram_key_value value;
    bool nothing = dram_scalar_classify(s) == DRAM_SCALAR_NULL;
    if (key->kind == DRAM_KEY_SECTION && nothing) return DRAM_OK;
    if (!nothing && (key->kind == DRAM_KEY_CHOICES || key->kind == DRAM_KEY_TEXTS))
        return dram_key_unexpected(key, &place, "a single value (write it in [ ])");
    if (!nothing && key->kind == DRAM_KEY_MAP)
        return dram_key_unexpected(key, &place, "a single value (write it in { })");
    TRY(dram_key_read(key, s, &place, &value));
    if (key->kind != DRAM_KEY_BASE) return dram_config_put(r->cfg, index, &value, &place, r->rank);
    r->base = value.text;
    r->base_place = place;
    return DRAM_OK;
}

static dram_status read_mapping(reader *r, const char *section);

/* One word of a mapping of numbers; *end: the mapping is over. */
static dram_status next_word(reader *r, const dram_key *key, yaml_event_t *event, bool *end)
{
    TRY(next_event(r, key->path, event));
    *end = event->type == YAML_MAPPING_END_EVENT;
    if (*end || event->type == YAML_SCALAR_EVENT) return DRAM_OK;
    return dram_key_unexpected(key, &r->place, "a list or a mapping inside the mapping");
}

/* One "from: number" of a mapping. */
static dram_status read_pair(reader *r, const dram_key *key, dram_key_value *value, bool *end)
{
    yaml_event_t from = {0}, number = {0};
    dram_key_value one = {0};
    bool steps = key->kind == DRAM_KEY_STEPS;
    dram_status status = next_word(r, key, &from, end);
    dram_key_place place = r->place;
    if (status == DRAM_OK && !*end) {
        status = next_word(r, key, &number, end);
        dram_scalar left = scalar_of(&from), right = scalar_of(&number);
        if (status == DRAM_OK && left.plain && strchr(left.text, ':'))
            status = dram_key_fail(&place, key->path, "write a space after each colon: %s",
                                   steps ? "{0: 1, 1000: 4}" : "{255: 1}");
        if (status == DRAM_OK) status = dram_key_read(key, &right, &r->place, &one);
        if (status == DRAM_OK)
            status = steps ? dram_key_add_step(key, &left, one.integer, &place, &value->steps)
                           : dram_key_add_pair(key, &left, one.integer, &place, &value->map);
    }
    yaml_event_delete(&from);
    yaml_event_delete(&number);
    return status;
}

/* {from: number, ...}: steps, or a class map, which may be empty. What it has read belongs to the caller, also where it
 * fails. */
static dram_status read_numbers(reader *r, const dram_key *key, dram_key_value *value)
{
    bool end = false;
    *value = (dram_key_value){0};
    while (!end) TRY(read_pair(r, key, value, &end));
    if (key->kind == DRAM_KEY_STEPS && value->steps.n == 0)
        return dram_key_unexpected(key, &r->place, "an empty mapping");
    return DRAM_OK;
}

static dram_status read_value(reader *r, int index, const yaml_event_t *event)
{
    const dram_key *key = &dram_keys[index];
    dram_key_place place = r->place;
    dram_key_value value;
    dram_status status;
    if (event->type == YAML_SCALAR_EVENT) {
        dram_scalar s = scalar_of(event);
        return read_scalar(r, index, &s);
    }
    if (event->type == YAML_MAPPING_START_EVENT) {
        if (key->kind == DRAM_KEY_SECTION) return read_mapping(r, key->path);
        if (key->kind != DRAM_KEY_STEPS && key->kind != DRAM_KEY_MAP)
            return dram_key_unexpected(key, &place, "a mapping");
        status = read_numbers(r, key, &value);
    } else {
        if (key->kind != DRAM_KEY_CHOICES && key->kind != DRAM_KEY_TEXTS)
            return dram_key_unexpected(key, &place, "a list");
        status = read_list(r, key, &value);
    }
    if (status == DRAM_OK) return dram_config_put(r->cfg, index, &value, &place, r->rank);
    dram_key_value_free(&value);
    return status;
}

/* What a message shows of a key in a file that is `from` bytes into the path: its beginning as far as it is a word. The
 * file may be no config at all, and what YAML takes for its key a whole line, as in a list of passwords. Returns whether that is all of it. */
static bool show_key(const char *path, size_t from, char shown[PATH_ROOM])
{
    size_t n = from;
    while (path[n] && n - from < MAX_SHOWN && (isalnum((unsigned char)path[n]) || strchr("_-.", path[n]))) n++;
    snprintf(shown, PATH_ROOM, "%.*s%s", (int)n, path, path[n] ? "..." : "");
    return !path[n];
}

/* The key that a key event names inside `section`. */
static dram_status find_key(reader *r, const char *section, const yaml_event_t *event, int *index)
{
    char path[PATH_ROOM], shown[PATH_ROOM];
    const char *section_name = *section ? section : NULL;
    if (event->type != YAML_SCALAR_EVENT) return dram_key_fail(&r->place, section_name, "a key must be one word");
    dram_scalar s = scalar_of(event);
    snprintf(path, sizeof path, "%s%s%.64s", section, *section ? "." : "", s.text);
    bool word = show_key(path, strlen(section) + (*section ? 1 : 0), shown);
    if (strlen(s.text) != s.length) return dram_key_fail(&r->place, shown, "a zero byte is not allowed");
    if (word && strchr(s.text, '.'))
        return dram_key_fail(&r->place, shown,
                             "a name with dots is for the command line; in a file write one key inside the other");
    *index = dram_key_find(path);
    if (*index < 0) return dram_key_unknown(path, shown, &r->place);
    if (r->seen[*index]) return dram_key_fail(&r->place, path, "this key is given twice");
    r->seen[*index] = true;
    return DRAM_OK;
}

static dram_status read_mapping(reader *r, const char *section)
{
    for (;;) {
        yaml_event_t key, value;
        int index = -1;
        dram_status status = next_event(r, *section ? section : NULL, &key);
        bool end = status == DRAM_OK && key.type == YAML_MAPPING_END_EVENT;
        if (status == DRAM_OK && !end) status = find_key(r, section, &key, &index);
        yaml_event_delete(&key);
        if (status != DRAM_OK || end) return status;
        status = next_event(r, dram_keys[index].path, &value);
        if (status == DRAM_OK) status = read_value(r, index, &value);
        yaml_event_delete(&value);
        TRY(status);
    }
}

/* The root of a document: the mapping of a file (index -1), or the value of one key. */
static dram_status read_root(reader *r, int index, const yaml_event_t *event)
{
    if (index >= 0) return read_value(r, index, event);
    if (event->type == YAML_MAPPING_START_EVENT) return read_mapping(r, "");
    dram_scalar s = scalar_of(event);
    if (event->type == YAML_SCALAR_EVENT && dram_scalar_classify(&s) == DRAM_SCALAR_NULL) return DRAM_OK;
    return dram_key_fail(&r->place, NULL, "expected keys and values at the top, found %s",
                         event->type == YAML_SCALAR_EVENT ? "a single value" : "a list");
}

/* One document at most; none is an empty file, or a missing value. */
static dram_status read_stream(reader *r, int index)
{
    bool any = false;
    for (;;) {
        yaml_event_t event;
        dram_status status = next_event(r, r->override, &event);
        yaml_event_type_t type = event.type;
        if (status == DRAM_OK && type == YAML_DOCUMENT_START_EVENT) {
            if (any) status = dram_key_fail(&r->place, r->override, "there must be one document only");
            any = true;
        } else if (status == DRAM_OK && type != YAML_STREAM_START_EVENT && type != YAML_STREAM_END_EVENT &&
                   type != YAML_DOCUMENT_END_EVENT) {
            status = read_root(r, index, &event);
        }
        yaml_event_delete(&event);
        TRY(status);
        if (type == YAML_STREAM_END_EVENT) break;
    }
    return !any && index >= 0 ? read_scalar(r, index, &(dram_scalar){.text = "", .plain = true}) : DRAM_OK;
}

static dram_status read_text(reader *r, const char *text, size_t length, int index)
{
    dram_status status;
    r->seen = dram_calloc((size_t)dram_n_keys, sizeof *r->seen);
    if (!r->seen) return dram_config_no_memory();
    if (!yaml_parser_initialize(&r->parser)) {
        status = dram_config_no_memory();
        goto free_seen;
    }
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, length);
    status = read_stream(r, index);
    yaml_parser_delete(&r->parser);
free_seen:
    dram_free(r->seen);
    r->seen = NULL;
    return status;
}

/* A file on the way from the first one to its last base. */
typedef struct open_file {
    const char *name;
    const struct open_file *user; /* the file that names this one as its base */
    dram_key_place named_at;      /* where; file NULL for the first */
    int depth;
    dev_t device;
    ino_t inode;
} open_file;

static dram_status cannot_use(const open_file *f, const char *why)
{
    dram_key_place whole_file = {.file = f->name};
    if (!f->user) return dram_key_fail(&whole_file, NULL, "%s", why);
    return dram_key_fail(&f->named_at, "base", "%s: %s", f->name, why);
}

/* Few configs are longer than USUAL_BYTES. */
static dram_status read_whole(const open_file *f, int fd, char **text, size_t *length)
{
    for (size_t room = USUAL_BYTES;; room = MAX_FILE_BYTES) {
        char *larger = dram_realloc(*text, room + 1);
        if (!larger) return dram_config_no_memory();
        *text = larger;
        ssize_t got = dram_file_read(fd, *text + *length, room + 1 - *length);
        if (got < 0) return cannot_use(f, strerror(errno));
        *length += (size_t)got;
        if (*length <= room) return DRAM_OK;
        if (room == MAX_FILE_BYTES) return cannot_use(f, "larger than 1 MiB: this is no config");
    }
}

/* Reads the whole file, at most MAX_FILE_BYTES; *text is dram_free'd by the caller. */
static dram_status load_text(open_file *f, char **text, size_t *length)
{
    dram_status status = DRAM_OK;
    struct stat info;
    *text = NULL;
    *length = 0;
    const char *why;
    int fd = dram_file_open(f->name, &info, &why);
    if (fd < 0) return cannot_use(f, why);
    f->device = info.st_dev;
    f->inode = info.st_ino;
    for (const open_file *up = f->user; up; up = up->user) {
        if (up->device != f->device || up->inode != f->inode) continue;
        status = cannot_use(f, "this file is already among those that lead here: base goes round in a circle");
        goto close_file;
    }
    status = read_whole(f, fd, text, length);
close_file:
    close(fd);
    if (status != DRAM_OK) {
        dram_free(*text);
        *text = NULL;
    }
    return status;
}

/* Length of the folder part of a file name, its last slash left out; 0 for none, 1 for the root. */
static int folder_length(const char *file)
{
    const char *slash = strrchr(file, '/');
    if (!slash) return 0;
    return slash == file ? 1 : (int)(slash - file);
}

/* The folder of a file (NULL: the working directory), absolute, into out[PATH_MAX]; false with errno. */
static bool real_folder(const char *file, char *out)
{
    char folder[PATH_MAX];
    int n = file ? folder_length(file) : 0;
    if (snprintf(folder, sizeof folder, "%.*s", n ? n : 1, n ? file : ".") < PATH_MAX) return realpath(folder, out);
    errno = ENAMETOOLONG;
    return false;
}

static dram_status read_file(dram_config *cfg, open_file *f);

static dram_status read_base(dram_config *cfg, const open_file *user, const reader *r)
{
    dram_str name = {0};
    int n = r->base[0] == '/' ? 0 : folder_length(user->name);
    dram_str_add(&name, "%.*s%s%s", n, user->name, n > 1 ? "/" : "", r->base);
    dram_status status = DRAM_OK;
    open_file base = {.name = name.text, .user = user, .named_at = r->base_place, .depth = user->depth + 1};
    if (name.failed)
        status = dram_config_no_memory();
    else if (base.depth > MAX_BASES)
        status = cannot_use(&base, "too many files in a row that name a base");
    else if (user->depth == 0)
        status = dram_config_name_base(cfg, name.text);
    if (status == DRAM_OK) status = read_file(cfg, &base);
    dram_str_free(&name);
    return status;
}

static dram_status read_file(dram_config *cfg, open_file *f)
{
    char folder[PATH_MAX];
    char *text;
    size_t length;
    reader r = {.cfg = cfg, .place = {.file = f->name, .folder = folder}, .rank = -f->depth};
    TRY(load_text(f, &text, &length));
    dram_status status =
        real_folder(f->name, folder) ? read_text(&r, text, length, -1) : cannot_use(f, strerror(errno));
    dram_free(text);
    if (status == DRAM_OK && r.base) status = read_base(cfg, f, &r);
    dram_free(r.base);
    return status;
}

dram_status dram_config_read_file(dram_config *cfg, const char *file)
{
    return read_file(cfg, &(open_file){.name = file});
}

dram_status dram_config_read_override(dram_config *cfg, const dram_config_override *override)
{
    char folder[PATH_MAX], path[PATH_ROOM];
    reader r = {.cfg = cfg,
                .place = {.file = override->file, .folder = folder, .line = override->line, .column = override->column},
                .override = path,
                .fixed = override->file != NULL,
                .rank = COMMAND_LINE_RANK};
    const char *equals = strchr(override->text, '=');
    if (!equals || equals == override->text)
        return dram_key_fail(&r.place, NULL, "\"%.60s\" is not of the form key=value", override->text);
    int length = (int)(equals - override->text < PATH_ROOM ? equals - override->text : PATH_ROOM);
    snprintf(path, sizeof path, "%.*s", length, override->text);
    int index = dram_key_find(path);
    if (index < 0) return dram_key_unknown(path, path, &r.place);
    if (dram_keys[index].kind == DRAM_KEY_BASE) return dram_key_fail(&r.place, path, "works in a file only");
    if (!real_folder(override->file, folder))
        return dram_fail(DRAM_ERR_IO, "cannot find the %s: %s",
                         override->file ? "folder of the file" : "working directory", strerror(errno));
    return read_text(&r, equals + 1, strlen(equals + 1), index);
}
