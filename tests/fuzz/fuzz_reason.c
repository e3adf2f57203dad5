/* Any error gives a reason that fits, holds no control characters, and is its own reason. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/status.h"
#include "storage/reason.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *error = malloc(size + 1);
	char reason[REASON_MAX];
	char again[REASON_MAX];
	CHECK(error);
	memcpy(error, data, size);
	error[size] = '\0';
	reason_of(error, reason, sizeof(reason));
	for (const char *p = reason; *p; p++)
		CHECK((unsigned char)*p >= 0x20 && *p != 0x7f);
	reason_of(reason, again, sizeof(again));
	CHECK(strcmp(reason, again) == 0);
	/* However small the room. */
	char small[8];
	reason_of(error, small, sizeof(small));
	CHECK(strlen(small) < sizeof(small));
	free(error);
	return 0;
}
