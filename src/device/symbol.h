/* symbol: functions of libraries that are opened when they are needed. */
#ifndef DRAM_DEVICE_SYMBOL_H
#define DRAM_DEVICE_SYMBOL_H

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

/* Puts the function of that name into `function`, which points to a pointer to a function: NULL and false where the
 * library has none. ISO C has no cast from void * to a function; POSIX promises that the bytes are the same. */
static inline bool dram_symbol(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

#endif
