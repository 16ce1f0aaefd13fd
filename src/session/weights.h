/* weights: from random numbers and safetensors files into the slots of a session, and back.
 *
 * Files keep PyTorch's layout and the names of the group's architecture (timm's; a SAM encoder may also have Meta's or
 * Hugging Face's names). Every tensor must be there, in its shape, and no other may be: the error lists the names.
 */
#ifndef DRAM_SESSION_WEIGHTS_H
#define DRAM_SESSION_WEIGHTS_H

#include "io/safetensors.h"
#include "session/session.h"

/* The side of the images that the teacher's weights are of: what sam_distill.teacher.native_size says, else what the
 * table of positions in its file says, as far as a file can be opened and that differs from model_type's own; 0: that.
 * DRAM_ERR_CONFIG: the two differ, or the table is of no square. A file that cannot be opened is no error here. */
dram_status dram_weights_native(const dram_config *cfg, int *native);

/* Fills every slot as its `init` says; numbers come from (seed, group and name), so that no weight depends on which
 * others there are. The teacher's come from sam_distill.teacher.seed. */
dram_status dram_weights_draw(dram_session *session);

/* A mean of weights begins as what it is a mean of, which is there already. */
dram_status dram_weights_begin_mean(dram_session *session);

/* Loads the files that the config names: the teacher's weights and the student's trunk, as far as the session has slots
 * of them; for training, neck and task head, as far as session and file have them. A task head of other classes stays
 * drawn. DRAM_ERR_CONFIG: the file of heads has nothing that the session has. */
dram_status dram_weights_load_config(dram_session *session);

/* Says in the log what trunk, neck and head began from, where the config says more of it than student.weights. */
void dram_weights_tell(const dram_session *session);

bool dram_weights_has(const dram_session *session, const char *group);

/* Loads the groups of groups[0..n) ("student", "neck", ...) from a file. With more than one group, or with_group, names
 * in the file are GROUP.NAME. `where` is put before errors about the file ("run.yaml:9:3: student.weights: ", or
 * ""). */
dram_status dram_weights_load(dram_session *session, const char *file, const char *const *groups, int n,
                              bool with_group, const char *where);

/* Loads groups from a file with names GROUP.NAME, which may have others of neck, head and sr beside them. */
dram_status dram_weights_load_parts(dram_session *session, const char *file, const char *const *groups, int n);

/* The same file held open, compared but not loaded: an export moves weights alone and takes no memory for them. `file` and
 * `session` outlive it. *out is the caller's, NULL after a failure to open. dram_weights_read is a dram_slot_reader but
 * for its first argument: fp32, in the slot's order; DRAM_ERR_FORMAT: a number is not finite. */
typedef struct dram_weights_file dram_weights_file;
dram_status dram_weights_open(dram_session *session, const char *file, const char *const *groups, int n,
                              bool with_group, dram_weights_file **out);
dram_status dram_weights_read(const dram_weights_file *from, int slot, int64_t at, int64_t count, float *out);
void dram_weights_close(dram_weights_file *file); /* NULL is allowed */

/* Loads a file of a checkpoint, or, without `load`, holds its names and shapes against the session's slots, which need
 * not be there yet. Tensors of a neck or head that the session has not are passed over: their loss was switched off. */
dram_status dram_weights_resume(dram_session *session, const char *file, const char *const *groups, int n,
                                bool with_group, bool load);

/* Loads what a run exports: the student from `file`, neck and head from heads.safetensors beside it. */
dram_status dram_weights_load_trained(dram_session *session, const char *file);

/* Takes from the front of all names what wrappers of a network put there: "module.", "model.". */
void dram_weights_unwrap(dram_st *file);

/* Slots as tensors of a file that is written, with the names that dram_weights_load reads, timm's for a trunk; they are read
 * from the session as the file is written. `path` is for errors. *list is to be freed whatever is returned. */
typedef struct {
    dram_st_out *out; /* [n] */
    int n;
    struct dram_weights_source *from;
    char *names;
} dram_weights_list;
dram_status dram_weights_list_groups(dram_session *session, const char *path, const char *const *groups, int n,
                                     bool with_group, dram_precision precision, dram_weights_list *list);
void dram_weights_list_free(dram_weights_list *list); /* leaves {0} */

/* Writes the slots of the groups with the names that dram_weights_load reads, stored as `precision` says. Tensors of
 * which ranks have shards are asked of them (session/slot_floats.h). */
dram_status dram_weights_save(dram_session *session, const char *file, const char *const *groups, int n,
                              bool with_group, dram_precision precision);

/* Bytes of the file that dram_weights_save writes. The session need not be started. */
dram_status dram_weights_size(dram_session *session, const char *file, const char *const *groups, int n,
                              bool with_group, dram_precision precision, int64_t *bytes);

#endif
