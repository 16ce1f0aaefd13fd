/* mma: tensor cores and asynchronous copies, for GPUs from compute capability 8.0 on.
 *
 * Warp-wide functions: all 32 lanes come together. Fragments are those of the PTX ISA for m16n8k16. With g = lane / 4
 * and t = lane % 4, a register holding two numbers, the lower half first:
 *
 *     A [16, 16]  a[0]: row g, columns 2t, 2t+1   a[1]: row g + 8   a[2], a[3]: the same 8 columns on
 *     B [16, 8]   b0: rows 2t, 2t+1 of column g   b1: the same 8 rows on
 *     C [16, 8]   c[0], c[1]: row g, columns 2t, 2t+1   c[2], c[3]: row g + 8
 *
 * The real side is PTX. The simulated side has the same layout; its copies land when they are waited for and leave junk
 * until then, and its products lose what a tensor core may lose (Fasi et al., "Numerical behavior of NVIDIA tensor
 * cores", 2021): all terms are cut at the last bit but one of the largest, and so is the sum.
 */
#ifndef DRAM_KERNELS_CUDA_MMA_CUH
#define DRAM_KERNELS_CUDA_MMA_CUH

#include <type_traits>

#include "kernels/cuda/cuda.cuh"

/* Before a loop: all of its rounds in a row, so that arrays indexed by its counter stay in registers; a number of its
 * rounds in a row; and the loop as it stands. Before a function that has such arrays: into its caller. */
#ifdef DRAM_CUDA_SIM
#define DRAM_UNROLL
#define DRAM_UNROLL_BY(ROUNDS)
#define DRAM_INLINE inline
#else
#define DRAM_INLINE __forceinline__
#define DRAM_PRAGMA(...) _Pragma(#__VA_ARGS__)
#define DRAM_UNROLL _Pragma("unroll")
#define DRAM_UNROLL_BY(ROUNDS) DRAM_PRAGMA(unroll(ROUNDS))
#endif
#define DRAM_ROLLED DRAM_UNROLL_BY(1)

#ifdef DRAM_CUDA_SIM
#include <vector>

struct dram_sim_row {
    uint16_t at[8];
};

/* Lane l brings row l % 8 of matrix l / 8. */
static inline void dram_sim_rows(const void *row, dram_sim_row (&all)[32])
{
    cudasim_aligned(row, 16);
    dram_sim_row mine;
    memcpy(&mine, row, sizeof mine);
    cudasim_warp_gather(mine, all);
}

/* 2^(exponent of x + shift), for a normal x. */
static inline double dram_sim_power(double x, int shift)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = ((bits >> 52 & 0x7ff) + (uint64_t)(int64_t)shift) << 52;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* c + the sum of n exact products, as a tensor core adds. */
static inline float dram_sim_add(const double *products, int n, float c)
{
    double largest = fabs((double)c), plain = c;
    for (int i = 0; i < n; i++) {
        double size = fabs(products[i]);
        largest = size > largest ? size : largest;
        plain += products[i];
    }
    if (!isfinite(plain) || largest < 0x1p-100) return (float)plain;
    double last = dram_sim_power(largest, -24), units = 1 / last;
    int64_t whole = (int64_t)(c * units); /* each below 2^25: a conversion truncates faster than trunc() */
    for (int i = 0; i < n; i++) whole += (int64_t)(products[i] * units);
    if (whole == 0) return 0;
    double sum = (double)whole, cut = dram_sim_power(sum, -23);
    return (float)(trunc(sum / cut) * cut * last);
}

template <typename T> static inline float dram_sim_half(uint32_t pair, int which)
{
    return dram_float(T{(uint16_t)(which ? pair >> 16 : pair)});
}

/* A thread's copies that have not been waited for. */
struct dram_sim_copies {
    struct copy {
        void *to;
        unsigned char bytes[16];
        uint64_t group;
    };
    uint64_t block, open; /* the group that the next commit closes */
    std::vector<copy> flying;
};

inline dram_sim_copies &dram_sim_copies_here() /* one for all files */
{
    static std::vector<dram_sim_copies> &all = *new std::vector<dram_sim_copies>(1024);
    static uint64_t blocks = 0;
    DRAM_SHARED(uint64_t, block, [1]); /* junk when a block begins */
    if (block[0] == ~(uint64_t)0) block[0] = blocks++;
    dram_sim_copies &mine = all[threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)];
    if (mine.block != block[0] && !mine.flying.empty())
        cudasim_fault("a thread ended with %zu asynchronous copies that nobody has waited for", mine.flying.size());
    if (mine.block != block[0]) mine.open = 0;
    mine.block = block[0];
    return mine;
}
#endif

/* threadIdx.x, read where it stands: neither it nor what is worked out from it takes registers over the loops around. */
__device__ static inline int dram_thread_again()
{
#ifdef DRAM_CUDA_SIM
    return (int)threadIdx.x;
#else
    int x;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(x));
    return x;
#endif
}

/* x, kept as it is in a register, and not what it was worked out from. */
__device__ static inline int dram_kept(int x)
{
#ifndef DRAM_CUDA_SIM
    asm volatile("" : "+r"(x));
#endif
    return x;
}

/* ---- pairs of numbers in a register ---- */

template <typename T> __device__ static inline uint32_t dram_pair(float low, float high);
template <> __device__ inline uint32_t dram_pair<dram_bf16>(float low, float high)
{
#ifdef DRAM_CUDA_SIM
    return dram_f32_to_bf16(low) | (uint32_t)dram_f32_to_bf16(high) << 16;
#else
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#endif
}
template <> __device__ inline uint32_t dram_pair<dram_f16>(float low, float high)
{
#ifdef DRAM_CUDA_SIM
    return dram_f32_to_f16(low) | (uint32_t)dram_f32_to_f16(high) << 16;
#else
    uint32_t pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#endif
}

template <typename T> __device__ static inline float dram_low(uint32_t pair)
{
    return dram_float(T{(uint16_t)pair});
}
template <typename T> __device__ static inline float dram_high(uint32_t pair)
{
    return dram_float(T{(uint16_t)(pair >> 16)});
}

/* 2^x: ex2.approx, within 2 units in the last place; results below 2^-126 are 0. */
__device__ static inline float dram_exp2(float x)
{
#ifdef DRAM_CUDA_SIM
    return x < -126 ? 0 : exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

/* ---- matrices of shared memory to registers ---- */

/* Four 8 x 8 matrices of 2-byte numbers, lane l giving the address of row l % 8 of matrix l / 8, 16-byte aligned. Each
 * lane receives of matrix i columns 2t, 2t+1 of row g. */
__device__ static inline void dram_load_matrices(uint32_t (&to)[4], const void *row)
{
#ifdef DRAM_CUDA_SIM
    dram_sim_row all[32];
    dram_sim_rows(row, all);
    int g = cudasim_lane() / 4, t = cudasim_lane() % 4;
    for (int i = 0; i < 4; i++) {
        const dram_sim_row &from = all[8 * i + g];
        to[i] = from.at[2 * t] | (uint32_t)from.at[2 * t + 1] << 16;
    }
#else
    uint32_t address = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
#endif
}

/* The same, transposed: of matrix i rows 2t, 2t+1 of column g. */
__device__ static inline void dram_load_transposed(uint32_t (&to)[4], const void *row)
{
#ifdef DRAM_CUDA_SIM
    dram_sim_row all[32];
    dram_sim_rows(row, all);
    int g = cudasim_lane() / 4, t = cudasim_lane() % 4;
    for (int i = 0; i < 4; i++) to[i] = all[8 * i + 2 * t].at[g] | (uint32_t)all[8 * i + 2 * t + 1].at[g] << 16;
#else
    uint32_t address = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
#endif
}

/* ---- products ---- */

/* c += a b, m16n8k16, sums in fp32. T: dram_bf16 or dram_f16. */
template <typename T>
__device__ static inline void dram_mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
#ifdef DRAM_CUDA_SIM
    struct fragments {
        float a[4][2], b[2][2];
    } mine, all[32];
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 2; k++) mine.a[i][k] = dram_sim_half<T>(a[i], k);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++) mine.b[i][k] = dram_sim_half<T>(b[i], k);
    cudasim_warp_gather(mine, all);
    int g = cudasim_lane() / 4, t = cudasim_lane() % 4;
    for (int e = 0; e < 4; e++) {
        int column = 2 * t + e % 2;
        double products[16];
        for (int k = 0; k < 16; k++) {
            int within = k % 8 / 2, upper = k / 8;
            products[k] = (double)all[4 * g + within].a[2 * upper + e / 2][k % 2] *
                          (double)all[4 * column + within].b[upper][k % 2];
        }
        c[e] = dram_sim_add(products, 16, c[e]);
    }
#else
    static_assert(std::is_same<T, dram_bf16>::value || std::is_same<T, dram_f16>::value, "2-byte floats");
    if constexpr (std::is_same<T, dram_bf16>::value)
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/* ---- asynchronous copies ---- */

/* 16 bytes of device memory to shared memory, both aligned to it; zeros and nothing read unless `take`. They are there
 * for this thread after dram_copy_wait, for others after a barrier more. */
__device__ static inline void dram_copy16(void *to, const void *from, bool take)
{
#ifdef DRAM_CUDA_SIM
    cudasim_aligned(to, 16);
    cudasim_aligned(from, 16);
    dram_sim_copies &mine = dram_sim_copies_here();
    dram_sim_copies::copy copy = {to, {0}, mine.open};
    if (take) memcpy(copy.bytes, from, 16);
    memset(to, 0xff, 16);
    mine.flying.push_back(copy);
#else
    uint32_t address = (uint32_t)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(take ? 16 : 0)
                 : "memory");
#endif
}

/* Closes the group of the copies since the last commit. */
__device__ static inline void dram_copy_commit()
{
#ifdef DRAM_CUDA_SIM
    dram_sim_copies_here().open++;
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* Waits until at most the last PENDING groups of this thread are under way. */
template <int PENDING> __device__ static inline void dram_copy_wait()
{
#ifdef DRAM_CUDA_SIM
    dram_sim_copies &mine = dram_sim_copies_here();
    size_t left = 0;
    for (const dram_sim_copies::copy &copy : mine.flying) {
        if (copy.group + PENDING < mine.open)
            memcpy(copy.to, copy.bytes, 16);
        else
            mine.flying[left++] = copy;
    }
    mine.flying.resize(left);
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

#endif
