/* page: what `dram report` writes: a run, several runs or a sweep as one HTML file that needs nothing else. It has no
 * name of a server in it and lets the browser load nothing; a small script names the numbers under the pointer, and all
 * can be read without it. The same files give the same bytes.
 */
#ifndef DRAM_PAGE_PAGE_H
#define DRAM_PAGE_PAGE_H

#include "base/status.h"
#include "base/str.h"
#include "sweep/sweep.h"

/* All add to `out`, the caller's. DRAM_ERR_CONFIG: a folder is not what it should be.
 * *notes: how many notes of what is odd, missing or left out stand in the page.
 * run: its plan is made again from its config, for the arena's picture and the levers. */
dram_status dram_page_run(const char *directory, dram_str *out, int *notes);

/* Curves over each other, and what differs. names as they were given; n of 2 or more. */
dram_status dram_page_runs(const char *const *directories, int n, dram_str *out, int *notes);

/* A sweep and what came of it: memory against quality, the points, the runs, what failed. picture: the first of these as
 * an SVG file of its own. */
dram_status dram_page_sweep(const dram_sweep *sweep, const dram_sweep_results *results, dram_str *out);
dram_status dram_page_sweep_picture(const dram_sweep *sweep, const dram_sweep_results *results, dram_str *out);

/* Both as pareto.svg and report.html in the sweep's folder, each whole or not at all; or the page as `path`. */
dram_status dram_page_sweep_save(const dram_sweep *sweep, const dram_sweep_results *results, const char *path);

#endif
