/**
 * transfer_item.c - see transfer_item.h. What must survive is listed here, once for both ways.
 */
#include "transfer_item.h"

/* The flags that are moved. Their numbers on the wire are for ever. */
static const struct {
    uint32_t flag, bit;
} flag_bits[] = {
    {HF_ASSOCIATION_DATAGRAM, 1u << 0},
    {HF_ASSOCIATION_EMS, 1u << 1},
    {HF_ASSOCIATION_ETM, 1u << 2},
    {HF_ASSOCIATION_READ_PROTECTED, 1u << 3},
    {HF_ASSOCIATION_WRITE_PROTECTED, 1u << 4},
    {HF_ASSOCIATION_PEER_CLOSED, 1u << 5},
    {HF_ASSOCIATION_WRITE_CLOSED, 1u << 6},
    {HF_ASSOCIATION_READ_WANTED, 1u << 7},
    {HF_ASSOCIATION_READ_QUEUED, 1u << 8},
    {HF_ASSOCIATION_REST_DUE, 1u << 9},
    {HF_ASSOCIATION_CLIENT, 1u << 10},
    {HF_ASSOCIATION_LAST_WORD, 1u << 11},
    {HF_ASSOCIATION_RESUMED, 1u << 12},
    {HF_ASSOCIATION_TICKET, 1u << 13},
    {HF_ASSOCIATION_CACHED, 1u << 14},
    {HF_ASSOCIATION_SA2, 1u << 15},
    {HF_ASSOCIATION_CID, 1u << 16},
    {HF_ASSOCIATION_RRC, 1u << 17},
};

#define FLAG_COUNT (sizeof flag_bits / sizeof flag_bits[0])

uint32_t hf_transfer_item_wire_flags(uint32_t flags)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < FLAG_COUNT; i++)
        bits |= flags & flag_bits[i].flag ? flag_bits[i].bit : 0;
    return bits;
}

bool hf_transfer_item_own_flags(uint32_t *out, uint32_t bits)
{
    *out = 0;
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        *out |= bits & flag_bits[i].bit ? flag_bits[i].flag : 0;
        bits &= ~flag_bits[i].bit;
    }
    return bits == 0;
}

/* ---- the fields --------------------------------------------------------------------------- */

#define NUMBER(number, place) hf_codec_number(codec, number, &(place), sizeof(place))
#define BLOCK(number, place) hf_codec_block(codec, number, place, sizeof(place), false)

static void key_fields(struct hf_codec *codec, uint32_t first, struct hf_record_key *key)
{
    NUMBER(first, key->cipher);
    BLOCK(first + 1, key->fixed_iv);
    BLOCK(first + 2, key->key);
    bool is_cbc = key->cipher == HF_CIPHER_AES_128_CBC_SHA256 ||
                  key->cipher == HF_CIPHER_AES_128_CBC_SHA256_ETM;
    hf_codec_block(codec, first + 3, key->mac_key, sizeof key->mac_key, !is_cbc);
}

static void address_fields(struct hf_codec *codec, uint32_t first, struct hf_address *address)
{
    BLOCK(first, address->ip);
    NUMBER(first + 1, address->port);
    NUMBER(first + 2, address->scope);
}

/** What every association has; a free record has no more than the first two. */
static void fields(struct hf_codec *codec, struct hf_transfer_item *item)
{
    struct hf_association *record = &item->record;
    NUMBER(1, record->generation);
    NUMBER(2, item->flags);
    NUMBER(3, record->listener_index);
    NUMBER(4, record->suite);
    NUMBER(5, record->framework);
    NUMBER(6, record->entity_kind);
    NUMBER(7, record->suid);
    NUMBER(8, record->plaintext_len_max);
    NUMBER(9, record->receive_len_max);
    NUMBER(10, record->warnings);
    NUMBER(11, record->quota_index);
    NUMBER(12, record->session_until);
    NUMBER(13, record->leaving);
    NUMBER(14, record->expires_s);
    NUMBER(15, record->context);
    NUMBER(16, record->write_seq);
    NUMBER(17, record->read_seq);
    NUMBER(18, item->silent_us);
    NUMBER(19, item->age_us);
    address_fields(codec, 20, &item->path.peer);
    address_fields(codec, 24, &item->path.local);
    key_fields(codec, 32, &item->write_key);
    key_fields(codec, 40, &item->read_key);
    BLOCK(48, record->master_secret);
    BLOCK(49, record->client_random);
    BLOCK(50, record->server_random);
    BLOCK(51, record->verify_data);
    hf_codec_bytes(codec, 56, &item->identity.entity_id);
    hf_codec_bytes(codec, 57, &item->identity.credential_id);
    hf_codec_bytes(codec, 58, &item->identity.server_name);
    hf_codec_bytes(codec, 59, &item->identity.handles);
}

/** What goes with connection IDs of ours. */
static void cid_fields(struct hf_codec *codec, struct hf_transfer_item *item)
{
    BLOCK(71, item->cid_key.name);
    NUMBER(72, item->cid_key.tag_key[0]);
    NUMBER(73, item->cid_key.tag_key[1]);
    NUMBER(74, item->cid_key.mask_key[0]);
    NUMBER(75, item->cid_key.mask_key[1]);
    NUMBER(76, item->is_aside);
    NUMBER(77, item->is_unchecked);
    NUMBER(78, item->path_received);
    NUMBER(79, item->path_sent);
}

static void datagram_fields(struct hf_codec *codec, struct hf_transfer_item *item)
{
    struct hf_association *record = &item->record;
    if (!hf_codec_is_writing(codec))
        record->trial_tokens = UINT16_MAX; /* as many as there may be */
    NUMBER(64, record->datagram.window);
    NUMBER(65, record->datagram.epoch0_seq);
    NUMBER(66, record->datagram.forgeries);
    NUMBER(67, record->trial_tokens);
    NUMBER(68, record->datagram.finished_seq);
    NUMBER(69, record->datagram.reply_seq);
    if (!hf_codec_is_writing(codec) || item->peer_cid.len > 0)
        hf_codec_bytes(codec, 70 | HF_CODEC_NEEDED, &item->peer_cid);
    if (item->flags & hf_transfer_item_wire_flags(HF_ASSOCIATION_CID))
        cid_fields(codec, item);
}

static void stream_fields(struct hf_codec *codec, struct hf_transfer_item *item)
{
    NUMBER(80, item->record.stream.user);
    hf_codec_bytes(codec, 81, &item->partial);
    NUMBER(82, item->partial_us);
}

void hf_transfer_item_live(struct hf_codec *codec, struct hf_transfer_item *item)
{
    fields(codec, item);
    if (item->flags & flag_bits[0].bit)
        datagram_fields(codec, item);
    else
        stream_fields(codec, item);
}

void hf_transfer_item_free(struct hf_codec *codec, struct hf_transfer_item *item)
{
    NUMBER(1, item->record.generation);
    NUMBER(2, item->flags);
}
