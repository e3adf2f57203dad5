/* db.c - from a path to a connection that can be trusted.
 *
 * Order matters. Who owns the file is read before anything is changed, so that a path typed wrong
 * never harms another application's database. Then come the pragmas; each is read back, because a
 * pragma that SQLite does not take is no error to it: builds differ in their defaults, and
 * `synchronous` one step lower would make every acknowledgement a lie. Then the migrations, each in
 * one transaction with its user_version, so that a crash leaves the file at one version or the
 * next.
 *
 * wal_autocheckpoint is 0 and closing does not checkpoint: only the writer thread checkpoints, by
 * explicit calls. SQLite up to 3.51.2 can corrupt the file where one connection commits while
 * another checkpoints (sqlite.org/wal.html, "WAL-reset bug"), and after a failed fsync a checkpoint
 * on close would be one that nobody verified.
 *
 * A new file gets its mode (0600) from PATH.lock by the URI parameter modeof, so that there is no
 * moment at which others can open it; -wal and -shm take the mode of the file. */
#include "storage/db.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "storage/counting_vfs.h"
#include "storage/file_checks.h"
#include "storage/migrations.h"
#include "storage/stmt.h"

enum { BUSY_TIMEOUT_MS = 2000, URI_MAX = 3 * PATH_MAX + 64 };

/* One mutex less in each malloc. Refused where SQLite is in use already, which is no harm. */
static void set_global_options(void)
{
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static void append_escaped(char *uri, size_t *n, const char *path)
{
	static const char hex[] = "0123456789ABCDEF";
	for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
		if (*p == '%' || *p == '?' || *p == '#' || *p == '&' || *p < 0x20) {
			uri[(*n)++] = '%';
			uri[(*n)++] = hex[*p >> 4];
			uri[(*n)++] = hex[*p & 15];
		} else {
			uri[(*n)++] = (char)*p;
		}
	}
	uri[*n] = '\0';
}

static enum status open_file(const char *path, bool is_writer, sqlite3 **ret, struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	(void)pthread_once(&once, set_global_options);
	char uri[URI_MAX];
	char lock[PATH_MAX];
	if (strlen(path) + 8 >= PATH_MAX)
		return err_set(e, ST_INVALID, "the path of the queue file is too long");
	(void)snprintf(lock, sizeof(lock), "%s.lock", path);
	/* Two slashes at the front would name a host: "file:" and an absolute or relative path. */
	size_t n = (size_t)snprintf(uri, sizeof(uri), "file:%s", path[0] == '/' ? "//" : "");
	append_escaped(uri, &n, path);
	if (is_writer) {
		n += (size_t)snprintf(uri + n, sizeof(uri) - n, "?modeof=");
		append_escaped(uri, &n, lock);
	}
	int flags = SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
	flags |= is_writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(uri, &db, flags, is_writer ? counting_vfs_name() : NULL);
	if (rc != SQLITE_OK) {
		enum status st = stmt_fail(db, rc, e, "open the queue file");
		(void)sqlite3_close(db);
		return err_wrap(e, st, "%s", path);
	}
	*ret = db;
	return ST_OK;
}

static enum status set_connection_options(sqlite3 *db, struct err *e)
{
	static const struct {
		int option;
		int value;
	} options[] = {
		{ SQLITE_DBCONFIG_DEFENSIVE, 1 },
		{ SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0 },
		{ SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1 },
		{ SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0 },
		{ SQLITE_DBCONFIG_ENABLE_TRIGGER, 0 },
		{ SQLITE_DBCONFIG_DQS_DML, 0 },
	};
	(void)sqlite3_extended_result_codes(db, 1);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		int got = -1;
		int rc = sqlite3_db_config(db, options[i].option, options[i].value, &got);
		if (rc != SQLITE_OK || got != options[i].value)
			return err_set(e, ST_UNSUPPORTED, "SQLite %s does not take option %d",
				       sqlite3_libversion(), options[i].option);
	}
	int rc = sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
	return rc == SQLITE_OK ? ST_OK : stmt_fail(db, rc, e, "set the busy timeout");
}

/* PRAGMA name=value, then read it back as text. No row reads as "". */
static enum status set_pragma(sqlite3 *db, const char *name, const char *value, struct err *e)
{
	char sql[96];
	char got[64] = "";
	(void)snprintf(sql, sizeof(sql), "PRAGMA %s=%s", name, value);
	enum status st = stmt_exec(db, sql, e);
	if (st)
		return st;
	(void)snprintf(sql, sizeof(sql), "PRAGMA %s", name);
	st = stmt_get_text(db, sql, got, sizeof(got), e);
	if (st && st != ST_END)
		return st;
	/* A build without mmap answers nothing, which is what we want of it. */
	if (st == ST_END && strcmp(name, "mmap_size") == 0)
		return ST_OK;
	if (strcmp(got, value) != 0)
		return err_set(e, ST_UNSUPPORTED,
			       "PRAGMA %s is \"%s\" and cannot be made %s (SQLite %s)", name, got,
			       value, sqlite3_libversion());
	return ST_OK;
}

struct pragma {
	const char *name;
	const char *value;
};

static enum status set_pragmas(sqlite3 *db, const struct pragma *p, struct err *e)
{
	enum status st = ST_OK;
	for (; p->name && !st; p++)
		st = set_pragma(db, p->name, p->value, e);
	return st;
}

/* Is the file ours? Reads only. *ret_version is its user_version, 0 for a new file. */
static enum status identify(sqlite3 *db, bool *ret_is_new, int64_t *ret_version, struct err *e)
{
	int64_t application = 0;
	int64_t version = 0;
	int64_t tables = 0;
	enum status st = stmt_get_int(db, "PRAGMA application_id", &application, e);
	if (!st)
		st = stmt_get_int(db, "PRAGMA user_version", &version, e);
	if (!st)
		st = stmt_get_int(db, "SELECT count(*) FROM sqlite_schema", &tables, e);
	if (st)
		return st;
	*ret_is_new = application == 0 && version == 0 && tables == 0;
	*ret_version = version;
	if (*ret_is_new)
		return ST_OK;
	if (application != DB_APPLICATION_ID)
		return err_set(e, ST_UNSUPPORTED,
			       "this is a SQLite database of another application (application_id "
			       "0x%08x); set queue.path to another file",
			       (unsigned)application);
	if (version > migration_count)
		return err_set(e, ST_UNSUPPORTED,
			       "a newer tidegate wrote it (schema %lld; this one knows up to %d); "
			       "install that version, or set queue.path to another file",
			       (long long)version, migration_count);
	if (version < 1 || tables == 0)
		return err_set(e, ST_CORRUPT, "its header says schema %lld, with %lld tables",
			       (long long)version, (long long)tables);
	return ST_OK;
}

/* Each in one transaction. The acknowledgement rule does not apply: nobody waits for these. */
static enum status migrate(sqlite3 *db, int64_t version, struct err *e)
{
	for (int64_t v = version; v < migration_count; v++) {
		char sql[128];
		(void)snprintf(sql, sizeof(sql),
			       "PRAGMA application_id=%d; PRAGMA user_version=%lld; COMMIT",
			       DB_APPLICATION_ID, (long long)v + 1);
		enum status st = stmt_exec(db, "BEGIN IMMEDIATE", e);
		if (!st)
			st = stmt_exec(db, migrations[v].sql, e);
		if (!st)
			st = stmt_exec(db, sql, e);
		if (st) {
			if (!sqlite3_get_autocommit(db))
				(void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
			return err_wrap(e, st, "migration %s", migrations[v].name);
		}
	}
	return ST_OK;
}

static enum status configure(sqlite3 *db, bool is_new, int page_size, int64_t wal_keep_bytes,
			     struct err *e)
{
	char page[16];
	char keep[32];
	(void)snprintf(page, sizeof(page), "%d", page_size ? page_size : DB_PAGE_SIZE);
	(void)snprintf(keep, sizeof(keep), "%lld", (long long)wal_keep_bytes);
	/* The first two only take effect before the first page is written. */
	const struct pragma for_new[] = { { "page_size", page }, { "auto_vacuum", "2" }, { 0 } };
	const struct pragma for_all[] = {
		{ "journal_mode", "wal" },      { "synchronous", "2" },
		{ "wal_autocheckpoint", "0" },  { "secure_delete", "0" },
		{ "mmap_size", "0" },           { "trusted_schema", "0" },
		{ "cell_size_check", "1" },     { "foreign_keys", "0" },
		{ "temp_store", "2" },          { "cache_size", "-8192" },
		{ "journal_size_limit", keep }, { 0 },
	};
	enum status st = is_new ? set_pragmas(db, for_new, e) : ST_OK;
	if (!st)
		st = set_pragmas(db, for_all, e);
	int64_t id = 0;
	/* The schema is read here, so damage to it shows here. */
	if (!st && !is_new)
		st = stmt_get_int(db, "SELECT count(*) FROM sqlite_sequence", &id, e);
	return st;
}

enum status db_open(const char *path, int page_size, int64_t wal_keep_bytes, sqlite3 **ret,
		    struct err *e)
{
	char wal[PATH_MAX];
	(void)snprintf(wal, sizeof(wal), "%s-wal", path);
	/* SQLite deletes the WAL of an empty database file. It may hold all there is. */
	if (file_size(path) == 0 && file_size(wal) > 0)
		return err_set(e, ST_CORRUPT,
			       "%s is empty or missing, but its write-ahead log is not", path);
	sqlite3 *db = NULL;
	bool is_new = false;
	int64_t version = 0;
	enum status st = open_file(path, true, &db, e);
	if (st)
		return st;
	st = set_connection_options(db, e);
	/* SQLite opens a file that it may not write for reading, and says nothing. */
	if (!st && sqlite3_db_readonly(db, "main") == 1)
		st = err_set(e, ST_IO, "it may not be written; give it to the gateway's user");
	if (!st)
		st = identify(db, &is_new, &version, e);
	if (!st)
		st = configure(db, is_new, page_size, wal_keep_bytes, e);
	if (!st)
		st = migrate(db, version, e);
	if (st) {
		db_close(db);
		return err_wrap(e, st, "%s", path);
	}
	*ret = db;
	return ST_OK;
}

enum status db_open_reader(const char *path, sqlite3 **ret, struct err *e)
{
	static const struct pragma pragmas[] = {
		{ "query_only", "1" },
		{ "mmap_size", "0" },
		{ "trusted_schema", "0" },
		{ "temp_store", "2" },
		{ "cell_size_check", "1" },
		{ "cache_size", "-1024" },
		{ 0 },
	};
	sqlite3 *db = NULL;
	bool is_new = false;
	int64_t version = 0;
	enum status st = open_file(path, false, &db, e);
	if (st)
		return st;
	st = set_connection_options(db, e);
	if (!st)
		st = set_pragmas(db, pragmas, e);
	if (!st)
		st = identify(db, &is_new, &version, e);
	if (!st && is_new)
		st = err_set(e, ST_UNSUPPORTED, "the file is empty: no gateway has used it yet");
	if (st) {
		db_close(db);
		return err_wrap(e, st, "%s", path);
	}
	*ret = db;
	return ST_OK;
}

void db_close(sqlite3 *db)
{
	/* v2: a statement that is still open makes a zombie, and never a leak of the handle. */
	(void)sqlite3_close_v2(db);
}

static uint64_t size_of(sqlite3 *db, int which)
{
	sqlite3_file *file = NULL;
	sqlite3_int64 size = 0;
	int rc = sqlite3_file_control(db, "main", which, &file);
	if (rc != SQLITE_OK || !file || !file->pMethods)
		return 0;
	return file->pMethods->xFileSize(file, &size) == SQLITE_OK && size > 0 ? (uint64_t)size : 0;
}

uint64_t db_wal_file_bytes(sqlite3 *db)
{
	return size_of(db, SQLITE_FCNTL_JOURNAL_POINTER);
}

uint64_t db_file_bytes(sqlite3 *db)
{
	return size_of(db, SQLITE_FCNTL_FILE_POINTER);
}
