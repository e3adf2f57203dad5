/* config_endpoints.c - the URLs of a destination with their keys, for all who go through them. */
#include "gateway/base/config.h"

struct config_endpoints config_endpoints(const struct destination_config *d)
{
	return (struct config_endpoints){
		.all = { "endpoint", d->endpoint },
		.of = { [SIGNAL_TRACES] = { "traces_endpoint", d->traces_endpoint },
			[SIGNAL_METRICS] = { "metrics_endpoint", d->metrics_endpoint },
			[SIGNAL_LOGS] = { "logs_endpoint", d->logs_endpoint } }
	};
}
