/* choices: an open-addressed table of what the libraries were told to do. */
#include "kernels/cuda/choices.h"

#include <string.h>

extern "C" {
#include "base/alloc.h"
}

enum { FIRST_SIZE = 64 }; /* a power of two, like every later size */

struct dram_cuda_choices {
    dram_cuda_choice **at; /* [size], NULL where nothing is */
    int size, n;
    int last; /* where the latest new one is */
};

/* FNV-1a over whole numbers. */
static int first_place(const dram_cuda_problem *problem, int size)
{
    int64_t number;
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t at = 0; at < sizeof *problem; at += sizeof number) {
        memcpy(&number, (const char *)problem + at, sizeof number);
        hash = (hash ^ (uint64_t)number) * 0x100000001b3u;
    }
    return (int)((hash ^ hash >> 32) & (uint64_t)(size - 1));
}

/* Where the problem is, or the empty place where it would be. */
static int place(dram_cuda_choice *const *at, int size, const dram_cuda_problem *problem)
{
    int i = first_place(problem, size);
    while (at[i] && memcmp(&at[i]->problem, problem, sizeof *problem) != 0) i = (i + 1) & (size - 1);
    return i;
}

static dram_status grow(dram_cuda_choices *choices)
{
    int size = choices->size ? 2 * choices->size : FIRST_SIZE;
    dram_cuda_choice **at = (dram_cuda_choice **)dram_calloc((size_t)size, sizeof *at);
    if (!at) return dram_fail(DRAM_ERR_MEMORY, "out of memory for the choices of CUDA's libraries");
    for (int i = 0; i < choices->size; i++)
        if (choices->at[i]) at[place(at, size, &choices->at[i]->problem)] = choices->at[i];
    dram_free(choices->at);
    choices->at = at;
    choices->size = size;
    return DRAM_OK;
}

static void free_choice(dram_cuda_choice *c, const dram_cuda_libraries *libs)
{
    if (c->product) libs->cublasLt_MatmulDescDestroy(c->product);
    if (c->a) libs->cublasLt_MatrixLayoutDestroy(c->a);
    if (c->b) libs->cublasLt_MatrixLayoutDestroy(c->b);
    if (c->c) libs->cublasLt_MatrixLayoutDestroy(c->c);
    if (c->conv) libs->cudnn_DestroyConvolutionDescriptor(c->conv);
    if (c->x) libs->cudnn_DestroyTensorDescriptor(c->x);
    if (c->y) libs->cudnn_DestroyTensorDescriptor(c->y);
    if (c->w) libs->cudnn_DestroyFilterDescriptor(c->w);
    dram_free(c);
}

extern "C" dram_status dram_cuda_choices_open(dram_cuda_choices **out)
{
    *out = (dram_cuda_choices *)dram_calloc(1, sizeof **out);
    if (!*out) return dram_fail(DRAM_ERR_MEMORY, "out of memory for the choices of CUDA's libraries");
    dram_status status = grow(*out);
    if (status != DRAM_OK) {
        dram_free(*out);
        *out = NULL;
    }
    return status;
}

extern "C" void dram_cuda_choices_close(dram_cuda_choices *choices, const dram_cuda_libraries *libs)
{
    if (!choices) return;
    for (int i = 0; i < choices->size; i++)
        if (choices->at[i]) free_choice(choices->at[i], libs);
    dram_free(choices->at);
    dram_free(choices);
}

extern "C" dram_status dram_cuda_choices_find(dram_cuda_choices *choices, const dram_cuda_problem *problem,
                                              dram_cuda_choice **choice, int *fresh)
{
    int i = place(choices->at, choices->size, problem);
    *fresh = !choices->at[i];
    if (*fresh) {
        if (2 * (choices->n + 1) > choices->size) {
            TRY(grow(choices));
            i = place(choices->at, choices->size, problem);
        }
        dram_cuda_choice *c = (dram_cuda_choice *)dram_calloc(1, sizeof *c);
        if (!c) return dram_fail(DRAM_ERR_MEMORY, "out of memory for the choices of CUDA's libraries");
        c->problem = *problem;
        choices->at[i] = c;
        choices->last = i;
        choices->n++;
    }
    *choice = choices->at[i];
    return DRAM_OK;
}

/* It was the last to come, so no other was put further along because of it. */
extern "C" void dram_cuda_choices_drop(dram_cuda_choices *choices, const dram_cuda_libraries *libs)
{
    free_choice(choices->at[choices->last], libs);
    choices->at[choices->last] = NULL;
    choices->n--;
}
