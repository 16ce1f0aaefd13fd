/* cublaslt: cuBLASLt on the simulated GPU: slow, sums in double precision (CUDASIM_SUMS=fp32:
 * in single, term by term), and particular.
 *
 * It refuses what the real one refuses, by the same status; what the real one would not notice (an address that is less
 * aligned than the heuristic was told, an algorithm used for another problem, too small a workspace) is a fault. The
 * heuristic offers more than it was asked for: algorithms that will not do come first. */
#include <cublasLt.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"

struct cublasLtContext {
    int open;
};
struct cudasim_matmul_desc {
    cublasComputeType_t compute;
    cudaDataType scale;
    int32_t turn_a, turn_b;
    uint32_t epilogue;
    const void *bias;
};
struct cudasim_matrix_layout {
    cudaDataType type;
    uint64_t rows, cols;
    int64_t ld;
};
struct cudasim_matmul_preference {
    uint64_t workspace;
    uint32_t schemes, align[4]; /* of A, B, C, D */
};

unsigned long long cudasim_heuristics_asked;

bool cudasim_libraries(const char *how)
{
    const char *asked = getenv("CUDASIM_LIBRARIES");
    if (!asked || !*asked) return false;
    if (strcmp(asked, "none") && strcmp(asked, "poor") && strcmp(asked, "refuse") && strcmp(asked, "fail"))
        cudasim_fault("CUDASIM_LIBRARIES is \"%s\": none, poor, refuse or fail", asked);
    return !strcmp(asked, how);
}

bool cudasim_sums_in_fp32()
{
    const char *asked = getenv("CUDASIM_SUMS");
    if (!asked || !*asked || !strcmp(asked, "double")) return false;
    if (strcmp(asked, "fp32")) cudasim_fault("CUDASIM_SUMS is \"%s\": double or fp32", asked);
    return true;
}

double cudasim_noise()
{
    static int calls;
    return 1.0 + 0.125 * (++calls % 7);
}

extern "C" unsigned long long cudasim_heuristics(void)
{
    return cudasim_heuristics_asked;
}

namespace
{

constexpr uint64_t MAGIC = 0x6375626c61734c74u;
constexpr uint32_t ID = 66; /* of every algorithm */

/* What an algorithm was made for, in the words of cublasLtMatmulAlgo_t. */
struct algorithm {
    uint64_t magic;
    uint32_t scheme, noisy;
    uint64_t workspace, problem;
    uint32_t align[4];
    uint32_t bias_align, unused[3];
};
static_assert(sizeof(algorithm) == sizeof(cublasLtMatmulAlgo_t), "an algorithm fills its words");

bool number_of(cudaDataType type, cudasim_number *number)
{
    *number = type == CUDA_R_32F ? CUDASIM_F32 : type == CUDA_R_16F ? CUDASIM_F16 : CUDASIM_BF16;
    return type == CUDA_R_32F || type == CUDA_R_16F || type == CUDA_R_16BF;
}

uint32_t alignment(const void *pointer)
{
    uint32_t align = 1;
    while (align < 256 && reinterpret_cast<uintptr_t>(pointer) % (2 * align) == 0) align *= 2;
    return align;
}

void mix(uint64_t *hash, uint64_t word)
{
    *hash = (*hash ^ word) * 0x100000001b3u;
}

uint64_t problem_of(const cudasim_matmul_desc *d, const cudasim_matrix_layout *const m[4])
{
    uint64_t hash = 0xcbf29ce484222325u;
    mix(&hash, (uint64_t)d->turn_a | (uint64_t)d->turn_b << 8 | (uint64_t)d->epilogue << 16);
    for (int i = 0; i < 4; i++) {
        mix(&hash, (uint64_t)m[i]->type);
        mix(&hash, m[i]->rows);
        mix(&hash, m[i]->cols);
        mix(&hash, (uint64_t)m[i]->ld);
    }
    return hash;
}

/* Whether this product can be done at all. */
cublasStatus_t check(const cudasim_matmul_desc *d, const cudasim_matrix_layout *const m[4])
{
    if (!d || !m[0] || !m[1] || !m[2] || !m[3]) return CUBLAS_STATUS_INVALID_VALUE;
    for (int i = 0; i < 4; i++) /* column-major: a column has `rows` numbers */
        if (m[i]->rows < 1 || m[i]->cols < 1 || m[i]->ld < (int64_t)m[i]->rows) return CUBLAS_STATUS_INVALID_VALUE;
    uint64_t rows = d->turn_a ? m[0]->cols : m[0]->rows, k = d->turn_a ? m[0]->rows : m[0]->cols;
    uint64_t cols = d->turn_b ? m[1]->rows : m[1]->cols, k_b = d->turn_b ? m[1]->cols : m[1]->rows;
    if (k != k_b || m[3]->rows != rows || m[3]->cols != cols || m[2]->rows != rows || m[2]->cols != cols)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (d->compute != CUBLAS_COMPUTE_32F || d->scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (m[0]->type != m[1]->type || m[2]->type != m[3]->type) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (m[3]->type != m[0]->type && m[3]->type != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (d->epilogue != CUBLASLT_EPILOGUE_DEFAULT && d->epilogue != CUBLASLT_EPILOGUE_BIAS)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

struct product {
    cudasim_matmul_desc d;
    cudasim_matrix_layout a, b, c;
    float alpha, beta;
    const void *at_a, *at_b, *at_c;
    void *at_d;
    algorithm algo;
    void *workspace;
};

void run(const product &p)
{
    cudasim_number in, out;
    number_of(p.a.type, &in);
    number_of(p.c.type, &out);
    const bool narrow = cudasim_sums_in_fp32();
    int64_t k_all = (int64_t)(p.d.turn_a ? p.a.rows : p.a.cols);
    int64_t a_row = p.d.turn_a ? p.a.ld : 1, a_k = p.d.turn_a ? 1 : p.a.ld;
    int64_t b_col = p.d.turn_b ? 1 : p.b.ld, b_k = p.d.turn_b ? p.b.ld : 1;
    if (p.algo.workspace) memset(p.workspace, 0xa5, p.algo.workspace);
    for (int64_t col = 0; col < (int64_t)p.c.cols; col++)
        for (int64_t row = 0; row < (int64_t)p.c.rows; row++) {
            double sum = p.algo.noisy ? cudasim_noise() : 0.0;
            for (int64_t k = 0; k < k_all; k++) {
                sum +=
                    cudasim_load(p.at_a, in, row * a_row + k * a_k) * cudasim_load(p.at_b, in, col * b_col + k * b_k);
                if (narrow) sum = (double)(float)sum;
            }
            sum *= (double)p.alpha;
            if (p.beta != 0.0f) sum += (double)p.beta * cudasim_load(p.at_c, out, col * p.c.ld + row);
            if (p.d.epilogue == CUBLASLT_EPILOGUE_BIAS) sum += cudasim_load(p.d.bias, out, row);
            cudasim_store(p.at_d, out, col * p.c.ld + row, sum);
        }
}

void check_aligned(const char *what, const void *pointer, uint32_t align)
{
    if (alignment(pointer) < align)
        cudasim_fault("cublasLtMatmul: %s is aligned to %u bytes; the algorithm was chosen for %u", what,
                      alignment(pointer), align);
}

template <typename T> cublasStatus_t make(T **out, const T &value)
{
    if (!out) return CUBLAS_STATUS_INVALID_VALUE;
    *out = new T(value);
    return CUBLAS_STATUS_SUCCESS;
}

} // namespace

extern "C" const char *cublasLtGetStatusString(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS:
        return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED:
        return "the library was not initialized";
    case CUBLAS_STATUS_ALLOC_FAILED:
        return "the resource allocation failed";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_ARCH_MISMATCH:
        return "the function requires a feature absent from the device architecture";
    case CUBLAS_STATUS_EXECUTION_FAILED:
        return "the function failed to launch on the GPU";
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return "the functionality requested is not supported";
    }
    return "unknown";
}

extern "C" cublasStatus_t cublasLtCreate(cublasLtHandle_t *lightHandle)
{
    static const char key = 0;
    if (cudasim_occupy(&key, "CUDASIM_LIBRARY") != cudaSuccess) return CUBLAS_STATUS_ALLOC_FAILED;
    return make(lightHandle, cublasLtContext{1});
}
extern "C" cublasStatus_t cublasLtDestroy(cublasLtHandle_t lightHandle)
{
    delete lightHandle;
    return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *matmulDesc, cublasComputeType_t computeType,
                                                   cudaDataType scaleType)
{
    return make(matmulDesc, cudasim_matmul_desc{computeType, scaleType, 0, 0, CUBLASLT_EPILOGUE_DEFAULT, nullptr});
}
extern "C" cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t matmulDesc)
{
    delete matmulDesc;
    return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t matmulDesc,
                                                         cublasLtMatmulDescAttributes_t attr, const void *buf,
                                                         size_t sizeInBytes)
{
    void *to = nullptr;
    size_t bytes = 4;
    if (!matmulDesc || !buf) return CUBLAS_STATUS_INVALID_VALUE;
    if (attr == CUBLASLT_MATMUL_DESC_TRANSA) to = &matmulDesc->turn_a;
    if (attr == CUBLASLT_MATMUL_DESC_TRANSB) to = &matmulDesc->turn_b;
    if (attr == CUBLASLT_MATMUL_DESC_EPILOGUE) to = &matmulDesc->epilogue;
    if (attr == CUBLASLT_MATMUL_DESC_BIAS_POINTER) to = &matmulDesc->bias, bytes = sizeof(void *);
    if (!to || sizeInBytes != bytes) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, buf, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *matLayout, cudaDataType type,
                                                     uint64_t rows, uint64_t cols, int64_t ld)
{
    cudasim_number number;
    if (!number_of(type, &number)) return CUBLAS_STATUS_INVALID_VALUE;
    return make(matLayout, cudasim_matrix_layout{type, rows, cols, ld});
}
extern "C" cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t matLayout)
{
    delete matLayout;
    return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *pref)
{
    return make(pref, cudasim_matmul_preference{0, CUBLASLT_REDUCTION_SCHEME_MASK, {256, 256, 256, 256}});
}
extern "C" cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t pref)
{
    delete pref;
    return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref,
                                                               cublasLtMatmulPreferenceAttributes_t attr,
                                                               const void *buf, size_t sizeInBytes)
{
    if (!pref || !buf) return CUBLAS_STATUS_INVALID_VALUE;
    if (attr == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
        if (sizeInBytes != sizeof pref->workspace) return CUBLAS_STATUS_INVALID_VALUE;
        memcpy(&pref->workspace, buf, sizeInBytes);
        return CUBLAS_STATUS_SUCCESS;
    }
    uint32_t value;
    if (sizeInBytes != sizeof value) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(&value, buf, sizeof value);
    if (attr == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) {
        pref->schemes = value;
    } else {
        if (value < 1 || (value & (value - 1))) return CUBLAS_STATUS_INVALID_VALUE;
        pref->align[attr - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES] = value;
    }
    return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t lightHandle,
                                                         cublasLtMatmulDesc_t operationDesc,
                                                         cublasLtMatrixLayout_t Adesc, cublasLtMatrixLayout_t Bdesc,
                                                         cublasLtMatrixLayout_t Cdesc, cublasLtMatrixLayout_t Ddesc,
                                                         cublasLtMatmulPreference_t preference, int requestedAlgoCount,
                                                         cublasLtMatmulHeuristicResult_t heuristicResultsArray[],
                                                         int *returnAlgoCount)
{
    const cudasim_matrix_layout *const layouts[4] = {Adesc, Bdesc, Cdesc, Ddesc};
    if (!lightHandle) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!preference || requestedAlgoCount < 1) return CUBLAS_STATUS_INVALID_VALUE;
    cublasStatus_t status = check(operationDesc, layouts);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    cudasim_heuristics_asked++;
    uint64_t small = preference->workspace < 4096 ? preference->workspace : 4096;
    const struct {
        cublasStatus_t state;
        uint32_t scheme;
        uint64_t workspace;
    } offers[] = {{CUBLAS_STATUS_NOT_SUPPORTED, CUBLASLT_REDUCTION_SCHEME_NONE, 0},
                  {CUBLAS_STATUS_SUCCESS, CUBLASLT_REDUCTION_SCHEME_INPLACE, small},
                  {CUBLAS_STATUS_SUCCESS, CUBLASLT_REDUCTION_SCHEME_NONE, preference->workspace + 1},
                  {CUBLAS_STATUS_SUCCESS, CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE, small},
                  {CUBLAS_STATUS_SUCCESS, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, small},
                  {CUBLAS_STATUS_SUCCESS, CUBLASLT_REDUCTION_SCHEME_NONE, 0}};
    int n = 0;
    for (const auto &offer : offers) {
        if (n == requestedAlgoCount || cudasim_libraries("none")) break;
        if (cudasim_libraries("poor") && (offer.scheme == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE || !offer.workspace) &&
            offer.state == CUBLAS_STATUS_SUCCESS)
            continue;
        algorithm algo = {};
        algo.magic = MAGIC;
        algo.scheme = offer.scheme;
        algo.noisy = offer.scheme & (CUBLASLT_REDUCTION_SCHEME_INPLACE | CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE);
        algo.workspace = offer.workspace;
        algo.problem = problem_of(operationDesc, layouts);
        memcpy(algo.align, preference->align, sizeof algo.align);
        if (operationDesc->epilogue == CUBLASLT_EPILOGUE_BIAS) algo.bias_align = alignment(operationDesc->bias);
        cublasLtMatmulHeuristicResult_t *result = &heuristicResultsArray[n++];
        memset(result, 0xff, sizeof *result);
        result->state = offer.state;
        if (offer.state != CUBLAS_STATUS_SUCCESS) continue;
        memcpy(&result->algo, &algo, sizeof algo);
        result->workspaceSize = offer.workspace;
        result->wavesCount = 1.0f;
    }
    *returnAlgoCount = n;
    return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo,
                                                               cublasLtMatmulAlgoConfigAttributes_t attr, void *buf,
                                                               size_t sizeInBytes, size_t *sizeWritten)
{
    algorithm a;
    if (!algo || !buf || sizeInBytes != sizeof a.scheme) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(&a, algo, sizeof a);
    if (a.magic != MAGIC) cudasim_fault("cublasLtMatmulAlgoConfigGetAttribute: of no algorithm");
    uint32_t value = a.scheme;
    if (attr == CUBLASLT_ALGO_CONFIG_ID) value = ID;
    if (attr == CUBLASLT_ALGO_CONFIG_TILE_ID || attr == CUBLASLT_ALGO_CONFIG_STAGES_ID) value = 0; /* undefined */
    if (attr == CUBLASLT_ALGO_CONFIG_SPLITK_NUM) value = a.scheme == CUBLASLT_REDUCTION_SCHEME_NONE ? 1 : 2;
    memcpy(buf, &value, sizeof value);
    if (sizeWritten) *sizeWritten = sizeof value;
    return CUBLAS_STATUS_SUCCESS;
}

extern "C" cublasStatus_t cublasLtMatmul(cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t computeDesc,
                                         const void *alpha, const void *A, cublasLtMatrixLayout_t Adesc, const void *B,
                                         cublasLtMatrixLayout_t Bdesc, const void *beta, const void *C,
                                         cublasLtMatrixLayout_t Cdesc, void *D, cublasLtMatrixLayout_t Ddesc,
                                         const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspaceSizeInBytes,
                                         cudaStream_t stream)
{
    const cudasim_matrix_layout *const layouts[4] = {Adesc, Bdesc, Cdesc, Ddesc};
    if (!lightHandle) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!alpha || !beta || !A || !B || !C || !D || !algo) return CUBLAS_STATUS_INVALID_VALUE;
    cublasStatus_t status = check(computeDesc, layouts);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    product p = {*computeDesc, *Adesc, *Bdesc, *Cdesc, 0, 0, A, B, C, D, {}, workspace};
    memcpy(&p.alpha, alpha, sizeof p.alpha);
    memcpy(&p.beta, beta, sizeof p.beta);
    memcpy(&p.algo, algo, sizeof p.algo);
    if (p.algo.magic != MAGIC) cudasim_fault("cublasLtMatmul: no algorithm of this library");
    if (p.algo.problem != problem_of(computeDesc, layouts))
        cudasim_fault("cublasLtMatmul: the algorithm was chosen for another product");
    if (p.algo.workspace > workspaceSizeInBytes || (p.algo.workspace && !workspace))
        cudasim_fault("cublasLtMatmul: a workspace of %zu bytes where the algorithm takes %llu", workspaceSizeInBytes,
                      (unsigned long long)p.algo.workspace);
    if (p.algo.workspace) check_aligned("the workspace", workspace, 16);
    check_aligned("A", A, p.algo.align[0]);
    check_aligned("B", B, p.algo.align[1]);
    if (p.beta != 0.0f) check_aligned("C", C, p.algo.align[2]);
    check_aligned("D", D, p.algo.align[3]);
    if (Cdesc->ld != Ddesc->ld) cudasim_fault("cublasLtMatmul: C and D have other leading dimensions");
    if (p.d.epilogue == CUBLASLT_EPILOGUE_BIAS) {
        if (!p.d.bias) return CUBLAS_STATUS_INVALID_VALUE;
        check_aligned("the bias", p.d.bias, p.algo.bias_align);
    }
    if (cudasim_libraries("refuse")) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (cudasim_libraries("fail")) return CUBLAS_STATUS_EXECUTION_FAILED;
    cudasim_enqueue(stream, "cublasLtMatmul", [p] { run(p); });
    return CUBLAS_STATUS_SUCCESS;
}
