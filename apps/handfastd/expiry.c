/**
 * expiry.c - see expiry.h.
 */
#include "expiry.h"

#include "log.h"

#include <time.h>

static bool is_ending(int64_t at_s, uint64_t days, const char *what, const char *authority)
{
    int64_t now_s = (int64_t)time(NULL);
    if (at_s == 0 || at_s - now_s > (int64_t)days * 86400)
        return false;
    if (at_s <= now_s)
        hf_log_message(HF_LOG_WARNING, "expiring", "authority %s: the %s has expired", authority,
                       what);
    else
        hf_log_message(HF_LOG_WARNING, "expiring", "authority %s: the %s expires in %lld days",
                       authority, what, (long long)((at_s - now_s) / 86400));
    return true;
}

bool hf_expiry_warn(const struct hf_daemon *daemon, uint64_t days)
{
    bool is_any = false;
    for (uint32_t i = 0; i < daemon->started.authority_count; i++) {
        struct hf_credentials_expiry expiry;
        const char *name = daemon->started.authorities[i].name;
        hf_authority_expiry(&expiry, daemon->shared.authorities[i]);
        is_any |= is_ending(expiry.certificate_s, days, "certificate", name);
        is_any |= is_ending(expiry.client_ca_s, days, "client-ca", name);
        is_any |= is_ending(expiry.crl_s, days, "crl", name);
    }
    return is_any;
}
