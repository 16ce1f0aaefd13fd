/* Sweep files read, for tests of src/sweep. Include after cmocka.h. */
#ifndef DRAM_TESTS_SPEC_CASES_H
#define DRAM_TESTS_SPEC_CASES_H

#include "support/ok.h"
#include "sweep/base.h"
#include "sweep/sweep.h"

/* Reads a sweep file of this text, with words "a=1,2 b=3" behind it. */
static inline dram_status read_sweep(void **state, const char *yaml, const char *words, dram_sweep *sweep)
{
    static char text[4096];
    const char *word[32];
    char *rest = text;
    int n = 0;
    snprintf(text, sizeof text, "%s", words ? words : "");
    for (char *w = strtok_r(text, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) word[n++] = w;
    if (yaml) put_file(in_dir(state, "s.yaml"), yaml, strlen(yaml));
    return dram_sweep_read(yaml ? "s.yaml" : "base.yaml", word, n, sweep);
}

#endif
