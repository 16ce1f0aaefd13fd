/* What the JSON, the dump and the page of a plan say. */
#include "support/fakes.h"

#include <math.h>
#include <stdlib.h>

#include "base/testing.h"
#include "plan/alive.h"
#include "report/plan_dump.h"
#include "report/plan_json.h"
#include "report/plan_svg.h"
#include "report/plan_text.h"
#include "report/planned.h"
#include "report/xml.h"

static const cJSON *member(const cJSON *o, const char *key)
{
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(o, key);
    if (!m) fail_msg("%s is missing", key);
    return m;
}

static int64_t number(const cJSON *o, const char *key)
{
    assert_true(cJSON_IsNumber(member(o, key)));
    return (int64_t)member(o, key)->valuedouble;
}

static const char *text(const cJSON *o, const char *key)
{
    assert_true(cJSON_IsString(member(o, key)));
    return member(o, key)->valuestring;
}

static void the_report_has_the_promised_fields(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 8);
    int64_t sum = 0, highest = 0;
    const cJSON *item;
    f.facts.budget_bytes = 1000;
    f.facts.recompute_ratio = 0.25;
    cJSON *root = dram_plan_json(f.plan, &f.facts);
    assert_non_null(root);
    assert_true(cJSON_IsFalse(member(root, "fits")));
    assert_int_equal(number(root, "budget_bytes"), 1000);
    assert_int_equal(number(root, "planned_peak_bytes"), f.plan->arena_bytes);
    assert_int_equal(number(root, "arena_bytes"), f.plan->arena_bytes);
    assert_int_equal(number(root, "max_live_bytes"), f.plan->max_live_bytes);
    assert_int_equal(number(root, "floor_bytes"), 4160);
    assert_true(member(root, "recompute_ratio")->valuedouble == 0.25);
    assert_int_equal(cJSON_GetArraySize(member(root, "categories")), DRAM_CATEGORY_COUNT);
    for (int c = 0; c < DRAM_CATEGORY_COUNT; c++)
        sum += number(member(root, "categories"), dram_category_name((dram_category)c));
    assert_int_equal(sum, f.plan->max_live_bytes);
    assert_true(number(member(root, "categories"), "optimizer") > 0);
    assert_int_equal(number(root, "host_bytes"), 0);
    assert_true(cJSON_IsNull(member(root, "cache")));
    assert_true(cJSON_IsNull(member(root, "mapped_bytes")));
    assert_int_equal(cJSON_GetArraySize(member(root, "levers")), 2);
    int i = 0;
    cJSON_ArrayForEach(item, member(root, "levers"))
    {
        assert_string_equal(text(item, "name"), f.facts.levers[i].name);
        assert_string_equal(text(item, "setting"), f.facts.levers[i].setting);
        assert_int_equal(cJSON_IsTrue(member(item, "pulled")), f.facts.levers[i].pulled);
        assert_int_equal(number(item, "saved_bytes"), f.facts.levers[i].saved_bytes);
        assert_int_equal(number(item, "added_flops"), f.facts.levers[i].added_flops);
        assert_string_equal(text(item, "effect"), f.facts.levers[i].effect);
        assert_string_equal(text(item, "set_by"), f.facts.levers[i++].set_by);
    }
    i = 0;
    cJSON_ArrayForEach(item, member(root, "programs"))
    {
        assert_string_equal(text(item, "name"), f.graph[i]->name);
        assert_int_equal(number(item, "nodes"), f.graph[i]->n_nodes);
        assert_int_equal(number(item, "flops"), f.plan->programs[i].flops);
        assert_string_equal(text(item, "peak_at"), dram_program_peak_at(&f.plan->programs[i]));
        if (number(item, "peak_bytes") > highest) highest = number(item, "peak_bytes");
        i++;
    }
    assert_int_equal(i, 2);
    assert_int_equal(highest, f.plan->arena_bytes);
    cJSON_Delete(root);
    close_fixture(&f);
}

/* What is mapped besides is told in numbers of its own; on a GPU there is nothing to tell. */
static void what_is_mapped_besides(void **state)
{
    (void)state;
    fixture f;
    dram_str page = {0};
    open_fixture(&f, 8);
    assert_int_equal(dram_plan_text(f.plan, &f.facts, &page), DRAM_OK);
    assert_null(strstr(page.text, "address space"));
    dram_str_free(&page);
    f.facts.mapped = (dram_mapped){.blas_bytes = 384 << 20, .stack_bytes = 40 << 20};
    cJSON *root = dram_plan_json(f.plan, &f.facts);
    assert_int_equal(number(member(root, "mapped_bytes"), "openblas"), 384 << 20);
    assert_int_equal(number(member(root, "mapped_bytes"), "stacks"), 40 << 20);
    assert_int_equal(number(root, "planned_peak_bytes"), f.plan->arena_bytes);
    cJSON_Delete(root);
    assert_int_equal(dram_plan_text(f.plan, &f.facts, &page), DRAM_OK);
    assert_non_null(strstr(page.text, "\n  address space: 424.00 MiB besides, which `ulimit -v` counts: OpenBLAS's "
                                      "buffers 384.00 MiB, stacks 40.00 MiB\n"));
    dram_str_free(&page);
    close_fixture(&f);
}

static void fits_means_at_most_the_budget(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 4);
    for (int i = -1; i <= 2; i++) {
        int64_t budget = i == 2 ? 0 : f.plan->arena_bytes + i;
        const dram_plan_cache cache = {.directory = "c", .format = "int8", .image_bytes = 65};
        cJSON *root = dram_plan_json(f.plan, &(dram_plan_facts){.budget_bytes = budget, .cache = cache});
        assert_non_null(root);
        assert_string_equal(text(member(root, "cache"), "format"), "int8");
        assert_int_equal(number(member(root, "cache"), "image_disk_bytes"), 65);
        assert_int_equal(cJSON_IsTrue(member(root, "fits")), i >= 0);
        assert_int_equal(cJSON_IsNull(member(root, "budget_bytes")), i == 2);
        assert_int_equal(cJSON_GetArraySize(member(root, "levers")), 0);
        cJSON_Delete(root);
    }
    close_fixture(&f);
}

typedef struct {
    const char *name, *alias;
    int64_t offset, size;
    int first, last;
} dumped;

static int read_values(const cJSON *program, dumped *list, int room)
{
    const cJSON *v;
    int n = 0;
    cJSON_ArrayForEach(v, member(program, "values"))
    {
        assert_true(n < room);
        assert_int_equal(cJSON_GetArraySize(v), 7);
        assert_string_equal(text(v, "space"), "device");
        const cJSON *alias = member(v, "alias");
        assert_true(cJSON_IsNull(alias) || cJSON_IsString(alias));
        list[n++] = (dumped){text(v, "name"),         cJSON_IsString(alias) ? alias->valuestring : NULL,
                             number(v, "offset"),     number(v, "size"),
                             (int)number(v, "first"), (int)number(v, "last")};
    }
    return n;
}

static const dumped *find(const dumped *list, int n, const char *name)
{
    const dumped *found = NULL;
    for (int i = 0; i < n; i++) {
        if (strcmp(list[i].name, name) != 0) continue;
        assert_null(found); /* names are unique */
        found = &list[i];
    }
    return found;
}

/* From the dump alone: no two values that are not aliases share bytes while both live, and the most bytes alive and the
 * top are those of the plan. */
static void check_dump(const cJSON *program, const dram_plan *plan, const dram_program *p)
{
    static dumped v[2000];
    int n = read_values(program, v, 2000), nodes = p->graph->n_nodes;
    int64_t top = 0, most = 0;
    assert_string_equal(text(program, "name"), p->graph->name);
    for (int i = 0; i < n; i++) {
        assert_in_range(v[i].first, 0, nodes - 1);
        assert_in_range(v[i].last, v[i].first, nodes - 1);
        if (v[i].offset + v[i].size > top) top = v[i].offset + v[i].size;
        if (v[i].alias) {
            const dumped *from = find(v, n, v[i].alias);
            assert_non_null(from);
            assert_int_equal(from->offset, v[i].offset);
            assert_int_equal(from->size, v[i].size);
        }
        for (int j = 0; j < i; j++) {
            bool together = v[i].first <= v[j].last && v[j].first <= v[i].last;
            bool apart = v[i].offset + v[i].size <= v[j].offset || v[j].offset + v[j].size <= v[i].offset;
            bool related =
                (v[i].alias && !strcmp(v[i].alias, v[j].name)) || (v[j].alias && !strcmp(v[j].alias, v[i].name));
            if (together && !apart && !related) fail_msg("%s and %s share bytes", v[i].name, v[j].name);
        }
    }
    for (int t = 0; t < nodes; t++) {
        int64_t live = 0;
        for (int i = 0; i < n; i++) {
            const dumped *from = v[i].alias ? find(v, n, v[i].alias) : NULL;
            bool counted = from && from->first <= t && from->last >= t; /* at the node that takes it over */
            if (v[i].first <= t && v[i].last >= t && !counted) live += v[i].size;
        }
        if (live > most) most = live;
    }
    assert_int_equal(most, plan->slots_bytes + p->placement.max_live);
    assert_int_equal(top, plan->slots_bytes + p->placement.top);
    const dumped *slot = find(v, n, "optimizer.s1.b1.m"); /* idle in the second program, held all the same */
    assert_non_null(slot);
    assert_int_equal(slot->first, 0);
    assert_int_equal(slot->last, nodes - 1);
}

static void the_dump_proves_the_plan(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 8);
    cJSON *root = dram_plan_dump(f.plan);
    assert_non_null(root);
    assert_int_equal(cJSON_GetArraySize(root), 1);
    assert_int_equal(cJSON_GetArraySize(member(root, "programs")), 2);
    for (int i = 0; i < 2; i++)
        check_dump(cJSON_GetArrayItem(member(root, "programs"), i), f.plan, &f.plan->programs[i]);
    static dumped v[2000];
    int n = read_values(cJSON_GetArrayItem(member(root, "programs"), 1), v, 2000);
    const dumped *workspace = find(v, n, "first.workspace"), *second = find(v, n, "second");
    assert_non_null(workspace);
    assert_int_equal(workspace->size, 704);
    assert_int_equal(workspace->first, 0);
    assert_int_equal(workspace->last, 0);
    assert_non_null(second);
    assert_string_equal(second->alias, "first");
    cJSON_Delete(root);
    close_fixture(&f);
}

static void check_page(const dram_str *page)
{
    int column = 0;
    assert_false(page->failed);
    for (size_t i = 0; i < page->length; i++) {
        char c = page->text[i];
        assert_true(c == '\n' || (c >= ' ' && c <= '~'));
        if (c == '\n') assert_true(i == 0 || page->text[i - 1] != ' ');
        column = c == '\n' ? 0 : column + 1;
        assert_true(column <= 100);
    }
    assert_int_equal(page->text[page->length - 1], '\n');
}

/* What several ranks send each other, and what NCCL takes; of one rank there is nothing to say. */
static void the_ranks(void **state)
{
    (void)state;
    fixture f;
    char want[64];
    dram_str page = {0};
    open_fixture(&f, 8);
    f.facts.ranks = 1;
    f.facts.effective_batch = 8;
    cJSON *root = dram_plan_json(f.plan, &f.facts);
    assert_true(cJSON_IsNull(member(root, "comm")));
    assert_int_equal(number(root, "ranks"), 1);
    snprintf(want, sizeof want, "%016llx", (unsigned long long)dram_plan_hash(f.plan));
    assert_string_equal(text(root, "plan_hash"), want);
    cJSON_Delete(root);
    f.facts.ranks = 4;
    f.facts.effective_batch = 32;
    f.facts.traffic.bytes[DRAM_OP_all_reduce] = 1000;
    f.facts.traffic.calls[DRAM_OP_all_reduce] = 3;
    f.facts.traffic.bytes[DRAM_OP_all_gather] = 500;
    f.facts.traffic.calls[DRAM_OP_all_gather] = 0.5; /* in every other step */
    root = dram_plan_json(f.plan, &f.facts);
    const cJSON *comm = member(root, "comm"), *by_op = member(comm, "by_op");
    assert_int_equal(number(root, "effective_batch"), 32);
    assert_int_equal(number(comm, "bytes_sent"), 1500);
    assert_true(member(comm, "calls")->valuedouble == 3.5);
    assert_true(cJSON_IsNull(member(comm, "comm_bytes")));
    assert_int_equal(cJSON_GetArraySize(by_op), 2);
    assert_int_equal(number(member(by_op, "all_reduce"), "calls"), 3);
    assert_int_equal(number(member(by_op, "all_gather"), "bytes_sent"), 500);
    cJSON_Delete(root);
    f.plan->profile.gpu = true;
    f.plan->profile.comm_bytes = 7 << 20;
    root = dram_plan_json(f.plan, &f.facts);
    assert_int_equal(number(member(root, "comm"), "comm_bytes"), 7 << 20);
    assert_int_equal(number(root, "process_bytes"),
                     f.plan->arena_bytes + f.plan->profile.context_bytes + f.plan->profile.loaded_bytes + (7 << 20));
    cJSON_Delete(root);
    assert_int_equal(dram_plan_text(f.plan, &f.facts, &page), DRAM_OK);
    assert_non_null(strstr(page.text, "7.00   assumed\n"));
    dram_str_free(&page);
    close_fixture(&f);
}

/* A plan for a GPU states what its process takes, and whether that is known. */
static void the_process_on_a_gpu(void **state)
{
    (void)state;
    fixture f;
    char want[64];
    open_fixture(&f, 8);
    dram_str page = {0};
    cJSON *root = dram_plan_json(f.plan, &f.facts);
    assert_true(cJSON_IsNull(member(root, "process_bytes")) && cJSON_IsNull(member(root, "overhead_bytes")));
    cJSON_Delete(root);
    f.plan->profile.gpu = true;
    f.plan->profile.context_bytes = 3 << 20;
    f.plan->profile.loaded_bytes = 5 << 20;
    for (int measured = 0; measured < 2; measured++) {
        f.plan->profile.measured = measured;
        root = dram_plan_json(f.plan, &f.facts);
        assert_int_equal(number(root, "process_bytes"), f.plan->arena_bytes + (8 << 20));
        assert_int_equal(number(member(root, "overhead_bytes"), "context"), 3 << 20);
        assert_int_equal(number(member(root, "overhead_bytes"), "libraries"), 5 << 20);
        assert_int_equal(cJSON_IsTrue(member(member(root, "overhead_bytes"), "measured")), measured);
        cJSON_Delete(root);
        assert_int_equal(dram_plan_text(f.plan, &f.facts, &page), DRAM_OK);
        check_page(&page);
        snprintf(want, sizeof want, "  process%25.2f\n", (double)(f.plan->arena_bytes + (8 << 20)) / 0x1p20);
        assert_non_null(strstr(page.text, want));
        assert_non_null(strstr(page.text, measured ? "3.00   measured\n" : "3.00   assumed until"));
        dram_str_free(&page);
    }
    close_fixture(&f);
}

static void the_page_says_what_matters(void **state)
{
    (void)state;
    fixture f;
    char want[128];
    open_fixture(&f, 8);
    dram_str page = {0};
    f.facts.budget_bytes = f.plan->arena_bytes;
    f.facts.recompute_ratio = 0.125;
    f.facts.recompute_student_ratio = 0.25;
    dram_str_add(&f.facts.recompute, "norms");
    f.facts.pulled = "accumulate=2";
    dram_str_add(&f.facts.heading, "student  tiny");
    assert_int_equal(dram_plan_text(f.plan, &f.facts, &page), DRAM_OK);
    check_page(&page);
    assert_int_equal(strncmp(page.text, "student  tiny\nfits: ", 20), 0);
    for (int c = 0; c < DRAM_CATEGORY_COUNT; c++)
        assert_true(!strstr(page.text, dram_category_name((dram_category)c)) == (c == DRAM_CATEGORY_MEAN_WEIGHTS));
    snprintf(want, sizeof want, "max live%24.2f   100.0 %%", (double)f.plan->max_live_bytes / 0x1p20);
    assert_non_null(strstr(page.text, want));
    assert_non_null(strstr(page.text, "distil_step"));
    assert_non_null(strstr(page.text, dram_program_peak_at(&f.plan->programs[0])));
    const char *pulled = strstr(page.text, "\nlevers pulled "), *left = strstr(page.text, "\nlevers left ");
    assert_true(pulled && left && pulled < left);
    assert_true(strstr(page.text, "eager_free") > pulled && strstr(page.text, "eager_free") < left);
    assert_true(strstr(left, "accumulate") != NULL && strstr(left, "config") != NULL);
    assert_non_null(strstr(page.text, "the planner pulled: accumulate=2\n"));
    assert_non_null(strstr(page.text, "recompute: norms: 25.0 % of the student's FLOPs again, 12.5 % of the step's\n"));
    assert_non_null(strstr(page.text, "f32   [4,64,64,32]         student.s1.b1.conv\n"));
    const char *largest = strstr(page.text, "largest in ");
    int lines = 0;
    assert_non_null(largest);
    for (const char *p = largest; *p; p++) lines += *p == '\n';
    assert_int_equal(lines, 9);               /* the head and eight */
    assert_null(strstr(page.text, "time: ")); /* no run is planned */
    dram_str_free(&page);

    const struct {
        int64_t updates, flops;
        dram_update_time time;
        const char *line;
    } times[] = {
        {1000, 12100000000, {0, 0}, "  time: 12.1 TFLOP in all, at 1 TFLOP/s 12.1 s; `dram plan --calibrate` measures"},
        {10, 50000000000000, {0, 0}, "  time: 500 TFLOP in all, at 1 TFLOP/s 8 min; "},
        {10000, 1, {0.25, 1}, "  time: about 0.25 s an update, 42 min in all, by memory.profile\n"},
        {10000,
         1,
         {12.5, 0.75},
         "  time: about 12.5 s an update, 34.7 h in all, by memory.profile, which has 75 % of the FLOPs\n"},
        {100000, 1, {12.5, 0.999}, "  time: about 12.5 s an update, 14.5 days in all, by memory.profile\n"},
    };
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        f.facts.updates = times[i].updates;
        f.facts.update_flops = times[i].flops;
        f.facts.time = times[i].time;
        assert_int_equal(dram_plan_text(f.plan, &f.facts, &page), DRAM_OK);
        check_page(&page);
        assert_non_null(strstr(page.text, times[i].line));
        dram_str_free(&page);
        cJSON *root = dram_plan_json(f.plan, &f.facts);
        assert_true(member(root, "run_flops")->valuedouble == (double)times[i].updates * (double)times[i].flops);
        if (times[i].time.seconds > 0) {
            assert_true(member(root, "update_seconds")->valuedouble == times[i].time.seconds);
            assert_true(member(root, "run_seconds")->valuedouble == (double)times[i].updates * times[i].time.seconds);
            assert_true(member(root, "timed_share")->valuedouble == times[i].time.timed);
        } else {
            assert_true(cJSON_IsNull(member(root, "update_seconds")) && cJSON_IsNull(member(root, "run_seconds")));
        }
        cJSON_Delete(root);
    }

    const dram_plan_facts small = {.budget_bytes = f.plan->arena_bytes - 64}, none = {0};
    assert_int_equal(dram_plan_text(f.plan, &small, &page), DRAM_OK);
    check_page(&page);
    assert_int_equal(strncmp(page.text, "does not fit: ", 14), 0);
    assert_null(strstr(page.text, "\nlevers "));
    assert_null(strstr(page.text, "pulled"));
    dram_str_free(&page);

    assert_int_equal(dram_plan_text(f.plan, &none, &page), DRAM_OK);
    assert_non_null(strstr(page.text, "no budget is set"));
    dram_str_free(&page);
    assert_int_equal(dram_plan_alive(f.plan, 2, &page), DRAM_OK);
    assert_int_equal(strncmp(page.text, "student.s1.b1.conv 2.00 MiB, ", 29), 0);
    dram_str_free(&page);
    close_fixture(&f);
}

/* At a node that works in place the bytes are the output's: counted once, in its category, under its name. */
static void bytes_taken_over_are_told_once(void **state)
{
    (void)state;
    dram_slots slots = {0};
    dram_graph *g;
    int64_t bytes[DRAM_CATEGORY_COUNT];
    assert_int_equal(dram_graph_new("step", &slots, &g), DRAM_OK);
    dram_val a = dram_graph_input(g, "x", DRAM_U8, DRAM_SHAPE(64));
    a = fake_node(g, DRAM_OP_sum_batch, "first", 4096, 0, 1, a, DRAM_NONE, DRAM_NONE);
    g->category = DRAM_CATEGORY_GRADIENTS;
    fake_node(g, DRAM_OP_relu, "second", -1, 1024, 1, a, DRAM_NONE, DRAM_NONE);
    dram_plan *plan = fake_plan(&g, 1, &slots, true, true);
    dram_plan_account(plan, bytes);
    assert_int_equal(plan->max_live_bytes, 4096 + 1024);
    assert_int_equal(bytes[DRAM_CATEGORY_GRADIENTS], 4096);
    assert_int_equal(bytes[DRAM_CATEGORY_ACTIVATIONS], 0);
    assert_int_equal(bytes[DRAM_CATEGORY_WORKSPACE], 1024);
    dram_str page = {0};
    assert_int_equal(dram_plan_text(plan, &(dram_plan_facts){0}, &page), DRAM_OK);
    const char *largest = strstr(page.text, "largest in step");
    assert_non_null(largest);
    assert_non_null(strstr(largest, "gradients "));
    assert_non_null(strstr(largest, "[4096]               second\n"));
    assert_non_null(strstr(largest, " second.workspace\n"));
    assert_null(strstr(largest, "first"));
    dram_str_free(&page);
    dram_plan_free(plan);
    dram_graph_free(g);
    dram_slots_free(&slots);
}

static void an_empty_program_is_told_too(void **state)
{
    (void)state;
    dram_slots slots = {0};
    dram_graph *g;
    assert_int_equal(dram_graph_new("nothing", &slots, &g), DRAM_OK);
    for (int slot = 0; slot < 2; slot++) {
        if (slot) fake_slot(g, "student", "w", 64, DRAM_CATEGORY_STUDENT_WEIGHTS);
        for (int n = 0; n < 2; n++) {
            dram_plan *plan = fake_plan(&g, n, &slots, true, true);
            dram_str out = {0};
            assert_int_equal(dram_plan_text(plan, &(dram_plan_facts){0}, &out), DRAM_OK);
            check_page(&out);
            dram_str_free(&out);
            if (n) {
                assert_int_equal(dram_plan_svg(plan, 0, &out), DRAM_OK);
                assert_null(xml_fault(out.text));
                dram_str_free(&out);
            }
            cJSON *report = dram_plan_json(plan, &(dram_plan_facts){.budget_bytes = 64}), *dump = dram_plan_dump(plan);
            assert_non_null(report);
            assert_non_null(dump);
            assert_true(cJSON_IsTrue(member(report, "fits")));
            assert_int_equal(cJSON_GetArraySize(member(dump, "programs")), n);
            cJSON_Delete(report);
            cJSON_Delete(dump);
            dram_plan_free(plan);
        }
    }
    dram_graph_free(g);
    dram_slots_free(&slots);
}

enum { JSON_REPORT, JSON_DUMP, TEXT, PICTURE, ALIVE, KINDS };

static bool produce(fixture *f, int kind)
{
    dram_str out = {0};
    cJSON *tree = NULL;
    dram_status status = DRAM_ERR_MEMORY;
    switch (kind) {
    case JSON_REPORT:
        tree = dram_plan_json(f->plan, &f->facts);
        break;
    case JSON_DUMP:
        tree = dram_plan_dump(f->plan);
        break;
    case TEXT:
        status = dram_plan_text(f->plan, &f->facts, &out);
        break;
    case PICTURE:
        status = dram_plan_svg(f->plan, 1, &out);
        break;
    default:
        status = dram_plan_alive(f->plan, 5, &out);
    }
    bool good = tree || status == DRAM_OK;
    assert_true(good || status == DRAM_ERR_MEMORY);
    cJSON_Delete(tree);
    dram_str_free(&out);
    return good;
}

static void out_of_memory_is_said(void **state)
{
    (void)state;
    fixture f;
    cJSON_Hooks hooks = {.malloc_fn = dram_alloc, .free_fn = dram_free};
    cJSON_InitHooks(&hooks);
    open_fixture(&f, 1);
    int64_t held = dram_alloc_bytes();
    for (int kind = 0; kind < KINDS; kind++) {
        int fails = 0;
        for (int64_t after = 0;; after++) {
            dram_alloc_fail_after(after);
            bool good = produce(&f, kind);
            dram_alloc_fail_after(-1);
            assert_int_equal(dram_alloc_bytes(), held);
            if (good) break;
            assert_string_not_equal(dram_error_text(), "");
            dram_error_clear();
            fails++;
        }
        assert_true(fails >= (kind == ALIVE ? 1 : 5));
    }
    close_fixture(&f);
    cJSON_InitHooks(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_report_has_the_promised_fields),
        cmocka_unit_test(fits_means_at_most_the_budget),
        cmocka_unit_test(the_dump_proves_the_plan),
        cmocka_unit_test(the_process_on_a_gpu),
        cmocka_unit_test(the_ranks),
        cmocka_unit_test(what_is_mapped_besides),
        cmocka_unit_test(the_page_says_what_matters),
        cmocka_unit_test(bytes_taken_over_are_told_once),
        cmocka_unit_test(an_empty_program_is_told_too),
        cmocka_unit_test(out_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, fake_setup, NULL);
}
