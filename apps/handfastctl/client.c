/**
 * client.c - see client.h. A connection a request: nothing is kept between them.
 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_SECONDS_MAX 300 /* a reload reads all keys first */

static enum hf_client_exit fail(char *error, const char *path, const char *why)
{
    snprintf(error, HF_CLIENT_ERROR_MAX, "%s: %s", path, why);
    return HF_CLIENT_UNREACHABLE;
}

static enum hf_client_exit open_socket(int *out, char *error, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return fail(error, path, "too long for a socket");
    memcpy(address.sun_path, path, strlen(path));
    *out = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*out < 0)
        return fail(error, path, strerror(errno));
    (void)setsockopt(*out, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ANSWER_SECONDS_MAX, 0},
                     sizeof(struct timeval));
    if (connect(*out, (struct sockaddr *)&address, sizeof(address)) == 0)
        return HF_CLIENT_DONE;
    int reason = errno;
    close(*out);
    if (reason == ENOENT || reason == ECONNREFUSED)
        return fail(error, path, "no handfastd serves this socket (--socket names another)");
    if (reason == EACCES)
        return fail(error, path, "not allowed: root, or a member of the socket's group");
    return fail(error, path, strerror(reason));
}

static bool send_line(int fd, json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    size_t len = text == NULL ? 0 : strlen(text);
    bool is_sent = text != NULL;
    if (is_sent)
        text[len++] = '\n'; /* instead of the NUL */
    for (size_t at = 0; is_sent && at < len;) {
        ssize_t sent = send(fd, text + at, len - at, MSG_NOSIGNAL);
        is_sent = sent > 0 || (sent < 0 && errno == EINTR);
        at += sent > 0 ? (size_t)sent : 0;
    }
    free(text);
    return is_sent;
}

/* Gives the line without its line feed; NULL when none comes. */
static char *read_line(int fd, size_t *out_len)
{
    char *line = NULL;
    size_t len = 0;
    size_t room = 0;
    for (;;) {
        if (len == room) {
            room = room == 0 ? 65536 : 2 * room;
            char *grown = realloc(line, room);
            if (grown == NULL)
                break;
            line = grown;
        }
        ssize_t got = recv(fd, line + len, room - len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        len += (size_t)got;
        if (line[len - 1] == '\n') {
            *out_len = len - 1;
            return line;
        }
    }
    free(line);
    return NULL;
}

static enum hf_client_exit take_answer(json_t **result, char *error, const char *path,
                                       const char *line, size_t len)
{
    json_error_t where;
    json_t *answer = json_loadb(line, len, JSON_ALLOW_NUL, &where);
    json_t *value = json_object_get(answer, "result");
    enum hf_client_exit status = HF_CLIENT_DONE;
    if (json_is_true(json_object_get(answer, "ok")) && value != NULL) {
        *result = json_incref(value);
    } else if (json_is_string(json_object_get(answer, "error"))) {
        snprintf(error, HF_CLIENT_ERROR_MAX, "%s",
                 json_string_value(json_object_get(answer, "error")));
        status = HF_CLIENT_REFUSED;
    } else {
        status = fail(error, path, "the answer makes no sense");
    }
    json_decref(answer);
    return status;
}

enum hf_client_exit hf_client_call(json_t **result, char error[HF_CLIENT_ERROR_MAX],
                                   const char *path, json_t *request)
{
    int fd = -1;
    size_t len = 0;
    *result = NULL;
    enum hf_client_exit status = open_socket(&fd, error, path);
    if (status != HF_CLIENT_DONE) {
        json_decref(request);
        return status;
    }
    (void)send_line(fd, request); /* one who is refused finds the reason waiting for him */
    char *line = read_line(fd, &len);
    status =
        line == NULL ? fail(error, path, "no answer") : take_answer(result, error, path, line, len);
    free(line);
    close(fd);
    json_decref(request);
    return status;
}
