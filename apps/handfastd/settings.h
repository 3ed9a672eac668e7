/**
 * settings.h - the one table of everything that can be set: its name in the configuration file, its
 * option on the command line, how its value is read, and its limits. Keys never come from here.
 */
#ifndef HF_SETTINGS_H
#define HF_SETTINGS_H

#include "daemon_config.h"

/** Where a setting stands in the configuration file, and so which struct it fills. */
enum hf_settings_section {
    HF_SECTION_NONE = 0, /**< command line only; fills struct hf_daemon_config */
    HF_SECTION_PROCESS,  /**< the next six fill struct hf_daemon_config, too */
    HF_SECTION_SESSIONS,
    HF_SECTION_METRICS,
    HF_SECTION_CONTROL,
    HF_SECTION_LOG,
    HF_SECTION_LIMITS,
    HF_SECTION_LISTENER,  /**< struct hf_daemon_listener */
    HF_SECTION_AUTHORITY, /**< struct hf_daemon_authority */
    HF_SECTION_MAF,       /**< struct hf_daemon_maf */
    HF_SECTION_DIALER,    /**< struct hf_daemon_dialer */
    HF_SECTION_COUNT,
};

#define HF_SETTING_REASON_MAX 256

struct hf_setting;

/** Takes one value (NULL: a switch of the command line) into `base`; false with `reason` filled. */
typedef bool hf_setting_take(void *base, char reason[HF_SETTING_REASON_MAX],
                             const struct hf_setting *setting, const char *value);

struct hf_setting_choice {
    const char *name; /**< NULL ends the list */
    int value;
};

struct hf_setting {
    enum hf_settings_section section;
    const char *key;      /**< NULL: not in the file */
    const char *option;   /**< NULL: not on the command line */
    const char *argument; /**< for --help; NULL: a switch */
    hf_setting_take *take;
    size_t offset;
    uint64_t min, max; /**< for the takers */
    const struct hf_setting_choice *choices;
    bool is_list;
    bool is_override; /**< of a listener, but allowed beside --config: it is for all of them */
    const char *help;
};

/** hf_setting_refuse writes `"value" is not expected` as the reason, and gives false. */
bool hf_setting_refuse(char reason[HF_SETTING_REASON_MAX], const char *value, const char *expected);

/** hf_setting_field gives the place of the setting's value in `base`. */
void *hf_setting_field(void *base, const struct hf_setting *setting);

/** hf_settings gives the table. */
const struct hf_setting *hf_settings(size_t *out_count);

/** hf_settings_section_name gives the section's name in the file; NULL for HF_SECTION_NONE. */
const char *hf_settings_section_name(enum hf_settings_section section);

#endif
