/* card: the model card of an exported student, made from its run: the README.md of a folder for timm. */
#ifndef DRAM_EXPORT_CARD_H
#define DRAM_EXPORT_CARD_H

#include "base/str.h"
#include "export/export.h"

/* Appends the card, Markdown with the header that model hubs read. Files are named without their folders. What is not
 * known, as the numbers of a file without a run, is said to be so; the licence is left to who publishes it. `name` is a
 * title. DRAM_ERR_FORMAT: summary.json of the run, or state.json
 * of the checkpoint, cannot be read. */
dram_status dram_export_card(const dram_export *e, const char *name, dram_str *out);

#endif
