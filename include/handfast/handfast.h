/** handfast.h - all of the public API. */
#ifndef HANDFAST_HANDFAST_H
#define HANDFAST_HANDFAST_H

#include <handfast/engine.h>
#include <handfast/entitymap.h>
#include <handfast/job.h>
#include <handfast/keyfile.h>
#include <handfast/pair.h>
#include <handfast/originator.h>
#include <handfast/transfer.h>

#endif
