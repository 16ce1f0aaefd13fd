/* product: see product.h. cuBLASLt is column-major: it is asked for c^T [n,m] = b^T a^T, where each of ours, row by
 * row, is the transposed one of theirs, column by column. Limits: 2 m n k FLOPs; bytes of a, b and c once each. */
#include "kernels/cuda/product.h"

#include "kernels/cuda/choices.h"
#include "kernels/cuda/say.h"

static dram_status check(const dram_kernel_args *args, cublasStatus_t error, const char *what)
{
    if (error == CUBLAS_STATUS_SUCCESS) return DRAM_OK;
    return dram_fail(DRAM_ERR_RUN, "%s: cuBLASLt says: %s", what,
                     dram_context(args)->libs->cublasLt_GetStatusString(error));
}

static cudaDataType_t data_type(dram_dtype dtype)
{
    return dtype == DRAM_F32 ? CUDA_R_32F : dtype == DRAM_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

/* A row-major [rows, columns] as cuBLASLt sees it. */
static dram_status describe_matrix(const dram_kernel_args *args, cublasLtMatrixLayout_t *layout, dram_dtype dtype,
                                   int64_t rows, int64_t columns)
{
    return check(args,
                 dram_context(args)->libs->cublasLt_MatrixLayoutCreate(layout, data_type(dtype), (uint64_t)columns,
                                                                       (uint64_t)rows, columns),
                 "a matrix cannot be described");
}

static dram_status set(const dram_kernel_args *args, dram_cuda_choice *choice, cublasLtMatmulDescAttributes_t name,
                       const void *value, size_t bytes)
{
    return check(args, dram_context(args)->libs->cublasLt_MatmulDescSetAttribute(choice->product, name, value, bytes),
                 "a product cannot be described");
}

static dram_status describe(const dram_kernel_args *args, const dram_cuda_product *p, dram_cuda_choice *choice)
{
    const int32_t turned = CUBLAS_OP_T;
    const uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    TRY(check(args,
              dram_context(args)->libs->cublasLt_MatmulDescCreate(&choice->product, CUBLAS_COMPUTE_32F, CUDA_R_32F),
              "a product cannot be described"));
    if (p->trans_b) TRY(set(args, choice, CUBLASLT_MATMUL_DESC_TRANSA, &turned, sizeof turned));
    if (p->trans_a) TRY(set(args, choice, CUBLASLT_MATMUL_DESC_TRANSB, &turned, sizeof turned));
    if (p->bias) {
        TRY(set(args, choice, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
        TRY(set(args, choice, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof p->bias));
    }
    TRY(describe_matrix(args, &choice->a, p->in, p->trans_a ? p->k : p->m, p->trans_a ? p->m : p->k));
    TRY(describe_matrix(args, &choice->b, p->in, p->trans_b ? p->n : p->k, p->trans_b ? p->k : p->n));
    return describe_matrix(args, &choice->c, p->out, p->m, p->n);
}

enum {
    OFFERS = 16,
    NEVER_SPLIT = CUBLASLT_REDUCTION_SCHEME_NONE,
    SPLIT_IN_FP32 = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE
};

/* Of the offers, how many will not do, by why. */
struct refusals {
    int state, room, scheme;
};

/* Whether an offer will do: it fits the workspace, and where it splits the sum over k, the parts are kept in fp32 and
 * added in one order. */
static bool will_do(const dram_kernel_args *args, const cublasLtMatmulHeuristicResult_t *offer, refusals *refused)
{
    const dram_cuda_libraries *libs = dram_context(args)->libs;
    uint32_t scheme = 0;
    if (offer->state != CUBLAS_STATUS_SUCCESS) {
        refused->state++;
        return false;
    }
    if ((int64_t)offer->workspaceSize > args->workspace_bytes) {
        refused->room++;
        return false;
    }
    bool known = libs->cublasLt_MatmulAlgoConfigGetAttribute(&offer->algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
                                                             &scheme, sizeof scheme, NULL) == CUBLAS_STATUS_SUCCESS;
    if (known && (scheme == NEVER_SPLIT || scheme == SPLIT_IN_FP32)) return true;
    refused->scheme++;
    return false;
}

/* What an algorithm is by one of its numbers, -1 where the library does not tell. */
static int number_of(const dram_kernel_args *args, const dram_cuda_choice *choice,
                     cublasLtMatmulAlgoConfigAttributes_t name)
{
    int32_t number = 0;
    bool known = dram_context(args)->libs->cublasLt_MatmulAlgoConfigGetAttribute(
                     &choice->product_algo, name, &number, sizeof number, NULL) == CUBLAS_STATUS_SUCCESS;
    return known ? number : -1;
}

static void say(const dram_kernel_args *args, const dram_cuda_choice *choice, int n, const refusals *refused)
{
    if (!dram_context(args)->says) return;
    if (choice->possible)
        dram_cuda_say(dram_context(args), &choice->problem,
                      "cuBLASLt's algorithm %d, tile %d, stages %d, split-k %d, %lld bytes; before it of %d offers: %d "
                      "not supported, %d of more workspace, %d that sum otherwise",
                      number_of(args, choice, CUBLASLT_ALGO_CONFIG_ID),
                      number_of(args, choice, CUBLASLT_ALGO_CONFIG_TILE_ID),
                      number_of(args, choice, CUBLASLT_ALGO_CONFIG_STAGES_ID),
                      number_of(args, choice, CUBLASLT_ALGO_CONFIG_SPLITK_NUM), (long long)choice->bytes, n,
                      refused->state, refused->room, refused->scheme);
    else
        dram_cuda_say(
            dram_context(args), &choice->problem,
            "cuBLASLt has nothing that will do; of %d offers: %d not supported, %d of more workspace, %d that "
            "sum otherwise",
            n, refused->state, refused->room, refused->scheme);
}

/* The first that will do is the fastest: they come in that order. */
static void take_first(const dram_kernel_args *args, cublasLtMatmulPreference_t preference, dram_cuda_choice *choice)
{
    const dram_cuda_context *context = dram_context(args);
    cublasLtMatmulHeuristicResult_t offers[OFFERS];
    refusals refused = {};
    int n = 0;
    cublasStatus_t error = context->libs->cublasLt_MatmulAlgoGetHeuristic(
        context->blas, choice->product, choice->b, choice->a, choice->c, choice->c, preference, OFFERS, offers, &n);
    if (error != CUBLAS_STATUS_SUCCESS) {
        dram_cuda_say(context, &choice->problem, "cuBLASLt offers nothing: %s",
                      context->libs->cublasLt_GetStatusString(error));
        return;
    }
    for (int i = 0; i < n && !choice->possible; i++) {
        if (!will_do(args, &offers[i], &refused)) continue;
        choice->possible = 1;
        choice->bytes = (int64_t)offers[i].workspaceSize;
        choice->product_algo = offers[i].algo;
    }
    say(args, choice, n, &refused);
}

static dram_status choose(const dram_kernel_args *args, const dram_cuda_product *p, dram_cuda_choice *choice)
{
    const dram_cuda_libraries *libs = dram_context(args)->libs;
    const int64_t *align = choice->problem.align;
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        uint32_t value;
    } wants[] = {{CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, NEVER_SPLIT | SPLIT_IN_FP32},
                 {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, (uint32_t)align[1]},
                 {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, (uint32_t)align[0]},
                 {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, (uint32_t)(align[2] ? align[2] : align[3])},
                 {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, (uint32_t)align[3]}};
    uint64_t bytes = (uint64_t)args->workspace_bytes;
    cublasLtMatmulPreference_t preference = NULL;
    TRY(describe(args, p, choice));
    TRY(check(args, libs->cublasLt_MatmulPreferenceCreate(&preference), "a product cannot be chosen"));
    cublasStatus_t error = libs->cublasLt_MatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof wants / sizeof *wants && error == CUBLAS_STATUS_SUCCESS; i++)
        error = libs->cublasLt_MatmulPreferenceSetAttribute(preference, wants[i].name, &wants[i].value,
                                                            sizeof wants[i].value);
    if (error == CUBLAS_STATUS_SUCCESS) take_first(args, preference, choice);
    libs->cublasLt_MatmulPreferenceDestroy(preference);
    return check(args, error, "a product cannot be chosen");
}

dram_status dram_cuda_multiply(const dram_kernel_args *args, const dram_cuda_product *p, bool *done)
{
    const dram_cuda_context *context = dram_context(args);
    const float one = 1.0f, beta = p->acc ? 1.0f : 0.0f;
    dram_cuda_choice *choice;
    int fresh;
    dram_cuda_problem problem;
    memset(&problem, 0, sizeof problem);
    problem.kind = DRAM_CHOICE_PRODUCT;
    problem.in = p->in;
    problem.out = p->out;
    problem.number[0] = p->m;
    problem.number[1] = p->n;
    problem.number[2] = p->k;
    problem.number[3] = p->trans_a;
    problem.number[4] = p->trans_b;
    problem.number[5] = p->acc == p->c; /* some algorithms may not write what they read */
    problem.align[0] = dram_cuda_alignment(p->a);
    problem.align[1] = dram_cuda_alignment(p->b);
    problem.align[2] = dram_cuda_alignment(p->acc);
    problem.align[3] = dram_cuda_alignment(p->c);
    problem.align[4] = dram_cuda_alignment(p->bias);
    problem.workspace_bytes = args->workspace_bytes;
    *done = false;
    TRY(dram_cuda_choices_find(context->choices, &problem, &choice, &fresh));
    if (fresh) {
        dram_status status = choose(args, p, choice);
        if (status != DRAM_OK) {
            dram_cuda_choices_drop(context->choices, context->libs);
            return status;
        }
    }
    if (!choice->possible) return DRAM_OK;
    if (p->bias) TRY(set(args, choice, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof p->bias));
    cublasStatus_t error =
        context->libs->cublasLt_Matmul(context->blas, choice->product, &one, p->b, choice->b, p->a, choice->a, &beta,
                                       p->acc ? p->acc : p->c, choice->c, p->c, choice->c, &choice->product_algo,
                                       args->workspace, (size_t)args->workspace_bytes, context->stream);
    *done = error == CUBLAS_STATUS_SUCCESS;
    if (error != CUBLAS_STATUS_NOT_SUPPORTED && error != CUBLAS_STATUS_ARCH_MISMATCH)
        return check(args, error, "a product cannot be run");
    choice->possible = 0;
    dram_cuda_say_refused(&choice->problem, context->libs->cublasLt_GetStatusString(error));
    return DRAM_OK;
}
