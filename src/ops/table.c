/* The rules of all ops as one table. */
#include <pthread.h>

#include "ops/rules.h"

static const dram_rules *const rules[DRAM_OP_COUNT] = {
#define X(NAME, ...) [DRAM_OP_##NAME] = &dram_rules_##NAME,
    DRAM_OP_LIST(X) DRAM_COLLECTIVE_LIST(X)
#undef X
};

static void install(void)
{
    dram_op_rules = rules;
}

/* Threads that plan side by side each call it. */
void dram_ops_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
}
