/* boot.c - time for an edge device: no battery, a wall clock that starts in 1970 and is set later,
 * or jumps.
 *
 * CLOCK_BOOTTIME never jumps, but starts at 0 with each boot. So a batch carries its boot and that
 * clock, and `boots` has for each boot the offset to the wall clock, corrected whenever the wall
 * clock steps. When something was received is offset + received_mono: right for all that came in
 * before the clock was set, too.
 *
 * What is believed: a wall clock that is not before the first release, and not before what former
 * boots believed (unless that is more than FAR ahead: then they were wrong). A believed clock that
 * falls back behind this keeps its offset.
 *
 * AGES decide what is deleted, so they err on the young side:
 *
 * (1) of this boot: by the boot clock alone. No step of the wall clock changes them.
 * (2) of a former boot: by the wall clock, where both boots believed theirs; this boot's by the
 *     least offset that it ever believed, so that a jump forward makes nothing older.
 * (3) else, and where (2) gives less: a lower bound, the time that the boots between ran.
 * (4) A wall clock that claims a gap of more than FAR without power is not believed, but (3). A
 *     device that lay in a drawer for years keeps its data longer; one whose clock came up wrong
 *     loses nothing. */
#include "storage/boot.h"

#include <stdio.h>
#include <string.h>

#include "gateway/base/now.h"
#include "storage/stmt.h"

#define FAR_NS  (INT64_C(366) * 86400 * NS_PER_S)
#define STEP_NS NS_PER_S

enum { BOOT_ID_SIZE = 64, KEEP_ROWS = 16 };

/* Values come from a file that may be damaged: sums stay within their type. */
static int64_t add(int64_t a, int64_t b)
{
	int64_t sum;
	if (__builtin_add_overflow(a, b, &sum))
		return b > 0 ? INT64_MAX : INT64_MIN;
	return sum;
}

static int64_t subtract(int64_t a, int64_t b)
{
	int64_t difference;
	if (__builtin_sub_overflow(a, b, &difference))
		return b < 0 ? INT64_MAX : INT64_MIN;
	return difference;
}

static bool is_apart(int64_t a, int64_t b)
{
	int64_t d = subtract(a, b);
	return d > STEP_NS || d < -STEP_NS;
}

/* The kernel's name of this boot; where there is none all boots are one, and the offsets tell. */
static void read_boot_id(char ret[BOOT_ID_SIZE])
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	ret[0] = '\0';
	if (f) {
		if (!fgets(ret, BOOT_ID_SIZE, f))
			ret[0] = '\0';
		(void)fclose(f);
	}
	ret[strcspn(ret, "\n")] = '\0';
	if (!ret[0])
		(void)snprintf(ret, BOOT_ID_SIZE, "unknown");
}

static void read_row(sqlite3_stmt *s, struct boot_row *r)
{
	*r = (struct boot_row){ .id = sqlite3_column_int64(s, 0),
				.offset_ns = sqlite3_column_int64(s, 1),
				.age_offset_ns = sqlite3_column_int64(s, 2),
				.is_set = sqlite3_column_int(s, 3) != 0,
				.last_mono_ns = sqlite3_column_int64(s, 4) };
}

static enum status read_rows(struct boot *b, sqlite3 *db, const char *boot_id, struct err *e)
{
	static const char sql[] =
		"SELECT id, offset_ns, age_offset_ns, is_set, last_mono, boot_id = ?1 FROM boots"
		" ORDER BY id DESC LIMIT ?2";
	sqlite3_stmt *s = NULL;
	enum status st = stmt_prepare(db, sql, &s, e);
	if (!st) {
		stmt_bind_text(s, 1, bytes_str(boot_id));
		stmt_bind_int(s, 2, BOOT_FORMER_MAX);
	}
	while (!st && (st = stmt_step(s, e)) == ST_OK) {
		struct boot_row row;
		read_row(s, &row);
		if (sqlite3_column_int(s, 5))
			b->this = row;
		else
			b->former[b->former_count++] = row;
	}
	(void)sqlite3_finalize(s);
	return st == ST_END ? ST_OK : st;
}

static void find_trusted(struct boot *b)
{
	for (size_t i = 0; i < b->former_count; i++) {
		const struct boot_row *f = &b->former[i];
		int64_t last = add(f->age_offset_ns, f->last_mono_ns);
		if (f->is_set && last > b->trusted_ns && subtract(last, now_wall_ns()) < FAR_NS)
			b->trusted_ns = last;
	}
}

enum status boot_load(struct boot *b, sqlite3 *db, struct err *e)
{
	char boot_id[BOOT_ID_SIZE];
	*b = (struct boot){ .trusted_ns = BOOT_RELEASE_NS };
	read_boot_id(boot_id);
	enum status st = read_rows(b, db, boot_id, e);
	find_trusted(b);
	return st;
}

/* Boots that no batch and no loss names any more, but for some that know the time. A delivery was
 * tried after its batch came. */
static enum status prune(sqlite3 *db, struct err *e)
{
	static const char sql[] =
		"DELETE FROM boots WHERE id <= (SELECT max(id) FROM boots) - ?1 AND id < coalesce("
		"(SELECT boot FROM batches ORDER BY id LIMIT 1),"
		" (SELECT max(id) FROM boots WHERE NOT EXISTS (SELECT 1 FROM batches)), 0)"
		" AND id < coalesce((SELECT min(boot) FROM losses WHERE boot IS NOT NULL), id + 1)";
	sqlite3_stmt *s = NULL;
	enum status st = stmt_prepare(db, sql, &s, e);
	if (!st) {
		stmt_bind_int(s, 1, KEEP_ROWS);
		st = stmt_run(s, e);
	}
	(void)sqlite3_finalize(s);
	return st;
}

static enum status insert_row(struct boot *b, sqlite3 *db, struct err *e)
{
	static const char sql[] =
		"INSERT INTO boots (boot_id, offset_ns, age_offset_ns, is_set, last_mono)"
		" VALUES (?1, 0, 0, 0, 0)";
	char boot_id[BOOT_ID_SIZE];
	sqlite3_stmt *s = NULL;
	read_boot_id(boot_id);
	enum status st = stmt_prepare(db, sql, &s, e);
	if (!st) {
		stmt_bind_text(s, 1, bytes_str(boot_id));
		st = stmt_run(s, e);
	}
	(void)sqlite3_finalize(s);
	if (!st)
		b->this = (struct boot_row){ .id = sqlite3_last_insert_rowid(db) };
	return st ? st : prune(db, e);
}

/* The clock went backwards: a boot of the same name (a kernel that has none, a restored image). */
static enum status give_way(struct boot *b, sqlite3 *db, struct err *e)
{
	char sql[96];
	(void)snprintf(sql, sizeof(sql),
		       "UPDATE boots SET boot_id = boot_id || '.' || id WHERE id = %lld",
		       (long long)b->this.id);
	enum status st = stmt_exec(db, sql, e);
	return st ? st : boot_load(b, db, e);
}

enum status boot_register(struct boot *b, sqlite3 *db, struct err *e)
{
	enum status st = boot_load(b, db, e);
	if (!st && b->this.id && now_boot_ns() < b->this.last_mono_ns)
		st = give_way(b, db, e);
	if (!st && !b->this.id)
		st = insert_row(b, db, e);
	if (st)
		return st;
	boot_look(b);
	return b->is_changed ? boot_save(b, db, e) : ST_OK;
}

void boot_look(struct boot *b)
{
	struct boot_row *r = &b->this;
	int64_t wall = now_wall_ns();
	int64_t offset = subtract(wall, now_boot_ns());
	bool is_believed = wall >= b->trusted_ns;
	if (!r->id || (!is_believed && r->is_set))
		return;
	if (is_believed && !r->is_set) {
		r->is_set = true;
		r->age_offset_ns = offset;
		r->offset_ns = offset;
		b->is_changed = true;
	}
	if (is_apart(offset, r->offset_ns)) {
		r->offset_ns = offset;
		b->is_changed = true;
	}
	if (r->is_set && offset < r->age_offset_ns && is_apart(offset, r->age_offset_ns)) {
		r->age_offset_ns = offset;
		b->is_changed = true;
	}
}

enum status boot_save(const struct boot *b, sqlite3 *db, struct err *e)
{
	static const char sql[] = "UPDATE boots SET offset_ns = ?2, age_offset_ns = ?3, is_set = "
				  "?4, last_mono = ?5 WHERE id = ?1";
	sqlite3_stmt *s = NULL;
	enum status st = stmt_prepare(db, sql, &s, e);
	if (!st) {
		stmt_bind_int(s, 1, b->this.id);
		stmt_bind_int(s, 2, b->this.offset_ns);
		stmt_bind_int(s, 3, b->this.age_offset_ns);
		stmt_bind_int(s, 4, b->this.is_set);
		stmt_bind_int(s, 5, now_boot_ns());
		st = stmt_run(s, e);
	}
	(void)sqlite3_finalize(s);
	return st;
}

int64_t boot_wall_ns(const struct boot *b)
{
	return b->this.is_set ? add(b->this.offset_ns, now_boot_ns()) : now_wall_ns();
}

static int64_t newest_id(const struct boot *b)
{
	int64_t former = b->former_count ? b->former[0].id : 0;
	return b->this.id > former ? b->this.id : former;
}

/* (3) *ret_row: the batch's boot, where its row is known. */
static int64_t lower_bound(const struct boot *b, int64_t boot, int64_t received_mono,
			   const struct boot_row **ret_row)
{
	int64_t age = now_boot_ns();
	*ret_row = NULL;
	/* Of none, or of one that came after what was read. */
	if (!boot || boot > newest_id(b))
		return 0;
	for (size_t i = 0; i < b->former_count; i++) {
		const struct boot_row *f = &b->former[i];
		if (f->id < boot)
			return 0; /* of no boot that we know */
		if (f->id == boot) {
			int64_t rest = subtract(f->last_mono_ns, received_mono);
			*ret_row = f;
			return add(age, rest > 0 ? rest : 0);
		}
		age = add(age, f->last_mono_ns > 0 ? f->last_mono_ns : 0);
	}
	return age;
}

int64_t boot_age_ns(const struct boot *b, int64_t boot, int64_t received_mono, int64_t received_at)
{
	const struct boot_row *f = NULL;
	if (boot && boot == b->this.id) { /* (1) */
		int64_t age = subtract(now_boot_ns(), received_mono);
		return age > 0 ? age : 0;
	}
	int64_t least = lower_bound(b, boot, received_mono, &f);
	bool is_told = f ? f->is_set : !boot;
	int64_t received = f ? add(f->offset_ns, received_mono) : received_at;
	if (!b->this.is_set || !is_told || received < BOOT_RELEASE_NS)
		return least;
	int64_t age = subtract(add(b->this.age_offset_ns, now_boot_ns()), received); /* (2) */
	bool is_far = subtract(age, least) > FAR_NS;                                 /* (4) */
	return age > least && !is_far ? age : least;
}
