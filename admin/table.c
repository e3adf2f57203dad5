/* table.c - columns as wide as their widest cell, within 100 columns where cells
 * may be cut.
 *
 * Widths count characters (UTF-8 lead bytes), not bytes, so that names in any script line up well
 * enough. Everything printed is cleaned first: service names, previews and errors come from clients
 * and backends, and must not be able to move the cursor or recolour an operator's terminal. */
#include "admin/table.h"

#include <string.h>

#include "gateway/base/xalloc.h"

enum { WIDTH_MIN = 8 };

struct table {
	int columns;
	int flexible;
	bool is_right[TABLE_COLUMNS_MAX];
	size_t count; /* of cells, headers included */
	size_t cap;
	char **cells;
};

char *table_clean(char *dst, size_t size, const char *src)
{
	size_t n = 0;
	const unsigned char *p = (const unsigned char *)src;
	for (; *p && n + 1 < size; p++) {
		bool is_c1 = *p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f;
		bool is_control = *p < 0x20 || *p == 0x7f || is_c1;
		dst[n++] = is_control ? ' ' : (char)*p;
		p += is_c1;
	}
	/* Do not end within a character. */
	if (*p)
		while (n > 0 && ((unsigned char)dst[n - 1] & 0xc0) == 0x80)
			n--;
	if (*p && n > 0 && (unsigned char)dst[n - 1] >= 0xc0)
		n--;
	dst[n] = '\0';
	return dst;
}

static void append(struct table *t, const char *text)
{
	if (t->count == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		char **cells = xcalloc(cap, sizeof(*cells));
		if (t->count)
			memcpy(cells, t->cells, t->count * sizeof(*cells));
		free(t->cells);
		t->cells = cells;
		t->cap = cap;
	}
	t->cells[t->count++] = xstrdup(text);
}

struct table *table_new(const char *headers, int flexible)
{
	struct table *t = xcalloc(1, sizeof(*t));
	t->flexible = flexible;
	char *copy = xstrdup(headers);
	char *rest = NULL;
	for (char *h = strtok_r(copy, "|", &rest); h; h = strtok_r(NULL, "|", &rest)) {
		CHECK(t->columns < TABLE_COLUMNS_MAX);
		t->is_right[t->columns++] = h[0] == '>';
		append(t, h[0] == '>' ? h + 1 : h);
	}
	free(copy);
	return t;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->count; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

void table_add(struct table *t, const char *text)
{
	char clean[TABLE_CELL_MAX];
	append(t, text && text[0] ? table_clean(clean, sizeof(clean), text) : "-");
}

void table_addf(struct table *t, const char *fmt, ...)
{
	char text[TABLE_CELL_MAX];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	table_add(t, text);
}

static int width_of(const char *text)
{
	int n = 0;
	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

/* Bytes of the first `width` characters. */
static int bytes_of_width(const char *text, int width)
{
	const char *p = text;
	for (; *p; p++)
		if (((unsigned char)*p & 0xc0) != 0x80 && width-- == 0)
			break;
	return (int)(p - text);
}

static void measure(const struct table *t, int *widths)
{
	int total = 0;
	for (size_t i = 0; i < t->count; i++) {
		int w = width_of(t->cells[i]);
		int *column = &widths[i % (size_t)t->columns];
		*column = w > *column ? w : *column;
	}
	for (int c = 0; c < t->columns; c++)
		total += widths[c] + (c ? 2 : 0);
	if (t->flexible == TABLE_WHOLE)
		return;
	/* The flexible column gives way first, then whichever is widest. */
	for (; total > TABLE_WIDTH; total--) {
		int widest = t->flexible;
		for (int c = 0; c < t->columns && widths[t->flexible] <= WIDTH_MIN; c++)
			widest = widths[c] > widths[widest] ? c : widest;
		if (widths[widest] <= WIDTH_MIN)
			break;
		widths[widest]--;
	}
}

void table_print(const struct table *t, FILE *out)
{
	int widths[TABLE_COLUMNS_MAX] = { 0 };
	measure(t, widths);
	for (size_t i = 0; i < t->count; i++) {
		int c = (int)(i % (size_t)t->columns);
		const char *cell = t->cells[i];
		int w = width_of(cell);
		bool is_last = c == t->columns - 1;
		bool is_cut = w > widths[c];
		int shown = is_cut ? widths[c] - 1 : w;
		int pad = is_cut ? 0 : widths[c] - w;
		(void)fprintf(out, "%*s%.*s%s%*s%s", t->is_right[c] ? pad : 0, "",
			      bytes_of_width(cell, shown), cell, is_cut ? "~" : "",
			      t->is_right[c] || is_last ? 0 : pad, "", is_last ? "\n" : "  ");
	}
}

char *table_bytes(char *dst, size_t size, int64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double v = (double)bytes;
	int u = 0;
	for (; v >= 1024 && u < 4; u++)
		v /= 1024;
	(void)snprintf(dst, size, u ? "%.1f %s" : "%.0f %s", v, units[u]);
	return dst;
}

char *table_age(char *dst, size_t size, int64_t seconds)
{
	long long s = seconds > 0 ? seconds : 0;
	if (s < 60)
		(void)snprintf(dst, size, "%llds", s);
	else if (s < 3600)
		(void)snprintf(dst, size, "%lldm%02llds", s / 60, s % 60);
	else if (s < 86400)
		(void)snprintf(dst, size, "%lldh%02lldm", s / 3600, s / 60 % 60);
	else
		(void)snprintf(dst, size, "%lldd%02lldh", s / 86400, s / 3600 % 24);
	return dst;
}
