/* admin/table.h - text tables for terminals, and numbers for people.
 * Owner: the caller. Needs: gateway/base. */
#ifndef ADMIN_TABLE_H
#define ADMIN_TABLE_H

#include <stdint.h>
#include <stdio.h>

#include "gateway/base/status.h"

enum { TABLE_COLUMNS_MAX = 12, TABLE_WIDTH = 100, TABLE_CELL_MAX = 600 };
/* Instead of a flexible column: nothing is cut. */
enum { TABLE_WHOLE = -1 };

struct table;

/* headers: separated by '|'; one that starts with '>' is aligned right. flexible: the column that
 * is cut where the table is wider than TABLE_WIDTH; or TABLE_WHOLE. */
struct table *table_new(const char *headers, int flexible);
void table_free(struct table *t); /* accepts NULL */
/* One cell; rows begin by themselves. Control characters become spaces: what is printed may come
 * from anyone. NULL or "" is shown as "-". */
void table_add(struct table *t, const char *text);
void table_addf(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void table_print(const struct table *t, FILE *out);

/* src without control characters (C0, DEL, C1), cut to fit. Returns dst. */
char *table_clean(char *dst, size_t size, const char *src);
/* "1.5 MiB"; "3h12m". Return dst. */
char *table_bytes(char *dst, size_t size, int64_t bytes);
char *table_age(char *dst, size_t size, int64_t seconds);

#endif
