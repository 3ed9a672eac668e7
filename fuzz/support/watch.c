/**
 * watch.c - see world.h: judges what an engine gives out by its public contract alone.
 */
#include "world.h"

#include "association.h"
#include "cid.h"

struct fuzz_peer *fuzz_watch_peer(struct fuzz_world *world, hf_association_id id)
{
    for (size_t i = 0; i < FUZZ_PEERS; i++) {
        if (world->peers[i].id == id)
            return &world->peers[i];
    }
    /* Those that are gone make room; so many cannot live at once. */
    for (size_t i = 0; i < FUZZ_PEERS; i++) {
        struct fuzz_peer *peer = &world->peers[world->peer_next++ % FUZZ_PEERS];
        if (peer->id == 0 || peer->life == FUZZ_GONE ||
            !hf_association_find(world->engine, peer->id)) {
            *peer = (struct fuzz_peer){.id = id};
            return peer;
        }
    }
    FUZZ_FAIL("more associations than there is room for");
}

/* ---- events ------------------------------------------------------------------------------- */

static void watch_established(struct fuzz_world *world, struct fuzz_peer *peer)
{
    struct hf_association_info info;
    uint8_t exported[32];
    FUZZ_CHECK(peer->life == FUZZ_NEW);
    peer->life = FUZZ_OPEN;
    world->established_count++;
    world->last_established = peer->id;
    if (!hf_association_find(world->engine, peer->id))
        return; /* ended within the turn: that event is still to come */
    FUZZ_CHECK(hf_engine_association_info(&info, world->engine, peer->id) == HF_OK);
    FUZZ_CHECK(info.established && hf_suite_name(info.suite) != NULL);
    FUZZ_CHECK(info.plaintext_len_max >= 63); /* of 64, with a connection ID one less */
    FUZZ_CHECK(info.entity_id[info.entity_id_len] == '\0');
    FUZZ_CHECK(info.credential_id[info.credential_id_len] == '\0');
    FUZZ_CHECK(info.server_name[info.server_name_len] == '\0');
    const struct hf_bytes label = {(const uint8_t *)"EXPORTER-fuzz", 13};
    enum hf_status status =
        hf_engine_export(exported, sizeof exported, world->engine, peer->id, label, NULL);
    FUZZ_CHECK(status == (info.extended_master_secret ? HF_OK : HF_E_STATE));
}

static void watch_end(struct fuzz_world *world, struct fuzz_peer *peer,
                      const struct hf_event *event)
{
    FUZZ_CHECK(event->failure.status > HF_DROPPED && event->failure.status < HF_STATUS_COUNT);
    FUZZ_CHECK(event->failure.state && event->failure.event && event->failure.clause);
    FUZZ_CHECK(!hf_association_find(world->engine, event->association));
    if (event->kind == HF_EVENT_CLOSED) {
        FUZZ_CHECK(peer->life == FUZZ_OPEN || peer->life == FUZZ_HALF_CLOSED);
        world->closed_count++;
    } else {
        FUZZ_CHECK(peer->life == FUZZ_NEW);
        FUZZ_CHECK(event->psk_identity_len <= HF_EVENT_IDENTITY_MAX);
        world->failed_count++;
    }
    peer->life = FUZZ_GONE;
}

static void watch_event(struct fuzz_world *world, const struct hf_event *event)
{
    FUZZ_CHECK(event->association >> 56 == world->config.shard_index);
    FUZZ_CHECK(event->is_client == world->is_client);
    struct fuzz_peer *peer = fuzz_watch_peer(world, event->association);
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        watch_established(world, peer);
        break;
    case HF_EVENT_DATA:
        FUZZ_CHECK(peer->life == FUZZ_OPEN && event->data.len > 0);
        fuzz_touch(event->data);
        world->data_count++;
        break;
    case HF_EVENT_READABLE:
        FUZZ_CHECK(peer->life != FUZZ_GONE);
        break;
    case HF_EVENT_PEER_CLOSED:
        FUZZ_CHECK(peer->life == FUZZ_OPEN);
        peer->life = FUZZ_HALF_CLOSED;
        break;
    case HF_EVENT_CLOSED:
    case HF_EVENT_HANDSHAKE_FAILED:
        watch_end(world, peer, event);
        break;
    case HF_EVENT_MOVED:
        FUZZ_CHECK(peer->life == FUZZ_OPEN);
        break;
    case HF_EVENT_SESSION:
        FUZZ_CHECK(world->is_client && peer->life == FUZZ_OPEN);
        FUZZ_CHECK(event->data.len > 0 && event->data.len <= HF_SESSION_MAX);
        fuzz_touch(event->data);
        break;
    case HF_EVENT_KEYLOG:
        FUZZ_CHECK(world->config.keylog && peer->life == FUZZ_NEW);
        break;
    default:
        FUZZ_FAIL("an event of no kind");
    }
    if (world->see_event)
        world->see_event(world, event);
}

void fuzz_watch_events(struct fuzz_world *world, size_t count)
{
    struct hf_event event;
    while (count-- > 0 && hf_engine_take_event(world->engine, &event))
        watch_event(world, &event);
}

/* ---- outputs ------------------------------------------------------------------------------ */

/* A HelloVerifyRequest, the only thing that is said to a stranger: its cookie is what he needs. */
static void watch_verify(struct fuzz_world *world, const struct hf_output *output,
                         struct hf_reader body)
{
    FUZZ_CHECK(hf_reader_u8(&body) == HF_MESSAGE_HELLO_VERIFY_REQUEST);
    uint32_t message_len = hf_reader_u24(&body);
    (void)hf_reader_u16(&body);
    FUZZ_CHECK(hf_reader_u24(&body) == 0 && hf_reader_u24(&body) == message_len);
    FUZZ_CHECK(hf_reader_u16(&body) == HF_VERSION_DTLS_1_0);
    struct hf_bytes cookie = hf_reader_vector(&body, 1);
    FUZZ_CHECK(hf_reader_done(&body) && cookie.len > 0 && cookie.len <= FUZZ_COOKIE_MAX);
    world->stateless_out_len += output->data.len;
    FUZZ_CHECK(world->stateless_out_len <= world->datagrams_in_len); /* nothing is amplified */
    for (uint8_t i = 0; i < FUZZ_PATHS; i++) {
        struct hf_path path = fuzz_world_path(i);
        if (memcmp(&path, &output->path, sizeof path) == 0) {
            memcpy(world->cookies[i], cookie.data, cookie.len);
            world->cookie_lens[i] = (uint8_t)cookie.len;
            return;
        }
    }
    FUZZ_FAIL("an answer to a path that never asked");
}

static bool is_type_known(uint8_t type)
{
    return type >= HF_TYPE_CHANGE_CIPHER_SPEC && type <= HF_TYPE_APPLICATION_DATA;
}

static bool is_type_of_epoch1(uint8_t type)
{
    return type == HF_TYPE_TLS12_CID || type == HF_TYPE_RETURN_ROUTABILITY;
}

/* Takes note of what the peer has asked for; false: it is gone, and nobody knows. */
static bool has_cid_len(struct fuzz_peer *peer, const struct hf_engine *engine)
{
    const struct hf_association *association = hf_association_find(engine, peer->id);
    if (association)
        peer->cid_len = (uint8_t)hf_cid_peer(engine, association).len;
    return peer->cid_len > 0;
}

static void watch_datagram(struct fuzz_world *world, const struct hf_output *output)
{
    struct fuzz_peer *peer =
        output->association ? fuzz_watch_peer(world, output->association) : NULL;
    struct hf_reader reader = hf_reader_of(output->data);
    FUZZ_CHECK(output->data.len > 0 && output->listener_index == FUZZ_LISTENER_DTLS);
    FUZZ_CHECK(output->is_client == world->is_client && (peer || !world->is_client));
    /* The same bytes, to another address: RFC 9853. */
    bool is_again = peer && peer->last == output->data.data &&
                    memcmp(&peer->last_to, &output->path, sizeof output->path) != 0;
    if (peer) {
        peer->last = output->data.data;
        peer->last_to = output->path;
    }
    while (reader.len > 0) {
        uint8_t type = hf_reader_u8(&reader);
        uint16_t version = hf_reader_u16(&reader);
        uint16_t epoch = hf_reader_u16(&reader);
        uint64_t seq = hf_reader_u48(&reader);
        if (peer && type == HF_TYPE_TLS12_CID) {
            if (!has_cid_len(peer, world->engine))
                return;
            (void)hf_reader_take(&reader, peer->cid_len);
        }
        struct hf_bytes body = hf_reader_vector(&reader, 2);
        bool is_known = is_type_known(type) || (epoch == 1 && is_type_of_epoch1(type));
        FUZZ_CHECK(!reader.is_failed && is_known && epoch <= 1 && body.len > 0);
        FUZZ_CHECK(version == (peer ? HF_VERSION_DTLS_1_2 : HF_VERSION_DTLS_1_0));
        if (!peer) {
            FUZZ_CHECK(epoch == 0 && type == HF_TYPE_HANDSHAKE && reader.len == 0);
            watch_verify(world, output, hf_reader_of(body));
            return;
        }
        FUZZ_CHECK(type != HF_TYPE_APPLICATION_DATA || epoch == 1);
        if (epoch == 0)
            continue;
        /* An AEAD nonce is made of it. */
        FUZZ_CHECK(!peer->has_sent || seq > peer->sent_seq || is_again);
        peer->has_sent = true;
        peer->sent_seq = seq;
    }
}

static void watch_stream(const struct fuzz_world *world, const struct hf_output *output)
{
    (void)world;
    struct hf_reader reader = hf_reader_of(output->data);
    FUZZ_CHECK(output->association != 0 && output->data.len > 0);
    FUZZ_CHECK(output->listener_index == FUZZ_LISTENER_TLS);
    while (reader.len > 0) {
        uint8_t type = hf_reader_u8(&reader);
        uint16_t version = hf_reader_u16(&reader);
        struct hf_bytes body = hf_reader_vector(&reader, 2);
        FUZZ_CHECK(!reader.is_failed && is_type_known(type) && version == HF_VERSION_TLS_1_2);
        FUZZ_CHECK(body.len > 0 && body.len <= HF_CIPHERTEXT_LEN_MAX);
    }
}

void fuzz_watch_outputs(struct fuzz_world *world, size_t count)
{
    struct hf_output output;
    while (count-- > 0 && hf_engine_take_output(world->engine, &output)) {
        fuzz_touch(output.data);
        if (output.is_stream)
            watch_stream(world, &output);
        else
            watch_datagram(world, &output);
        if (world->see_output)
            world->see_output(world, &output);
    }
}
