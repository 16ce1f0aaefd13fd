/* The rules of all ops as one table. */
#include "ops/rules.h"

static const dram_rules *const rules[DRAM_OP_COUNT] = {
#define X(NAME, ...) [DRAM_OP_##NAME] = &dram_rules_##NAME,
    DRAM_OP_LIST(X) DRAM_COLLECTIVE_LIST(X)
#undef X
};

void dram_ops_init(void)
{
    dram_op_rules = rules;
}
