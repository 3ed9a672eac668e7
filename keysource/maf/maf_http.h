/**
 * maf_http.h - the HTTP binding (TS-0009) as far as a MAF needs it: requests and responses, read
 * from bytes as they come and written into a buffer. Both directions, both ends.
 *
 * A reader holds one message at a time. What it accepts is bounded: line and headers, the values
 * it keeps, the body. A message without a length (neither Content-Length nor chunked) has no body
 * when it is a request and is broken when it is a response: an end of stream proves nothing.
 */
#ifndef HF_MAF_HTTP_H
#define HF_MAF_HTTP_H

#include <handfast/keysource.h>

#define HF_MAF_BODY_MAX 16384
#define HF_MAF_HEAD_MAX 8192  /**< line and headers of one message */
#define HF_MAF_HEADERS_MAX 64 /**< how many */
#define HF_MAF_TARGET_MAX 512 /**< path of a request */
#define HF_MAF_VALUE_MAX 640  /**< a header that is kept: the longest is X-M2M-Origin */

enum hf_maf_method {
    HF_MAF_CREATE = 0, /**< POST */
    HF_MAF_RETRIEVE,   /**< GET */
    HF_MAF_UPDATE,     /**< PUT */
    HF_MAF_DELETE,     /**< DELETE */
    HF_MAF_OTHER,
};

/** Response status codes, X-M2M-RSC (TS-0004 6.6.3), and their HTTP status (TS-0009 6.3.2). */
enum hf_maf_rsc {
    HF_MAF_RSC_NONE = 0,
    HF_MAF_RSC_OK = 2000,
    HF_MAF_RSC_CREATED = 2001,
    HF_MAF_RSC_DELETED = 2002,
    HF_MAF_RSC_UPDATED = 2004,
    HF_MAF_RSC_BAD_REQUEST = 4000,
    HF_MAF_RSC_NOT_FOUND = 4004,
    HF_MAF_RSC_OPERATION_NOT_ALLOWED = 4005,
    HF_MAF_RSC_REQUEST_TIMEOUT = 4008,
    HF_MAF_RSC_UNSUPPORTED_MEDIA_TYPE = 4015,
    HF_MAF_RSC_CONTENTS_UNACCEPTABLE = 4102,
    HF_MAF_RSC_NO_PRIVILEGE = 4103,
    HF_MAF_RSC_CONFLICT = 4105,
    HF_MAF_RSC_ORIGINATOR_NOT_AUTHENTICATED = 4106,
    HF_MAF_RSC_INTERNAL_SERVER_ERROR = 5000,
    HF_MAF_RSC_NOT_IMPLEMENTED = 5001,
};

/** hf_maf_http_status gives the HTTP status that goes with a code; 500 for one not listed. */
unsigned hf_maf_http_status(unsigned rsc);

/** One message, read. Views hold until the reader is fed or closed. */
struct hf_maf_message {
    enum hf_maf_method method;  /**< requests */
    struct hf_bytes target;     /**< requests: the path, percent-encoding and all */
    unsigned status;            /**< responses */
    unsigned rsc;               /**< responses: X-M2M-RSC, 0 without or if it is no number */
    unsigned type;              /**< `ty` of Content-Type, 0 without */
    bool is_json;               /**< Content-Type is one of JSON, with or without ty; or absent */
    bool is_kept;               /**< the connection is to stay open */
    struct hf_bytes origin;     /**< X-M2M-Origin */
    struct hf_bytes request_id; /**< X-M2M-RI */
    struct hf_bytes body;       /**< may hold a key: the reader wipes it */
};

struct hf_maf_reader;

enum hf_maf_side {
    HF_MAF_SERVER = 0, /**< reads requests */
    HF_MAF_CLIENT,     /**< reads responses */
};

enum hf_maf_read {
    HF_MAF_READ_MORE = 0, /**< all bytes were taken and the message is not complete */
    HF_MAF_READ_MESSAGE,  /**< one is complete; feed the rest, from `*consumed`, afterwards */
    HF_MAF_READ_BROKEN,   /**< not HTTP, or over a limit: end the connection */
};

/** hf_maf_reader_open makes a reader. Errors: HF_E_MEMORY. */
HF_MUST_USE enum hf_status hf_maf_reader_open(struct hf_maf_reader **out, enum hf_maf_side side);

/** hf_maf_reader_close wipes and frees; NULL is allowed. */
void hf_maf_reader_close(struct hf_maf_reader *reader);

/** hf_maf_reader_take feeds bytes. The message before, if there was one, is wiped by it. */
HF_MUST_USE enum hf_maf_read hf_maf_reader_take(struct hf_maf_reader *reader, size_t *consumed,
                                                struct hf_bytes bytes);

/** hf_maf_reader_message gives what is complete: after HF_MAF_READ_MESSAGE only. */
const struct hf_maf_message *hf_maf_reader_message(const struct hf_maf_reader *reader);

/** hf_maf_reader_status gives the HTTP status a server answers HF_MAF_READ_BROKEN with. */
unsigned hf_maf_reader_status(const struct hf_maf_reader *reader);

/** hf_maf_reader_is_inside tells whether a message has begun and is not complete. */
HF_MUST_USE bool hf_maf_reader_is_inside(const struct hf_maf_reader *reader);

/** hf_maf_reader_reset drops what is kept, so that an idle connection holds no secret. */
void hf_maf_reader_reset(struct hf_maf_reader *reader);

/** A request to write. Empty views and zeros are left out. */
struct hf_maf_request {
    enum hf_maf_method method;
    struct hf_bytes target; /**< with its slash */
    struct hf_bytes host;
    struct hf_bytes origin;
    struct hf_bytes request_id;
    unsigned type;
    struct hf_bytes body;
};

/** hf_maf_http_write_request gives the length, 0 when it does not fit `out_max` or a view holds
 *  what would break a line. */
HF_MUST_USE size_t hf_maf_http_write_request(char *out, size_t out_max,
                                             const struct hf_maf_request *request);

/** A response to write. */
struct hf_maf_response {
    unsigned rsc;
    unsigned status; /**< 0: that of `rsc` */
    struct hf_bytes request_id;
    bool is_kept;
    struct hf_bytes body;
};

/** hf_maf_http_write_response likewise. */
HF_MUST_USE size_t hf_maf_http_write_response(char *out, size_t out_max,
                                              const struct hf_maf_response *response);

#endif
