/**
 * chain_oracle.c - the same question put to X509_verify_cert.
 */
#include "chain_world.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <stdlib.h>

/* The certificates of a message; the first apart. NULL if one does not parse. */
static X509 *read_message(STACK_OF(X509) * rest, const uint8_t *message, size_t len)
{
    X509 *first = NULL;
    CBS body, list, entry;
    CBS_init(&body, message, len);
    if (!CBS_get_u24_length_prefixed(&body, &list) || CBS_len(&body) != 0)
        return NULL;
    while (CBS_len(&list) > 0) {
        if (!CBS_get_u24_length_prefixed(&list, &entry))
            return first;
        const uint8_t *at = CBS_data(&entry);
        X509 *certificate = d2i_X509(NULL, &at, (long)CBS_len(&entry));
        if (!certificate || at != CBS_data(&entry) + CBS_len(&entry)) {
            X509_free(certificate);
            X509_free(first);
            return NULL;
        }
        if (!first)
            first = certificate;
        else if (!sk_X509_push(rest, certificate))
            abort();
    }
    return first;
}

static X509_STORE *read_store(const struct chain_world *world, bool *has_crl)
{
    X509_STORE *store = X509_STORE_new();
    BIO *anchors = BIO_new_mem_buf(world->anchors_pem, (int)world->source.anchors_pem.len);
    BIO *crls = BIO_new_mem_buf(world->crls_pem, (int)world->source.crls_pem.len);
    X509 *anchor;
    X509_CRL *crl;
    *has_crl = false;
    while ((anchor = PEM_read_bio_X509(anchors, NULL, NULL, NULL))) {
        X509_STORE_add_cert(store, anchor);
        X509_free(anchor);
    }
    while ((crl = PEM_read_bio_X509_CRL(crls, NULL, NULL, NULL))) {
        X509_STORE_add_crl(store, crl);
        X509_CRL_free(crl);
        *has_crl = true;
    }
    BIO_free(anchors);
    BIO_free(crls);
    return store;
}

bool chain_world_oracle(int *error, const struct chain_world *world)
{
    STACK_OF(X509) *rest = sk_X509_new_null();
    bool has_crl, is_good = false;
    X509_STORE *store = read_store(world, &has_crl);
    X509 *leaf = read_message(rest, world->message, world->message_len);
    *error = -1;
    if (leaf) {
        X509_STORE_CTX *context = X509_STORE_CTX_new();
        if (!X509_STORE_CTX_init(context, store, leaf, rest))
            abort();
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(context);
        X509_VERIFY_PARAM_set_time(param, (time_t)world->now_s);
        X509_VERIFY_PARAM_set_purpose(param, world->peer_is_server ? X509_PURPOSE_SSL_SERVER
                                                                   : X509_PURPOSE_SSL_CLIENT);
        X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_X509_STRICT);
        if (has_crl)
            X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
        is_good = X509_verify_cert(context) == 1;
        *error = X509_STORE_CTX_get_error(context);
        X509_STORE_CTX_free(context);
    }
    X509_free(leaf);
    X509_STORE_free(store);
    sk_X509_pop_free(rest, X509_free);
    ERR_clear_error();
    return is_good;
}
