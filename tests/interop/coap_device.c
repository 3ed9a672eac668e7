/**
 * coap_device.c - a device on libcoap with OpenSSL: observes /late of the server it shakes hands
 * with by DTLS, answers GET /sensor on the same association, and says nothing else.
 *
 *     coap_device HOST PORT IDENTITY KEY       KEY is text, not hexadecimal
 *
 * Prints a line for each thing that happens. A line on its standard input has it ask again; the end
 * of it ends the program.
 */
#include <arpa/inet.h>
#include <coap3/coap.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void handle_sensor(coap_resource_t *resource, coap_session_t *session,
                          const coap_pdu_t *request, const coap_string_t *query,
                          coap_pdu_t *response)
{
    (void)resource;
    (void)session;
    (void)request;
    (void)query;
    puts("was asked");
    coap_pdu_set_code(response, COAP_RESPONSE_CODE_CONTENT);
    coap_add_data(response, 4, (const uint8_t *)"21.5");
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
    printf("heard %.*s\n", (int)len, (const char *)data);
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

static int handle_event(coap_session_t *session, const coap_event_t event)
{
    (void)session;
    if (event == COAP_EVENT_DTLS_CONNECTED)
        puts("connected");
    else if (event == COAP_EVENT_DTLS_CLOSED || event == COAP_EVENT_DTLS_ERROR)
        puts("closed");
    return 0;
}

static void observe(coap_session_t *session)
{
    static uint8_t token[2] = {0x11, 0};
    coap_pdu_t *pdu = coap_new_pdu(COAP_MESSAGE_CON, COAP_REQUEST_CODE_GET, session);
    if (pdu == NULL)
        exit(1);
    token[1]++;
    coap_add_token(pdu, sizeof token, token);
    coap_add_option(pdu, COAP_OPTION_OBSERVE, 0, NULL); /* 0: register */
    coap_add_option(pdu, COAP_OPTION_URI_PATH, 4, (const uint8_t *)"late");
    coap_send(session, pdu);
}

/* False: standard input has ended. */
static bool take_input(coap_session_t *session)
{
    char bytes[64];
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&input, 1, 0) <= 0)
        return true;
    if (read(STDIN_FILENO, bytes, sizeof bytes) <= 0)
        return false;
    observe(session);
    return true;
}

int main(int argc, char **argv)
{
    coap_address_t server;
    coap_dtls_cpsk_t psk = {.version = COAP_DTLS_CPSK_SETUP_VERSION};
    if (argc != 5)
        return 2;
    coap_address_init(&server);
    server.addr.sin.sin_family = AF_INET;
    server.addr.sin.sin_port = htons((uint16_t)atoi(argv[2]));
    server.size = sizeof server.addr.sin;
    if (inet_pton(AF_INET, argv[1], &server.addr.sin.sin_addr) != 1)
        return 2;
    psk.psk_info.identity.s = (const uint8_t *)argv[3];
    psk.psk_info.identity.length = strlen(argv[3]);
    psk.psk_info.key.s = (const uint8_t *)argv[4];
    psk.psk_info.key.length = strlen(argv[4]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    coap_startup();
    coap_context_t *context = coap_new_context(NULL);
    if (context == NULL)
        return 1;
    coap_resource_t *sensor = coap_resource_init(coap_make_str_const("sensor"), 0);
    coap_register_request_handler(sensor, COAP_REQUEST_GET, handle_sensor);
    coap_add_resource(context, sensor);
    coap_register_response_handler(context, handle_response);
    coap_register_nack_handler(context, handle_nack);
    coap_register_event_handler(context, handle_event);
    coap_session_t *session =
        coap_new_client_session_psk2(context, NULL, &server, COAP_PROTO_DTLS, &psk);
    if (session == NULL)
        return 1;
    observe(session);
    while (take_input(session))
        coap_io_process(context, 100);
    coap_session_release(session);
    coap_free_context(context);
    coap_cleanup();
    return 0;
}
