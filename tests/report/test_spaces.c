/* What the reports of a plan say of several memory spaces. */
#include "support/fakes.h"

#include "report/plan_dump.h"
#include "report/plan_json.h"
#include "report/plan_svg.h"
#include "report/plan_text.h"

static const cJSON *named(const cJSON *array, const char *name)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, array) if (strcmp(cJSON_GetObjectItem(item, "name")->valuestring, name) == 0) return item;
    fail_msg("%s is missing", name);
    return NULL;
}

static const char *space_of(const cJSON *values, const char *name)
{
    return cJSON_GetObjectItem(named(values, name), "space")->valuestring;
}

static void reports_tell_the_spaces(void **state)
{
    fake_fixture *f = *state;
    dram_plan_facts facts = {0};
    dram_val w = fake_slot_in(f, "teacher", "w", 1 << 20, DRAM_CATEGORY_TEACHER_WEIGHTS, DRAM_SPACE_HOST);
    fake_slot_in(f, "teacher", "idle", 64, DRAM_CATEGORY_TEACHER_WEIGHTS, DRAM_SPACE_PINNED);
    f->g->slot_value[1] = DRAM_NONE; /* as if another program had read it */
    f->g->space = DRAM_SPACE_HOST;
    dram_val h = fake_node(f->g, DRAM_OP_relu, "h", 1 << 16, 4096, 1, w, NO, NO);
    f->g->space = DRAM_SPACE_DEVICE;
    fake_node(f->g, DRAM_OP_relu, "near", -1, 64, 1, fake_copy(f, "c", h), NO, NO);
    fake_make(f, DRAM_PLAN_USUAL);
    cJSON *dump = dram_plan_dump(f->plan), *report = dram_plan_json(f->plan, &facts);
    assert_non_null(dump);
    assert_non_null(report);
    const cJSON *values = cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(dump, "programs"), 0), "values");
    assert_string_equal(space_of(values, "teacher.w"), "host");
    assert_string_equal(space_of(values, "h"), "host");
    assert_string_equal(space_of(values, "h.workspace"), "host");
    assert_string_equal(space_of(values, "c"), "device");
    assert_string_equal(space_of(values, "near.workspace"), "device");
    assert_true(cJSON_GetObjectItem(report, "host_bytes")->valuedouble == (double)f->plan->host_bytes);
    assert_true(f->plan->host_bytes > 1 << 20);
    dram_str page = {0}, svg = {0};
    assert_int_equal(dram_plan_text(f->plan, &facts, &page), DRAM_OK);
    const char *line = strstr(page.text, "\n  host ");
    assert_non_null(line);
    assert_non_null(strstr(line, "1.0"));
    assert_null(strstr(page.text, "teacher.w\n")); /* none of the arena's largest */
    assert_int_equal(dram_plan_svg(f->plan, 0, &svg), DRAM_OK);
    assert_null(strstr(svg.text, "<title>h\n"));
    assert_non_null(strstr(svg.text, "<title>c\n"));
    assert_null(strstr(svg.text, "teacher_weights, "));
    dram_str_free(&page);
    dram_str_free(&svg);
    cJSON_Delete(dump);
    cJSON_Delete(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reports_tell_the_spaces, fake_open, fake_close),
    };
    return cmocka_run_group_tests(tests, fake_setup, NULL);
}
