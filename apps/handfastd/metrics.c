/**
 * metrics.c - the HTTP side of the metrics, on libmicrohttpd. Few connections, short timeouts: this
 * port is for a scraper, not for the Internet.
 */
#include "metrics.h"

#include "endpoint.h"
#include "exposition.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS_MAX 16
#define TIMEOUT_SECONDS 10

struct hf_metrics {
    struct MHD_Daemon *server;
    const struct hf_daemon *daemon;
};

static enum MHD_Result reply(struct MHD_Connection *connection, unsigned code, const char *type,
                             struct MHD_Response *response)
{
    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result reply_text(struct MHD_Connection *connection, unsigned code,
                                  const char *text)
{
    return reply(
        connection, code, "text/plain; charset=utf-8",
        MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY));
}

static enum MHD_Result reply_metrics(struct MHD_Connection *connection,
                                     const struct hf_daemon *daemon)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL)
        return MHD_NO;
    bool is_written = hf_exposition_write(out, daemon);
    if (fclose(out) != 0 || !is_written) {
        free(text);
        return MHD_NO;
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL)
        free(text);
    return reply(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", response);
}

/* Whether it is of use to send peers here now. */
static enum MHD_Result reply_ready(struct MHD_Connection *connection,
                                   const struct hf_daemon *daemon)
{
    static const char *const names[] = {"starting\n", "ready\n", "draining\n", "stopping\n"};
    enum hf_daemon_state state = daemon->state;
    /* Until it has taken over, its predecessor serves, at the same address. */
    if (state == HF_DAEMON_STARTING && daemon->shared.takeover != NULL)
        state = HF_DAEMON_SERVING;
    return reply_text(connection,
                      state == HF_DAEMON_SERVING ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
                      names[state]);
}

static enum MHD_Result handle_request(void *arg, struct MHD_Connection *connection, const char *url,
                                      const char *method, const char *version, const char *upload,
                                      size_t *upload_len, void **state)
{
    static char is_head_read;
    const struct hf_metrics *metrics = arg;
    (void)version;
    (void)upload;
    if (*state == NULL) { /* first call: the head only; answering now would forbid keep-alive */
        *state = &is_head_read;
        return MHD_YES;
    }
    if (*upload_len > 0) {
        *upload_len = 0;
        return MHD_YES;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return reply_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only\n");
    if (strcmp(url, "/metrics") == 0)
        return reply_metrics(connection, metrics->daemon);
    if (strcmp(url, "/healthz") == 0)
        return reply_text(connection, MHD_HTTP_OK, "ok\n");
    if (strcmp(url, "/readyz") == 0)
        return reply_ready(connection, metrics->daemon);
    return reply_text(connection, MHD_HTTP_NOT_FOUND, "there are /metrics, /healthz and /readyz\n");
}

static bool start(struct hf_metrics *metrics, const struct hf_address *address)
{
    struct sockaddr_storage sockaddr;
    hf_endpoint_sockaddr(&sockaddr, address);
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL;
    if (!hf_address_is_v4(address))
        flags |= MHD_USE_DUAL_STACK;
    errno = 0;
    metrics->server = MHD_start_daemon(flags, address->port, NULL, NULL, handle_request, metrics,
                                       MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&sockaddr,
                                       MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                                       MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_SECONDS,
                                       MHD_OPTION_LISTENING_ADDRESS_REUSE, 1U, MHD_OPTION_END);
    return metrics->server != NULL;
}

bool hf_metrics_open(struct hf_metrics **out, char error[HF_METRICS_ERROR_MAX],
                     struct hf_address *bound, const struct hf_daemon *daemon)
{
    char text[HF_ADDRESS_TEXT_MAX];
    const struct hf_address *address = &daemon->started.metrics;
    struct hf_metrics *metrics = calloc(1, sizeof(*metrics));
    if (metrics == NULL) {
        snprintf(error, HF_METRICS_ERROR_MAX, "no memory for the metrics");
        return false;
    }
    metrics->daemon = daemon;
    if (!start(metrics, address)) {
        snprintf(error, HF_METRICS_ERROR_MAX, "--metrics: cannot listen on %s: %s",
                 hf_address_print(text, address), strerror(errno));
        free(metrics);
        return false;
    }
    *bound = *address;
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(metrics->server, MHD_DAEMON_INFO_BIND_PORT);
    if (info != NULL)
        bound->port = info->port;
    *out = metrics;
    return true;
}

void hf_metrics_close(struct hf_metrics *metrics)
{
    if (metrics == NULL)
        return;
    MHD_stop_daemon(metrics->server);
    free(metrics);
}
