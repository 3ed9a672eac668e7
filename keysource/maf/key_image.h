/**
 * key_image.h - what a key service knows, as bytes to keep across a restart: its keys and its
 * revocations, each sealed. Reading and writing files is the embedder's.
 *
 * A sealed image is whole or nothing: each entry is bound to the image it stands in and to its
 * place, and the last one says that it is the last. So an image that was cut, mended or put
 * together from others does not open, and no revocation can be cut off. What it cannot tell is that
 * it is an old one.
 */
#ifndef HF_KEY_IMAGE_H
#define HF_KEY_IMAGE_H

#include "key_service.h"

#include <handfast/session.h>

/** An image in the clear; secret. Zero: empty. */
struct hf_key_image {
    uint8_t *data;
    size_t len, max;
    uint32_t count;
};

#define HF_KEY_IMAGE_ID_LEN 16
/** Of a sealed image: so many bytes in front tell which one it is (hf_key_image_id). */
#define HF_KEY_IMAGE_HEAD_LEN 32

/** hf_key_image_gather copies keys and revocations that have not expired. Thread: the service's.
 *  False: no memory; `out` is empty then. */
HF_MUST_USE bool hf_key_image_gather(struct hf_key_image *out,
                                     const struct hf_key_service *service);

/** hf_key_image_wipe wipes and frees. */
void hf_key_image_wipe(struct hf_key_image *image);

/** hf_key_image_seal seals with the active of `secrets` as of `wall_s`. Out: `*data` is the
 *  caller's to free(); nothing in it is secret. False: no memory. Thread: any. */
HF_MUST_USE bool hf_key_image_seal(uint8_t **data, size_t *len, const struct hf_key_image *image,
                                   const struct hf_shared_secrets *secrets, int64_t wall_s);

/** hf_key_image_id views the identification of a sealed image; empty: it is too short. */
struct hf_bytes hf_key_image_id(struct hf_bytes sealed);

/** What opening gave. */
struct hf_key_image_report {
    uint32_t kept;    /**< keys and revocations that count again */
    uint32_t dropped; /**< expired, or of no MAF, administrator or key part that is configured */
    const char *why;  /**< static text: what is wrong with the image; NULL: nothing */
};

/** hf_key_image_open checks the whole image and only then puts what it holds into the service, as
 *  if it had been retrieved. False, with `why`: nothing was put in. Thread: the service's, after
 *  hf_key_service_begin(). */
HF_MUST_USE bool hf_key_image_open(struct hf_key_service *service,
                                   struct hf_key_image_report *report, struct hf_bytes sealed,
                                   const struct hf_shared_secrets *secrets);

#endif
