/* What is refused of a file is not shown, but for its key: the file may be no config at all. */
#include "config/helpers.h"
#include "config/keys.h"

#define SECRET "hunter2horse"
#define NUMBER "86753098675309867530"

/* The file is refused, and its text has nothing of what is secret. */
static bool is_refused(const char *yaml)
{
    dram_config *cfg;
    write_to("c.yaml", yaml);
    dram_error_clear();
    if (dram_config_load("c.yaml", NULL, 0, &cfg) == DRAM_OK) {
        dram_config_free(cfg);
        return false;
    }
    const char *text = dram_error_text();
    if (strncmp(text, "c.yaml:", 7) != 0) fail_msg("no place in: %s", text);
    if (strstr(text, "hunter") || strstr(text, "867530") || strstr(text, "horse")) fail_msg("%s\nsays: %s", yaml, text);
    return true;
}

/* A file with this value for the key, and a second setting behind it. */
static void with_value(const dram_key *key, const char *value, dram_str *yaml)
{
    const char *at = key->path;
    int depth = 0;
    dram_str_free(yaml);
    for (; strchr(at, '.'); at = strchr(at, '.') + 1, depth++)
        dram_str_add(yaml, "%*s%.*s:\n", 2 * depth, "", (int)strcspn(at, "."), at);
    dram_str_add(yaml, "%*s%s: %s\n", 2 * depth, "", at, value);
    assert_false(yaml->failed);
}

static void no_value_is_shown_of_any_key(void **state)
{
    (void)state;
    static const char *const values[] = {
        SECRET,
        "'" SECRET "'",
        "\"a\\n" SECRET "\"",
        "\"" SECRET "\\0\"",
        NUMBER,
        "-" NUMBER,
        NUMBER ".5",
        "1e" NUMBER,
        "[" SECRET "]",
        "['" SECRET "', '" SECRET "']",
        "[" NUMBER "]",
        "[[" SECRET "]]",
        "{" SECRET ": " SECRET "}",
        "{0: " SECRET "}",
        "{0: " NUMBER "}",
        "{" NUMBER ": 1}",
        "{'" NUMBER "': 1}",
        "{'#" SECRET "': 1, '" SECRET "': 2}",
        "{" SECRET ":1}",
        "{867530: 1}",
        "{0: 1, 0: 1}",
        "|\n            " SECRET,
        "!!str " SECRET,
        "&" SECRET " 1",
        "*" SECRET,
        "\"" SECRET,
        "@" SECRET,
        "\"\\z" SECRET "\"",
        SECRET ": " SECRET,
        "{" SECRET ", " SECRET "]",
    };
    dram_str yaml = {0};
    int refused = 0;
    assert_true(dram_n_keys > 50);
    for (int i = 0; i < dram_n_keys; i++) {
        dram_key_kind kind = dram_keys[i].kind;
        for (int k = 0; k < COUNT(values) && kind != DRAM_KEY_BASE;
             k++) { /* base is a file's name, of a sound config */
            if (kind == DRAM_KEY_SECTION && values[k][0] == '{') continue; /* these are keys */
            with_value(&dram_keys[i], values[k], &yaml);
            refused += is_refused(yaml.text);
        }
    }
    assert_true(refused > dram_n_keys * 15);
    dram_str_free(&yaml);
}

/* What anyone may give as a config. The word that YAML takes for a key may be a whole line. */
static void other_files_are_not_shown(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"root:$6$" SECRET "$" SECRET ":19000:0:99999:7:::\nbin:*:19000::::::\n",
         "c.yaml:1:1: root...: unknown key"}, /* a list of passwords */
        {"root:x:0:0:" SECRET ":/root:/bin/bash\nbin:x:1:1:bin:/bin:/sbin/nologin\n",
         "c.yaml:1:1: expected keys and values at the top, found a single value"},
        {"API_TOKEN=" SECRET "\nexport DB='x: " SECRET "'\n",
         "c.yaml:1:1: expected keys and values at the top, found a single value"},
        {"{\n  \"type\": \"service\",\n  \"private_key\": \"-----BEGIN " SECRET "\"\n}\n",
         "c.yaml:2:3: type: unknown key, did you mean "},
        {"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n" SECRET "\n", "c.yaml:"},
        {"machine example.org\n  login me\n  password " SECRET "\n",
         "c.yaml:1:1: expected keys and values at the top, found a single value"},
        {"machine " SECRET ": login\n", "c.yaml:1:1: machine...: unknown key"},
        {"https://me:" SECRET "@example.org: x\n", "c.yaml:1:1: https...: unknown key"},
        {"[default]\nsecret = " SECRET "\n", "c.yaml:"},
        {"apiVersion: v1\nusers:\n- name: me\n  token: " SECRET "\n", "c.yaml:1:1: apiVersion: unknown key"},
        {"password: " SECRET "\n", "c.yaml:1:1: password: unknown key; a config may have: base, "},
        {"AKIAAKIAAKIAAKIAAKIAAKIAAKIAAKIAAKIAAKIA" SECRET ": 1\n",
         "c.yaml:1:1: AKIAAKIAAKIAAKIAAKIAAKIAAKIAAKIAAKIAAKIA...: unknown"},
        {"data:\n  \"x " SECRET "\": 1\n", "c.yaml:2:3: data.x...: unknown key"},
        {"\xef\xbb\xbfid,secret\n1,\"" SECRET "\"\n", "c.yaml:"},
    };
    for (int i = 0; i < COUNT(cases); i++) {
        const char *want = cases[i].error;
        assert_true(is_refused(cases[i].text));
        if (strncmp(dram_error_text(), want, strlen(want)) != 0) fail_msg("%s\nwant: %s", dram_error_text(), want);
    }
}

/* What is typed is shown, since no line and no column can be. */
static void the_command_line_is_shown(void **state)
{
    (void)state;
    static const struct {
        const char *override, *error;
    } cases[] = {
        {"data.size=big", "command line: data.size: expected a whole number that is a multiple of 32 from 32 to 8192, "
                          "found the text \"big\""},
        {"data.size=33",
         "command line: data.size: 33 is out of range: expected a whole number that is a multiple of 32 "
         "from 32 to 8192"},
        {"task.enabled=1", "command line: task.enabled: expected true or false, found the number 1"},
        {"task=true", "command line: task: expected a mapping of keys, found true"},
        {"device=quantum", "command line: device: unknown value \"quantum\"; it may be: auto, cpu, cuda"},
        {"device=cdua", "command line: device: unknown value \"cdua\", did you mean cpu? It may be: auto, cpu, cuda"},
        {"learning rate=1", "command line: learning rate: unknown key; a config may have: "},
    };
    for (int i = 0; i < COUNT(cases); i++) {
        dram_config *cfg;
        dram_error_clear();
        assert_int_equal(dram_config_load(NULL, &cases[i].override, 1, &cfg), DRAM_ERR_CONFIG);
        if (strncmp(dram_error_text(), cases[i].error, strlen(cases[i].error)) != 0)
            fail_msg("%s\nwant: %s", dram_error_text(), cases[i].error);
    }
    dram_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_value_is_shown_of_any_key),
        cmocka_unit_test(other_files_are_not_shown),
        cmocka_unit_test(the_command_line_is_shown),
    };
    return cmocka_run_group_tests(tests, enter_test_folder, leave_test_folder);
}
