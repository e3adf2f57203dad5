/* Any body of a change is read or refused in words, and what was read is within its bounds. */
#include <stdint.h>

#include "admin/parameters.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum parameter_set sets[] = { PARAMETERS_REPLAY, PARAMETERS_PURGE_DEAD,
						   PARAMETERS_PURGE_READY, PARAMETERS_MOVE };
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		struct parameters p;
		struct err e = { 0 };
		parameters_init(&p);
		enum status st = parameters_read_json(&p, sets[i], bytes_of(data, size), &e);
		CHECK(st == ST_OK || (st == ST_INVALID && e.text[0]));
		CHECK(p.max_batches >= 0 && p.selector.batch_id >= 0);
		CHECK(p.selector.status >= 0 && p.selector.status <= 999);
		parameters_done(&p);
	}
	return 0;
}
