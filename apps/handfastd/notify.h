/**
 * notify.h - tells systemd how far we are (sd_notify(3)'s protocol: one datagram).
 */
#ifndef HF_NOTIFY_H
#define HF_NOTIFY_H

/** hf_notify_send sends e.g. "READY=1" to $NOTIFY_SOCKET; does nothing without one. */
void hf_notify_send(const char *state);

/** hf_notify_reloading says that a reload has begun; "READY=1" ends it. */
void hf_notify_reloading(void);

#endif
