/* op_list: every op of dram, one row each; those that join several ranks are in collective_list.h.
 *
 * The rules of an op (shape, gradient, FLOPs, workspace) are functions named after it in src/ops/<family>.c, its
 * kernels in kernels/<device>/<family>.*, its test in tests/ops/<family>.c. A row without them does not build.
 *
 * Types. f32, bf16 and f16 are the float types. An op of images or tokens takes x in any of them and gives y in the
 * same; matrix weights (of conv2d, linear) have the type of x, and a frozen linear's bias may have it. Always f32: other
 * biases, norm weights, statistics, relative positions, lse, and every gradient of a weight (wgrad, bias_grad,
 * sum_batch, dgamma, ...). dgrad and the like have the type of dy, an acc that of the output. Losses, their masks, and
 * the update are f32 alone. Arithmetic is fp32 throughout.
 *
 *   saved    bit i: the gradient reads input i / output i. Nothing else of the forward is kept for it.
 *   alias    bit i: output 0 may take over the bytes of input i, if that is its last reader.
 *   updates  one digit an output: the input whose bytes that output always takes over (a weight, say), or '-'.
 *   grad     1: differentiable. 0: its outputs never carry a gradient.
 *   trait    what a pass may do with a node of it:
 *              PLAIN    It runs again where its whole block does, and nowhere else.
 *              CHEAP    A norm, an activation or a gate. Its output is made again rather than kept, unless an optional
 *                       input was given (a residual, which would be kept in its place).
 *              PRODUCT  A matrix product. Its output is made again where a schedule says so.
 *              ONCE     It never runs again: it makes the statistics of a batch, or overwrites something.
 *              UPDATE   It is a part of the update and moves up to right behind the last node that it needs.
 *   queue    the queue it runs on (ir/graph.h).
 *   many     1: a GPU has a kernel for many nodes of it in one call (dram_cuda_many_NAME). They come by the hundred
 *            and are small.
 *   time     the attributes that its time depends on, beside types and shapes (dram_node_timed): SHAPES: none;
 *            CONV: stride, pad, groups; HEADS: heads, window; ACT: act; MODE: mode.
 */
#ifndef DRAM_IR_OP_LIST_H
#define DRAM_IR_OP_LIST_H

#include "ir/collective_list.h"

/* clang-format off */
/*    name                  in    out saved       alias  updates grad trait  queue    many time */
#define DRAM_OP_LIST(X) \
    /* image: u8 [N,H,W,3], valid i32 [N,2] (h, w) -> [N,H,W,3]: (x - mean) / std inside the valid part, 0 outside. \
       attr: mean, std, dtype */ \
    X(image_norm,           2, 2, 1, 0x000, 0x0, 0x000, "-",    0, CHEAP,   COMPUTE, 0, SHAPES) \
    /* x [N,H,W,I], w [O,kh,kw,I/groups], b [O]? -> [N,Ho,Wo,O]. attr: stride, pad, groups */ \
    X(conv2d,               2, 3, 1, 0x003, 0x0, 0x000, "-",    1, PRODUCT, COMPUTE, 0, CONV) \
    /* dy, w, acc? -> dx = conv^T(dy) (+ acc). attr: as conv2d, out_h out_w = H W of x */ \
    X(conv2d_dgrad,         2, 3, 1, 0x000, 0x0, 0x004, "-",    0, PLAIN,   COMPUTE, 0, CONV) \
    /* x, dy -> dw; out_h out_w = kh kw */ \
    X(conv2d_wgrad,         2, 2, 1, 0x000, 0x0, 0x000, "-",    0, PLAIN,   COMPUTE, 0, CONV) \
    /* x [...,I], w [O,I] (or a 1x1 convolution's [O,1,1,I]), b [O]? -> [...,O]. attr: act, NONE or GELU: of the result as it \
       is stored, rounded, so that it is the gelu node's to the bit. With it, or with a b of 16 bits, there is no gradient. */ \
    X(linear,               2, 3, 1, 0x003, 0x0, 0x000, "-",    1, PRODUCT, COMPUTE, 0, ACT) \
    /* dy, w, acc? -> dx = dy w (+ acc) */ \
    X(linear_dgrad,         2, 3, 1, 0x000, 0x0, 0x004, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* x, dy -> dw [O,I], or [O,1,1,I] when attr.out_h = out_w = 1 */ \
    X(linear_wgrad,         2, 2, 1, 0x000, 0x0, 0x000, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* dy [...,C], acc [C]? -> [C]: sum over all but the last dimension (+ acc) */ \
    X(bias_grad,            1, 2, 1, 0x000, 0x0, 0x002, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* x [...,C] -> mean [C], var [C] (biased) over all but the last dimension, fp32. Its gradient is bn_apply's. */ \
    X(bn_stats,             1, 1, 2, 0x000, 0x0, 0x000, "--",   0, ONCE,    COMPUTE, 0, SHAPES) \
    /* mean, var, running mean, running var -> the running ones, moved by attr.momentum; var unbiased by attr.scale = n/(n-1) */ \
    X(bn_running,           4, 4, 2, 0x000, 0x0, 0x000, "23",   0, ONCE,    COMPUTE, 0, SHAPES) \
    /* x, mean, var, gamma, beta, residual? -> act(gamma (x - mean) / sqrt(var + eps) + beta + residual). attr: eps, act, \
       batch_stats. The mask of the activation is recomputed from x; with a residual it is read from the output. */ \
    X(bn_apply,             5, 6, 1, 0x01f, 0x1, 0x021, "-",    1, CHEAP,   COMPUTE, 0, ACT) \
    /* x, mean, var, gamma, beta, dy -> dgamma, dbeta, dy first masked by the activation. attr: eps, act */ \
    X(bn_reduce,            6, 6, 2, 0x000, 0x0, 0x000, "--",   0, PLAIN,   COMPUTE, 0, ACT) \
    /* x, mean, var, gamma, beta, dy, dgamma?, dbeta? (read with batch_stats) -> dx. attr: eps, act, batch_stats */ \
    X(bn_dgrad,             6, 8, 1, 0x000, 0x0, 0x021, "-",    0, PLAIN,   COMPUTE, 0, ACT) \
    /* x -> x as attr.dtype: f32, f16 or bf16, rounded to nearest even. A gradient that has the input's type already (that \
       of a weight, always f32) passes as it is. */ \
    X(cast,                 1, 1, 1, 0x000, 0x0, 0x000, "-",    1, PLAIN,   COMPUTE, 0, SHAPES) \
    /* x [N,...] -> [n,...]: images first .. first + count. attr: first, count = n */ \
    X(batch_slice,          1, 1, 1, 0x000, 0x0, 0x000, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* x [n,...], acc [N,...]? -> [N,...]: acc (zeros without one) with x as its images from attr.first on. attr: first, \
       count = N */ \
    X(batch_put,            1, 2, 1, 0x000, 0x0, 0x002, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* x [N,H,W,C] -> [N,out_h,out_w,C]: the corner at the top left. attr: out_h, out_w */ \
    X(crop,                 1, 1, 1, 0x000, 0x0, 0x000, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* x -> the same bytes in the device's space: a host slot on its way through the arena */ \
    X(copy,                 1, 1, 1, 0x000, 0x0, 0x000, "-",    0, PLAIN,   COPY,    0, SHAPES) \
    X(relu,                 1, 1, 1, 0x000, 0x1, 0x001, "-",    1, PLAIN,   COMPUTE, 0, SHAPES) \
    /* y, dy -> dy where y > 0 */ \
    X(relu_grad,            2, 2, 1, 0x000, 0x0, 0x003, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* exact (erf) GELU */ \
    X(gelu,                 1, 1, 1, 0x001, 0x0, 0x001, "-",    1, CHEAP,   COMPUTE, 0, SHAPES) \
    /* x, dy -> dx */ \
    X(gelu_grad,            2, 2, 1, 0x000, 0x0, 0x003, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    X(sigmoid,              1, 1, 1, 0x000, 0x1, 0x001, "-",    1, PLAIN,   COMPUTE, 0, SHAPES) \
    /* y, dy -> dx */ \
    X(sigmoid_grad,         2, 2, 1, 0x000, 0x0, 0x003, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* a [N,...], b [N,...] or [1,...] -> a + b */ \
    X(add,                  2, 2, 1, 0x000, 0x0, 0x003, "-",    1, PLAIN,   COMPUTE, 0, SHAPES) \
    /* x [N,...] -> [1,...]: sum over the batch */ \
    X(sum_batch,            1, 1, 1, 0x000, 0x0, 0x000, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* x -> attr.scale x */ \
    X(scale,                1, 1, 1, 0x000, 0x0, 0x001, "-",    1, PLAIN,   COMPUTE, 0, SHAPES) \
    /* x, s f32 [1], for which there is no gradient -> s x */ \
    X(scale_by,             2, 2, 1, 0x002, 0x0, 0x001, "-",    1, PLAIN,   COMPUTE, 0, SHAPES) \
    /* -> scalar [1] = attr.scale */ \
    X(fill,                 0, 0, 1, 0x000, 0x0, 0x000, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* scalars -> [1] = sum of attr.weight[i] in[i] */ \
    X(weighted_sum,         1, 8, 1, 0x000, 0x0, 0x000, "-",    1, PLAIN,   COMPUTE, 0, SHAPES) \
    /* x [N,H,W,C] -> [N,C]: mean over the image */ \
    X(avgpool,              1, 1, 1, 0x000, 0x0, 0x000, "-",    1, PLAIN,   COMPUTE, 0, SHAPES) \
    /* dy [N,C], acc [N,H,W,C]? -> [N,H,W,C] = dy / (H W) (+ acc). attr: out_h, out_w */ \
    X(avgpool_grad,         1, 2, 1, 0x000, 0x0, 0x002, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* x [N,H,W,C], s [N,C] -> x s */ \
    X(scale_channels,       2, 2, 1, 0x003, 0x0, 0x001, "-",    1, CHEAP,   COMPUTE, 0, SHAPES) \
    /* x, dy -> ds [N,C] = sum over the image of x dy */ \
    X(scale_channels_sgrad, 2, 2, 1, 0x000, 0x0, 0x000, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* x [...,C], gamma [C], beta [C] -> y. attr: eps. The gradient recomputes mean and rstd from x. */ \
    X(layernorm,            3, 3, 1, 0x003, 0x0, 0x001, "-",    1, CHEAP,   COMPUTE, 0, SHAPES) \
    /* x, gamma, dy, acc? -> dx (+ acc), dgamma, dbeta */ \
    X(layernorm_grad,       3, 4, 3, 0x000, 0x0, 0x00d, "---",  0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* SAM's attention. qkv [N,H,W,3D] (q, k, v; each h x d), rel_h [2S-1,d], rel_w [2S-1,d] (S = window, or H and W), \
       bias [3D] -> out [N,H,W,D], lse f32 [N,h,H,W]. attr: heads, window, rounded. Windows that reach over the edge hold padding \
       tokens whose q, k, v are the bias; they are keys like any other. No L x L tensor, no bias tensor. */ \
    X(attention,            4, 4, 2, 0x00f, 0x3, 0x000, "--",   1, PRODUCT, COMPUTE, 0, HEADS) \
    /* qkv, rel_h, rel_w, bias, out, lse, dout -> dqkv, drel_h, drel_w, dbias (what the padding tokens' k and v receive) */ \
    X(attention_grad,       7, 7, 4, 0x000, 0x0, 0x000, "----", 0, PLAIN,   COMPUTE, 0, HEADS) \
    /* x [N,H,W,C] -> [N,out_h,out_w,C]. attr: mode, out_h, out_w */ \
    X(resize,               1, 1, 1, 0x000, 0x0, 0x000, "-",    1, PLAIN,   COMPUTE, 0, MODE) \
    /* dy [N,h,w,C], acc? -> dx [N,out_h,out_w,C] (+ acc); out_h out_w = size of x */ \
    X(resize_grad,          1, 2, 1, 0x000, 0x0, 0x002, "-",    0, PLAIN,   COMPUTE, 0, MODE) \
    /* s [N,H,W,C], t [N,H,W,C], mask f32 [N,H,W] (1 valid, 0 padding) -> [1]: (1/N) sum_n (sum_hw m e) / (sum_hw m), where e \
       is the mean over C of (s-t)^2, or of Huber (delta 1), or 1 - cos(s, t). An image with no valid cell counts 0. \
       attr: mode */ \
    X(embed_loss,           3, 3, 1, 0x007, 0x0, 0x000, "-",    1, PLAIN,   COMPUTE, 0, MODE) \
    /* s, t, mask, dloss [1], acc? -> ds (+ acc). The loss is symmetric: swap s and t for dt. */ \
    X(embed_loss_grad,      4, 5, 1, 0x000, 0x0, 0x010, "-",    0, PLAIN,   COMPUTE, 0, MODE) \
    /* s, t [N,H,W,C], mask f32 [N,H,W] (0 padding) -> [1]: channel-wise distillation (Shu et al. 2021). For each image and \
       channel p_s and p_t are softmaxes of s/T and t/T over the valid cells; T^2 KL(p_t || p_s), mean over channels and \
       images. An image with no valid cell counts 0. No gradient for t. attr: scale = T */ \
    X(cwd_loss,             3, 3, 1, 0x007, 0x0, 0x000, "-",    1, PLAIN,   COMPUTE, 0, SHAPES) \
    /* s, t, mask, dloss [1], acc? -> ds (+ acc) */ \
    X(cwd_loss_grad,        4, 5, 1, 0x000, 0x0, 0x010, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* x [N,H,W,C], mask f32 [N,H,W] (0 padding) -> mean [C], var [C] (biased) over the valid cells of the batch; 0 and 1 \
       where there is none */ \
    X(channel_stats,        2, 2, 2, 0x000, 0x0, 0x000, "--",   0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* x [...,C], mean [C], var [C], for which there is no gradient -> (x - mean) / sqrt(var + eps). attr: eps */ \
    X(standardize,          3, 3, 1, 0x004, 0x0, 0x001, "-",    1, PLAIN,   COMPUTE, 0, SHAPES) \
    /* dy, var -> dy / sqrt(var + eps). attr: eps */ \
    X(standardize_grad,     2, 2, 1, 0x000, 0x0, 0x001, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* logits [N,h,w,K], labels u8 [N,H,W], count f32 [1] -> [1]: sum over labelled pixels of the cross-entropy of the \
       logits upsampled bilinearly to [H,W], divided by count (valid pixels of the whole effective batch). attr: ignore */ \
    X(cross_entropy,        3, 3, 1, 0x007, 0x0, 0x000, "-",    1, PLAIN,   COMPUTE, 0, SHAPES) \
    /* logits, labels, count, dloss [1] -> dlogits */ \
    X(cross_entropy_grad,   4, 4, 1, 0x000, 0x0, 0x000, "-",    0, PLAIN,   COMPUTE, 0, SHAPES) \
    /* g, or u8 [8k], the squares of rank_shard; acc [1]? -> [1]: sum of squares (+ acc), in fp64 inside */ \
    X(sumsq,                1, 2, 1, 0x000, 0x0, 0x000, "-",    0, UPDATE,  COMPUTE, 0, SHAPES) \
    /* sum of squares [1], unscale f32 [1]? -> [2]: the norm times unscale, and the factor unscale min(1, clip / (norm + \
       1e-6)) that gradients are multiplied with (no clipping when attr.clip is 0; 0 when the norm is not finite, so that such a gradient \
       never reaches a weight). unscale takes the loss scale out again; 1 without it. */ \
    X(clip_factor,          1, 2, 1, 0x000, 0x0, 0x000, "-",    0, UPDATE,  COMPUTE, 0, SHAPES) \
    /* w, g, m, v, hyper [4] (lr, 1/(1-beta1^t), 1/(1-beta2^t), -), clip [2] -> w, m, v. attr: beta1, beta2, eps, decay. \
       A clip factor of 0 leaves all three as they are. m and v are f32 like w, or both 8 bits an element by blocks: u8 \
       [dram_state8_bytes(elements)], codes then f32 maxima (base/state8.h). With attr.ranks moments are this rank's shard, \
       [c] or of c elements, c = dram_rank_shard of w's; its part of w alone is new. Then g is like w, or the shard [c]. */ \
    X(adamw,                6, 6, 3, 0x000, 0x0, 0x000, "023",  0, UPDATE,  COMPUTE, 1, SHAPES) \
    /* w, g, m, hyper [4] (lr, ...), clip [2] -> w, m. attr: momentum, decay. m = momentum m + g + decay w; w -= lr m. With \
       attr.ranks as adamw */ \
    X(sgd,                  5, 5, 2, 0x000, 0x0, 0x000, "02",   0, UPDATE,  COMPUTE, 1, SHAPES) \
    /* acc, g -> acc + g: a micro-batch's gradient joins those before it */ \
    X(accumulate,           2, 2, 1, 0x000, 0x0, 0x000, "0",    0, UPDATE,  COMPUTE, 1, SHAPES) \
    /* m, w, hyper [4] (.., .., .., r), clip [2] -> m + r (w - m), and w itself where r is 1: an exponential mean of a weight. \
       A clip factor of 0 leaves m as it is. */ \
    X(weight_mean,          4, 4, 1, 0x000, 0x0, 0x000, "0",    0, UPDATE,  COMPUTE, 1, SHAPES) \
    /* x -> zeros in its place */ \
    X(clear,                1, 1, 1, 0x000, 0x0, 0x000, "0",    0, ONCE,    COMPUTE, 1, SHAPES) \
    /* x f32 of n elements -> [c]: this rank's shard, c = dram_rank_shard(n, ranks), zeros beyond n; u8 [8k]: what sumsq adds \
       up of all of x, k = ceil(n / 8192) fp64. attr: ranks */ \
    X(rank_shard,           1, 1, 2, 0x000, 0x0, 0x000, "--",   0, UPDATE,  COMPUTE, 0, SHAPES) \
    /* means [N,C], variances [N,C] (biased), counts [N,1]? -> mean [C], var [C] of all, in fp64 inside, rank after rank; \
       without counts all have as many; 0 and 1 where none has any */ \
    X(bn_merge,             2, 3, 2, 0x000, 0x0, 0x000, "--",   0, ONCE,    COMPUTE, 0, SHAPES) \
    /* x f32 [N,...] -> [...]: 0 + x[0] + x[1] + ..., one after the other, as slots that are accumulated from zeros. What a \
       sum in rank order runs */ \
    X(rank_sum,             1, 1, 1, 0x000, 0x0, 0x000, "-",    0, PLAIN,   COMPUTE, 0, SHAPES)
/* clang-format on */

typedef enum {
#define X(NAME, ...) DRAM_OP_##NAME,
    DRAM_OP_LIST(X) DRAM_COLLECTIVE_LIST(X)
#undef X
        DRAM_OP_COUNT
} dram_op;

/* Those of DRAM_OP_LIST, the first ones: each has a kernel. */
enum {
#define X(...) +1
    DRAM_KERNEL_COUNT = DRAM_OP_LIST(X)
#undef X
};

#endif
