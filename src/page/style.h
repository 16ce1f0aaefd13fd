/* style: how a page and its pictures look: colours that stay apart for eyes that mix up some (Okabe and Ito), dashes and
 * markers beside them, by day, by night and in print. */
#ifndef DRAM_PAGE_STYLE_H
#define DRAM_PAGE_STYLE_H

#include "base/str.h"

/* A series has one of 7 colours and one of 4 dashes: 28 are told apart. */
enum { DRAM_STYLE_COLOURS = 7, DRAM_STYLE_DASHES = 4, DRAM_STYLES = DRAM_STYLE_COLOURS * DRAM_STYLE_DASHES };

/* The classes of a series' line: "c1 d1". */
#define DRAM_STYLE_CLASSES "c%d d%d"
#define DRAM_STYLE_OF(style) (style) % DRAM_STYLE_COLOURS, ((style) + (style) / DRAM_STYLES) % DRAM_STYLE_DASHES

void dram_style_page(dram_str *out);    /* the rules of a page, its charts' among them */
void dram_style_picture(dram_str *out); /* those of an SVG file of its own */
void dram_style_script(dram_str *out);  /* what names a line's numbers under the pointer */

/* A marker of the series around a point, `size` wide: circle, square, triangle, diamond. attributes: "", or more of the
 * tag. It is left open for a title, and closed by dram_style_marker_end. */
void dram_style_marker(int style, double x, double y, double size, const char *classes, dram_str *out);
void dram_style_marker_end(dram_str *out);

#endif
