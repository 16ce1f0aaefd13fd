/* planned: a planned training step and evaluation, with facts, to report on. Include after cmocka.h. */
#ifndef DRAM_TESTS_REPORT_PLANNED_H
#define DRAM_TESTS_REPORT_PLANNED_H

#include "report/plan_facts.h"
#include "support/fakes.h"

typedef struct {
    dram_slots slots;
    dram_graph *graph[2];
    dram_plan *plan;
    dram_plan_facts facts;
} fixture;

/* A training step, and an evaluation that reads none of its slots but adds its own. */
static inline void open_fixture(fixture *f, int blocks)
{
    *f = (fixture){0};
    assert_int_equal(dram_graph_new("distil_step", &f->slots, &f->graph[0]), DRAM_OK);
    fake_training_step(f->graph[0], blocks);
    assert_int_equal(dram_graph_new("eval <a & \"b\">", &f->slots, &f->graph[1]), DRAM_OK);
    dram_graph *g = f->graph[1];
    dram_val x = dram_graph_input(g, "x<1>&\"2\"", DRAM_F32, DRAM_SHAPE(4, 8, 8, 3));
    dram_val w = fake_slot(g, "head", "w", 1000, DRAM_CATEGORY_STUDENT_WEIGHTS);
    x = fake_node(g, DRAM_OP_add, "first", 5000, 700, 2, x, w, DRAM_NONE);
    x = fake_node(g, DRAM_OP_relu, "second", -1, 0, 1, x, DRAM_NONE, DRAM_NONE);
    dram_graph_output(g, x);
    f->plan = fake_plan(f->graph, 2, &f->slots, true, true);
    f->facts.levers[0] = (dram_lever){.name = "eager_free",
                                      .setting = "on",
                                      .pulled = true,
                                      .saved_bytes = 4096,
                                      .effect = "exact",
                                      .set_by = "default"};
    f->facts.levers[1] = (dram_lever){.name = "accumulate",
                                      .setting = "1",
                                      .saved_bytes = -64,
                                      .added_flops = 1000000000,
                                      .effect = "quality",
                                      .set_by = "config"};
    f->facts.floor_bytes = 4160;
    f->facts.n_levers = 2;
}

static inline void close_fixture(fixture *f)
{
    dram_plan_free(f->plan);
    dram_plan_facts_free(&f->facts);
    for (int i = 0; i < 2; i++) dram_graph_free(f->graph[i]);
    dram_slots_free(&f->slots);
}

#endif
