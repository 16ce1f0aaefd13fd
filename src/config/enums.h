/* enums: the words a config may use where only some words are allowed. One list each: the C name and the YAML word. */
#ifndef DRAM_CONFIG_ENUMS_H
#define DRAM_CONFIG_ENUMS_H

#include "base/distance.h"

#define DRAM_RUN_DEVICE_LIST(X)                                                                                        \
    X(DRAM_RUN_DEVICE_AUTO, "auto")                                                                                    \
    X(DRAM_RUN_DEVICE_CPU, "cpu")                                                                                      \
    X(DRAM_RUN_DEVICE_CUDA, "cuda")

#define DRAM_DATA_CHECK_LIST(X)                                                                                        \
    X(DRAM_DATA_CHECK_AUTO, "auto")                                                                                    \
    X(DRAM_DATA_CHECK_FULL, "full")                                                                                    \
    X(DRAM_DATA_CHECK_HEADERS, "headers")                                                                              \
    X(DRAM_DATA_CHECK_NONE, "none")

#define DRAM_ON_BAD_LIST(X)                                                                                            \
    X(DRAM_ON_BAD_SKIP, "skip")                                                                                        \
    X(DRAM_ON_BAD_STOP, "stop")

#define DRAM_ORIENTATION_LIST(X)                                                                                       \
    X(DRAM_ORIENTATION_EXIF, "exif")                                                                                   \
    X(DRAM_ORIENTATION_STORED, "stored")

#define DRAM_PRECISION_LIST(X)                                                                                         \
    X(DRAM_PRECISION_FP32, "fp32")                                                                                     \
    X(DRAM_PRECISION_BF16, "bf16")                                                                                     \
    X(DRAM_PRECISION_FP16, "fp16")

#define DRAM_PLACEMENT_LIST(X)                                                                                         \
    X(DRAM_PLACEMENT_DEVICE, "device")                                                                                 \
    X(DRAM_PLACEMENT_STREAM, "stream")                                                                                 \
    X(DRAM_PLACEMENT_SHARD, "shard")                                                                                   \
    X(DRAM_PLACEMENT_HOST, "host")

#define DRAM_TRAINABLE_LIST(X)                                                                                         \
    X(DRAM_TRAINABLE_ALL, "all")                                                                                       \
    X(DRAM_TRAINABLE_HEADS, "heads")

#define DRAM_BETWEEN_LIST(X)                                                                                           \
    X(DRAM_BETWEEN_NONE, "none")                                                                                       \
    X(DRAM_BETWEEN_REUSE, "reuse")

#define DRAM_RESOLUTION_TARGET_LIST(X)                                                                                 \
    X(DRAM_RESOLUTION_NOW, "now")                                                                                      \
    X(DRAM_RESOLUTION_MEAN, "mean")

#define DRAM_CACHE_FORMAT_LIST(X)                                                                                      \
    X(DRAM_CACHE_FORMAT_FP16, "fp16")                                                                                  \
    X(DRAM_CACHE_FORMAT_INT8, "int8")

#define DRAM_TASK_LOSS_LIST(X) X(DRAM_TASK_LOSS_CROSS_ENTROPY, "cross_entropy")

#define DRAM_OPTIM_LIST(X)                                                                                             \
    X(DRAM_OPTIM_ADAMW, "adamw")                                                                                       \
    X(DRAM_OPTIM_SGD, "sgd")

#define DRAM_OPTIM_STATE_LIST(X)                                                                                       \
    X(DRAM_OPTIM_STATE_FP32, "fp32")                                                                                   \
    X(DRAM_OPTIM_STATE_INT8, "int8")

#define DRAM_OPTIM_SHARD_LIST(X)                                                                                       \
    X(DRAM_OPTIM_SHARD_NONE, "none")                                                                                   \
    X(DRAM_OPTIM_SHARD_STATE, "state")                                                                                 \
    X(DRAM_OPTIM_SHARD_GRADIENTS, "gradients")

#define DRAM_BATCH_NORM_LIST(X)                                                                                        \
    X(DRAM_BATCH_NORM_SYNC, "sync")                                                                                    \
    X(DRAM_BATCH_NORM_LOCAL, "local")

#define DRAM_FUSED_LIST(X)                                                                                             \
    X(DRAM_FUSED_AUTO, "auto")                                                                                         \
    X(DRAM_FUSED_ON, "on")                                                                                             \
    X(DRAM_FUSED_OFF, "off")

#define DRAM_REDUCE_WORD_LIST(X)                                                                                       \
    X(DRAM_REDUCE_WORD_AUTO, "auto")                                                                                   \
    X(DRAM_REDUCE_WORD_ORDERED, "ordered")                                                                             \
    X(DRAM_REDUCE_WORD_FAST, "fast")

#define DRAM_BACKEND_LIST(X)                                                                                           \
    X(DRAM_BACKEND_AUTO, "auto")                                                                                       \
    X(DRAM_BACKEND_NCCL, "nccl")                                                                                       \
    X(DRAM_BACKEND_MPI, "mpi")

#define DRAM_RENDEZVOUS_LIST(X)                                                                                        \
    X(DRAM_RENDEZVOUS_AUTO, "auto")                                                                                    \
    X(DRAM_RENDEZVOUS_MPI, "mpi")                                                                                      \
    X(DRAM_RENDEZVOUS_ENV, "env")

#define DRAM_SCHEDULE_LIST(X)                                                                                          \
    X(DRAM_SCHEDULE_COSINE, "cosine")                                                                                  \
    X(DRAM_SCHEDULE_CONSTANT, "constant")

#define DRAM_LOSS_SCALE_LIST(X) X(DRAM_LOSS_SCALE_DYNAMIC, "dynamic")

#define DRAM_CHECKPOINT_LIST(X)                                                                                        \
    X(DRAM_CHECKPOINT_NONE, "none")                                                                                    \
    X(DRAM_CHECKPOINT_BLOCKS, "blocks")                                                                                \
    X(DRAM_CHECKPOINT_SQRT, "sqrt")                                                                                    \
    X(DRAM_CHECKPOINT_OPTIMAL, "optimal")

/* Levers of effect "rounding" or "quality"; memory.may_change is a set of them, bit 1u << value. */
#define DRAM_MAY_CHANGE_LIST(X)                                                                                        \
    X(DRAM_MAY_CHANGE_PRECISION, "precision")                                                                          \
    X(DRAM_MAY_CHANGE_ACCUMULATE, "accumulate")                                                                        \
    X(DRAM_MAY_CHANGE_TEACHER_GROUP, "teacher_group")                                                                  \
    X(DRAM_MAY_CHANGE_OPTIM_STATE, "optim_state")                                                                      \
    X(DRAM_MAY_CHANGE_OPTIM_SHARD, "optim_shard")                                                                      \
    X(DRAM_MAY_CHANGE_SAM_INPUT_SIZE, "sam_input_size")                                                                \
    X(DRAM_MAY_CHANGE_MODEL_TYPE, "model_type")                                                                        \
    X(DRAM_MAY_CHANGE_DISTILL_INTERVAL, "distill_interval")                                                            \
    X(DRAM_MAY_CHANGE_SR_TARGET_SCALE, "sr_target_scale")

/* Every list above, with the C type made from it. */
#define DRAM_CONFIG_ENUM_LISTS(X)                                                                                      \
    X(dram_run_device, DRAM_RUN_DEVICE_LIST)                                                                           \
    X(dram_data_check, DRAM_DATA_CHECK_LIST)                                                                           \
    X(dram_on_bad, DRAM_ON_BAD_LIST)                                                                                   \
    X(dram_orientation, DRAM_ORIENTATION_LIST)                                                                         \
    X(dram_precision, DRAM_PRECISION_LIST)                                                                             \
    X(dram_teacher_placement, DRAM_PLACEMENT_LIST)                                                                     \
    X(dram_trainable, DRAM_TRAINABLE_LIST)                                                                             \
    X(dram_between, DRAM_BETWEEN_LIST)                                                                                 \
    X(dram_resolution_target, DRAM_RESOLUTION_TARGET_LIST)                                                             \
    X(dram_cache_format, DRAM_CACHE_FORMAT_LIST)                                                                       \
    X(dram_task_loss, DRAM_TASK_LOSS_LIST)                                                                             \
    X(dram_optim, DRAM_OPTIM_LIST)                                                                                     \
    X(dram_batch_norm, DRAM_BATCH_NORM_LIST)                                                                           \
    X(dram_optim_state, DRAM_OPTIM_STATE_LIST)                                                                         \
    X(dram_optim_shard, DRAM_OPTIM_SHARD_LIST)                                                                         \
    X(dram_fused, DRAM_FUSED_LIST)                                                                                     \
    X(dram_reduce, DRAM_REDUCE_WORD_LIST)                                                                              \
    X(dram_backend, DRAM_BACKEND_LIST)                                                                                 \
    X(dram_rendezvous, DRAM_RENDEZVOUS_LIST)                                                                           \
    X(dram_schedule, DRAM_SCHEDULE_LIST)                                                                               \
    X(dram_loss_scale, DRAM_LOSS_SCALE_LIST)                                                                           \
    X(dram_checkpoint, DRAM_CHECKPOINT_LIST)                                                                           \
    X(dram_may_change, DRAM_MAY_CHANGE_LIST)

#define DRAM_ENUM_ID(ID, WORD) ID,
#define X(TYPE, LIST) typedef enum { LIST(DRAM_ENUM_ID) } TYPE;
DRAM_CONFIG_ENUM_LISTS(X)
#undef X

/* All types whose values are words. */
#define DRAM_ENUM_LISTS(X) DRAM_CONFIG_ENUM_LISTS(X) X(dram_distance, DRAM_DISTANCE_LIST)

#endif
