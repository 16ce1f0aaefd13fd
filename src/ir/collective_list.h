/* collective_list: the ops that join all ranks, one row each, with the columns of op_list.h.
 *
 * They have rules (src/ops/collective.c) and no kernels: a device is given what carries them out
 * (device/collective.h). N is attr.ranks, at least 2; a program of one rank has none of them. They have no gradient:
 * they stand behind the backward, in the update, or in a teacher that carries none.
 */
#ifndef DRAM_IR_COLLECTIVE_LIST_H
#define DRAM_IR_COLLECTIVE_LIST_H

/* clang-format off */
/*    name                  in    out saved       alias  updates grad trait  queue    many time */
#define DRAM_COLLECTIVE_LIST(X) \
    /* x f32 -> the sum over ranks. attr: ranks; mode, a dram_reduce_mode. ORDERED: 0 + x of rank 0 + x of rank 1 ..., in a \
       workspace of dram_rank_workspace elements (base/ranks.h); FAST: as the library adds, without one */ \
    X(all_reduce,           1, 1, 1, 0x000, 0x0, 0x001, "-",    0, ONCE,    COMM,    0, MODE) \
    /* the same, in place: of a slot */ \
    X(all_reduce_into,      1, 1, 1, 0x000, 0x0, 0x000, "0",    0, ONCE,    COMM,    0, MODE) \
    /* x f32 of n elements -> [c]: this rank's shard of the sum, c = dram_rank_shard(n, N); zeros beyond n. attr: ranks, mode. \
       ORDERED: a workspace of N c elements */ \
    X(reduce_scatter,       1, 1, 1, 0x000, 0x0, 0x000, "-",    0, ONCE,    COMM,    0, MODE) \
    /* shard [c] of any type -> [first,out_h,out_w,count], of which zeros are left out: the shards of all ranks one after \
       another, c = dram_rank_shard of its elements; what reaches beyond them is dropped. attr: ranks, the dims */ \
    X(all_gather,           1, 1, 1, 0x000, 0x0, 0x000, "-",    0, ONCE,    COMM,    0, SHAPES) \
    /* w f32, of which this rank's shard is new -> w, all of it new. attr: ranks */ \
    X(all_gather_into,      1, 1, 1, 0x000, 0x0, 0x000, "0",    0, ONCE,    COMM,    0, SHAPES) \
    /* x f32 [C] -> [N,C], in rank order. attr: ranks */ \
    X(gather_ranks,         1, 1, 1, 0x000, 0x0, 0x000, "-",    0, ONCE,    COMM,    0, SHAPES)
/* clang-format on */

#endif
