/* texts: a list of texts, none twice. */
#ifndef DRAM_CONFIG_TEXTS_H
#define DRAM_CONFIG_TEXTS_H

typedef struct {
    int n;        /* 1 or more */
    char *text[]; /* [n] */
} dram_texts;

#endif
