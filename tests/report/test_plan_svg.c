/* The picture of a plan. */
#include "support/fakes.h"

#include "report/plan_svg.h"
#include "report/planned.h"
#include "report/xml.h"

static void the_xml_check_sees_faults(void **state)
{
    (void)state;
    assert_null(xml_fault("<svg a=\"1\"><g><rect b-c=\"2\"/></g>a &amp; b</svg>\n"));
    static const char *const bad[] = {"<svg><g></svg></g>",
                                      "<svg><g></svg>",
                                      "<svg>a & b</svg>",
                                      "<svg>a < b</svg>",
                                      "<svg a=1/>",
                                      "<svg a=\"1></svg>",
                                      "<svg></svg><svg></svg>",
                                      "<svg a=\"nan\"></svg>",
                                      "",
                                      "<svg></svg>x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_non_null(xml_fault(bad[i]));
}

static int count(const char *text_, const char *what)
{
    int n = 0;
    for (const char *p = strstr(text_, what); p; p = strstr(p + 1, what)) n++;
    return n;
}

static void the_picture_is_well_formed_and_whole(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, 8);
    for (int i = 0; i < 2; i++) {
        dram_str svg = {0};
        const dram_program *p = &f.plan->programs[i];
        int boxes = 0, bands = 0;
        assert_int_equal(dram_plan_svg(f.plan, i, &svg), DRAM_OK);
        const char *fault = xml_fault(svg.text);
        if (fault) fail_msg("not well-formed: %.80s", fault);
        for (int v = 0; v < p->graph->n_values; v++) boxes += p->graph->values[v]->slot == DRAM_NONE;
        for (int k = 0; k < p->graph->n_nodes; k++) boxes += p->workspace_bytes[k] > 0;
        for (int s = 0; s < f.slots.n; s++) bands += s == 0 || f.slots.at[s]->category != f.slots.at[s - 1]->category;
        assert_int_equal(count(svg.text, "<title>"), boxes + bands);
        assert_non_null(strstr(svg.text, "MiB</text>"));
        assert_non_null(strstr(svg.text, ">max live "));
        for (int c = 0; c < DRAM_CATEGORY_COUNT; c++) {
            char legend[64];
            snprintf(legend, sizeof legend, ">%s</text>", dram_category_name((dram_category)c));
            assert_true(!strstr(svg.text, legend) == (c == DRAM_CATEGORY_MEAN_WEIGHTS)); /* there is none */
        }
        if (i == 1) {
            assert_non_null(strstr(svg.text, "<title>x&lt;1&gt;&amp;&quot;2&quot;\nf32 [4,8,8,3]\n"));
            assert_non_null(
                strstr(svg.text, "second\nu8 [5000], on the bytes of first\n4.94 KiB, activations\nnodes 1 to 1"));
            assert_non_null(strstr(svg.text, "first: workspace\n704 B, workspace\nnodes 0 to 0</title>"));
        }
        dram_str_free(&svg);
    }
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_xml_check_sees_faults),
        cmocka_unit_test(the_picture_is_well_formed_and_whole),
    };
    return cmocka_run_group_tests(tests, fake_setup, NULL);
}
