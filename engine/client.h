/**
 * client.h - what every key exchange of the client ends with.
 */
#ifndef HF_CLIENT_H
#define HF_CLIENT_H

#include "core.h"

/** hf_client_finish adds ChangeCipherSpec and Finished to the flight and sends it. The keys are
 *  there. Call last in a step. */
void hf_client_finish(struct hf_engine *engine, struct hf_association *association);

#endif
