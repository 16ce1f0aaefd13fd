/* plan_file: plan.json of a sweep's folder. */
#ifndef DRAM_SWEEP_PLAN_FILE_H
#define DRAM_SWEEP_PLAN_FILE_H

#include "sweep/sweep.h"

/* The file in a folder, and that of a point's settled config: "DIR/plan.json", "DIR/configs/0007-3f9c12ab.yaml". *path
 * is the caller's. */
dram_status dram_sweep_plan_path(const char *directory, char **path);
dram_status dram_sweep_config_path(const dram_sweep *sweep, const dram_sweep_point *point, char **path);

/* The sweep that the file in a folder describes. DRAM_ERR_CONFIG: there is none; DRAM_ERR_FORMAT: it is damaged. */
dram_status dram_sweep_plan_read(const char *directory, dram_sweep *sweep);

/* Fills sweep->runs from points that are planned. */
dram_status dram_sweep_list_runs(dram_sweep *sweep);

#endif
