/* fiber: a switch saves the registers that a call preserves and exchanges stack pointers: a few nanoseconds on x86-64.
 * Elsewhere ucontext does it, with a system call each time. */
#include "fiber.h"

#include <sys/mman.h>
#include <vector>

#include "cudasim.h"
#include "internal.h"

#if defined(__x86_64__)
#define CUDASIM_ASM_SWITCH 1
#else
#define CUDASIM_ASM_SWITCH 0
#include <ucontext.h>
#endif
#if CUDASIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace
{

constexpr size_t STACK = 256 * 1024, GUARD = 4096;

} // namespace

struct cudasim_fiber {
    char *stack; /* its lowest byte */
#if CUDASIM_ASM_SWITCH
    void *pointer; /* the stack pointer while it does not run */
#else
    ucontext_t context;
#endif
    void *fake; /* AddressSanitizer's, while it does not run */
    void (*entry)();
};

namespace
{

cudasim_fiber own; /* the OS thread's own stack */
#if CUDASIM_ASAN
const void *own_bottom = nullptr; /* learnt at each switch away from it: launches come from any OS thread */
size_t own_size = 0;
#endif
cudasim_fiber *now = &own;
std::vector<cudasim_fiber *> &pool = *new std::vector<cudasim_fiber *>; /* never destroyed: used until the last */

void arrived(cudasim_fiber *from_new)
{
#if CUDASIM_ASAN
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(from_new ? from_new->fake : nullptr, &bottom, &size);
    if (!own_bottom) {
        own_bottom = bottom;
        own_size = size;
    }
#else
    (void)from_new;
#endif
}

void begin()
{
    arrived(nullptr);
    now->entry();
    cudasim_fault("a fiber's work has returned");
}

} // namespace

#if CUDASIM_ASM_SWITCH
extern "C" void cudasim_swap(void **from, void *to);
__asm__(".text\n"
        ".p2align 4\n"
        ".globl cudasim_swap\n"
        ".hidden cudasim_swap\n"
        ".type cudasim_swap,@function\n"
        "cudasim_swap:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size cudasim_swap,.-cudasim_swap\n");
#endif

static cudasim_fiber *make(void (*entry)())
{
    void *memory =
        mmap(nullptr, GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, GUARD, PROT_NONE)) cudasim_fault("no memory for a thread's stack");
    cudasim_fiber *fiber = new cudasim_fiber{};
    fiber->stack = static_cast<char *>(memory) + GUARD;
    fiber->entry = entry;
#if CUDASIM_ASM_SWITCH
    /* What cudasim_swap pops: six registers, of which %rbp = 0 ends a backtrace, and where to return to. */
    void **top = reinterpret_cast<void **>(fiber->stack + STACK);
    top[-1] = nullptr;
    top[-2] = reinterpret_cast<void *>(begin);
    for (int i = 3; i <= 8; i++) top[-i] = nullptr;
    fiber->pointer = top - 8;
#else
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = STACK;
    fiber->context.uc_link = nullptr;
    makecontext(&fiber->context, begin, 0);
#endif
    return fiber;
}

cudasim_fiber *cudasim_fiber_take(void (*entry)())
{
    if (pool.empty()) return make(entry);
    cudasim_fiber *fiber = pool.back();
    pool.pop_back();
    fiber->entry = entry;
    return fiber;
}

void cudasim_fiber_switch(cudasim_fiber *to)
{
    if (!to) to = &own;
    cudasim_fiber *from = now;
    if (to == from) return;
    now = to;
#if CUDASIM_ASAN
    if (from == &own) own_bottom = nullptr;
    bool home = to == &own;
    __sanitizer_start_switch_fiber(&from->fake, home ? own_bottom : to->stack, home ? own_size : STACK);
#endif
#if CUDASIM_ASM_SWITCH
    cudasim_swap(&from->pointer, to->pointer);
#else
    swapcontext(&from->context, &to->context);
#endif
    arrived(from);
}

void cudasim_fiber_rest(cudasim_fiber *to)
{
    pool.push_back(now);
    cudasim_fiber_switch(to);
}

cudasim_fiber *cudasim_fiber_now()
{
    return now == &own ? nullptr : now;
}
