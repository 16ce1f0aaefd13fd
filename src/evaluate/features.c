#include "evaluate/features.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/folder.h"
#include "base/str.h"
#include "data/augment.h"
#include "evaluate/pca.h"
#include "evaluate/picture.h"
#include "evaluate/single.h"
#include "io/atomic.h"
#include "io/path.h"
#include "session/choose.h"
#include "session/weights.h"

enum { LEAST_SIDE = 512, GAP = 8 }; /* pixels of a panel's square at least; white between panels */

typedef struct {
    dram_single single;
    float *teacher, *student; /* [g,g,256]; teacher NULL: there is none */
    int grid, side, cell;     /* g; pixels of a panel's square, and of a cell of it */
    uint8_t *square;          /* [side,side,3] the image */
    uint8_t *canvas;          /* the picture */
    dram_str path;            /* of the picture */
} painter;

/* ---- names ---- */

static dram_status picture_path(const char *folder, const char *image, dram_str *path)
{
    const char *file = dram_path_name(image);
    dram_str_free(path);
    dram_str_add(path, "%s/%.*s.png", folder, dram_stem(file), file);
    return path->failed ? dram_fail(DRAM_ERR_MEMORY, "no memory for the name of a picture") : DRAM_OK;
}

static dram_status check_image(const char *image, const char *picture)
{
    struct stat info;
    if (stat(image, &info) != 0 || access(image, R_OK) != 0)
        return dram_fail(DRAM_ERR_CONFIG, "%s: %s", image, strerror(errno));
    if (!S_ISREG(info.st_mode)) return dram_fail(DRAM_ERR_CONFIG, "%s: not a file; name the images one by one", image);
    if (dram_same_place(image, picture))
        return dram_fail(DRAM_ERR_CONFIG, "%s: the picture would take the image's place; name another folder", image);
    return dram_picture_check(picture);
}

static dram_status check_images(const char *folder, const char *const *images, int n)
{
    dram_str path = {0};
    dram_status status = DRAM_OK;
    for (int i = 0; i < n && status == DRAM_OK; i++) {
        const char *file = dram_path_name(images[i]);
        status = picture_path(folder, images[i], &path);
        if (status == DRAM_OK) status = check_image(images[i], path.text);
        for (int k = 0; k < i && status == DRAM_OK; k++) {
            const char *other = dram_path_name(images[k]);
            if (dram_stem(other) == dram_stem(file) && memcmp(other, file, (size_t)dram_stem(file)) == 0)
                status =
                    dram_fail(DRAM_ERR_CONFIG, "the pictures of %s and %s would both be %s; name them in two calls",
                              images[k], images[i], path.text);
        }
    }
    dram_str_free(&path);
    return status;
}

/* ---- pictures ---- */

/* Black to full is 2.5 standard deviations to either side of the mean. */
static uint8_t byte_of(double deviations)
{
    double v = 127.5 * (1.0 + deviations / 2.5);
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : (int)(v + 0.5));
}

static void paint_embedding(const painter *p, const dram_pca *pca, const float *embedding, uint8_t *out, int stride,
                            int height, int width)
{
    for (int i = 0; i * p->cell < height; i++)
        for (int j = 0; j * p->cell < width; j++) {
            double at[DRAM_PCA_AXES];
            dram_pca_project(pca, embedding + ((int64_t)i * p->grid + j) * DRAM_EMBED_CHANNELS, at);
            for (int y = i * p->cell; y < (i + 1) * p->cell && y < height; y++)
                for (int x = j * p->cell; x < (j + 1) * p->cell && x < width; x++)
                    for (int c = 0; c < 3; c++) out[(int64_t)y * stride + 3 * x + c] = byte_of(at[c]);
        }
}

static dram_status paint(painter *p, const dram_pca *pca)
{
    const dram_single *s = &p->single;
    int panels = p->teacher ? 3 : 2, h, w;
    TRY(dram_geometry_image(&s->sample.geometry, &s->image, p->side, p->side, p->square, &h, &w));
    int width = panels * w + (panels - 1) * GAP, stride = 3 * width, step = 3 * (w + GAP);
    memset(p->canvas, 255, (size_t)stride * (size_t)h);
    for (int y = 0; y < h; y++)
        memcpy(p->canvas + (int64_t)y * stride, p->square + (int64_t)y * p->side * 3, (size_t)w * 3);
    if (p->teacher) paint_embedding(p, pca, p->teacher, p->canvas + step, stride, h, w);
    paint_embedding(p, pca, p->student, p->canvas + (panels - 1) * step, stride, h, w);
    return dram_picture_write(p->path.text, p->canvas, h, width);
}

static dram_status read_value(const dram_single *s, dram_val v, void *out, int64_t bytes)
{
    const dram_io *io = &s->session.graphs.io[DRAM_PROGRAM_EVALUATION];
    return dram_exec_read(s->session.exec, io->index, v, out, bytes);
}

static dram_status show_image(painter *p, const char *image, dram_features_picture *picture)
{
    dram_single *s = &p->single;
    dram_pca pca = {0};
    const dram_io *io = &s->session.graphs.io[DRAM_PROGRAM_EVALUATION];
    int64_t bytes = (int64_t)p->grid * p->grid * DRAM_EMBED_CHANNELS * (int64_t)sizeof *p->student;
    float gap, mse;
    *picture = (dram_features_picture){.image = image, .path = p->path.text, .cosine = NAN, .mse = NAN};
    TRY(dram_single_load(s, DRAM_PROGRAM_EVALUATION, image));
    picture->no_cell = !dram_feed_with_cells(&s->session.graphs, &s->sample, 1, p->grid);
    TRY(dram_exec_run(s->session.exec, io->index));
    TRY(read_value(s, io->student_embedding, p->student, bytes));
    if (p->teacher) {
        TRY(read_value(s, io->embedding, p->teacher, bytes));
        TRY(read_value(s, io->cosine_gap, &gap, sizeof gap));
        TRY(read_value(s, io->mse, &mse, sizeof mse));
        picture->cosine = picture->no_cell ? NAN : 1.0 - (double)gap;
        picture->mse = picture->no_cell ? NAN : mse;
    }
    dram_valid_mask(s->session.graphs.student_size, s->sample.student_height, s->sample.student_width, p->grid,
                    s->feed.mask);
    TRY(dram_pca_fit(p->teacher ? p->teacher : p->student, s->feed.mask, (int64_t)p->grid * p->grid,
                     DRAM_EMBED_CHANNELS, &pca));
    picture->explained = picture->no_cell ? NAN : pca.explained;
    dram_status status = paint(p, &pca);
    dram_pca_free(&pca);
    return status;
}

static dram_status open_painter(painter *p, const dram_config *chosen, const char *weights)
{
    const dram_graph_set *graphs = &p->single.session.graphs;
    TRY(dram_single_plan(chosen, DRAM_SET_FEATURES, &p->single));
    const dram_io *io = &graphs->io[DRAM_PROGRAM_EVALUATION];
    if (!io->graph)
        return dram_config_fail(chosen, "task.enabled",
                                "neither a task nor a teacher is on: there is no embedding to look at");
    TRY(dram_single_start(&p->single));
    TRY(dram_weights_load_trained(&p->single.session, weights));
    p->grid = graphs->grid;
    p->side = (LEAST_SIDE + graphs->student_size - 1) / graphs->student_size * graphs->student_size;
    p->cell = p->side / p->grid;
    size_t square = (size_t)p->side * (size_t)p->side * 3, cells = (size_t)p->grid * (size_t)p->grid;
    p->square = dram_alloc(square);
    p->canvas = dram_alloc(3 * square + (size_t)2 * GAP * 3 * (size_t)p->side);
    p->student = dram_alloc(cells * DRAM_EMBED_CHANNELS * sizeof *p->student);
    if (io->embedding != DRAM_NONE) p->teacher = dram_alloc(cells * DRAM_EMBED_CHANNELS * sizeof *p->teacher);
    if (p->square && p->canvas && p->student && (p->teacher || io->embedding == DRAM_NONE)) return DRAM_OK;
    return dram_fail(DRAM_ERR_MEMORY, "no memory for a picture");
}

static void close_painter(painter *p)
{
    dram_single_close(&p->single);
    dram_free(p->teacher);
    dram_free(p->student);
    dram_free(p->square);
    dram_free(p->canvas);
    dram_str_free(&p->path);
}

dram_status dram_features_write(const dram_config *cfg, const char *weights, const char *folder,
                                const char *const *images, int n, const volatile sig_atomic_t *stop,
                                void (*written)(void *context, const dram_features_picture *picture), void *context)
{
    dram_chosen chosen = {0};
    painter p = {0};
    dram_status status;
    TRY(dram_single_check_teacher(cfg));
    TRY(dram_folder_for_output(folder));
    TRY(dram_remove_leftovers(folder));
    TRY(check_images(folder, images, n));
    TRY_GOTO(dram_choose(cfg, NULL, NULL, &chosen), done);
    TRY_GOTO(open_painter(&p, &chosen.cfg, weights), done);
    for (int i = 0; i < n; i++) {
        dram_features_picture picture;
        if (stop && *stop) {
            status = dram_fail(DRAM_INTERRUPTED, "interrupted: %d of %d pictures are in %s", i, n, folder);
            goto done;
        }
        TRY_GOTO(picture_path(folder, images[i], &p.path), done);
        TRY_GOTO(show_image(&p, images[i], &picture), done);
        if (written) written(context, &picture);
    }
done:
    close_painter(&p);
    dram_chosen_free(&chosen);
    return status;
}
