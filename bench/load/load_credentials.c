/**
 * load_credentials.c - certificates dealt out to handshakes in turn, and the sessions they leave.
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_LEN_MAX 65536

static size_t read_file(uint8_t bytes[FILE_LEN_MAX], const char *folder, size_t number,
                        const char *suffix)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%zu.%s", folder, number, suffix);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }
    size_t len = fread(bytes, 1, FILE_LEN_MAX, file);
    fclose(file);
    return len;
}

/* 0.pem and 0.key, 1.pem and 1.key, as long as there are any. */
bool load_credentials_open(struct load_credentials *out, const char *folder)
{
    static uint8_t chain[FILE_LEN_MAX], key[FILE_LEN_MAX];
    memset(out, 0, sizeof(*out));
    while (out->count < LOAD_CREDENTIALS_MAX) {
        const struct hf_credential_source source = {
            .chain_pem = {chain, read_file(chain, folder, out->count, "pem")},
            .key_pem = {key, read_file(key, folder, out->count, "key")},
        };
        const char *why = "";
        if (source.chain_pem.len == 0) {
            break;
        }
        if (hf_credential_open(&out->credentials[out->count], &why, &source) != HF_OK) {
            fprintf(stderr, "%s/%zu.pem: %s\n", folder, out->count, why);
            return false;
        }
        out->count++;
    }
    out->sessions = calloc(out->count + 1, sizeof(*out->sessions));
    return out->count > 0 && out->sessions != NULL;
}

void load_credentials_use(struct psk_client_config *config, struct load_credentials *credentials,
                          uint64_t number, bool is_resuming)
{
    size_t index = number % credentials->count;
    const struct psk_client_session *session = &credentials->sessions[index];
    config->credential = credentials->credentials[index];
    config->tickets = is_resuming;
    if (is_resuming && session->suite != 0) {
        config->session = session;
    }
}

void load_credentials_keep(struct load_credentials *credentials, const struct psk_client *client,
                           uint64_t number)
{
    if (!client->is_resumed && (client->ticket_len > 0 || client->session_id_len > 0)) {
        psk_client_keep_session(&credentials->sessions[number % credentials->count], client);
    }
}
