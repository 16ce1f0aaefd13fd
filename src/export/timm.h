/* timm: the folder that timm.create_model("local-dir:FOLDER", pretrained=True) loads.
 *
 *     config.json         timm's name of the network, what goes with it, size, mean and standard deviation of an image
 *     model.safetensors   the trunk with timm's names, without a classifier
 *     README.md           the model card (export/card.h)
 */
#ifndef DRAM_EXPORT_TIMM_H
#define DRAM_EXPORT_TIMM_H

#include "export/export.h"

/* Written under a temporary name beside the folder and renamed: it is there whole or not at all. Numbers are stored as
 * run.export says, as in student.safetensors. DRAM_ERR_CONFIG: something has the name already. DRAM_ERR_IO: the disk is
 * full, say. */
dram_status dram_export_timm(dram_export *e, const char *folder);

#endif
