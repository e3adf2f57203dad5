/* config_units.h - sizes, rates and durations as texts.
 * Owner: stateless. Needs: buf, status. */
#ifndef BASE_CONFIG_UNITS_H
#define BASE_CONFIG_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/base/buf.h"

/* 512MiB, 20MB, 4096: bytes. False: it is none. */
bool config_units_size(const char *text, uint64_t *ret);
/* 256KiB, 256KiB/s, 256kbit/s: bytes a second. */
bool config_units_rate(const char *text, uint64_t *ret);
/* 90s, 1h30m, and 0 without a unit: nanoseconds. */
bool config_units_duration(const char *text, uint64_t *ret);
MUST_USE enum status config_units_write_size(uint64_t v, struct buf *out);
MUST_USE enum status config_units_write_rate(uint64_t v, struct buf *out);
MUST_USE enum status config_units_write_duration(int64_t v, struct buf *out);

#endif
