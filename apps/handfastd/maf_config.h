/**
 * maf_config.h - the MAFs whose keys count, as configured: a `maf` block each, or --maf.
 */
#ifndef HF_MAF_CONFIG_H
#define HF_MAF_CONFIG_H

#include <handfast/base.h>

#define HF_MAF_CONFIG_MAX 16
#define HF_MAF_CONFIG_ADDRESSES_MAX 8
#define HF_MAF_CONFIG_TEXT_MAX 1024 /**< of a text, with its NUL */

/** One MAF. What is "" or 0 is not given. */
struct hf_daemon_maf {
    char fqdn[HF_MAF_CONFIG_TEXT_MAX];
    struct hf_address addresses[HF_MAF_CONFIG_ADDRESSES_MAX]; /**< in order of preference */
    uint32_t address_count;
    char identity[HF_MAF_CONFIG_TEXT_MAX]; /**< KmID */
    char psk_file[HF_MAF_CONFIG_TEXT_MAX]; /**< where its Km stands */
    char certificate[HF_MAF_CONFIG_TEXT_MAX], private_key[HF_MAF_CONFIG_TEXT_MAX];
    char ca[HF_MAF_CONFIG_TEXT_MAX], crl[HF_MAF_CONFIG_TEXT_MAX];
    char origin[HF_MAF_CONFIG_TEXT_MAX]; /**< our CSE-ID, absolute */
    char admin_fqdn[HF_MAF_CONFIG_TEXT_MAX];
    uint64_t connections, pipeline; /**< 0: the default */
    uint64_t lookup_us;             /**< of the whole daemon: the longest of all blocks */
    int part;                       /**< enum hf_key_part */
    int syntax;                     /**< enum hf_maf_relative_syntax */
    uint32_t line;
};

/** What was configured of MAFs. */
struct hf_daemon_mafs {
    uint32_t count;
    struct hf_daemon_maf mafs[HF_MAF_CONFIG_MAX];
    struct hf_daemon_maf common;            /**< the command line's options, for all of them */
    char cache[HF_MAF_CONFIG_TEXT_MAX];     /**< where keys are kept across a restart */
    char cache_key[HF_MAF_CONFIG_TEXT_MAX]; /**< secrets that seal it; settled */
};

struct hf_setting;

/** hf_maf_config_take takes --maf FQDN=ADDR:PORT into the daemon's configuration: one more address
 *  of one MAF; hf_maf_config_take_address an address of a block. As hf_setting_take. */
bool hf_maf_config_take(void *base, char *reason, const struct hf_setting *setting,
                        const char *value);
bool hf_maf_config_take_address(void *base, char *reason, const struct hf_setting *setting,
                                const char *value);

/** hf_maf_config_take_name takes one of an authority's MAFs, or "none". */
bool hf_maf_config_take_name(void *base, char *reason, const struct hf_setting *setting,
                             const char *value);

struct hf_daemon_authority;

/** hf_maf_config_is_none tells whether an authority names its MAFs and they are none. */
HF_MUST_USE bool hf_maf_config_is_none(const struct hf_daemon_authority *authority);

/** hf_maf_config_settle_authority gives an authority the set of its MAFs. On false `error` holds
 *  one line. */
HF_MUST_USE bool hf_maf_config_settle_authority(struct hf_daemon_authority *authority,
                                                const struct hf_daemon_mafs *mafs, char *error,
                                                size_t error_max);

/** hf_maf_config_settle checks all, and fills in what --maf-... say. In: the file of secrets that
 *  nodes share, "": none. On false `error` holds one line. */
HF_MUST_USE bool hf_maf_config_settle(struct hf_daemon_mafs *mafs, char *error, size_t error_max,
                                      const char *shared_secrets);

/** hf_maf_config_is_same compares what cannot change while it runs: all but credentials. */
HF_MUST_USE bool hf_maf_config_is_same(const struct hf_daemon_mafs *a,
                                       const struct hf_daemon_mafs *b);

#endif
