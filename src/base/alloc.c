#include "base/alloc.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/testing.h"

static _Atomic int64_t calls, bytes_now, bytes_peak;
static _Atomic int64_t fail_after = -1;

static int refused(void)
{
    if (atomic_load_explicit(&fail_after, memory_order_relaxed) < 0) return 0;
    int64_t left = atomic_load(&fail_after);
    while (left > 0 && !atomic_compare_exchange_weak(&fail_after, &left, left - 1)) {
    }
    return left == 0;
}

static void count(void *memory)
{
    if (!memory) return;
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    int64_t size = (int64_t)malloc_usable_size(memory);
    int64_t now = atomic_fetch_add(&bytes_now, size) + size;
    int64_t peak = atomic_load(&bytes_peak);
    while (now > peak && !atomic_compare_exchange_weak(&bytes_peak, &peak, now)) {
    }
}

void *dram_alloc(size_t bytes)
{
    if (refused()) return NULL;
    void *memory = malloc(bytes ? bytes : 1);
    count(memory);
    return memory;
}

void *dram_calloc(size_t n, size_t bytes)
{
    if (refused()) return NULL;
    void *memory = n && bytes ? calloc(n, bytes) : calloc(1, 1);
    count(memory);
    return memory;
}

void *dram_realloc(void *old, size_t bytes)
{
    if (refused()) return NULL;
    int64_t before = old ? (int64_t)malloc_usable_size(old) : 0;
    void *memory = realloc(old, bytes ? bytes : 1);
    if (!memory) return NULL;
    atomic_fetch_sub(&bytes_now, before);
    count(memory);
    return memory;
}

char *dram_strdup(const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = dram_alloc(n);
    if (copy) memcpy(copy, text, n);
    return copy;
}

void dram_free(void *memory)
{
    if (!memory) return;
    atomic_fetch_sub(&bytes_now, (int64_t)malloc_usable_size(memory));
    free(memory);
}

int64_t dram_alloc_calls(void)
{
    return atomic_load(&calls);
}

int64_t dram_alloc_bytes(void)
{
    return atomic_load(&bytes_now);
}

int64_t dram_alloc_peak_bytes(void)
{
    return atomic_load(&bytes_peak);
}

void dram_alloc_fail_after(int64_t after)
{
    atomic_store(&fail_after, after);
}

bool dram_grow(void *array, int *room, int need, size_t element_bytes)
{
    void *items;
    if (need <= *room) return true;
    int wanted = *room ? *room * 2 : 16;
    if (wanted < need) wanted = need;
    memcpy(&items, array, sizeof items); /* a pointer of any type */
    items = dram_realloc(items, (size_t)wanted * element_bytes);
    if (!items) return false;
    memcpy(array, &items, sizeof items);
    *room = wanted;
    return true;
}
