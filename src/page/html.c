#include "page/html.h"

#include <math.h>

#include "page/style.h"
#include "report/markup.h"

void dram_html_begin(const char *title, dram_str *out)
{
    dram_str_add(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
                      "'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\"/>\n"
                      "<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>");
    dram_markup_add(out, title);
    dram_str_add(out, "</title>\n<style>\n");
    dram_style_page(out);
    dram_str_add(out, "</style>\n</head>\n<body>\n<main>\n");
}

void dram_html_end(const char *source, dram_str *out)
{
    dram_str_add(out, "<footer>Made by dram " DRAM_VERSION " of ");
    dram_markup_add(out, source);
    dram_str_add(out, ".</footer>\n</main>\n<script>\n");
    dram_style_script(out);
    dram_str_add(out, "</script>\n</body>\n</html>\n");
}

void dram_html_heading(const char *title, dram_str *out)
{
    dram_str_add(out, "<h2>");
    dram_markup_add(out, title);
    dram_str_add(out, "</h2>\n");
}

void dram_html_number(double value, dram_unit unit, const char *key, dram_str *out)
{
    char text[48];
    dram_format_unit(value, unit, text, sizeof text);
    if (!isfinite(value)) {
        dram_markup_add(out, text);
        return;
    }
    dram_str_add(out, "<data value=\"%.17g\"", value);
    if (key) {
        dram_str_add(out, " data-key=\"");
        dram_markup_add(out, key);
        dram_str_add(out, "\"");
    }
    dram_str_add(out, ">%s</data>", text);
}

void dram_html_tile(const char *label, double value, dram_unit unit, const char *key, dram_str *out)
{
    if (!isfinite(value)) return;
    dram_str_add(out, "<div class=\"tile\"><small>");
    dram_markup_add(out, label);
    dram_str_add(out, "</small><b>");
    dram_html_number(value, unit, key, out);
    dram_str_add(out, "</b></div>\n");
}

void dram_html_fact(const char *name, const char *text, dram_str *out)
{
    if (!text || !*text) return;
    dram_str_add(out, "<tr><th scope=\"row\">");
    dram_markup_add(out, name);
    dram_str_add(out, "</th><td class=\"w\">");
    dram_markup_add(out, text);
    dram_str_add(out, "</td></tr>\n");
}

void dram_html_warnings(char *const *warnings, int n, dram_str *out)
{
    if (n == 0) return;
    dram_str_add(out, "<div class=\"warnings\"><b>%s</b><ul>\n", n == 1 ? "Note" : "Notes");
    for (int i = 0; i < n; i++) {
        dram_str_add(out, "<li>");
        dram_markup_add(out, warnings[i]);
        dram_str_add(out, "</li>\n");
    }
    dram_str_add(out, "</ul></div>\n");
}
