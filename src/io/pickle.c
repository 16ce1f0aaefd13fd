#include "io/pickle.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

/* What the machine may hold: beyond any file of weights, and little enough for any computer. */
enum { MOST = 1 << 20, MOST_ITEMS = 1 << 22, MAX_TEXT = 1 << 16, MAX_KEY = 19 };

static const char *const storage_types[] = {
#define X(NAME, DTYPE, TEXT, BYTES) NAME,
    DRAM_PICKLE_STORAGES(X)
#undef X
};
enum { STORAGE_TYPES = sizeof storage_types / sizeof storage_types[0] };

/* ---- values ---- */

static dram_status malformed(const dram_pickle *m, const char *what)
{
    dram_fail(DRAM_ERR_FORMAT, "%s: its data.pkl is malformed at byte %" PRId64 ": %s", m->path, m->at, what);
    return DRAM_ERR_FORMAT; /* a constant, from which the compiler sees that what follows a success has its values */
}

/* Adds `count` elements to a pool; *added is where they are to be written. */
static dram_status grow(const dram_pickle *m, dram_pickle_pool *p, int count, int most, size_t bytes, void **added)
{
    if (count > most - p->n) return malformed(m, "more values than any file of weights has");
    if (!dram_grow(&p->at, &p->room, p->n + count, bytes)) {
        dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its data.pkl", m->path);
        return DRAM_ERR_MEMORY;
    }
    *added = (char *)p->at + (size_t)p->n * bytes;
    p->n += count;
    return DRAM_OK;
}

static dram_status push(dram_pickle *m, dram_pickle_value v)
{
    void *to;
    TRY(grow(m, &m->stack, 1, MOST, sizeof v, &to));
    memcpy(to, &v, sizeof v);
    return DRAM_OK;
}

static int floor_of(const dram_pickle *m)
{
    return m->n_marks ? m->marks[m->n_marks - 1] : 0;
}

/* Takes the topmost value, which must lie above the last mark. */
static dram_status pop(dram_pickle *m, dram_pickle_value *v)
{
    if (m->stack.n <= floor_of(m)) return malformed(m, "it takes a value from an empty stack");
    *v = ((dram_pickle_value *)m->stack.at)[--m->stack.n];
    return DRAM_OK;
}

/* Takes the values above the last mark: they stay where they are until the next push. */
static dram_status pop_mark(dram_pickle *m, const dram_pickle_value **first, int *n)
{
    if (!m->n_marks) return malformed(m, "it goes back to a mark that it did not set");
    int floor = m->marks[--m->n_marks];
    *first = m->stack.at ? (dram_pickle_value *)m->stack.at + floor : NULL;
    *n = m->stack.n - floor;
    m->stack.n = floor;
    return DRAM_OK;
}

const dram_pickle_value *dram_pickle_item(const dram_pickle *m, dram_pickle_value tuple, int i)
{
    return (const dram_pickle_value *)m->items.at + tuple.at + i;
}

bool dram_pickle_is(const dram_pickle *m, dram_pickle_value v, const char *text)
{
    return v.length == (int)strlen(text) && memcmp(m->bytes + v.at, text, (size_t)v.length) == 0;
}

static bool is_global(const dram_pickle *m, dram_pickle_value v, const char *text)
{
    return v.kind == DRAM_PICKLE_GLOBAL && dram_pickle_is(m, v, text);
}

const char *dram_pickle_show(const dram_pickle *m, dram_pickle_value v, char out[DRAM_PICKLE_SHOWN])
{
    int n = 0;
    for (; n < v.length && n < DRAM_PICKLE_SHOWN - 1; n++) {
        unsigned char c = m->bytes[v.at + n];
        out[n] = c == '\n' ? '.' : c < 0x20 || c > 0x7e ? '?' : (char)c;
    }
    out[n] = '\0';
    return out;
}

/* ---- bytes ---- */

/* The next n bytes begin at *from. */
static dram_status take(dram_pickle *m, uint64_t n, int64_t *from)
{
    if (n > (uint64_t)(m->size - m->at)) return malformed(m, "it ends in the middle of an opcode");
    *from = m->at;
    m->at += (int64_t)n;
    return DRAM_OK;
}

/* A little-endian number of `bytes` bytes, 8 at most. */
static dram_status take_number(dram_pickle *m, int bytes, uint64_t *number)
{
    int64_t from;
    TRY(take(m, (uint64_t)bytes, &from));
    *number = 0;
    for (int i = 0; i < bytes; i++) *number |= (uint64_t)m->bytes[from + i] << (8 * i);
    return DRAM_OK;
}

static dram_status push_integer(dram_pickle *m, int bytes)
{
    uint64_t number;
    TRY(take_number(m, bytes, &number));
    int64_t n = bytes == 4 ? (int32_t)(uint32_t)number : (int64_t)number; /* that of 4 bytes alone has a sign */
    return push(m, (dram_pickle_value){.kind = DRAM_PICKLE_INTEGER, .at = n});
}

/* A number of any length, in two's complement. */
static dram_status push_long(dram_pickle *m, int bytes_of_length)
{
    uint64_t length, low = 0;
    int64_t from;
    TRY(take_number(m, bytes_of_length, &length));
    TRY(take(m, length, &from));
    if (length > 8) return push(m, (dram_pickle_value){.kind = DRAM_PICKLE_OTHER});
    for (uint64_t i = 0; i < length; i++) low |= (uint64_t)m->bytes[from + (int64_t)i] << (8 * i);
    bool negative = length > 0 && m->bytes[from + (int64_t)length - 1] >= 0x80;
    if (negative && length < 8) low |= ~UINT64_C(0) << (8 * length);
    return push(m, (dram_pickle_value){.kind = DRAM_PICKLE_INTEGER, .at = (int64_t)low});
}

/* What a length comes before. */
static dram_status push_bytes(dram_pickle *m, int bytes_of_length)
{
    uint64_t length;
    int64_t from;
    TRY(take_number(m, bytes_of_length, &length));
    TRY(take(m, length, &from));
    return push(m, (dram_pickle_value){.kind = DRAM_PICKLE_OTHER,
                                       .length = length > MAX_TEXT ? MAX_TEXT + 1 : (int)length,
                                       .at = from});
}

/* A text that is too long to be a name is no name. */
static dram_status push_text(dram_pickle *m, int bytes_of_length)
{
    TRY(push_bytes(m, bytes_of_length));
    dram_pickle_value *v = (dram_pickle_value *)m->stack.at + m->stack.n - 1;
    if (v->length <= MAX_TEXT) v->kind = DRAM_PICKLE_TEXT;
    return DRAM_OK;
}

static dram_status push_skipped(dram_pickle *m, int bytes)
{
    int64_t from;
    TRY(take(m, (uint64_t)bytes, &from));
    return push(m, (dram_pickle_value){.kind = DRAM_PICKLE_OTHER});
}

/* "module\nname\n" */
static dram_status push_global(dram_pickle *m, int unused)
{
    (void)unused;
    int64_t from = m->at;
    for (int lines = 0; lines < 2; lines++) {
        const unsigned char *end = memchr(m->bytes + m->at, '\n', (size_t)(m->size - m->at));
        if (!end) return malformed(m, "the name of a class has no end");
        m->at = end + 1 - m->bytes;
    }
    if (m->at - from > MAX_TEXT) return malformed(m, "the name of a class is too long");
    return push(m, (dram_pickle_value){.kind = DRAM_PICKLE_GLOBAL, .length = (int)(m->at - 1 - from), .at = from});
}

/* ---- containers ---- */

static dram_status make_tuple(dram_pickle *m, const dram_pickle_value *from, int n)
{
    void *to;
    if (n == 0) return push(m, (dram_pickle_value){.kind = DRAM_PICKLE_TUPLE});
    TRY(grow(m, &m->items, n, MOST_ITEMS, sizeof *from, &to));
    memcpy(to, from, (size_t)n * sizeof *from);
    return push(m, (dram_pickle_value){.kind = DRAM_PICKLE_TUPLE, .length = n, .at = m->items.n - n});
}

static dram_status push_tuple(dram_pickle *m, int n)
{
    if (m->stack.n - floor_of(m) < n) return malformed(m, "it takes a value from an empty stack");
    m->stack.n -= n;
    return make_tuple(m, n ? (dram_pickle_value *)m->stack.at + m->stack.n : NULL, n);
}

static dram_status push_marked_tuple(dram_pickle *m, int unused)
{
    const dram_pickle_value *first;
    int n;
    (void)unused;
    TRY(pop_mark(m, &first, &n));
    return make_tuple(m, first, n);
}

static dram_status set_mark(dram_pickle *m, int unused)
{
    (void)unused;
    if (m->n_marks == DRAM_PICKLE_NESTING) return malformed(m, "its objects are nested too deeply");
    m->marks[m->n_marks++] = m->stack.n;
    return DRAM_OK;
}

static dram_status drop_marked(dram_pickle *m, int unused)
{
    (void)unused;
    const dram_pickle_value *first;
    int n;
    return pop_mark(m, &first, &n);
}

/* Adds pairs of key and value to the topmost value. What no text names cannot be a weight. */
static dram_status set_items(dram_pickle *m, const dram_pickle_value *pairs, int n)
{
    if (m->stack.n <= floor_of(m) || n % 2) return malformed(m, "a dict is filled that is not there");
    dram_pickle_value to = ((dram_pickle_value *)m->stack.at)[m->stack.n - 1];
    if (to.kind == DRAM_PICKLE_OBJECT) return DRAM_OK;
    if (to.kind != DRAM_PICKLE_DICT) return malformed(m, "what is filled is not a dict");
    for (int i = 0; i < n; i += 2) {
        void *added;
        if (pairs[i].kind != DRAM_PICKLE_TEXT) continue;
        TRY(grow(m, &m->entries, 1, MOST, sizeof(dram_pickle_entry), &added));
        memcpy(added, &(dram_pickle_entry){.dict = to.at, .key = pairs[i], .value = pairs[i + 1]},
               sizeof(dram_pickle_entry));
    }
    return DRAM_OK;
}

static dram_status set_item(dram_pickle *m, int unused)
{
    (void)unused;
    dram_pickle_value pair[2];
    TRY(pop(m, &pair[1]));
    TRY(pop(m, &pair[0]));
    return set_items(m, pair, 2);
}

static dram_status set_marked_items(dram_pickle *m, int unused)
{
    (void)unused;
    const dram_pickle_value *first;
    int n;
    TRY(pop_mark(m, &first, &n));
    return set_items(m, first, n);
}

static dram_status memo_put(dram_pickle *m, int bytes)
{
    uint64_t index;
    TRY(take_number(m, bytes, &index));
    if (m->stack.n <= floor_of(m)) return malformed(m, "it remembers a value that is not there");
    if (index >= MOST) return malformed(m, "it remembers more values than any file of weights has");
    if (index >= (uint64_t)m->memo.n) {
        void *added;
        int n = (int)index + 1 - m->memo.n;
        TRY(grow(m, &m->memo, n, MOST, sizeof(dram_pickle_value), &added));
        memset(added, 0, (size_t)n * sizeof(dram_pickle_value));
    }
    ((dram_pickle_value *)m->memo.at)[index] = ((dram_pickle_value *)m->stack.at)[m->stack.n - 1];
    return DRAM_OK;
}

static dram_status memo_get(dram_pickle *m, int bytes)
{
    uint64_t index;
    TRY(take_number(m, bytes, &index));
    if (index >= (uint64_t)m->memo.n) return malformed(m, "it recalls a value that it did not remember");
    return push(m, ((dram_pickle_value *)m->memo.at)[index]);
}

/* ---- what torch makes ---- */

static dram_status push_dict(dram_pickle *m, int unused)
{
    (void)unused;
    return push(m, (dram_pickle_value){.kind = DRAM_PICKLE_DICT, .at = m->dicts++});
}

/* "torch\nFloatStorage": the index of its type, or -1. */
static int storage_type(const dram_pickle *m, dram_pickle_value class)
{
    static const char module[] = "torch\n";
    char name[DRAM_PICKLE_SHOWN];
    if (class.kind != DRAM_PICKLE_GLOBAL || class.length >= DRAM_PICKLE_SHOWN) return -1;
    snprintf(name, sizeof name, "%.*s", class.length, (const char *)m->bytes + class.at);
    if (strncmp(name, module, sizeof module - 1) != 0) return -1;
    int k = 0;
    while (k < STORAGE_TYPES && strcmp(storage_types[k], name + sizeof module - 1) != 0) k++;
    return k < STORAGE_TYPES ? k : -1;
}

/* ("storage", class, key, device, items) */
static dram_status push_storage(dram_pickle *m, int unused)
{
    (void)unused;
    dram_pickle_value id;
    void *added;
    TRY(pop(m, &id));
    if (id.kind != DRAM_PICKLE_TUPLE || id.length != 5 || dram_pickle_item(m, id, 0)->kind != DRAM_PICKLE_TEXT ||
        !dram_pickle_is(m, *dram_pickle_item(m, id, 0), "storage"))
        return malformed(m, "it refers to something outside that is no storage of torch");
    dram_pickle_value key = *dram_pickle_item(m, id, 2), items = *dram_pickle_item(m, id, 4);
    bool good = key.kind == DRAM_PICKLE_TEXT && key.length > 0 && key.length <= MAX_KEY &&
                items.kind == DRAM_PICKLE_INTEGER && items.at >= 0;
    for (int i = 0; good && i < key.length; i++) good = m->bytes[key.at + i] >= '0' && m->bytes[key.at + i] <= '9';
    if (!good) return malformed(m, "a storage's key is not a number, or its size is none");
    TRY(grow(m, &m->storages, 1, MOST, sizeof(dram_pickle_storage), &added));
    memcpy(added,
           &(dram_pickle_storage){.type = storage_type(m, *dram_pickle_item(m, id, 1)), .key = key, .items = items.at},
           sizeof(dram_pickle_storage));
    return push(m, (dram_pickle_value){.kind = DRAM_PICKLE_STORAGE, .at = m->storages.n - 1});
}

static bool are_counts(const dram_pickle *m, dram_pickle_value tuple)
{
    if (tuple.kind != DRAM_PICKLE_TUPLE) return false;
    for (int i = 0; i < tuple.length; i++)
        if (dram_pickle_item(m, tuple, i)->kind != DRAM_PICKLE_INTEGER || dram_pickle_item(m, tuple, i)->at < 0)
            return false;
    return true;
}

/* (storage, offset, shape, strides, ...) */
static dram_status push_tensor(dram_pickle *m, dram_pickle_value args)
{
    void *added;
    if (args.length < 4) return malformed(m, "a tensor is not told as storage, offset, shape and strides");
    dram_pickle_value from = *dram_pickle_item(m, args, 0), offset = *dram_pickle_item(m, args, 1),
                      dim = *dram_pickle_item(m, args, 2), stride = *dram_pickle_item(m, args, 3);
    if (from.kind != DRAM_PICKLE_STORAGE || offset.kind != DRAM_PICKLE_INTEGER || offset.at < 0 ||
        !are_counts(m, dim) || !are_counts(m, stride) || dim.length != stride.length)
        return malformed(m, "a tensor is not told as storage, offset, shape and strides");
    TRY(grow(m, &m->tensors, 1, MOST, sizeof(dram_pickle_tensor), &added));
    memcpy(added, &(dram_pickle_tensor){.storage = from.at, .offset = offset.at, .dim = dim, .stride = stride},
           sizeof(dram_pickle_tensor));
    return push(m, (dram_pickle_value){.kind = DRAM_PICKLE_TENSOR, .at = m->tensors.n - 1});
}

/* The value that a call would give, or an instance of a class: nothing is called. */
static dram_status make(dram_pickle *m, int unused)
{
    (void)unused;
    dram_pickle_value function, args;
    TRY(pop(m, &args));
    TRY(pop(m, &function));
    if (args.kind != DRAM_PICKLE_TUPLE) return malformed(m, "a call without its arguments");
    if (is_global(m, function, "torch._utils\n_rebuild_tensor_v2")) return push_tensor(m, args);
    bool is_parameter = is_global(m, function, "torch._utils\n_rebuild_parameter") ||
                        is_global(m, function, "torch._utils\n_rebuild_parameter_with_state");
    if (is_parameter && args.length > 0 && dram_pickle_item(m, args, 0)->kind == DRAM_PICKLE_TENSOR)
        return push(m, *dram_pickle_item(m, args, 0));
    if (is_global(m, function, "collections\nOrderedDict") && args.length == 0) return push_dict(m, 0);
    if (function.kind != DRAM_PICKLE_GLOBAL && function.kind != DRAM_PICKLE_OBJECT)
        return malformed(m, "it calls what is no function");
    function.kind = DRAM_PICKLE_OBJECT;
    return push(m, function);
}

static dram_status drop(dram_pickle *m, int unused)
{
    (void)unused;
    dram_pickle_value v;
    return pop(m, &v);
}

/* ---- the machine ---- */

/* What an opcode does, with a number that it is told: bytes to read, values to take. */
static const struct {
    dram_status (*act)(dram_pickle *m, int number);
    int number;
} opcodes[256] = {
    ['('] = {set_mark, 0},
    ['0'] = {drop, 0},
    ['1'] = {drop_marked, 0},
    ['N'] = {push_skipped, 0},  /* None */
    [0x88] = {push_skipped, 0}, /* True */
    [0x89] = {push_skipped, 0}, /* False */
    ['G'] = {push_skipped, 8},  /* a double */
    ['K'] = {push_integer, 1},
    ['M'] = {push_integer, 2},
    ['J'] = {push_integer, 4},
    [0x8a] = {push_long, 1},
    [0x8b] = {push_long, 4},
    ['X'] = {push_text, 4},
    ['U'] = {push_text, 1}, /* this and the next are Python 2's */
    ['T'] = {push_text, 4},
    ['C'] = {push_bytes, 1},
    ['B'] = {push_bytes, 4},
    [')'] = {push_tuple, 0},
    [0x85] = {push_tuple, 1},
    [0x86] = {push_tuple, 2},
    [0x87] = {push_tuple, 3},
    ['t'] = {push_marked_tuple, 0},
    [']'] = {push_skipped, 0}, /* an empty list; what is appended to it is dropped */
    ['a'] = {drop, 0},
    ['e'] = {drop_marked, 0},
    ['}'] = {push_dict, 0},
    ['s'] = {set_item, 0},
    ['u'] = {set_marked_items, 0},
    ['c'] = {push_global, 0},
    ['Q'] = {push_storage, 0},
    ['R'] = {make, 0},
    [0x81] = {make, 0}, /* an instance, by its class and arguments */
    ['b'] = {drop, 0},  /* the state of the value below */
    ['q'] = {memo_put, 1},
    ['r'] = {memo_put, 4},
    ['h'] = {memo_get, 1},
    ['j'] = {memo_get, 4},
};

static dram_status unknown(const dram_pickle *m, unsigned op)
{
    return dram_fail(DRAM_ERR_FORMAT,
                     "%s: its data.pkl has the opcode 0x%02x at byte %" PRId64
                     ", which torch.save does not write: save it again with torch.save and its default protocol",
                     m->path, op, m->at - 1);
}

dram_status dram_pickle_run(dram_pickle *m)
{
    uint64_t op, protocol;
    if (m->size < 2 || m->bytes[0] != 0x80) return malformed(m, "it does not begin with a protocol");
    m->at = 1;
    TRY(take_number(m, 1, &protocol));
    if (protocol != 2 && protocol != 3)
        return dram_fail(
            DRAM_ERR_FORMAT,
            "%s: its data.pkl has pickle protocol %d, dram reads 2 and 3: save it again with torch.save and "
            "its default protocol",
            m->path, (int)protocol);
    for (;;) {
        TRY(take_number(m, 1, &op));
        if (op == '.') break;
        if (!opcodes[op].act) return unknown(m, (unsigned)op);
        TRY(opcodes[op].act(m, opcodes[op].number));
    }
    if (m->n_marks || m->stack.n != 1) return malformed(m, "it ends with more or less than one value");
    return pop(m, &m->root);
}

void dram_pickle_free(dram_pickle *m)
{
    dram_pickle_pool *pools[] = {&m->stack, &m->memo, &m->items, &m->entries, &m->storages, &m->tensors};
    for (size_t i = 0; i < sizeof pools / sizeof pools[0]; i++) {
        dram_free(pools[i]->at);
        *pools[i] = (dram_pickle_pool){0};
    }
}
