/**
 * chain_oracle.c - the same question put to X509_verify_cert.
 */
#include "chain_world.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <stdlib.h>

#define UNSIGNED (-2) /* no error of X509_verify_cert: signatures do not matter */

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

static bool is_excused(int error)
{
    return error == X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE ||
           error == X509_V_ERR_UNSUPPORTED_NAME_SYNTAX;
}

static bool is_of_signature(int error)
{
    return error == X509_V_ERR_CERT_SIGNATURE_FAILURE ||
           error == X509_V_ERR_CRL_SIGNATURE_FAILURE ||
           error == X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY;
}

/* Lets the verification go on where it only says that it cannot judge a name constraint: whatever
 * else is wrong is still found. */
static int excuse(int is_good, X509_STORE_CTX *context)
{
    int *excused = X509_STORE_CTX_get_ex_data(context, 0);
    if (*excused == UNSIGNED && is_of_signature(X509_STORE_CTX_get_error(context)))
        return 1;
    if (is_good || !is_excused(X509_STORE_CTX_get_error(context)))
        return is_good;
    *excused = X509_STORE_CTX_get_error(context);
    return 1;
}

/* Is there a name of `type` in the certificate, or among the issuers' constraints? */
static bool has_type(X509 *certificate, int nid, int type)
{
    bool is_found = false;
    if (nid == NID_subject_alt_name) {
        GENERAL_NAMES *names = X509_get_ext_d2i(certificate, nid, NULL, NULL);
        for (size_t i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
            const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
            is_found |= name->type == type &&
                        (type != GEN_URI ||
                         ASN1_STRING_get0_data(name->d.uniformResourceIdentifier)[0] == '/');
        }
        GENERAL_NAMES_free(names);
        return is_found;
    }
    NAME_CONSTRAINTS *constraints = X509_get_ext_d2i(certificate, nid, NULL, NULL);
    for (int part = 0; constraints && part < 2; part++) {
        STACK_OF(GENERAL_SUBTREE) *subtrees =
            part ? constraints->excludedSubtrees : constraints->permittedSubtrees;
        for (size_t i = 0; subtrees && i < sk_GENERAL_SUBTREE_num(subtrees); i++)
            is_found |= sk_GENERAL_SUBTREE_value(subtrees, i)->base->type == type;
    }
    NAME_CONSTRAINTS_free(constraints);
    return is_found;
}

/* Is the excuse one of the two listed cases: an otherName under a constraint of otherName, a URI
 * without a scheme under one of URI? */
static bool is_listed(X509_STORE_CTX *context, int error)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(context);
    int type = error == X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE ? GEN_OTHERNAME : GEN_URI;
    bool has_name = false, has_constraint = false;
    for (size_t i = 0; i < sk_X509_num(chain); i++) {
        has_name |= has_type(sk_X509_value(chain, i), NID_subject_alt_name, type);
        has_constraint |= has_type(sk_X509_value(chain, i), NID_name_constraints, type);
    }
    return has_name && has_constraint;
}

static bool ask(int *error, const struct chain_world *world, int excused)
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
        if (!X509_STORE_CTX_set_ex_data(context, 0, &excused))
            abort();
        X509_STORE_CTX_set_verify_cb(context, excuse);
        is_good = X509_verify_cert(context) == 1;
        *error = is_good ? excused : X509_STORE_CTX_get_error(context);
        if (is_good && is_excused(excused))
            is_good = is_listed(context, excused);
        X509_STORE_CTX_free(context);
    }
    X509_free(leaf);
    X509_STORE_free(store);
    sk_X509_pop_free(rest, X509_free);
    ERR_clear_error();
    return is_good;
}

bool chain_world_oracle(int *error, const struct chain_world *world)
{
    return ask(error, world, X509_V_OK);
}

bool chain_world_oracle_unsigned(int *error, const struct chain_world *world)
{
    return ask(error, world, UNSIGNED);
}
