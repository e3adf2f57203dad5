/* config_loki.c - what must hold among the keys of a Loki destination.
 *
 * Loki refuses a stream of more labels than its limit, and one that has a label twice. Both are
 * known from the configuration alone, so they are said here, with their place, and not by Loki for
 * every record. Attributes become labels by putting an underscore for whatever is neither letter
 * nor digit (forward/loki_names.c), so that two attributes can be one label.
 *
 * Loki has two doors, and the URL of the other one would answer everything with 404. */
#include <string.h>

#include "gateway/base/config_reader.h"

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Are two attributes one label? Its name has underscores for what is neither letter nor digit. */
static bool is_same_label(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if (*a != *b && (is_alnum(*a) || is_alnum(*b)))
			return false;
	return *a == *b;
}

static enum status check_labels(const struct destination_reading *dr)
{
	enum { LABELS_MAX = 14 }; /* Loki's 15, without class */
	char **labels = dr->d->loki_labels;
	const struct yaml_node *n = config_given_node(dr, "loki.labels");
	for (size_t i = 0; labels && labels[i]; i++) {
		if (i >= LABELS_MAX)
			return config_fail_at(dr->r, n,
					      "destination %s: loki.labels has more than %d names, "
					      "which with class is all that Loki takes",
					      dr->d->name, LABELS_MAX);
		if (!*labels[i])
			return config_fail_at(dr->r, n,
					      "destination %s: loki.labels has an empty name",
					      dr->d->name);
		if (is_same_label(labels[i], "class"))
			return config_fail_at(dr->r, n,
					      "destination %s: loki.labels: class is always a "
					      "label, with the urgency of the record",
					      dr->d->name);
		for (size_t k = 0; k < i; k++)
			if (is_same_label(labels[i], labels[k]))
				return config_fail_at(dr->r, n,
						      "destination %s: loki.labels: %.64s and "
						      "%.64s are the same label",
						      dr->d->name, labels[k], labels[i]);
	}
	return ST_OK;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text);
	size_t m = strlen(end);
	return n >= m && strcmp(text + n - m, end) == 0;
}

enum status config_check_loki(const struct destination_reading *dr)
{
	const char *url = dr->d->endpoint;
	if (ends_with(url, "/otlp") || ends_with(url, "/otlp/") || ends_with(url, "/v1/logs"))
		return config_fail_at(dr->r, config_given_node(dr, "endpoint"),
				      "destination %s: endpoint is that of OTLP: write kind: "
				      "otlp_http, or leave the path out for Loki's push API",
				      dr->d->name);
	return check_labels(dr);
}
