/* fiber: stacks that take turns on one OS thread. Known to AddressSanitizer. */
#ifndef CUDASIM_FIBER_H
#define CUDASIM_FIBER_H

#include <stddef.h>

struct cudasim_fiber;

/* A fiber that will run `entry`, which never returns: it ends by cudasim_fiber_rest. From the pool where one rests. */
cudasim_fiber *cudasim_fiber_take(void (*entry)());

/* Carries on with `to`, and returns when somebody switches back. NULL stands for the OS thread's own stack. */
void cudasim_fiber_switch(cudasim_fiber *to);

/* As cudasim_fiber_switch, after giving the running fiber to the pool. It is resumed, if ever, by cudasim_fiber_take,
 * and then returns: a pooled fiber must call its work in a loop. */
void cudasim_fiber_rest(cudasim_fiber *to);

cudasim_fiber *cudasim_fiber_now(); /* NULL on the OS thread's own stack */

#endif
