/* modes: what can be tried. Each takes how many trials to run and a seed, and returns how many of them failed. */
#ifndef DRAM_TESTS_FAULTS_MODES_H
#define DRAM_TESTS_FAULTS_MODES_H

/* A call of the system fails, is cut short, or is the last before the process is killed. `try_calls`: one of each kind in
 * turn, at a random place. `try_sweeps`: one kind in all places of a command; 44 are all commands and kinds, and five
 * times as many have all faults in all places. */
int try_calls(int n, unsigned long seed);
int try_sweeps(int n, unsigned long seed);

/* SIGKILL at a random moment, once or several times in a row. */
int try_kills(int n, unsigned long seed);

/* Two processes in one run, or on one cache. */
int try_pairs(int n, unsigned long seed);

/* SIGTERM at a random moment. From ten trials on, evaluations are of 300 images, and a stop that takes a tenth of a run
 * has failed. */
int try_stops(int n, unsigned long seed);

#endif
