#include "kernels/cuda/say.h"

#include <stdarg.h>
#include <stdio.h>

extern "C" {
#include "base/log.h"
}

static const char *name(int64_t dtype)
{
    return dram_dtype_name((dram_dtype)dtype);
}

/* What the problem is, as its kernel numbers it: product.cu, and problem_of() of conv.cu. */
static void describe(const dram_cuda_problem *p, char *text, size_t size)
{
    static const char *const kinds[] = {"product", "conv2d", "conv2d_dgrad", "conv2d_wgrad"};
    const int64_t *v = p->number;
    const char *kind = kinds[p->kind % DRAM_CHOICE_OWN];
    int n;
    if (p->kind == DRAM_CHOICE_PRODUCT)
        n = snprintf(text, size, "%s m %lld, n %lld, k %lld%s%s%s%s", kind, (long long)v[0], (long long)v[1],
                     (long long)v[2], v[3] ? ", a transposed" : "", v[4] ? ", b transposed" : "",
                     p->align[4] ? ", with a bias" : "", p->align[2] ? ", added to" : "");
    else
        n = snprintf(text, size,
                     "%s %lldx%lldx%lldx%lld to %lldx%lldx%lld by %lldx%lld, stride %lld, pad %lld, groups %lld%s",
                     kind, (long long)v[0], (long long)v[1], (long long)v[2], (long long)v[3], (long long)v[4],
                     (long long)v[5], (long long)v[6], (long long)v[7], (long long)v[8], (long long)v[9],
                     (long long)v[10], (long long)v[11], v[12] ? ", with a bias" : "");
    if (n < 0 || (size_t)n >= size) return;
    n += snprintf(text + n, size - (size_t)n, ", %s to %s", name(p->in), name(p->out));
    for (int i = 0; i < DRAM_CHOICE_POINTERS && (size_t)n < size; i++)
        if (p->align[i])
            n += snprintf(text + n, size - (size_t)n, "%s %lld", i ? "" : ", aligned", (long long)p->align[i]);
    if ((size_t)n < size) snprintf(text + n, size - (size_t)n, ", workspace %lld", (long long)p->workspace_bytes);
}

void dram_cuda_say(const dram_cuda_context *context, const dram_cuda_problem *problem, const char *format, ...)
{
    char text[DRAM_CUDA_TEXT], what[DRAM_CUDA_TEXT];
    va_list list;
    if (!context->says) return;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    describe(problem, text, sizeof text);
    dram_info("cuda: %s: %s", text, what);
}

void dram_cuda_say_refused(const dram_cuda_problem *problem, const char *by)
{
    char text[DRAM_CUDA_TEXT];
    describe(problem, text, sizeof text);
    dram_warn("cuda: %s: the library offered an algorithm and does not run it (%s): dram's own kernel does", text, by);
}

const char *dram_cuda_dnn_text(const dram_cuda_libraries *libs, cudnnStatus_t error, char text[DRAM_CUDA_TEXT])
{
    char more[DRAM_CUDA_TEXT / 2] = "";
    libs->cudnn_GetLastErrorString(more, sizeof more);
    snprintf(text, DRAM_CUDA_TEXT, "%s%s%s", libs->cudnn_GetErrorString(error), *more ? ": " : "", more);
    return text;
}
