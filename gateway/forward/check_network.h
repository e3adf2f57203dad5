/* forward/check_network.h - can the hosts of a destination be found and connected to?
 * Owner: the caller. Needs: base/check_step.h, forward/{lookup,dial,check_tls}.h. */
#ifndef FORWARD_CHECK_NETWORK_H
#define FORWARD_CHECK_NETWORK_H

#include "gateway/base/check_step.h"

/* Tells of each host and port that the destination's endpoints name: name, connection, and TLS
 * where it is used. False: one of them failed. The configuration is one that the kind's open
 * accepted. */
bool check_network(const struct check_request *r);

#endif
