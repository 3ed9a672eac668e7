/**
 * coap_cse.c - a CoAP server as a CSE may be, on libcoap without TLS: it says nothing to whoever
 * observes it for a long time, then notifies, and then asks him something himself.
 *
 *     coap_cse HOST PORT SECONDS
 *
 * GET /late, observable. So many seconds after the last request all observers are notified; whoever
 * asked last is sent a GET /sensor. Prints a line for each thing that happens.
 */
#include <arpa/inet.h>
#include <coap3/coap.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct {
    coap_session_t *device; /* whoever asked last */
    coap_mid_t mid;         /* of that */
    int64_t due_s;          /* when to notify; 0: not */
    int64_t silence_s;
    unsigned number;
} cse;

static int64_t now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static void handle_get(coap_resource_t *resource, coap_session_t *session,
                       const coap_pdu_t *request, const coap_string_t *query, coap_pdu_t *response)
{
    char text[32];
    (void)resource;
    (void)query;
    coap_pdu_set_code(response, COAP_RESPONSE_CODE_CONTENT);
    int len = snprintf(text, sizeof text, "notification %u", cse.number);
    coap_add_data(response, (size_t)len, (const uint8_t *)text);
    coap_mid_t mid = coap_pdu_get_mid(request);
    if (cse.device == session && cse.mid == mid)
        return; /* libcoap asks itself for each notification, with the observer's own request */
    cse.mid = mid;
    if (cse.device != session) {
        if (cse.device != NULL)
            coap_session_release(cse.device);
        cse.device = coap_session_reference(session);
    }
    cse.due_s = now_s() + cse.silence_s;
    puts("asked");
}

static coap_response_t handle_response(coap_session_t *session, const coap_pdu_t *sent,
                                       const coap_pdu_t *received, const coap_mid_t mid)
{
    const uint8_t *data = NULL;
    size_t len = 0;
    (void)session;
    (void)sent;
    (void)mid;
    (void)coap_get_data(received, &len, &data);
    printf("device said %.*s\n", (int)len, (const char *)data);
    return COAP_RESPONSE_OK;
}

static void handle_nack(coap_session_t *session, const coap_pdu_t *sent,
                        const coap_nack_reason_t reason, const coap_mid_t mid)
{
    (void)session;
    (void)sent;
    (void)mid;
    printf("nack %d\n", (int)reason);
}

/* A request of the CSE's own, on the path the device's last one came by. */
static void ask_device(void)
{
    static const uint8_t token[2] = {0x77, 0x01};
    coap_pdu_t *pdu = coap_new_pdu(COAP_MESSAGE_CON, COAP_REQUEST_CODE_GET, cse.device);
    if (pdu == NULL)
        exit(1);
    coap_add_token(pdu, sizeof token, token);
    coap_add_option(pdu, COAP_OPTION_URI_PATH, 6, (const uint8_t *)"sensor");
    coap_send(cse.device, pdu);
}

static coap_resource_t *add_resource(coap_context_t *context)
{
    coap_resource_t *resource =
        coap_resource_init(coap_make_str_const("late"), COAP_RESOURCE_FLAGS_NOTIFY_CON);
    coap_register_request_handler(resource, COAP_REQUEST_GET, handle_get);
    coap_resource_set_get_observable(resource, 1);
    coap_add_resource(context, resource);
    return resource;
}

static bool set_address(coap_address_t *out, const char *host, uint16_t port)
{
    coap_address_init(out);
    bool is_v6 = strchr(host, ':') != NULL;
    if (is_v6) {
        out->addr.sin6.sin6_family = AF_INET6;
        out->addr.sin6.sin6_port = htons(port);
        out->size = sizeof out->addr.sin6;
        return inet_pton(AF_INET6, host, &out->addr.sin6.sin6_addr) == 1;
    }
    out->addr.sin.sin_family = AF_INET;
    out->addr.sin.sin_port = htons(port);
    out->size = sizeof out->addr.sin;
    return inet_pton(AF_INET, host, &out->addr.sin.sin_addr) == 1;
}

int main(int argc, char **argv)
{
    coap_address_t address;
    if (argc != 4 || !set_address(&address, argv[1], (uint16_t)atoi(argv[2])))
        return 2;
    cse.silence_s = atoi(argv[3]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    coap_startup();
    coap_context_t *context = coap_new_context(NULL);
    if (context == NULL || coap_new_endpoint(context, &address, COAP_PROTO_UDP) == NULL)
        return 1;
    coap_register_response_handler(context, handle_response);
    coap_register_nack_handler(context, handle_nack);
    coap_resource_t *resource = add_resource(context);
    puts("listening");
    for (;;) {
        coap_io_process(context, 100);
        if (cse.due_s <= 0 || now_s() < cse.due_s)
            continue;
        cse.due_s = 0;
        cse.number++;
        printf("notifying %u after %" PRId64 " s\n", cse.number, cse.silence_s);
        coap_resource_notify_observers(resource, NULL);
        coap_io_process(context, 100);
        ask_device();
    }
}
