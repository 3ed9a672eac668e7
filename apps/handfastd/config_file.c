/**
 * config_file.c - gives libConfuse a grammar made from the table of settings, and each value to the
 * reader of its setting the moment it is parsed, so that an error knows its line.
 *
 * libConfuse has no argument for its callbacks: what they need hangs at `parse`, which exists only
 * during hf_config_file_read().
 */
#include "config_file.h"

#include "settings.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <maf_text.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_LEN_MAX (1U << 20)
#define SETTINGS_MAX 160

static struct parse {
    struct hf_daemon_config *config;
    const char *path;
    char *error;
    bool has_error;
    const cfg_t *block; /* the listener or authority being read, whose values are in ... */
    struct hf_daemon_listener listener;
    struct hf_daemon_authority authority;
    struct hf_daemon_maf maf;
    struct hf_daemon_dialer dialer;
    bool is_seen[SETTINGS_MAX];       /* of a list: all of it */
    unsigned int taken[SETTINGS_MAX]; /* of a list: elements so far */
} parse;

/* The first complaint counts: what follows it is only its echo. */
static void complain(int line, const char *text)
{
    if (parse.has_error)
        return;
    parse.has_error = true;
    if (line > 0)
        snprintf(parse.error, HF_OPTIONS_ERROR_MAX, "%s: line %d: %s", parse.path, line, text);
    else
        snprintf(parse.error, HF_OPTIONS_ERROR_MAX, "%s: %s", parse.path, text);
}

static void report(cfg_t *cfg, const char *format, va_list args)
{
    char text[512];
    vsnprintf(text, sizeof(text), format, args);
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    complain(cfg->line, text);
}

/* ---- values ------------------------------------------------------------------------------- */

static enum hf_settings_section section_of(const cfg_t *cfg)
{
    for (int section = HF_SECTION_PROCESS; section < HF_SECTION_COUNT; section++)
        if (strcmp(cfg->name, hf_settings_section_name((enum hf_settings_section)section)) == 0)
            return (enum hf_settings_section)section;
    return HF_SECTION_NONE;
}

static bool is_block(enum hf_settings_section section)
{
    return section == HF_SECTION_LISTENER || section == HF_SECTION_AUTHORITY ||
           section == HF_SECTION_MAF || section == HF_SECTION_DIALER;
}

static void enter_block(const cfg_t *cfg, enum hf_settings_section section)
{
    size_t count = 0;
    const struct hf_setting *table = hf_settings(&count);
    if (parse.block == cfg)
        return;
    parse.block = cfg;
    hf_daemon_listener_init(&parse.listener);
    hf_daemon_authority_init(&parse.authority);
    memset(&parse.maf, 0, sizeof(parse.maf));
    hf_dialer_config_init(&parse.dialer);
    parse.listener.line = parse.authority.line = parse.maf.line = (uint32_t)cfg->line;
    parse.dialer.line = (uint32_t)cfg->line;
    for (size_t i = 0; i < count; i++) {
        if (table[i].section == section) {
            parse.is_seen[i] = false;
            parse.taken[i] = 0;
        }
    }
}

static void *base_of(enum hf_settings_section section)
{
    if (section == HF_SECTION_LISTENER)
        return &parse.listener;
    if (section == HF_SECTION_AUTHORITY)
        return &parse.authority;
    if (section == HF_SECTION_MAF)
        return &parse.maf;
    if (section == HF_SECTION_DIALER)
        return &parse.dialer;
    return parse.config;
}

static const struct hf_setting *find_setting(size_t *out_index, enum hf_settings_section section,
                                             const char *key)
{
    size_t count = 0;
    const struct hf_setting *table = hf_settings(&count);
    for (size_t i = 0; i < count; i++) {
        if (table[i].section == section && table[i].key != NULL && strcmp(table[i].key, key) == 0) {
            *out_index = i;
            return &table[i];
        }
    }
    return NULL;
}

/* A list comes element by element, and once more when its brace closes. */
static bool is_list_end(size_t index, unsigned int size)
{
    if (parse.taken[index] < size) {
        parse.taken[index] = size;
        return false;
    }
    parse.is_seen[index] = true;
    return true;
}

static int take_value(cfg_t *cfg, cfg_opt_t *opt)
{
    char reason[HF_SETTING_REASON_MAX] = "an empty list";
    size_t index = 0;
    enum hf_settings_section section = section_of(cfg);
    unsigned int size = cfg_opt_size(opt);
    const char *value = size > 0 ? cfg_opt_getnstr(opt, size - 1) : NULL;
    const struct hf_setting *setting = find_setting(&index, section, opt->name);
    if (setting == NULL)
        return 0;
    if (is_block(section))
        enter_block(cfg, section);
    if (parse.is_seen[index]) {
        cfg_error(cfg, "%s: given twice in this block", opt->name);
        return -1;
    }
    if (setting->is_list && value != NULL && is_list_end(index, size))
        return 0;
    parse.is_seen[index] |= !setting->is_list;
    if (section == HF_SECTION_LISTENER && strcmp(opt->name, "authority") == 0)
        parse.listener.authority_line = (uint32_t)cfg->line;
    if (value != NULL && setting->take(base_of(section), reason, setting, value))
        return 0;
    cfg_error(cfg, "%s: %s", opt->name, reason);
    return -1;
}

/* ---- blocks ------------------------------------------------------------------------------- */

/* They appear as labels and in logs. */
static bool is_name(const char *title)
{
    size_t len = strlen(title);
    return len > 0 && len < HF_NAME_MAX &&
           strspn(title, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
               len;
}

/* `suites = {}`: libConfuse hands no value to anybody. */
static bool has_empty_list(const char **out_key, cfg_t *block, enum hf_settings_section section)
{
    size_t count = 0;
    const struct hf_setting *table = hf_settings(&count);
    for (size_t i = 0; i < count; i++) {
        if (table[i].section != section || !table[i].is_list || table[i].key == NULL)
            continue;
        const cfg_opt_t *opt = cfg_getopt(block, table[i].key);
        *out_key = table[i].key;
        if (opt != NULL && opt->nvalues == 0 && (opt->flags & CFGF_MODIFIED) != 0)
            return true;
    }
    return false;
}

static int keep_maf(cfg_t *cfg, const char *title)
{
    struct hf_daemon_mafs *mafs = &parse.config->mafs;
    if (mafs->count == HF_MAF_CONFIG_MAX) {
        cfg_error(cfg, "more than %d MAFs", HF_MAF_CONFIG_MAX);
        return -1;
    }
    memcpy(parse.maf.fqdn, title, strlen(title) + 1);
    mafs->mafs[mafs->count++] = parse.maf;
    return 0;
}

static int keep_dialer(cfg_t *cfg, const char *title)
{
    struct hf_daemon_config *config = parse.config;
    if (config->dialer_count == HF_DAEMON_DIALERS_MAX) {
        cfg_error(cfg, "more than %d dialers", HF_DAEMON_DIALERS_MAX);
        return -1;
    }
    memcpy(parse.dialer.name, title, strlen(title) + 1);
    config->dialers[config->dialer_count++] = parse.dialer;
    return 0;
}

static int take_block(cfg_t *cfg, cfg_opt_t *opt)
{
    struct hf_daemon_config *config = parse.config;
    const char *key = NULL;
    cfg_t *block = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
    enum hf_settings_section section = section_of(block);
    enter_block(block, section);
    parse.block = NULL;
    if (section == HF_SECTION_MAF && !hf_maf_text_is_fqdn(hf_maf_text_view(block->title))) {
        cfg_error(cfg, "maf \"%.60s\": its name must be the MAF's FQDN", block->title);
        return -1;
    }
    if (section != HF_SECTION_MAF && !is_name(block->title)) {
        cfg_error(cfg, "%s \"%.60s\": a name is 1 to %d letters, digits, '-', '_' or '.'",
                  opt->name, block->title, HF_NAME_MAX - 1);
        return -1;
    }
    if (has_empty_list(&key, block, section)) {
        cfg_error(cfg, "%s \"%s\": %s: an empty list", opt->name, block->title, key);
        return -1;
    }
    if (section == HF_SECTION_MAF)
        return keep_maf(cfg, block->title);
    if (section == HF_SECTION_DIALER)
        return keep_dialer(cfg, block->title);
    if (section == HF_SECTION_LISTENER) {
        if (config->socket_count == HF_LISTENERS_MAX) {
            cfg_error(cfg, "more than %d listeners", HF_LISTENERS_MAX);
            return -1;
        }
        memcpy(parse.listener.name, block->title, strlen(block->title) + 1);
        config->details[config->socket_count++] = parse.listener;
        return 0;
    }
    if (config->authority_count == HF_AUTHORITIES_MAX) {
        cfg_error(cfg, "more than %d authorities", HF_AUTHORITIES_MAX);
        return -1;
    }
    memcpy(parse.authority.name, block->title, strlen(block->title) + 1);
    config->authorities[config->authority_count++] = parse.authority;
    return 0;
}

/* ---- the grammar -------------------------------------------------------------------------- */

static void make_section(cfg_opt_t *out, enum hf_settings_section section)
{
    size_t count = 0;
    const struct hf_setting *table = hf_settings(&count);
    for (size_t i = 0; i < count; i++) {
        if (table[i].section != section || table[i].key == NULL)
            continue;
        *out = table[i].is_list ? (cfg_opt_t)CFG_STR_LIST(table[i].key, NULL, CFGF_NODEFAULT)
                                : (cfg_opt_t)CFG_STR(table[i].key, NULL, CFGF_NODEFAULT);
        out->validcb = take_value;
        out++;
    }
    *out = (cfg_opt_t)CFG_END();
}

/* libConfuse copies the grammar: it may go when this returns. */
static cfg_t *make_parser(void)
{
    cfg_opt_t options[HF_SECTION_COUNT][SETTINGS_MAX];
    cfg_opt_t root[HF_SECTION_COUNT];
    size_t used = 0;
    for (int i = HF_SECTION_PROCESS; i < HF_SECTION_COUNT; i++) {
        enum hf_settings_section section = (enum hf_settings_section)i;
        bool is_titled = is_block(section);
        make_section(options[i], section);
        root[used] = (cfg_opt_t)CFG_SEC(hf_settings_section_name(section), options[i],
                                        is_titled ? CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES
                                                  : CFGF_NONE);
        if (is_titled)
            root[used].validcb = take_block;
        used++;
    }
    root[used] = (cfg_opt_t)CFG_END();
    cfg_t *cfg = cfg_init(root, CFGF_NONE);
    if (cfg != NULL)
        cfg_set_error_function(cfg, report);
    return cfg;
}

/* ---- the file ----------------------------------------------------------------------------- */

/* libConfuse would end at a NUL and not say so. */
static bool check_text(const char *text, size_t len)
{
    int line = 1;
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        complain(1, "a byte order mark: save the file without it");
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        line += c == '\n';
        if (c >= ' ' || c == '\n' || c == '\t' || c == '\r')
            continue;
        complain(line, "a control character: this is not a text file");
        return false;
    }
    return true;
}

/* The end of the quoted string that begins at `at`, or of the text. */
static const char *skip_string(const char *at)
{
    char quote = *at++;
    while (*at != '\0' && *at != quote)
        at += *at == '\\' && at[1] != '\0' ? 2 : 1;
    return *at == '\0' ? at : at + 1;
}

static int line_of(const char *text, const char *at)
{
    int line = 1;
    for (; text < at; text++)
        line += *text == '\n';
    return line;
}

/* Blanks the comment at `at`, if there is one, and gives what follows it; NULL: it has no end. */
static char *blank_comment(char *at)
{
    if (*at == '#' || strncmp(at, "//", 2) == 0) {
        while (*at != '\0' && *at != '\n')
            *at++ = ' ';
    } else if (strncmp(at, "/*", 2) == 0) {
        const char *end = strstr(at + 2, "*/");
        if (end == NULL)
            return NULL;
        for (; at < end + 2; at++)
            *at = *at == '\n' ? '\n' : ' ';
    }
    return at;
}

/* libConfuse miscounts the lines of comments, so it is shown none, and takes the end of the file
 * for the end of a block. Lines stay where they are. */
static bool prepare_text(char *text)
{
    const char *open = NULL; /* the outermost brace */
    int depth = 0;
    bool is_begin = true; /* of a word: slashes within one are part of it, a # is not */
    for (char *at = text; *at != '\0';) {
        char *behind = is_begin || *at == '#' ? blank_comment(at) : at;
        if (behind == NULL) {
            complain(line_of(text, at), "a comment that does not end");
            return false;
        }
        is_begin = behind != at || strchr(" \t\r\n{}(),=+*\"'", *at) != NULL;
        if (behind != at) {
            at = behind;
        } else if (*at == '"' || *at == '\'') {
            char *begin = at;
            at = (char *)skip_string(at);
            if (*at == '\0' && (at == begin + 1 || at[-1] != *begin)) {
                complain(line_of(text, begin), "a text in quotes that does not end");
                return false;
            }
        } else {
            if (*at == '{' && depth++ == 0)
                open = at;
            depth -= *at == '}';
            at++;
        }
    }
    if (depth > 0)
        complain(line_of(text, open), "a block that is not closed");
    return depth <= 0;
}

/* Whether `${NAME}`, or `${NAME:-DEFAULT}`, at `at` stands for anything. */
static bool is_variable_set(const char *at)
{
    char name[128];
    size_t len = strcspn(at + 2, "}:");
    if (len >= sizeof(name))
        return false;
    memcpy(name, at + 2, len);
    name[len] = '\0';
    return at[2 + len] == ':' || getenv(name) != NULL;
}

/* libConfuse takes nothing for a variable that is not set: another path than was meant. Comments
 * are blank by now. */
static bool check_variables(const char *text)
{
    char quote = '\0';
    for (const char *at = text; *at != '\0'; at++) {
        if (quote != '\0' && *at == '\\' && at[1] != '\0') {
            at++;
        } else if (*at == quote) {
            quote = '\0';
        } else if (quote == '\0' && (*at == '"' || *at == '\'')) {
            quote = *at;
        } else if (quote != '\'' && at[0] == '$' && at[1] == '{' && !is_variable_set(at)) {
            char reason[96];
            snprintf(reason, sizeof(reason), "%.*s}: there is no such variable in the environment",
                     (int)strcspn(at, "}\n") > 40 ? 40 : (int)strcspn(at, "}\n"), at);
            complain(line_of(text, at), reason);
            return false;
        }
    }
    return true;
}

/* Gives the text, NUL-terminated, or NULL. */
static char *read_file(size_t *out_len)
{
    struct stat st;
    int fd = open(parse.path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    char *text = NULL;
    size_t len = 0;
    if (fd < 0 || fstat(fd, &st) != 0) {
        complain(0, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        complain(0, "not a regular file");
    } else if ((st.st_mode & S_IWOTH) != 0) {
        complain(0, "everybody may write it: chmod o-w");
    } else if (st.st_size > (off_t)FILE_LEN_MAX) {
        complain(0, "longer than 1 MiB");
    } else {
        text = calloc(1, FILE_LEN_MAX + 1);
        ssize_t got = text == NULL ? -1 : 1;
        while (got > 0 && len < FILE_LEN_MAX) {
            got = read(fd, text + len, FILE_LEN_MAX - len);
            len += got > 0 ? (size_t)got : 0;
        }
        if (got < 0)
            complain(0, strerror(errno));
    }
    if (fd >= 0)
        close(fd);
    *out_len = len;
    return text;
}

static void begin_parse(struct hf_daemon_config *config, char *error, const char *path)
{
    memset(&parse, 0, sizeof(parse));
    parse.config = config;
    parse.path = path;
    parse.error = error;
}

static bool parse_text(char *text, size_t len)
{
    if (!check_text(text, len) || !prepare_text(text) || !check_variables(text))
        return false;
    cfg_t *cfg = make_parser();
    if (cfg == NULL) {
        complain(0, "no memory");
        return false;
    }
    if (cfg_parse_buf(cfg, text) != CFG_SUCCESS)
        complain(cfg->line, "this does not parse");
    cfg_free(cfg);
    return !parse.has_error;
}

bool hf_config_file_parse(struct hf_daemon_config *config, char error[HF_OPTIONS_ERROR_MAX],
                          const char *path, char *text, size_t len)
{
    begin_parse(config, error, path);
    return parse_text(text, len);
}

bool hf_config_file_read(struct hf_daemon_config *config, char error[HF_OPTIONS_ERROR_MAX],
                         const char *path)
{
    size_t len = 0;
    begin_parse(config, error, path);
    char *text = read_file(&len);
    bool is_good = text != NULL && !parse.has_error && parse_text(text, len);
    free(text);
    return is_good;
}
