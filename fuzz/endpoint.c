/**
 * endpoint.c - fuzz target: the text form of addresses and of cipher suites. What is taken prints
 * as a text that means the same; an address becomes the same socket address.
 */
#include "endpoint.h"

#include "fuzz.h"

#include <handfast/config.h>
#include <netinet/in.h>

static void check_suite(const char *text)
{
    uint16_t suite = hf_suite_parse(text);
    const char *name = hf_suite_name(suite);
    FUZZ_CHECK((suite == HF_SUITE_NONE) == (name == NULL));
    FUZZ_CHECK(name == NULL || hf_suite_parse(name) == suite);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct hf_address address, again;
    char printed[HF_ADDRESS_TEXT_MAX];
    struct sockaddr_storage sockaddr;
    char *text = malloc(len + 1);
    FUZZ_CHECK(text != NULL);
    if (len > 0)
        memcpy(text, data, len);
    text[len] = '\0';
    check_suite(text);
    if (hf_endpoint_parse(&address, text)) {
        FUZZ_CHECK(address.zero == 0);
        hf_address_print(printed, &address);
        FUZZ_CHECK(memchr(printed, '\0', sizeof printed) != NULL);
        FUZZ_CHECK(hf_endpoint_parse(&again, printed));
        if (fuzz_is_canary())
            again.port ^= 1;
        FUZZ_CHECK(memcmp(&address, &again, sizeof address) == 0);
        socklen_t sockaddr_len = hf_endpoint_sockaddr(&sockaddr, &address);
        bool is_v4 = hf_address_is_v4(&address);
        FUZZ_CHECK(sockaddr.ss_family == (is_v4 ? AF_INET : AF_INET6));
        FUZZ_CHECK(sockaddr_len ==
                   (is_v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6)));
        (void)hf_endpoint_is_loopback(&address);
    }
    free(text);
    return 0;
}
