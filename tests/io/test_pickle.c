/* The machine that runs pickles: what it refuses, opcode by opcode, and that it stays small. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "io/helpers.h"
#include "io/pickle.h"
#include "io/pth.h"
#include "io/state_dict.h"

/* Runs b, which is freed, and fails with this text behind the place. */
static void refuses(byte_buffer b, const char *text)
{
    dram_state_dict dict;
    int64_t held = dram_alloc_bytes();
    dram_status status = dram_state_dict_read("f", b.at, (int64_t)b.n, &dict);
    if (status != DRAM_ERR_FORMAT || !strstr(dram_error_text(), text))
        fail_msg("status %d: \"%s\" instead of \"%s\"", (int)status, dram_error_text(), text);
    assert_null(dict.tensors);
    assert_int_equal(dict.count, 0);
    assert_int_equal(dram_alloc_bytes(), held);
    dram_error_clear();
    free(b.at);
}

static byte_buffer of(const char *text, size_t n)
{
    byte_buffer b = {0};
    add(&b, text, n);
    return b;
}

#define PICKLE(TEXT) of(TEXT, sizeof TEXT - 1)

static void malformed_pickles(void **state)
{
    static const char empty[] = "it takes a value from an empty stack";
    static const char cut[] = "it ends in the middle of an opcode";
    static const char filled[] = "a dict is filled that is not there";
    static const char tensor[] = "a tensor is not told as storage, offset, shape and strides";
    static const char outside[] = "it refers to something outside that is no storage of torch";
    (void)state;
    refuses(PICKLE(""), "it does not begin with a protocol");
    refuses(PICKLE("\x80"), "it does not begin with a protocol");
    refuses(PICKLE("(dp0\n."), "it does not begin with a protocol"); /* protocol 0 */
    refuses(PICKLE("\x80\1}."), "has pickle protocol 1, dram reads 2 and 3");
    refuses(PICKLE("\x80\5\x95\0\0\0\0\0\0\0\0}."), "has pickle protocol 5, dram reads 2 and 3");
    refuses(PICKLE("\x80\2"), cut);
    refuses(PICKLE("\x80\2}"), cut);
    refuses(PICKLE("\x80\2."), "it ends with more or less than one value");
    refuses(PICKLE("\x80\2}}."), "it ends with more or less than one value");
    refuses(PICKLE("\x80\2(}."), "it ends with more or less than one value");
    refuses(PICKLE("\x80\2J\0\0\0"), cut);
    refuses(PICKLE("\x80\2X\xff\xff\xff\xff"), cut);
    refuses(PICKLE("\x80\2\x8b\xff\xff\xff\xff"), cut);
    refuses(PICKLE("\x80\2X\3\0\0\0ab"), cut);
    refuses(PICKLE("\x80\2\x86"), empty);
    refuses(PICKLE("\x80\2}(\x85"), empty); /* must not reach below the mark */
    refuses(PICKLE("\x80\2}(0"), empty);
    refuses(PICKLE("\x80\2}(b"), empty);
    refuses(PICKLE("\x80\2t"), "it goes back to a mark that it did not set");
    refuses(PICKLE("\x80\2}u"), "it goes back to a mark that it did not set");
    refuses(PICKLE("\x80\2(u"), filled);
    refuses(PICKLE("\x80\2}(Nu"), filled); /* a key without a value */
    refuses(PICKLE("\x80\2NNNs"), "what is filled is not a dict");
    refuses(PICKLE("\x80\2)(NNu"), "what is filled is not a dict");
    refuses(PICKLE("\x80\2}(q\0"), "it remembers a value that is not there");
    refuses(PICKLE("\x80\2}r\xff\xff\xff\x7f"), "it remembers more values than any file of weights has");
    refuses(PICKLE("\x80\2h\0"), "it recalls a value that it did not remember");
    refuses(PICKLE("\x80\2}q\0j\1\0\0\0"), "it recalls a value that it did not remember");
    refuses(PICKLE("\x80\2cos\nsystem"), "the name of a class has no end");
    refuses(PICKLE("\x80\2K\1)R"), "it calls what is no function");
    refuses(PICKLE("\x80\2cos\nsystem\nNR"), "a call without its arguments");
    refuses(PICKLE("\x80\2NQ"), outside);
    refuses(PICKLE("\x80\2(X\7\0\0\0STORAGENNNNtQ"), outside);
    refuses(PICKLE("\x80\2(X\7\0\0\0storageNNNtQ"), outside);
    refuses(PICKLE("\x80\2(X\7\0\0\0storageNNNNtQ"), "a storage's key is not a number, or its size is none");
    refuses(PICKLE("\x80\2(X\7\0\0\0storageNX\1\0\0\0"
                   "0NJ\xff\xff\xff\xfftQ"),
            "a storage's key is not a number, or its size is none");
    refuses(PICKLE("\x80\2"
                   "ctorch._utils\n_rebuild_tensor_v2\n)R"),
            tensor);
    refuses(PICKLE("\x80\2"
                   "ctorch._utils\n_rebuild_tensor_v2\n(NNNNtR"),
            tensor);
}

/* A shape that is none: negative, of other things, or of another length than the strides. */
static void shapes_that_are_none(void **state)
{
    static const char *const tails[] = {"K\0J\xff\xff\xff\xff\x85K\1\x85", "K\0K\1K\1\x86K\1\x85", "K\0N\x85K\1\x85",
                                        "NK\1\x85K\1\x85", "K\0NK\1\x85"};
    static const size_t length[] = {11, 9, 7, 7, 6};
    (void)state;
    for (int i = 0; i < 5; i++) {
        byte_buffer b = {0};
        pickle(&b, "\x80\2%g((%t%g%t%tK\6tQ", "torch._utils _rebuild_tensor_v2", "storage", "torch FloatStorage", "0",
               "cpu");
        add(&b, tails[i], length[i]);
        pickle(&b, "tR.");
        refuses(b, "a tensor is not told as storage, offset, shape and strides");
    }
}

/* All opcodes that the machine does not know, named. Of 256, it knows those that torch.save writes. */
static void opcodes_it_does_not_know(void **state)
{
    static const unsigned char known[] = "(01NGKMJXUTCB)t]ae}sucQRbqrhj.\x88\x89\x8a\x8b\x85\x86\x87\x81";
    int unknown = 0;
    (void)state;
    for (int op = 0; op < 256; op++) {
        char text[96];
        byte_buffer b = PICKLE("\x80\2}");
        if (memchr(known, op, sizeof known - 1)) {
            free(b.at);
            continue;
        }
        add_number(&b, (uint64_t)op, 1);
        add(&b, "\0\0\0\0\0\0\0\0\0\0.", 11);
        snprintf(text, sizeof text, "f: its data.pkl has the opcode 0x%02x at byte 3, which torch.save does not", op);
        refuses(b, text);
        unknown++;
    }
    assert_int_equal(unknown, 256 - (int)(sizeof known - 1));
}

static void repeat(byte_buffer *b, const char *text, size_t n, int times)
{
    for (int i = 0; i < times; i++) add(b, text, n);
}

/* Little bytes that would make much: refused before it is much. */
static void bombs(void **state)
{
    (void)state;
    byte_buffer b = PICKLE("\x80\2");
    repeat(&b, "(", 1, 64);
    add_text(&b, "(");
    refuses(b, "its objects are nested too deeply");
    b = PICKLE("\x80\2");
    repeat(&b, "N", 1, (1 << 20) + 1);
    refuses(b, "more values than any file of weights has");
    b = PICKLE("\x80\2(");
    repeat(&b, "N", 1, 1000);
    add_text(&b, "tq0"); /* a tuple of them, again and again in larger ones: items are copied once a tuple */
    for (int i = 0; i < 10000; i++) {
        add_text(&b, "0(");
        repeat(&b, "h0", 2, 1000);
        add_text(&b, "t");
    }
    refuses(b, "more values than any file of weights has");
    b = PICKLE("\x80\2X\1\0\0\0aq00}");
    for (int i = 0; i < 1100; i++) {
        add_text(&b, "(");
        repeat(&b, "h0N", 3, 1000);
        add_text(&b, "u");
    }
    refuses(b, "more values than any file of weights has");
    b = PICKLE("\x80\2}(");
    for (int i = 0; i <= 1 << 16; i++) {
        pickle(&b, "%t", "a");
        if (i == 0) {
            pickle_tensor(&b, &(pth_tensor){.type = "FloatStorage", .key = "0", .items = 1, .rank = 0});
            pickle(&b, "q1");
        } else {
            pickle(&b, "h1");
        }
    }
    pickle(&b, "u.");
    refuses(b, "f: it holds 65537 tensors, 65536 are allowed");
}

/* Numbers of every length, and their signs. */
static void numbers(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        int64_t value;
    } cases[] = {{"K\xff", 2, 255},
                 {"M\xff\xff", 3, 65535},
                 {"J\xff\xff\xff\x7f", 5, INT32_MAX},
                 {"\x8a\0", 2, 0},
                 {"\x8a\1\x7f", 3, 127},
                 {"\x8a\2\xff\0", 4, 255},
                 {"\x8a\5\0\0\0\0\1", 7, INT64_C(1) << 32},
                 {"\x8b\1\0\0\0\5", 6, 5},
                 {"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", 10, INT64_MAX}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        byte_buffer b = {0};
        dram_state_dict dict;
        pickle(&b, "\x80\2}%t%g((%t%g%t%t", "w", "torch._utils _rebuild_tensor_v2", "storage", "torch HalfStorage",
               "17", "cuda:0");
        add(&b, cases[i].bytes, cases[i].n);
        pickle(&b, "tQ");
        add(&b, cases[i].bytes, cases[i].n);
        pickle(&b, "))tRs.");
        ok(dram_state_dict_read("f", b.at, (int64_t)b.n, &dict));
        assert_int_equal(dict.count, 1);
        const dram_state_tensor *t = &dict.tensors[0];
        assert_int_equal(t->storage_items, cases[i].value);
        assert_int_equal(t->offset, cases[i].value);
        assert_int_equal(t->rank, 0);
        assert_int_equal(t->dtype, DRAM_ST_F16);
        assert_int_equal(t->item_bytes, 2);
        assert_int_equal(t->name_length, 1);
        assert_int_equal(t->key_length, 2);
        assert_memory_equal(t->key, "17", 2);
        dram_free(dict.tensors);
        free(b.at);
    }
}

/* Bytes drawn from the opcodes: whatever comes, it ends, and nothing is held. */
static void drawn_pickles_are_safe(void **state)
{
    static const char alphabet[] =
        "(01NK\1M)t]ae}suQRbq\0q\1h\0h\1}(\x85\x86\x87\x81\x88X\1\0\0\0acollections\nOrderedDict\n.";
    enum { PICKLES = 20000 };
    dram_rng r = dram_rng_make(3, DRAM_RNG_TEST, 3);
    int64_t held = dram_alloc_bytes();
    int ended = 0;
    (void)state;
    for (int i = 0; i < PICKLES; i++) {
        unsigned char text[200] = "\x80\2";
        size_t n = 2 + dram_rng_below(&r, sizeof text - 2);
        for (size_t k = 2; k < n; k++) text[k] = (unsigned char)alphabet[dram_rng_below(&r, sizeof alphabet)];
        dram_pickle p = {.path = "f", .bytes = text, .size = (int64_t)n};
        dram_status status = dram_pickle_run(&p);
        assert_true(status == DRAM_OK || status == DRAM_ERR_FORMAT);
        ended += status == DRAM_OK;
        dram_pickle_free(&p);
        dram_error_clear();
    }
    assert_true(ended > 0 && ended < PICKLES);
    assert_int_equal(dram_alloc_bytes(), held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_pickles),
        cmocka_unit_test(shapes_that_are_none),
        cmocka_unit_test(opcodes_it_does_not_know),
        cmocka_unit_test(bombs),
        cmocka_unit_test(numbers),
        cmocka_unit_test(drawn_pickles_are_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
