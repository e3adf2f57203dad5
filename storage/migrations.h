/* storage/migrations.h - the SQL files of schema/sql, embedded at build time
 * (cmake/embed_sql.cmake). Owner: none, constants. Needs: nothing. */
#ifndef STORAGE_MIGRATIONS_H
#define STORAGE_MIGRATIONS_H

struct migration {
	const char *name; /* the file's name */
	const char *sql;
};

/* migrations[i] takes a file from user_version i to i + 1. */
extern const struct migration migrations[];
extern const int migration_count;

#endif
