/**
 * proxy.c - fuzz target: the PROXY header of a balancer. What is taken whole is not taken short,
 * what follows it changes nothing, and a wrong one is wrong however much of it is there.
 */
#include "proxy.h"

#include "fuzz.h"

static enum hf_status read_len(struct hf_proxy_header *out, const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    FUZZ_CHECK(copy != NULL);
    if (len > 0)
        memcpy(copy, data, len);
    enum hf_status status = hf_proxy_read(out, (struct hf_bytes){copy, len});
    free(copy);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct hf_proxy_header header = {.len = SIZE_MAX}, other;
    enum hf_status status = read_len(&header, data, len);
    FUZZ_CHECK(status == HF_OK || status == HF_WAITING || status == HF_E_DECODE);
    if (status != HF_OK) {
        FUZZ_CHECK(header.len == SIZE_MAX);
        for (size_t cut = 0; status == HF_WAITING && cut < len; cut++)
            FUZZ_CHECK(read_len(&other, data, cut) == HF_WAITING);
        FUZZ_CHECK(status != HF_WAITING || len < HF_PROXY_LEN_MAX);
        return 0;
    }
    FUZZ_CHECK(header.len >= 16 && header.len <= len && header.len <= HF_PROXY_LEN_MAX);
    FUZZ_CHECK(read_len(&other, data, header.len) == HF_OK);
    if (fuzz_is_canary())
        other.has_peer = !other.has_peer;
    FUZZ_CHECK(other.len == header.len && other.has_peer == header.has_peer);
    FUZZ_CHECK(memcmp(&other.peer, &header.peer, sizeof other.peer) == 0);
    FUZZ_CHECK(read_len(&other, data, header.len - 1) == HF_WAITING);
    return 0;
}
