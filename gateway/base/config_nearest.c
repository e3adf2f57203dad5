/* config_nearest.c - which word was probably meant, by edit distance.
 *
 * Levenshtein's distance with one row of memory. Words longer than WORD_MAX are no typing errors.
 * Where none is near, one that begins with the text, or with which the text begins: "otlp" for
 * otlp_http, "crit" for critical, "prometheusremotewrite" for prometheus.
 */
#include "gateway/base/config_values.h"

#include <string.h>

enum { WORD_MAX = 64, BEGINNING_MIN = 3 };

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1];
	size_t n = strlen(b);
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t above = row[j];
			size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
			row[j] = least(replaced, least(above, row[j - 1]) + 1);
			diagonal = above;
		}
	}
	return row[n];
}

static const char *of_one_beginning(const char *text, const char *const *candidates, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t n = least(strlen(text), strlen(candidates[i]));
		if (n >= BEGINNING_MIN && strncmp(text, candidates[i], n) == 0)
			return candidates[i];
	}
	return NULL;
}

size_t config_nearest_all(const char *text, const char *const *candidates, size_t count,
			  const char *ret[CONFIG_NEAREST_MAX])
{
	size_t n = strlen(text);
	size_t found = 0;
	size_t best_distance = n / 3 + 1;
	for (size_t i = 0; i < count && n <= WORD_MAX; i++) {
		if (strlen(candidates[i]) > WORD_MAX)
			continue;
		size_t d = distance(text, candidates[i]);
		/* As many edits as letters turn any word into any other. */
		if (d > best_distance || d >= n)
			continue;
		if (d < best_distance)
			found = 0;
		best_distance = d;
		if (found < CONFIG_NEAREST_MAX)
			ret[found++] = candidates[i];
	}
	if (found == 0 && n <= WORD_MAX && (ret[0] = of_one_beginning(text, candidates, count)))
		found = 1;
	return found;
}

const char *config_nearest(const char *text, const char *const *candidates, size_t count)
{
	const char *all[CONFIG_NEAREST_MAX];
	return config_nearest_all(text, candidates, count, all) ? all[0] : NULL;
}
