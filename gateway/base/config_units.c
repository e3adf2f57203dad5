/* config_units.c - sizes, rates and durations: from what people write, and back.
 *
 * All are whole numbers with a unit, so that nobody has to guess one: a size alone may go without,
 * and is bytes then. 1.5GiB is not taken, because 1536MiB says the same and nothing has to be
 * rounded. Numbers that do not fit are refused, not cut.
 *
 * They are written with the largest unit that divides them, so that what comes out is what a person
 * would have written, and reads back to the same number. */
#include "gateway/base/config_units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gateway/base/config.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct unit {
	const char *name;
	uint64_t factor;
};
static const struct unit size_units[] = {
	{ "TiB", UINT64_C(1) << 40 },
	{ "GiB", 1 << 30 },
	{ "MiB", 1 << 20 },
	{ "KiB", 1 << 10 },
	{ "TB", UINT64_C(1000000000000) },
	{ "GB", 1000000000 },
	{ "MB", 1000000 },
	{ "kB", 1000 },
	{ "B", 1 },
};
static const struct unit bit_units[] = {
	{ "Gbit/s", 1000000000 },
	{ "Mbit/s", 1000000 },
	{ "kbit/s", 1000 },
};
static const struct unit duration_units[] = {
	{ "d", UINT64_C(86400000000000) },
	{ "h", UINT64_C(3600000000000) },
	{ "m", UINT64_C(60000000000) },
	{ "s", 1000000000 },
	{ "ms", 1000000 },
	{ "us", 1000 },
	{ "ns", 1 },
};

/* The digits at *p as a number; *p moves behind them. False: there are none, or too many. */
static bool take_number(const char **p, uint64_t *ret)
{
	uint64_t n = 0;
	const char *start = *p;
	for (; **p >= '0' && **p <= '9'; (*p)++) {
		uint64_t digit = (uint64_t)(**p - '0');
		if (n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*ret = n;
	return *p != start;
}

/* The factor of the unit whose name is the n letters at p; 0: none has it. */
static uint64_t find_unit(const struct unit *units, size_t count, const char *p, size_t n)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(units[i].name) == n && memcmp(units[i].name, p, n) == 0)
			return units[i].factor;
	return 0;
}

static bool multiply(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_mul_overflow(a, b, ret) && *ret <= INT64_MAX;
}

bool config_units_size(const char *text, uint64_t *ret)
{
	uint64_t n;
	if (!take_number(&text, &n))
		return false;
	uint64_t factor = *text ? find_unit(size_units, COUNT(size_units), text, strlen(text)) : 1;
	return factor && multiply(n, factor, ret);
}

bool config_units_rate(const char *text, uint64_t *ret)
{
	uint64_t n;
	const char *p = text;
	char size[64];
	size_t length = strlen(text);
	if (!take_number(&p, &n))
		return false;
	uint64_t bits = find_unit(bit_units, COUNT(bit_units), p, strlen(p));
	if (bits)
		return multiply(n, bits / 8, ret);
	if (length > 2 && strcmp(text + length - 2, "/s") == 0)
		length -= 2;
	if (length >= sizeof(size))
		return false;
	(void)snprintf(size, sizeof(size), "%.*s", (int)length, text);
	return config_units_size(size, ret);
}

bool config_read_rate(const char *text, uint64_t *ret)
{
	uint64_t rate = 0;
	if (!config_units_rate(text, &rate) || (rate && rate < UPLINK_RATE_MIN))
		return false;
	*ret = rate;
	return true;
}

bool config_units_duration(const char *text, uint64_t *ret)
{
	uint64_t total = 0;
	if (strcmp(text, "0") == 0) {
		*ret = 0;
		return true;
	}
	do {
		uint64_t n;
		uint64_t part;
		if (!take_number(&text, &n))
			return false;
		size_t letters = strspn(text, "abcdefghijklmnopqrstuvwxyz");
		uint64_t factor = find_unit(duration_units, COUNT(duration_units), text, letters);
		if (!factor || !multiply(n, factor, &part) ||
		    __builtin_add_overflow(total, part, &total) || total > INT64_MAX)
			return false;
		text += letters;
	} while (*text);
	*ret = total;
	return true;
}

/* The largest unit that gives a whole number. SI sizes come out in bytes or binary units: fine. */
static enum status write_with_unit(uint64_t v, const struct unit *units, size_t count,
				   struct buf *out)
{
	for (size_t i = 0; i < count; i++)
		if (v >= units[i].factor && v % units[i].factor == 0)
			return buf_printf(out, "%" PRIu64 "%s", v / units[i].factor, units[i].name);
	return buf_printf(out, "0%s", units == duration_units ? "s" : "");
}

enum status config_units_write_size(uint64_t v, struct buf *out)
{
	return write_with_unit(v, size_units, COUNT(size_units), out);
}

enum status config_units_write_rate(uint64_t v, struct buf *out)
{
	enum status st = config_units_write_size(v, out);
	return st || !v ? st : buf_append_str(out, "/s");
}

enum status config_units_write_duration(int64_t v, struct buf *out)
{
	return write_with_unit((uint64_t)v, duration_units, COUNT(duration_units), out);
}
