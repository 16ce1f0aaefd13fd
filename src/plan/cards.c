/* What data sheets say of cards. */
#include <string.h>

#include "plan/roofline.h"

/* TFLOP/s in 16 bits (dense, fp32 sums), TFLOP/s in fp32 (no tensor cores), GB/s, GB/s of the link, GB.
 *
 * h200, h100 (SXM): NVIDIA's data sheets "H200 Tensor Core GPU" and "H100 Tensor Core GPU"; what they give for 16 bits
 * is with sparsity, twice of this. a100 (SXM, 80 GB): data sheet "A100 80GB".
 * 4090: whitepaper "NVIDIA Ada GPU Architecture", appendix A. 3070: whitepaper "NVIDIA Ampere GA102 GPU Architecture",
 * appendix. 4060, 3060 (12 GB): product pages: cores x 2 x boost clock; 16 bits twice of it, the ratio that both
 * whitepapers have for GeForce cards when sums are in fp32.
 * The link is PCIe's rate one way, by generation and lanes: 5 x16, 4 x16, and 4 x8 for the 4060. */
#define CARD_LIST(X)                                                                                                   \
    X("h200", "H200 SXM, 141 GB", 989.4, 66.9, 4800, 64, 141)                                                          \
    X("h100", "H100 SXM, 80 GB", 989.4, 66.9, 3350, 64, 80)                                                            \
    X("a100", "A100 SXM, 80 GB", 311.9, 19.5, 2039, 32, 80)                                                            \
    X("4090", "GeForce RTX 4090, 24 GB", 165.2, 82.6, 1008, 32, 24)                                                    \
    X("4060", "GeForce RTX 4060, 8 GB", 30.2, 15.1, 272, 16, 8)                                                        \
    X("3070", "GeForce RTX 3070, 8 GB", 40.6, 20.3, 448, 32, 8)                                                        \
    X("3060", "GeForce RTX 3060, 12 GB", 25.4, 12.7, 360, 32, 12)

static const dram_card cards[] = {
#define X(NAME, TITLE, LOW, FP32, BANDWIDTH, LINK, MEMORY)                                                             \
    {.name = NAME,                                                                                                     \
     .title = TITLE,                                                                                                   \
     .gpu = true,                                                                                                      \
     .flops_low = (LOW)*1e12,                                                                                          \
     .flops_fp32 = (FP32)*1e12,                                                                                        \
     .bandwidth = (BANDWIDTH)*1e9,                                                                                     \
     .link = (LINK)*1e9,                                                                                               \
     .memory_bytes = (int64_t)(MEMORY)*1000000000},
    CARD_LIST(X)
#undef X
};
enum { CARDS = sizeof cards / sizeof cards[0] };

const dram_card *dram_card_find(const char *name)
{
    for (int i = 0; i < CARDS; i++)
        if (strcmp(cards[i].name, name) == 0) return &cards[i];
    return NULL;
}

void dram_card_names(dram_str *text)
{
    for (int i = 0; i < CARDS; i++) dram_str_add(text, "%s%s", i ? ", " : "", cards[i].name);
}
