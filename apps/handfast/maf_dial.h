/**
 * maf_dial.h - whom to dial as a client of a MAF, and how to prove who we are.
 */
#ifndef HF_TOOL_MAF_DIAL_H
#define HF_TOOL_MAF_DIAL_H

#include <handfast/base.h>

/** Texts are argv's. */
struct hf_maf_dial {
    const char *fqdn;
    struct hf_address address;
    const char *psk_file, *identity;
    const char *cert, *key, *ca, *crl;
    const char *origin; /**< X-M2M-Origin; NULL: not sent */
    uint64_t timeout_us;
};

/** hf_maf_dial_parse takes "FQDN=ADDR:PORT"; `fqdn` is cut out of `text`, which is written to. */
HF_MUST_USE bool hf_maf_dial_parse(struct hf_maf_dial *out, char *text);

/** hf_maf_dial_missing gives NULL, or what the command line must say besides, without its dashes
 *  and prefix. */
const char *hf_maf_dial_missing(const struct hf_maf_dial *dial);

#endif
