/* say: which library or which of dram's own kernels takes a problem, in a line, and what a library says when it fails.
 * C++. */
#ifndef DRAM_KERNELS_CUDA_SAY_H
#define DRAM_KERNELS_CUDA_SAY_H

#include "kernels/cuda/choices.h"

/* One line of the log on what became of a problem, where the context says (DRAM_CUDA_SAY=1). For the first time that it
 * is met. */
void dram_cuda_say(const dram_cuda_context *context, const dram_cuda_problem *problem, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A warning: a library offered an algorithm for this problem and then would not run it. */
void dram_cuda_say_refused(const dram_cuda_problem *problem, const char *by);

/* What cuDNN says of a status and of its last failure, in `text`. */
enum { DRAM_CUDA_TEXT = 512 };
const char *dram_cuda_dnn_text(const dram_cuda_libraries *libs, cudnnStatus_t error, char text[DRAM_CUDA_TEXT]);

#endif
