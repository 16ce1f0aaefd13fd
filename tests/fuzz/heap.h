/* heap: the most memory that a call holds, that of the libraries under dram too. Known under ASan alone: 0 without. */
#ifndef DRAM_TESTS_FUZZ_HEAP_H
#define DRAM_TESTS_FUZZ_HEAP_H

#include "fuzz.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HEAP_HOOKS 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define HEAP_HOOKS 1
#endif

static struct {
    bool watched;
    int n;
    size_t now, most;
    struct {
        const volatile void *at;
        size_t bytes;
    } held[4096];
} heap;

#ifdef HEAP_HOOKS
/* Called by ASan; sanitizer/allocator_interface.h, which not every compiler has, declares them. */
void __sanitizer_malloc_hook(const volatile void *at, size_t bytes);
void __sanitizer_free_hook(const volatile void *at);

void __sanitizer_malloc_hook(const volatile void *at, size_t bytes)
{
    if (!heap.watched) return;
    if (heap.n == sizeof heap.held / sizeof heap.held[0]) abort();
    heap.held[heap.n].at = at;
    heap.held[heap.n++].bytes = bytes;
    heap.now += bytes;
    if (heap.now > heap.most) heap.most = heap.now;
}

/* What was held before heap_watch is not counted. */
void __sanitizer_free_hook(const volatile void *at)
{
    if (!heap.watched) return;
    for (int i = heap.n - 1; i >= 0; i--) {
        if (heap.held[i].at != at) continue;
        heap.now -= heap.held[i].bytes;
        heap.held[i] = heap.held[--heap.n];
        return;
    }
}
#endif

static inline void heap_watch(void)
{
    heap.n = 0;
    heap.now = heap.most = 0;
    heap.watched = true;
}

static inline size_t heap_most(void)
{
    heap.watched = false;
    return heap.most;
}

#endif
