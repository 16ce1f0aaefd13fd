#include "report/markup.h"

void dram_markup_add(dram_str *out, const char *text)
{
    for (int n; text && *text; text += n) {
        uint32_t code;
        n = dram_utf8(text, &code);
        if (n == 0) {
            dram_str_add(out, "\\x%02X", (unsigned char)*text);
            n = 1;
        } else if (code == '<') {
            dram_str_add(out, "&lt;");
        } else if (code == '>') {
            dram_str_add(out, "&gt;");
        } else if (code == '&') {
            dram_str_add(out, "&amp;");
        } else if (code == '"') {
            dram_str_add(out, "&quot;");
        } else if ((code < ' ' && code != '\n') || (code >= 0x7f && code < 0xa0) || code == 0xfffe || code == 0xffff) {
            dram_str_add(out, " ");
        } else {
            dram_str_add(out, "%.*s", n, text);
        }
    }
}
