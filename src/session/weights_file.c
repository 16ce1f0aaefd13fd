/* Weights from files of tensors, and into safetensors. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "io/path.h"
#include "io/safetensors.h"
#include "model/family.h"
#include "model/guess.h"
#include "session/slot_floats.h"
#include "session/weights.h"

enum { NAME_SIZE = 256 };

/* ---- names ---- */

typedef struct {
    dram_session *s;
    const dram_st *file;
    const char *path;
    const char *const *groups;
    int n_groups;
    bool with_group;
    bool of_checkpoint;    /* it may have tensors of groups that the session has not */
    bool in_part;          /* and of groups that are not asked for */
    const dram_arch *arch; /* of the only group, if it is a network of the registry */
    dram_names names;
} weight_file;

/* The architecture that names a group's tensors; NULL for neck, heads and optimiser, whose names are dram's own. */
static const dram_arch *arch_of(const dram_session *s, const char *group)
{
    if (strcmp(group, "teacher") == 0) return dram_arch_find(s->cfg.sam_distill.teacher.model_type);
    if (strcmp(group, "student") == 0) return dram_arch_find(s->cfg.student.arch);
    return NULL;
}

static bool is_asked(const weight_file *f, const char *group)
{
    for (int i = 0; i < f->n_groups; i++)
        if (strcmp(group, f->groups[i]) == 0) return true;
    return false;
}

static bool in_groups(const weight_file *f, const dram_slot *slot)
{
    return is_asked(f, slot->group);
}

static const char *file_name(const weight_file *f, const dram_slot *slot, char *out)
{
    if (f->arch) {
        dram_names_of(f->arch, f->names, slot->name, out, NAME_SIZE);
    } else {
        snprintf(out, NAME_SIZE, "%s%s%s", f->with_group ? slot->group : "", f->with_group ? "." : "", slot->name);
    }
    return out;
}

static bool has_tensor(void *context, const char *name)
{
    return dram_st_find(context, name) != NULL;
}

/* ---- loading ---- */

static bool shape_fits(const dram_slot *slot, const dram_st_tensor *tensor)
{
    dram_shape want = dram_file_shape(slot);
    if (tensor->rank != want.rank) return false;
    return memcmp(tensor->dim, want.dim, (size_t)want.rank * sizeof want.dim[0]) == 0;
}

enum { LISTED = 6 }; /* names in an error */

static void list(dram_str *text, int n, const char *name)
{
    if (n < LISTED) dram_str_add(text, "%s%s", n ? ", " : "", name);
    if (n == LISTED) dram_str_add(text, ", ...");
}

bool dram_weights_has(const dram_session *s, const char *group)
{
    for (int i = 0; i < s->graphs.slots.n; i++)
        if (strcmp(s->graphs.slots.at[i]->group, group) == 0) return true;
    return false;
}

/* A tensor of a group beside the student that is not wanted: "neck.NAME", or the optimiser's "exp_avg.neck.NAME". */
static bool is_left_out(const weight_file *f, const char *tensor)
{
    static const char *const beside[] = {"neck", "head", "sr", "mean"};
    const char *name = f->with_group ? tensor : strchr(tensor, '.') ? strchr(tensor, '.') + 1 : "";
    for (size_t i = 0; !f->arch && i < sizeof beside / sizeof beside[0]; i++) {
        size_t n = strlen(beside[i]);
        if (strncmp(name, beside[i], n) != 0 || name[n] != '.') continue;
        if (f->of_checkpoint ? !dram_weights_has(f->s, beside[i]) : f->in_part && !is_asked(f, beside[i])) return true;
    }
    return false;
}

static bool is_known(const weight_file *f, const char *tensor)
{
    char name[NAME_SIZE];
    const dram_slots *slots = &f->s->graphs.slots;
    if (f->arch && dram_names_ignored(f->arch, tensor)) return true;
    if (f->with_group && (strncmp(tensor, "sr.", 3) == 0 || strncmp(tensor, "mean.", 5) == 0))
        return true; /* for training only: not always wanted */
    if (dram_names_is_bn_counter(tensor) || is_left_out(f, tensor)) return true;
    for (int i = 0; i < slots->n; i++)
        if (in_groups(f, slots->at[i]) && strcmp(file_name(f, slots->at[i], name), tensor) == 0) return true;
    return false;
}

static bool shape_of(const void *context, const char *name, dram_shape *shape)
{
    const dram_st_tensor *tensor = dram_st_find(context, name);
    if (!tensor || tensor->rank > DRAM_MAX_RANK) return false;
    *shape = (dram_shape){.rank = tensor->rank};
    memcpy(shape->dim, tensor->dim, (size_t)tensor->rank * sizeof tensor->dim[0]);
    return true;
}

/* The network that a file of a trunk holds instead; NULL: none is known. */
static const dram_arch *find_other(const weight_file *f)
{
    const dram_arch *other = f->arch ? dram_arch_guess(shape_of, f->file) : NULL;
    return other == f->arch ? NULL : other;
}

/* ": it is a file of regnety_004" */
static void name_the_other(const weight_file *f, const dram_arch *other, dram_str *text)
{
    dram_str_add(text, ": it is a file of %s", other->name);
    if (!other->family->embed && strcmp(f->groups[0], "teacher") == 0)
        dram_str_add(text, ", which is no teacher: only SAM encoders (vit_...) are");
}

/* What is wrong with a file: names, and how many there are of each kind. */
typedef struct {
    dram_str missing, misshapen, extra;
    int n_missing, n_misshapen, n_extra;
    const char **unknown; /* the first names that are not known, n_unknown of them: what a missing one may be called */
    int n_unknown;
} differences;

enum { COMPARED = 1024 }; /* names that a missing one is held against */

static dram_status find_extra(const weight_file *f, differences *d)
{
    int n = dram_st_count(f->file), most = n < COMPARED ? n : COMPARED;
    d->unknown = dram_alloc((size_t)most * sizeof *d->unknown);
    if (!d->unknown) return dram_fail(DRAM_ERR_MEMORY, "no memory to load %s", f->path);
    for (int i = 0; i < n; i++) {
        const char *name = dram_st_at(f->file, i)->name;
        if (is_known(f, name)) continue;
        if (d->n_unknown < most) d->unknown[d->n_unknown++] = name;
        list(&d->extra, d->n_extra++, name);
    }
    return DRAM_OK;
}

static void find_missing(const weight_file *f, differences *d)
{
    char name[NAME_SIZE], have[96], want[96], text[2 * NAME_SIZE + 200];
    const dram_slots *slots = &f->s->graphs.slots;
    for (int i = 0; i < slots->n; i++) {
        if (!in_groups(f, slots->at[i])) continue;
        const dram_st_tensor *tensor = dram_st_find(f->file, file_name(f, slots->at[i], name));
        if (!tensor) {
            const char *near = d->n_missing < LISTED ? dram_nearest(name, d->unknown, d->n_unknown) : NULL;
            snprintf(text, sizeof text, "%s%s%.250s%s", name, near ? " (there is " : "", near ? near : "",
                     near ? ")" : "");
            list(&d->missing, d->n_missing++, text);
        } else if (!shape_fits(slots->at[i], tensor)) {
            dram_shape shape = dram_file_shape(slots->at[i]);
            snprintf(text, sizeof text, "%s %s instead of %s", name, dram_st_format_shape(tensor, have, sizeof have),
                     dram_format_shape(&shape, want, sizeof want));
            list(&d->misshapen, d->n_misshapen++, text);
        }
    }
}

/* Every slot has its tensor, in its shape, and every tensor its slot. */
static dram_status compare_names(const weight_file *f)
{
    differences d = {0};
    dram_status status;
    TRY_GOTO(find_extra(f, &d), done);
    const dram_arch *other = d.n_extra ? find_other(f) : NULL;
    if (other) d.n_unknown = 0; /* its names are no misspelt ones */
    find_missing(f, &d);
    if (d.n_missing || d.n_extra || d.n_misshapen) {
        dram_str text = {0};
        other = find_other(f);
        if (other) name_the_other(f, other, &text);
        if (d.n_missing) dram_str_add(&text, "; %d missing: %s", d.n_missing, d.missing.text);
        if (d.n_misshapen) dram_str_add(&text, "; %d misshapen: %s", d.n_misshapen, d.misshapen.text);
        if (d.n_extra) dram_str_add(&text, "; %d not known: %s", d.n_extra, d.extra.text);
        status = dram_fail(DRAM_ERR_FORMAT, "%s does not hold the weights of %s%s", f->path,
                           f->arch ? f->arch->name : f->groups[0], text.text ? text.text : "");
        dram_str_free(&text);
    }
done:
    dram_free(d.unknown);
    dram_str_free(&d.missing);
    dram_str_free(&d.extra);
    dram_str_free(&d.misshapen);
    return status;
}

/* Reads elements of a slot's tensor. A weight that is not finite would spoil the run many steps later, and without a
 * trace. A slot of bytes (a state of 8 bits) is kept as numbers that may be any. */
static dram_status read_tensor(const weight_file *f, const dram_slot *slot, const dram_st_tensor *tensor, int64_t at,
                               int64_t count, float *to)
{
    TRY(dram_st_read_f32(f->file, tensor, at, count, to));
    for (int64_t i = 0; dram_dtype_is_float(slot->dtype) && i < count; i++)
        if (!isfinite(to[i]))
            return dram_fail(DRAM_ERR_FORMAT,
                             "%s: element %" PRId64 " of tensor \"%s\" is %s: the file is damaged, or its "
                             "training diverged",
                             f->path, at + i, tensor->name, isnan(to[i]) ? "NaN" : "infinite");
    return DRAM_OK;
}

/* The whole tensor of a slot that is permuted, [elements of the tensor]. It is a convolution and small. */
static dram_status read_permuted(const weight_file *f, const dram_slot *slot, const dram_st_tensor *tensor, float *to)
{
    int64_t n = dram_elements(dram_slot_tensor(slot));
    float *as_filed = dram_alloc((size_t)n * sizeof *as_filed);
    if (!as_filed) return dram_fail(DRAM_ERR_MEMORY, "no memory to load %s", slot->name);
    dram_status status = read_tensor(f, slot, tensor, 0, n, as_filed);
    if (status == DRAM_OK) dram_from_file_order(slot, 4, as_filed, to);
    dram_free(as_filed);
    return status;
}

/* A slot kept in the file's order comes in pieces, a shard in its own alone. */
static dram_status load_slot(const weight_file *f, int index, float *piece)
{
    char name[NAME_SIZE];
    const dram_slot *slot = f->s->graphs.slots.at[index];
    const dram_st_tensor *tensor = dram_st_find(f->file, file_name(f, slot, name));
    int64_t n = dram_elements(dram_slot_tensor(slot)), first, end;
    dram_slot_range(f->s, index, &first, &end);
    if (slot->layout == DRAM_LAYOUT_SAME) {
        for (int64_t at = first; at < end; at += DRAM_SLOT_PIECE) {
            int64_t count = end - at < DRAM_SLOT_PIECE ? end - at : DRAM_SLOT_PIECE;
            TRY(read_tensor(f, slot, tensor, at, count, piece));
            TRY(dram_slot_write_floats(f->s, index, at, count, piece));
        }
        return DRAM_OK;
    }
    float *whole = dram_alloc((size_t)n * sizeof *whole);
    if (!whole) return dram_fail(DRAM_ERR_MEMORY, "no memory to load %s", name);
    dram_status status = read_permuted(f, slot, tensor, whole);
    if (status == DRAM_OK) status = dram_slot_write_floats(f->s, index, 0, n, whole);
    dram_free(whole);
    return status;
}

/* A batch norm's own count of batches. */
static int64_t *counter_of(dram_session *s, const dram_slot *slot)
{
    bool frozen = s->cfg.student.trainable == DRAM_TRAINABLE_HEADS && strcmp(slot->group, "student") == 0;
    return frozen ? &s->batches_frozen : &s->batches_tracked;
}

static dram_status load_counter(const weight_file *f, const dram_slot *slot)
{
    char name[NAME_SIZE], counter[NAME_SIZE];
    int64_t value, *counted = counter_of(f->s, slot);
    if (!dram_names_bn_counter(file_name(f, slot, name), counter, sizeof counter)) return DRAM_OK;
    const dram_st_tensor *tensor = dram_st_find(f->file, counter);
    if (!tensor || tensor->dtype != DRAM_ST_I64 || tensor->elements != 1) return DRAM_OK;
    TRY(dram_st_read_raw(f->file, tensor, 0, 1, &value));
    if (value > *counted) *counted = value;
    return DRAM_OK;
}

static void set_arch(weight_file *f, bool detect)
{
    if (f->n_groups != 1 || f->with_group) return;
    f->arch = arch_of(f->s, f->groups[0]);
    f->names = DRAM_NAMES_TIMM;
    if (f->arch && detect) dram_names_detect(f->arch, has_tensor, (void *)(uintptr_t)f->file, &f->names);
}

void dram_weights_unwrap(dram_st *file)
{
    static const char *const wrappers[] = {"module.", "model.", "module."};
    for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0]; i++) dram_st_strip(file, wrappers[i]);
}

static void tell_choice(const weight_file *f)
{
    const char *taken, *beside;
    if (!dram_st_choice(f->file, &taken, &beside)) return;
    dram_info("%s holds weights under \"%s\" and under \"%s\": \"%s\" is taken; for the other, save it by itself in "
              "Python: torch.save(torch.load(OLD)[\"%s\"], NEW)",
              f->path, taken, beside, taken, beside);
}

static dram_status load_slots(const weight_file *f)
{
    const dram_slots *slots = &f->s->graphs.slots;
    dram_status status = DRAM_OK;
    float *piece = dram_alloc(DRAM_SLOT_PIECE * sizeof *piece);
    if (!piece) return dram_fail(DRAM_ERR_MEMORY, "no memory to load %s", f->path);
    for (int i = 0; i < slots->n && status == DRAM_OK; i++) {
        if (!in_groups(f, slots->at[i])) continue;
        status = load_slot(f, i, piece);
        if (status == DRAM_OK) status = load_counter(f, slots->at[i]);
    }
    dram_free(piece);
    return status;
}

/* f has what is wanted; *file is the caller's after success. */
static dram_status open_file(weight_file *f, dram_st **file)
{
    TRY(dram_st_open(f->path, file));
    f->file = *file;
    dram_weights_unwrap(*file);
    set_arch(f, true);
    dram_status status = compare_names(f);
    if (status != DRAM_OK) dram_st_close(*file);
    return status;
}

static dram_status load_file(weight_file f, bool load)
{
    dram_st *file;
    TRY(open_file(&f, &file));
    if (load) tell_choice(&f);
    dram_status status = load ? load_slots(&f) : DRAM_OK;
    dram_st_close(file);
    return status;
}

dram_status dram_weights_load(dram_session *s, const char *path, const char *const *groups, int n, bool with_group,
                              const char *where)
{
    const weight_file f = {.s = s, .path = path, .groups = groups, .n_groups = n, .with_group = with_group};
    dram_status status = load_file(f, true);
    return status == DRAM_OK ? status : dram_error_prefix(status, where);
}

dram_status dram_weights_load_parts(dram_session *s, const char *path, const char *const *groups, int n)
{
    const weight_file f = {.s = s, .path = path, .groups = groups, .n_groups = n, .with_group = true, .in_part = true};
    return load_file(f, true);
}

dram_status dram_weights_resume(dram_session *s, const char *path, const char *const *groups, int n, bool with_group,
                                bool load)
{
    const weight_file f = {
        .s = s, .path = path, .groups = groups, .n_groups = n, .with_group = with_group, .of_checkpoint = true};
    return load_file(f, load);
}

/* ---- reading without a session's memory ---- */

struct dram_weights_file {
    weight_file of;
    dram_st *file;
};

dram_status dram_weights_open(dram_session *s, const char *path, const char *const *groups, int n, bool with_group,
                              dram_weights_file **out)
{
    dram_weights_file *w = dram_calloc(1, sizeof *w);
    *out = NULL;
    if (!w) return dram_fail(DRAM_ERR_MEMORY, "no memory to open %s", path);
    w->of = (weight_file){.s = s, .path = path, .groups = groups, .n_groups = n, .with_group = with_group};
    dram_status status = open_file(&w->of, &w->file);
    if (status != DRAM_OK) {
        dram_free(w);
        return status;
    }
    tell_choice(&w->of);
    for (int i = 0; i < s->graphs.slots.n && status == DRAM_OK; i++)
        if (in_groups(&w->of, s->graphs.slots.at[i])) status = load_counter(&w->of, s->graphs.slots.at[i]);
    *out = w;
    return status;
}

dram_status dram_weights_read(const dram_weights_file *w, int index, int64_t at, int64_t count, float *out)
{
    char name[NAME_SIZE];
    const dram_slot *slot = w->of.s->graphs.slots.at[index];
    const dram_st_tensor *tensor = dram_st_find(w->file, file_name(&w->of, slot, name));
    if (!tensor) return dram_fail(DRAM_ERR_INTERNAL, "%s: %s is read from it", w->of.path, name);
    if (slot->layout == DRAM_LAYOUT_SAME) return read_tensor(&w->of, slot, tensor, at, count, out);
    float *whole = dram_alloc((size_t)dram_elements(dram_slot_tensor(slot)) * sizeof *whole);
    if (!whole) return dram_fail(DRAM_ERR_MEMORY, "no memory to read %s", name);
    dram_status status = read_permuted(&w->of, slot, tensor, whole);
    if (status == DRAM_OK) memcpy(out, whole + at, (size_t)count * sizeof *out);
    dram_free(whole);
    return status;
}

void dram_weights_close(dram_weights_file *w)
{
    if (!w) return;
    dram_st_close(w->file);
    dram_free(w);
}

/* ---- the teacher's native size ---- */

/* The table of positions in a file, under any naming; *found false where there is none, or no file that can be opened:
 * who loads it will say so. */
static dram_status find_position(const char *path, const dram_arch *arch, dram_shape *shape, bool *found)
{
    char name[NAME_SIZE];
    dram_names names;
    dram_st *file;
    *found = false;
    dram_status status = dram_st_open(path, &file);
    if (status == DRAM_ERR_MEMORY) return status;
    if (status != DRAM_OK) {
        dram_error_clear();
        return DRAM_OK;
    }
    dram_weights_unwrap(file);
    dram_names_detect(arch, has_tensor, file, &names);
    *found = shape_of(file, dram_names_of(arch, names, arch->family->position, name, sizeof name), shape) &&
             shape->rank == 4 && shape->dim[0] == 1;
    dram_st_close(file);
    return DRAM_OK;
}

dram_status dram_weights_native(const dram_config *cfg, int *native)
{
    enum { MOST = 8192 / DRAM_VIT_PATCH };
    static const char key[] = "sam_distill.teacher.native_size", file[] = "sam_distill.teacher.weights";
    const struct dram_config_sam_distill_teacher *teacher = &cfg->sam_distill.teacher;
    const dram_arch *arch = dram_arch_find(teacher->model_type);
    char text[96];
    dram_shape shape;
    bool found;
    *native = teacher->native_size;
    if (!cfg->sam_distill.enabled || !teacher->weights || strcmp(teacher->weights, DRAM_WEIGHTS_RANDOM) == 0)
        return DRAM_OK;
    if (!arch || !arch->family->position) return DRAM_OK;
    TRY(find_position(teacher->weights, arch, &shape, &found));
    if (!found) return DRAM_OK;
    const char *table = arch->family->position;
    dram_format_shape(&shape, text, sizeof text);
    if (shape.dim[1] != shape.dim[2] || shape.dim[1] < 1 || shape.dim[1] > MOST)
        return dram_config_fail(cfg, file, "%s: its %s is %s: a teacher is of square images, of %d to %d pixels",
                                teacher->weights, table, text, DRAM_VIT_PATCH, MOST * DRAM_VIT_PATCH);
    int side = (int)shape.dim[1] * DRAM_VIT_PATCH;
    if (*native && *native != side)
        return dram_config_fail(cfg, key, "it is %d, and %s is of %d (its %s is %s); set it to %d, or to 0", *native,
                                teacher->weights, side, table, text, side);
    if (side != arch->native) *native = side;
    if (*native && cfg->sam_distill.sam_input_size != side)
        dram_info("the teacher of %s was trained on images of %d, and sees them at %d (sam_distill.sam_input_size)",
                  teacher->weights, side, cfg->sam_distill.sam_input_size);
    return DRAM_OK;
}

/* ---- what a run exported ---- */

dram_status dram_weights_load_trained(dram_session *s, const char *file)
{
    static const char *const student[] = {"student"}, *const heads[] = {"neck", "head"};
    char *folder = NULL, *path = NULL;
    dram_status status;
    TRY_GOTO(dram_weights_load(s, file, student, 1, false, ""), done);
    TRY_GOTO(dram_path_folder(file, &folder), done);
    TRY_GOTO(dram_path_join(folder, "heads.safetensors", &path), done);
    status = dram_weights_load(s, path, heads, 2, true, "");
done:
    dram_free(folder);
    dram_free(path);
    return status;
}

/* ---- saving ---- */

typedef struct dram_weights_source {
    dram_session *s;
    int index;
    float *whole; /* a permuted slot, or one of which ranks have shards, in the file's order; NULL: read piecewise */
} source;

static dram_status read_source(void *context, int64_t offset, int64_t count, void *out)
{
    source *from = context;
    const dram_slot *slot = from->s->graphs.slots.at[from->index];
    const bool shard = slot->whole.rank > 0;
    const int64_t n = dram_elements(dram_slot_tensor(slot));
    if (slot->layout == DRAM_LAYOUT_SAME && !shard)
        return dram_slot_read_floats(from->s, from->index, offset, count, out);
    if (offset == 0) {
        float *both = dram_alloc((size_t)n * 2 * sizeof *both);
        if (!both) return dram_fail(DRAM_ERR_MEMORY, "no memory to save %s", slot->name);
        dram_status status = shard ? dram_slot_gather_floats(from->s, from->index, both + n)
                                   : dram_slot_read_floats(from->s, from->index, 0, n, both + n);
        if (status != DRAM_OK) {
            dram_free(both);
            return status;
        }
        dram_to_file_order(slot, 4, both + n, both);
        from->whole = both;
    }
    memcpy(out, from->whole + offset, (size_t)count * 4);
    if (offset + count == n) {
        dram_free(from->whole);
        from->whole = NULL;
    }
    return DRAM_OK;
}

static dram_st_dtype stored_as(dram_precision precision)
{
    if (precision == DRAM_PRECISION_FP16) return DRAM_ST_F16;
    return precision == DRAM_PRECISION_BF16 ? DRAM_ST_BF16 : DRAM_ST_F32;
}

static void describe(dram_st_out *out, const dram_slot *slot, const char *name, dram_precision precision, source *from)
{
    dram_shape shape = dram_file_shape(slot);
    *out = (dram_st_out){
        .name = name, .dtype = stored_as(precision), .rank = shape.rank, .source = read_source, .context = from};
    memcpy(out->dim, shape.dim, (size_t)shape.rank * sizeof shape.dim[0]);
}

void dram_weights_list_free(dram_weights_list *list)
{
    for (int i = 0; list->from && i < list->n; i++) dram_free(list->from[i].whole);
    dram_free(list->out);
    dram_free(list->from);
    dram_free(list->names);
    *list = (dram_weights_list){0};
}

dram_status dram_weights_list_groups(dram_session *s, const char *path, const char *const *groups, int n,
                                     bool with_group, dram_precision precision, dram_weights_list *list)
{
    const dram_slots *slots = &s->graphs.slots;
    weight_file f = {.s = s, .path = path, .groups = groups, .n_groups = n, .with_group = with_group};
    size_t room = (size_t)slots->n * 2 + 1;
    *list = (dram_weights_list){.out = dram_calloc(room, sizeof *list->out),
                                .from = dram_calloc(room, sizeof *list->from),
                                .names = dram_alloc(room * NAME_SIZE)};
    if (!list->out || !list->from || !list->names) return dram_fail(DRAM_ERR_MEMORY, "no memory to save %s", path);
    set_arch(&f, false);
    for (int i = 0; i < slots->n; i++) {
        if (!in_groups(&f, slots->at[i])) continue;
        char *name = list->names + (size_t)list->n * NAME_SIZE;
        file_name(&f, slots->at[i], name);
        list->from[list->n] = (source){.s = s, .index = i};
        describe(&list->out[list->n], slots->at[i], name, precision, &list->from[list->n]);
        list->n++;
        char *counter = list->names + (size_t)list->n * NAME_SIZE;
        if (!dram_names_bn_counter(name, counter, NAME_SIZE)) continue;
        list->out[list->n++] =
            (dram_st_out){.name = counter, .dtype = DRAM_ST_I64, .rank = 0, .data = counter_of(s, slots->at[i])};
    }
    return DRAM_OK;
}

dram_status dram_weights_save(dram_session *s, const char *path, const char *const *groups, int n, bool with_group,
                              dram_precision precision)
{
    dram_weights_list list;
    dram_status status = dram_weights_list_groups(s, path, groups, n, with_group, precision, &list);
    if (status == DRAM_OK) status = dram_st_write(path, list.out, list.n, NULL, 0);
    dram_weights_list_free(&list);
    return status;
}

dram_status dram_weights_size(dram_session *s, const char *path, const char *const *groups, int n, bool with_group,
                              dram_precision precision, int64_t *bytes)
{
    dram_weights_list list;
    dram_status status = dram_weights_list_groups(s, path, groups, n, with_group, precision, &list);
    if (status == DRAM_OK) status = dram_st_size(path, list.out, list.n, bytes);
    dram_weights_list_free(&list);
    return status;
}
