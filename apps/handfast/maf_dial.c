/**
 * maf_dial.c - `handfast`: a MAF on the command line, and keys in files.
 */
#include "maf_dial.h"

#include "endpoint.h"
#include "maf_session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool fail(const char *path, const char *why)
{
    fprintf(stderr, "handfast: maf: %s: %s\n", path, why);
    return false;
}

bool hf_maf_dial_parse(struct hf_maf_dial *out, char *text)
{
    char *equals = strchr(text, '=');
    if (equals == NULL || !hf_endpoint_parse(&out->address, equals + 1) || out->address.port == 0)
        return false;
    *equals = '\0';
    out->fqdn = text;
    return hf_maf_text_is_fqdn(hf_maf_text_view(text));
}

const char *hf_maf_dial_missing(const struct hf_maf_dial *dial)
{
    bool has_certificate = dial->cert != NULL && dial->key != NULL;
    if (dial->psk_file == NULL && !has_certificate)
        return "keys, or a certificate and its key, are needed to authenticate to the MAF";
    if (has_certificate && dial->ca == NULL)
        return "authorities are needed to know the MAF by";
    return NULL;
}

/* ---- keys in files ------------------------------------------------------------------------ */

bool hf_maf_session_save_key(const char *path, const char *fqdn, const struct hf_maf_resource *key,
                             const char *entity_id)
{
    char hex[2 * HF_PSK_MAX + 1];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file == NULL) {
        if (fd >= 0)
            close(fd);
        return fail(path, strerror(errno));
    }
    (void)fchmod(fd, 0600);
    hf_maf_text_write_hex(hex, (struct hf_bytes){key->key, key->key_len});
    fprintf(file, "%s@%s:%s%s%s\n", key->resource_id, fqdn, hex, entity_id != NULL ? ":" : "",
            entity_id != NULL ? entity_id : "");
    explicit_bzero(hex, sizeof(hex));
    return fclose(file) == 0 || fail(path, "the key could not be written");
}

bool hf_maf_session_read_key(uint8_t key[32], const char *path)
{
    uint8_t text[200];
    size_t len = 0;
    FILE *file = fopen(path, "re");
    size_t got = file != NULL ? fread(text, 1, sizeof(text), file) : 0;
    if (file != NULL)
        (void)fclose(file);
    while (got > 0 && (text[got - 1] == '\n' || text[got - 1] == '\r'))
        got--;
    bool is_good = hf_maf_text_read_key(key, &len, 32, (struct hf_bytes){text, got}) && len == 32;
    explicit_bzero(text, sizeof(text));
    return is_good || fail(path, "32 bytes in hexadecimal or base64 are needed");
}
