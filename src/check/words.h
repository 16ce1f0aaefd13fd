/* words: what sentences about some files share. Private to src/check. */
#ifndef DRAM_CHECK_WORDS_H
#define DRAM_CHECK_WORDS_H

#include "check/check.h"

/* "x", or "xs" of more than one. */
#define S(N) (N) == 1 ? "" : "s"

/* Before the name of one of them. */
#define FIRST(N) (N) == 1 ? "" : "the first: "

#endif
