/* export_size.c - additive patience, multiplicative size.
 *
 * A 413 halves the size. Limits change, and many a 413 comes from something in the way (a proxy
 * with its defaults after an update), so the size grows back: doubled after WAIT_FIRST without a
 * refusal, and again each WAIT_FIRST, as long as exports of about the size are taken. Where nothing
 * comes near the size, nothing is learned by growing, and it stays.
 *
 * A limit that is there for good costs one refused export, or one for each halving back, at each
 * try to grow. So the wait doubles with each try that was in vain, up to WAIT_MAX: about ten
 * refusals on the first day, and a few a day from then on. It is never shortened: a limit between
 * two sizes would otherwise be met again and again. No data pays for it: a refused export goes out
 * in smaller ones. */
#include "gateway/forward/export_size.h"

#include "gateway/base/now.h"

#define WAIT_FIRST_NS (300 * NS_PER_S)
#define WAIT_MAX_NS   (24 * 3600 * NS_PER_S)

void export_size_init(struct export_size *s, size_t most)
{
	*s = (struct export_size){ .most = most, .now = most, .wait_ns = WAIT_FIRST_NS };
}

bool export_size_refused(struct export_size *s, size_t raw_bytes, int64_t now)
{
	size_t half = raw_bytes / 2;
	if (half >= s->now)
		return false;
	if (s->has_grown)
		s->wait_ns = s->wait_ns < WAIT_MAX_NS / 2 ? 2 * s->wait_ns : WAIT_MAX_NS;
	s->has_grown = false;
	s->now = half;
	s->due_ns = now + s->wait_ns;
	return true;
}

bool export_size_taken(struct export_size *s, size_t raw_bytes, int64_t now)
{
	if (s->now >= s->most || now < s->due_ns || raw_bytes <= s->now / 2)
		return false;
	s->now = s->now < s->most / 2 ? 2 * s->now : s->most;
	s->has_grown = true;
	s->due_ns = now + WAIT_FIRST_NS;
	return true;
}
