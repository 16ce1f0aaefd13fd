/* markup: text inside HTML and SVG. */
#ifndef DRAM_REPORT_MARKUP_H
#define DRAM_REPORT_MARKUP_H

#include "base/str.h"

/* Adds a text, between tags or in a quoted attribute, so that it is shown as it is and can be nothing but text. A control
 * character becomes a space, a newline stays; a byte that is not UTF-8 becomes the four letters \xHH. NULL adds nothing. */
void dram_markup_add(dram_str *out, const char *text);

#endif
