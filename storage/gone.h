/* storage/gone.h - how many bytes of deliveries have left a state, by destination: for sums that
 * are made by walking while others take away what was counted already. Owner: the writer thread.
 * Needs: schema. */
#ifndef STORAGE_GONE_H
#define STORAGE_GONE_H

#include <stddef.h>
#include <stdint.h>

#include "schema/vocabulary.h"

enum { GONE_DESTINATIONS_MAX = 128 };

/* Private. All zero at first. */
struct gone {
	size_t count;
	struct {
		int64_t destination_id;
		uint64_t bytes[DELIVERY_STATE_COUNT];
	} of[GONE_DESTINATIONS_MAX];
	uint64_t others[DELIVERY_STATE_COUNT];
};

void gone_add(struct gone *g, int64_t destination_id, enum delivery_state from, int64_t bytes);
/* Since the file was opened; it only grows. destination_id 0: all of them. */
uint64_t gone_bytes(const struct gone *g, int64_t destination_id, enum delivery_state from);

#endif
