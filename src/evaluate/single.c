#include "evaluate/single.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "feed/datasets.h"
#include "session/headroom.h"

dram_status dram_single_check_teacher(const dram_config *cfg)
{
    static const char key[] = "sam_distill.teacher.weights";
    const char *weights = cfg->sam_distill.teacher.weights;
    if (!cfg->sam_distill.enabled) return DRAM_OK;
    if (!weights)
        return dram_config_fail(cfg, key, "the teacher needs weights; name a safetensors file, or say random");
    if (strcmp(weights, DRAM_WEIGHTS_RANDOM) == 0 || access(weights, R_OK) == 0) return DRAM_OK;
    return dram_config_fail(cfg, key, "%s: %s", weights, strerror(errno));
}

dram_status dram_single_plan(const dram_config *chosen, dram_program_set set, dram_single *s)
{
    *s = (dram_single){.cfg = dram_config_one_image(chosen)};
    return dram_headroom_plan(&s->cfg, set, NULL, &s->session);
}

dram_status dram_single_start(dram_single *s)
{
    const dram_graph_set *p = &s->session.graphs;
    TRY(dram_headroom_start(&s->cfg, &s->session, NULL, NULL));
    TRY(dram_feed_open(p, &s->feed));
    s->student = dram_alloc((size_t)p->student_size * (size_t)p->student_size * 3);
    if (p->teacher_size) s->teacher = dram_alloc((size_t)p->teacher_canvas * (size_t)p->teacher_canvas * 3);
    if (s->student && (s->teacher || !p->teacher_size)) return DRAM_OK;
    return dram_fail(DRAM_ERR_MEMORY, "no memory for the pixels of an image");
}

void dram_single_close(dram_single *s)
{
    dram_image_free(&s->image);
    dram_free(s->student);
    dram_free(s->teacher);
    dram_feed_close(&s->feed);
    dram_session_close(&s->session);
    *s = (dram_single){0};
}

dram_status dram_single_load(dram_single *s, dram_program_kind kind, const char *path)
{
    const dram_graph_set *p = &s->session.graphs;
    const dram_image_rules rules = dram_datasets_image_rules(&s->cfg);
    dram_sample *sample = &s->sample;
    dram_image_free(&s->image);
    TRY(dram_image_load(path, &rules, &s->image));
    *sample = (dram_sample){.student = s->student,
                            .teacher = s->teacher,
                            .name = path,
                            .full_height = s->image.full_height,
                            .full_width = s->image.full_width,
                            .geometry = dram_geometry_fit(s->image.full_height, s->image.full_width)};
    TRY(dram_geometry_image(&sample->geometry, &s->image, p->student_size, p->student_size, s->student,
                            &sample->student_height, &sample->student_width));
    if (s->teacher)
        TRY(dram_geometry_image(&sample->geometry, &s->image, p->teacher_size, p->teacher_canvas, s->teacher,
                                &sample->teacher_height, &sample->teacher_width));
    return dram_feed_batch(&s->session, &s->feed, kind, 0, sample, 1, 1);
}
