/* The config of a run on its page: what differs from its base and from the defaults, what changed on the way, and all of
 * it. */
#include <inttypes.h>
#include <string.h>

#include "page/html.h"
#include "page/parts.h"
#include "report/markup.h"
#include "train/configs.h"

typedef struct {
    dram_str *out;
    int differ, idle; /* keys that have an effect; that have none */
} listing;

static dram_status add_entry(void *context, const dram_config_entry *e)
{
    listing *l = context;
    if (strcmp(e->value, e->standard) == 0 || strcmp(e->key, "name") == 0) return DRAM_OK;
    if (e->idle) {
        l->idle++;
        return DRAM_OK;
    }
    l->differ++;
    dram_str_add(l->out, "<tr><td class=\"w\"><code>");
    dram_markup_add(l->out, e->key);
    dram_str_add(l->out, "</code></td><td class=\"w\"><code>");
    dram_markup_add(l->out, e->value);
    dram_str_add(l->out, "</code></td><td class=\"w\"><code>");
    dram_markup_add(l->out, e->standard);
    dram_str_add(l->out, "</code></td></tr>\n");
    return DRAM_OK;
}

static dram_status add_change(void *context, const char *key, dram_resume_kind kind, const char *values)
{
    dram_str *out = context;
    (void)kind;
    dram_str_add(out, "<li><code>");
    dram_markup_add(out, key);
    dram_str_add(out, ": ");
    dram_markup_add(out, values);
    dram_str_add(out, "</code></li>\n");
    return DRAM_OK;
}

/* What is another than before at each step from which the run went on with another config. */
static dram_status add_changes(const dram_history *r, dram_str *out)
{
    for (int i = 1; i < r->n_configs; i++) {
        const dram_config *before = r->configs[i - 1].cfg, *now = r->configs[i].cfg;
        if (!before || !now) continue;
        dram_str changes = {0};
        dram_status status = dram_config_compare(before, now, add_change, &changes);
        if (status == DRAM_OK && changes.length)
            dram_str_add(out, "<p>From step %" PRId64 " on it went on with</p>\n<ul>\n%s</ul>\n", r->configs[i].step,
                         changes.text);
        dram_str_free(&changes);
        TRY(status);
    }
    return DRAM_OK;
}

/* A table of the keys that are another than in `standard`, NULL: the defaults; `what` names that. */
static dram_status add_table(const dram_config *cfg, const dram_config *standard, const char *what, dram_str *out)
{
    dram_str rows = {0};
    listing l = {.out = &rows};
    dram_status status = dram_config_each(cfg, standard, add_entry, &l);
    if (status == DRAM_OK && l.differ)
        dram_str_add(out,
                     "<div class=\"scroll\"><table><thead><tr><th>differs from the %s</th><th>value</th><th>%s</th>"
                     "</tr></thead><tbody>\n%s</tbody></table></div>\n",
                     what, what, rows.text);
    else if (status == DRAM_OK)
        dram_str_add(out, "<p class=\"note\">No key that has an effect differs from the %s.</p>\n", what);
    if (status == DRAM_OK && l.idle)
        dram_str_add(out,
                     "<p class=\"note\">%d more %s set to something else, and %s no effect beside the others.</p>\n",
                     l.idle, l.idle == 1 ? "key is" : "keys are", l.idle == 1 ? "has" : "have");
    dram_str_free(&rows);
    return status;
}

/* The file that it was made from, and what it has otherwise. */
static dram_status add_base(const dram_history *r, const dram_config *cfg, dram_str *out)
{
    if (!r->base.path) {
        dram_str_add(out, "<p class=\"note\">What it was made from is not known: there is no " DRAM_CONFIGS_BASE
                          " in its folder.</p>\n");
        return DRAM_OK;
    }
    if (!r->base.cfg) return DRAM_OK;
    dram_str_add(out, "<p>Its base is <code>");
    dram_markup_add(out, r->base.said ? r->base.said : r->base.path);
    dram_str_add(out, "</code>.</p>\n");
    return add_table(cfg, r->base.cfg, "base", out);
}

dram_status dram_page_add_config(const dram_history *r, dram_str *out)
{
    const dram_config *cfg = dram_history_cfg(r);
    dram_str yaml = {0};
    dram_status status = DRAM_OK;
    if (!cfg) return DRAM_OK;
    dram_html_heading("Config", out);
    TRY_GOTO(add_changes(r, out), done);
    TRY_GOTO(add_base(r, cfg, out), done);
    TRY_GOTO(add_table(cfg, NULL, "default", out), done);
    TRY_GOTO(dram_config_write_yaml(cfg, &yaml), done);
    dram_str_add(out, "<details><summary>All keys, as the run had them in the end</summary><pre>");
    dram_markup_add(out, yaml.text);
    dram_str_add(out, "</pre></details>\n");
done:
    dram_str_free(&yaml);
    return status;
}
