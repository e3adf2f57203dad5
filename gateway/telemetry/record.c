/* record.c - finds what decides a record's class, without unpacking it.
 *
 * The scan meets the level on its way and keeps nothing per record, so that a request of millions
 * of tiny records costs no memory. The sorter, which is only asked where a request holds several
 * classes, finds it again here: fields that do not matter are stepped over by their length.
 *
 * A field that occurs twice counts as protobuf merges it: the last value wins. */
#include "gateway/telemetry/record.h"

#include "gateway/telemetry/wire.h"

enum { SPAN_STATUS = 15, STATUS_CODE = 3, LOG_SEVERITY_NUMBER = 2 };

/* The last varint of a number within a message, or `before`. */
static int32_t last_number(struct bytes message, uint32_t number, int32_t before)
{
	struct wire_reader r = wire_reader_of(message);
	struct wire_field f;
	while (wire_next(&r, &f))
		if (f.number == number && f.type == WIRE_VARINT)
			before = (int32_t)f.value;
	return before;
}

/* The next field of this number with a length, in a message that the scan has accepted. Steps over
 * everything else without looking at it; this is where sorting spends its time. */
static bool find_message(struct wire_reader *r, uint32_t number, struct bytes *ret)
{
	struct wire_field f;
	for (;;) {
		const uint8_t *p = r->p;
		ptrdiff_t left = r->end - p;
		if (left >= 9 && p[0] < 0x80 && (p[0] & 7) == WIRE_FIXED64 && p[0] >> 3 != number) {
			r->p = p + 9;
			continue;
		}
		if (!wire_next(r, &f))
			return false;
		if (f.number != number || f.type != WIRE_LEN)
			continue;
		*ret = f.bytes;
		return true;
	}
}

int32_t record_level(enum signal signal, struct bytes record)
{
	if (signal == SIGNAL_LOGS)
		return last_number(record, LOG_SEVERITY_NUMBER, 0);
	int32_t level = 0;
	struct bytes status;
	struct wire_reader r = wire_reader_of(record);
	while (signal == SIGNAL_TRACES && find_message(&r, SPAN_STATUS, &status))
		level = last_number(status, STATUS_CODE, level);
	return level;
}
