/**
 * respond.c - whoami by CoAP on DTLS and by HTTP on TLS; echo; or nothing.
 */
#include "respond.h"

#include "coap.h"
#include "http.h"

#include <stdlib.h>

struct hf_respond {
    enum hf_respond_mode modes[HF_LISTENERS_MAX];
    uint16_t message_id; /* CoAP, messages we begin */
    struct hf_http *http;
};

void hf_respond_init(void)
{
    hf_coap_init();
    hf_http_init();
}

struct hf_respond *hf_respond_open(enum hf_respond_mode mode)
{
    struct hf_respond *respond = calloc(1, sizeof(*respond));
    if (respond == NULL)
        return NULL;
    for (uint32_t i = 0; i < HF_LISTENERS_MAX; i++)
        respond->modes[i] = mode;
    respond->http = hf_http_open();
    if (respond->http == NULL) {
        free(respond);
        return NULL;
    }
    return respond;
}

void hf_respond_set(struct hf_respond *respond, uint32_t listener_index, enum hf_respond_mode mode)
{
    respond->modes[listener_index] = mode;
}

void hf_respond_close(struct hf_respond *respond)
{
    if (respond == NULL)
        return;
    hf_http_close(respond->http);
    free(respond);
}

static void echo(struct hf_loop *loop, const struct hf_event *event, enum hf_transport transport)
{
    enum hf_status status = hf_loop_send(loop, event->association, event->data);
    /* A datagram that cannot go back is lost, as datagrams are; a hole in a stream would be a
     * lie. */
    if (status != HF_OK && transport == HF_TRANSPORT_TLS)
        hf_loop_end(loop, event->association, HF_CLOSE_NOTIFY);
}

void hf_respond_data(struct hf_respond *respond, struct hf_loop *loop, const struct hf_event *event,
                     enum hf_transport transport)
{
    enum hf_respond_mode mode = respond->modes[event->listener_index];
    if (mode == HF_RESPOND_ECHO)
        echo(loop, event, transport);
    else if (mode == HF_RESPOND_WHOAMI && transport == HF_TRANSPORT_TLS)
        hf_http_receive(respond->http, loop, event->association, event->data);
    else if (mode == HF_RESPOND_WHOAMI)
        hf_coap_receive(loop, event->association, event->data, &respond->message_id);
}

void hf_respond_forget(struct hf_respond *respond, hf_association_id association)
{
    hf_http_forget(respond->http, association);
}

void hf_respond_second(struct hf_respond *respond, struct hf_loop *loop)
{
    hf_http_second(respond->http, loop);
}
