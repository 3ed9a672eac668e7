/**
 * maf_sockets.h - the sockets of a hf_maf_link, on poll(2): enough for the few connections that a
 * front end has to its MAFs.
 *
 *     hf_maf_sockets_wait(sockets, wake_fd, until_us);
 *     hf_maf_link_begin(link, now_us, wall_s);
 *     hf_maf_sockets_read(sockets);
 *     ... questions ...
 *     hf_maf_link_end(link);
 *     hf_maf_sockets_write(sockets);
 *     ... replies ...
 */
#ifndef HF_MAF_SOCKETS_H
#define HF_MAF_SOCKETS_H

#include <maf_link.h>

struct hf_maf_sockets;

/** hf_maf_sockets_open makes room for the link's sockets; NULL without memory. */
struct hf_maf_sockets *hf_maf_sockets_open(struct hf_maf_link *link);

/** hf_maf_sockets_close closes all; NULL is allowed. */
void hf_maf_sockets_close(struct hf_maf_sockets *sockets);

/** hf_maf_sockets_now_us gives the monotonic time that `until_us` is in. */
uint64_t hf_maf_sockets_now_us(void);

/** hf_maf_sockets_wait returns when a socket or `wake_fd` (-1: none) is ready, or at `until_us`. */
void hf_maf_sockets_wait(struct hf_maf_sockets *sockets, int wake_fd, uint64_t until_us);

/** hf_maf_sockets_read tells the link what became of its sockets. */
void hf_maf_sockets_read(struct hf_maf_sockets *sockets);

/** hf_maf_sockets_write does what the link wishes. */
void hf_maf_sockets_write(struct hf_maf_sockets *sockets);

#endif
