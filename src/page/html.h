/* html: the parts that pages are made of. All text is escaped. */
#ifndef DRAM_PAGE_HTML_H
#define DRAM_PAGE_HTML_H

#include "base/str.h"
#include "page/scale.h"

void dram_html_begin(const char *title, dram_str *out); /* up to the heading, which is not in it */
void dram_html_end(const char *source, dram_str *out);  /* what the page was made of */

void dram_html_heading(const char *title, dram_str *out);

/* A number as it is shown, with the number itself and its name for programs: <data value="0.3068" data-key="miou">. */
void dram_html_number(double value, dram_unit unit, const char *key, dram_str *out);

/* A tile: what it is, and the number. */
void dram_html_tile(const char *label, double value, dram_unit unit, const char *key, dram_str *out);

/* A row of a table of two columns, left out where the text is NULL or empty. */
void dram_html_fact(const char *name, const char *text, dram_str *out);

/* The warnings, in a box; nothing where there are none. */
void dram_html_warnings(char *const *warnings, int n, dram_str *out);

#endif
