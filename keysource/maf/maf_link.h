/**
 * maf_link.h - the connections of a key service as TLS associations of an engine of its own, in the
 * client's role: mutually authenticated, SNI = MAF-FQDN (TS-0003 8.8.2.2, 10.2).
 *
 * Sans-I/O: a socket is a number; the embedder opens it where the link wishes, and carries its
 * bytes. Any loop will do: io/maf has one on poll(2). A turn:
 *     hf_maf_link_begin(link, now_us, wall_s);
 *     hf_maf_link_connected() / _received() / _ended() ...     what became of sockets
 *     hf_key_service_ask() / _cancel() ...                     on the same thread
 *     hf_maf_link_end(link);
 *     while (hf_maf_link_take_wish(link, &wish)) ...           what to do with sockets
 *     while (hf_key_service_take_reply(service, &reply)) ...
 */
#ifndef HF_MAF_LINK_H
#define HF_MAF_LINK_H

#include "key_service.h"

struct hf_maf_link;

/** How we authenticate to one MAF, in the order of the service's MAFs. */
struct hf_maf_login {
    struct hf_bytes fqdn;             /**< SNI, and what its certificate must say */
    struct hf_bytes psk_identity;     /**< KmID; empty: certificates */
    const struct hf_credential *x509; /**< ours; a reference is taken of both; NULL: keys only */
    const struct hf_trust *trust;     /**< of flavour FQDN */
};

struct hf_maf_link_config {
    struct hf_key_service *service; /**< outlives the link */
    const struct hf_maf_login *logins;
    uint32_t login_count;
    uint32_t connections_max;         /**< of one MAF, as its pool's */
    const struct hf_key_source *keys; /**< gives Km for KmID, at once; outlives the link */
};

/** hf_maf_link_open copies what it needs. Errors: as hf_engine_open(). */
HF_MUST_USE enum hf_status hf_maf_link_open(struct hf_maf_link **out,
                                            const struct hf_maf_link_config *config);

/** hf_maf_link_close wipes and frees; NULL is allowed. */
void hf_maf_link_close(struct hf_maf_link *link);

/** hf_maf_link_set_login changes how we authenticate to one MAF; its FQDN stays. All that is asked
 *  from now on goes over new connections; the old ones end with the answers they owe. Errors:
 *  HF_E_CONFIG, HF_E_MEMORY, and those of hf_engine_update_dialer(); nothing has changed then. */
HF_MUST_USE enum hf_status hf_maf_link_set_login(struct hf_maf_link *link, uint32_t maf_index,
                                                 const struct hf_maf_login *login);

/** hf_maf_link_sockets gives how many numbers there are: 0 to that less one. */
uint32_t hf_maf_link_sockets(const struct hf_maf_link *link);

/** hf_maf_link_begin sets the times of link and service. */
void hf_maf_link_begin(struct hf_maf_link *link, uint64_t now_us, int64_t wall_s);

/** hf_maf_link_connected: the TCP connection stands. */
void hf_maf_link_connected(struct hf_maf_link *link, uint32_t number);

/** hf_maf_link_received takes bytes, decrypted in place; all of them. */
void hf_maf_link_received(struct hf_maf_link *link, uint32_t number, uint8_t *data, size_t len);

/** hf_maf_link_ended: it could not be connected, or nothing more will come. */
void hf_maf_link_ended(struct hf_maf_link *link, uint32_t number);

/** hf_maf_link_end ends the turn. */
void hf_maf_link_end(struct hf_maf_link *link);

/** hf_maf_link_next_us gives the time by which the next turn is due; UINT64_MAX: none. */
uint64_t hf_maf_link_next_us(const struct hf_maf_link *link);

enum hf_maf_wish_kind {
    HF_MAF_WISH_CONNECT = 0, /**< TCP to `address` */
    HF_MAF_WISH_WRITE,       /**< `bytes`: valid until hf_maf_link_begin() */
    HF_MAF_WISH_CLOSE,       /**< once what was to be written is written, for a moment at most */
};

struct hf_maf_wish {
    enum hf_maf_wish_kind kind;
    uint32_t socket_index;
    struct hf_address address;
    struct hf_bytes bytes;
};

/** hf_maf_link_take_wish gives the next one; false: none. Take all in each turn. */
HF_MUST_USE bool hf_maf_link_take_wish(struct hf_maf_link *link, struct hf_maf_wish *out);

/** hf_maf_link_failure gives the status of the last handshake with a MAF that failed, HF_OK: none
 *  did. */
enum hf_status hf_maf_link_failure(const struct hf_maf_link *link, uint32_t maf_index);

#endif
