/* storage/queue_sql.h - the statements of the queue by name, for storage/queue*.c only.
 * Owner: the writer thread. Needs: storage/queue.h.
 * large file: all SQL of the queue, in one place. */
#ifndef STORAGE_QUEUE_SQL_H
#define STORAGE_QUEUE_SQL_H

#include "storage/queue.h"

/* What a struct depart_item is read from. */
#define DEPART_ITEM                                                                     \
	"SELECT d.batch_id, b.stored_bytes, b.boot, b.received_mono, b.received_at, "   \
	"d.last_attempt_at, d.last_boot, d.last_mono FROM deliveries d JOIN batches b " \
	"ON b.id = d.batch_id WHERE "

/* One line per statement; the index is the name. */
#define STATEMENTS(X)                                                                              \
	X(BEGIN, "BEGIN IMMEDIATE")                                                                \
	X(COMMIT, "COMMIT")                                                                        \
	X(BATCH_INSERT,                                                                            \
	  "INSERT INTO batches (received_at, signal, tenant, class, priority, requests, records, " \
	  "raw_bytes, stored_bytes, encoding, crc, service, first_time, last_time, preview, "      \
	  "boot, received_mono) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, "  \
	  "?14, ?15, ?16, ?17)")                                                                   \
	X(PAYLOAD_INSERT, "INSERT INTO payloads (batch_id, body) VALUES (?1, ?2)")                 \
	X(DELIVERY_INSERT,                                                                         \
	  "INSERT INTO deliveries (batch_id, destination_id, priority, state, records) "           \
	  "VALUES (?1, ?2, ?3, 'ready', ?4) ON CONFLICT DO NOTHING")                               \
	X(PART_INSERT,                                                                             \
	  "INSERT INTO batches (received_at, signal, tenant, class, priority, requests, records, " \
	  "raw_bytes, stored_bytes, encoding, crc, service, first_time, last_time, preview, "      \
	  "boot, "                                                                                 \
	  "received_mono) SELECT received_at, signal, tenant, class, priority, requests, ?2, ?3, " \
	  "?4, ?5, ?6, coalesce(?7, service), coalesce(?8, first_time), coalesce(?9, last_time), " \
	  "coalesce(?10, preview), boot, received_mono FROM batches WHERE id = ?1")                \
	X(PART_DELIVERY_INSERT,                                                                    \
	  "INSERT INTO deliveries (batch_id, destination_id, priority, state, records, attempts, " \
	  "last_attempt_at, last_status, last_error, last_boot, last_mono) SELECT ?3, "            \
	  "destination_id, priority, ?4, ?5, attempts + 1, ?6, ?7, ?8, ?9, ?10 FROM deliveries "   \
	  "WHERE batch_id = ?1 AND destination_id = ?2")                                           \
	X(PAYLOAD_ANY, "SELECT 1 FROM payloads WHERE batch_id = ?1")                               \
	X(DELIVERY_FIND,                                                                           \
	  "SELECT d.state, d.records, b.signal, b.class, b.stored_bytes, b.records, "              \
	  "b.first_time, b.last_time, d.priority FROM deliveries d JOIN batches b ON b.id = "      \
	  "d.batch_id "                                                                            \
	  "WHERE d.batch_id = ?1 AND d.destination_id = ?2")                                       \
	X(DELIVERY_UPDATE,                                                                         \
	  "UPDATE deliveries SET state = ?3, attempts = attempts + 1, last_attempt_at = ?4, "      \
	  "last_status = ?5, last_error = ?6, last_boot = ?7, last_mono = ?8 "                     \
	  "WHERE batch_id = ?1 AND destination_id = ?2")                                           \
	X(DELIVERY_OWE,                                                                            \
	  "UPDATE deliveries SET records = ?3 WHERE batch_id = ?1 AND destination_id = ?2")        \
	X(DELIVERY_DELETE, "DELETE FROM deliveries WHERE batch_id = ?1 AND destination_id = ?2")   \
	X(DELIVERY_REPLAY,                                                                         \
	  "UPDATE deliveries SET state = 'ready' WHERE batch_id = ?1 AND destination_id = ?2")     \
	X(DELIVERY_MOVE, "UPDATE OR IGNORE deliveries SET destination_id = ?3 "                    \
			 "WHERE batch_id = ?1 AND destination_id = ?2")                            \
	X(DELIVERY_ANY, "SELECT 1 FROM deliveries WHERE batch_id = ?1 LIMIT 1")                    \
	X(PAYLOAD_DELETE, "DELETE FROM payloads WHERE batch_id = ?1")                              \
	X(BATCH_DELETE, "DELETE FROM batches WHERE id = ?1")                                       \
	X(TOTAL_ADD,                                                                               \
	  "INSERT INTO totals (destination_id, signal, outcome, records) VALUES (?1, ?2, ?3, ?4) " \
	  "ON CONFLICT DO UPDATE SET records = records + excluded.records")                        \
	X(LOSS_INSERT,                                                                             \
	  "INSERT INTO losses (at, destination_id, signal, class, reason, records, bytes, "        \
	  "first_time, last_time, detail, boot, mono, id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, "    \
	  "?8, "                                                                                   \
	  "?9, ?10, ?11, ?12, 1 + max(coalesce((SELECT max(id) FROM losses), 0), "                 \
	  "coalesce((SELECT "                                                                      \
	  "value FROM settings WHERE name = 'losses_reported'), 0)))")                             \
	X(DESTINATION_UPDATE,                                                                      \
	  "UPDATE destinations SET state = ?2, state_since = ?3, next_attempt_at = ?4, "           \
	  "last_success_at = coalesce(?5, last_success_at), reason = ?6 WHERE id = ?1")            \
	X(DESTINATION_STORED, "SELECT state, state_since, reason FROM destinations WHERE id = ?1") \
	X(DESTINATION_UPSERT,                                                                      \
	  "INSERT INTO destinations (id, name, kind, is_configured, state_since) "                 \
	  "VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO UPDATE SET kind = "                   \
	  "CASE WHEN excluded.is_configured THEN excluded.kind ELSE kind END, "                    \
	  "is_configured = max(is_configured, excluded.is_configured)")                            \
	X(DESTINATION_FIND, "SELECT id FROM destinations WHERE name = ?1")                         \
	X(DESTINATION_CONFIGURE,                                                                   \
	  "UPDATE destinations SET is_configured = ?2 WHERE id = ?1 OR ?1 IS NULL")                \
	X(REROUTE_LIST,                                                                            \
	  "SELECT d.batch_id, d.priority, d.records, b.signal, b.class FROM deliveries d "         \
	  "JOIN batches b ON b.id = d.batch_id WHERE d.destination_id = ?1 AND d.state = 'ready' " \
	  "AND (d.priority, d.batch_id) > (?2, ?3) ORDER BY d.priority, d.batch_id LIMIT ?4")      \
	X(SETTING_SAVE, "INSERT INTO settings (name, value) VALUES (?1, ?2) "                      \
			"ON CONFLICT DO UPDATE SET value = excluded.value")                        \
	X(SALVAGE_INSERT,                                                                          \
	  "INSERT INTO salvages (path, found_at, reason, state) VALUES (?1, ?2, ?3, 'running') "   \
	  "ON CONFLICT DO NOTHING")                                                                \
	X(SALVAGE_ANY, "SELECT 1 FROM salvages WHERE state = 'running' LIMIT 1")                   \
	X(SEQUENCE_DELETE, "DELETE FROM sqlite_sequence WHERE name = 'batches'")                   \
	X(SEQUENCE_INSERT, "INSERT INTO sqlite_sequence (name, seq) VALUES ('batches', ?1)")       \
	X(SEQUENCE_GET, "SELECT seq FROM sqlite_sequence WHERE name = 'batches'")                  \
	X(USAGE_ADD,                                                                               \
	  "INSERT INTO uplink_usage (uplink, period, bytes) VALUES (?1, ?2, max(?3, 0)) "          \
	  "ON CONFLICT DO UPDATE SET bytes = max(bytes + ?3, 0) RETURNING bytes")                  \
	X(PAGE_COUNT, "PRAGMA page_count")                                                         \
	X(PAGE_FREE, "PRAGMA freelist_count")                                                      \
	X(DEPART_FIND,                                                                             \
	  "SELECT d.destination_id, d.state, d.records, b.signal, b.class, b.stored_bytes, "       \
	  "b.records, b.first_time, b.last_time FROM deliveries d "                                \
	  "JOIN batches b ON b.id = d.batch_id WHERE d.batch_id = ?1 "                             \
	  "AND d.destination_id BETWEEN ?2 AND ?3 ORDER BY d.destination_id LIMIT 1")              \
	X(DEPART_READY,                                                                            \
	  DEPART_ITEM "d.state = 'ready' AND d.destination_id = ?1 AND d.priority = ?2 "           \
		      "AND d.batch_id > ?3 ORDER BY d.batch_id LIMIT ?4")                          \
	X(DEPART_DEAD, DEPART_ITEM "d.state = 'dead' AND d.destination_id = ?1 AND ?2 < 0 "        \
				   "AND d.batch_id > ?3 ORDER BY d.batch_id LIMIT ?4")             \
	X(DEPART_DEAD_CLASS,                                                                       \
	  DEPART_ITEM "d.state = 'dead' AND d.destination_id = ?1 AND d.priority = ?2 "            \
		      "AND d.batch_id > ?3 ORDER BY d.batch_id LIMIT ?4")                          \
	X(DEPART_WAITED,                                                                           \
	  "SELECT 1 FROM deliveries d JOIN destinations t ON t.id = d.destination_id "             \
	  "WHERE d.batch_id = ?1 AND d.state = 'ready' AND t.is_configured LIMIT 1")               \
	X(DESTINATION_LIST, "SELECT id, is_configured FROM destinations ORDER BY id LIMIT ?1")     \
	X(LEDGER_SLICE,                                                                            \
	  "SELECT l.id, l.at, l.destination_id, l.signal, l.class, l.reason, l.records, l.bytes, " \
	  "l.first_time, l.last_time, l.detail, l.boot, l.mono, "                                  \
	  "coalesce(t.offset_ns + l.mono, l.at), t.is_set, l.id <= coalesce((SELECT value FROM "   \
	  "settings WHERE name = 'losses_reported'), ?3) FROM losses l LEFT JOIN boots t "         \
	  "ON t.id = l.boot WHERE l.id > ?1 AND l.id < (SELECT max(id) FROM losses) "              \
	  "ORDER BY l.id LIMIT ?2")                                                                \
	X(LEDGER_MERGE,                                                                            \
	  "UPDATE losses SET records = ?2, bytes = ?3, first_time = ?4, last_time = ?5, at = ?6, " \
	  "boot = ?7, mono = ?8 WHERE id = ?1")                                                    \
	X(LEDGER_DELETE, "DELETE FROM losses WHERE id = ?1")                                       \
	X(VACUUM_STEP, "PRAGMA incremental_vacuum(8)")

enum statement {
#define X(name, sql) Q_##name,
	STATEMENTS(X)
#undef X
		Q_COUNT
};
_Static_assert((int)Q_COUNT <= (int)QUEUE_STATEMENTS_MAX, "room for every statement");

/* The prepared statement; the queue keeps it. */
MUST_USE enum status queue_statement(struct queue *q, enum statement i, sqlite3_stmt **ret);
/* A statement with up to two integers and no rows. */
MUST_USE enum status queue_run(struct queue *q, enum statement i, int64_t a, int64_t b);
/* The first column of the first row. ST_END: no row. */
MUST_USE enum status queue_ask(struct queue *q, enum statement i, int64_t a, int64_t *ret);
/* This moment, as parameters i (the boot) and i + 1 (its clock). */
void queue_bind_moment(const struct queue *q, sqlite3_stmt *s, int i);
/* The words of a closed set in a column. The CHECKs of the schema leave no other than ours. */
enum signal queue_read_signal(sqlite3_stmt *s, int column);
enum record_class queue_read_class(sqlite3_stmt *s, int column);
/* A delivery with what is known of its batch. */
struct queue_delivery {
	int64_t batch_id;
	int64_t destination_id;
	enum delivery_state state;
	int priority;
	int64_t records; /* still owed */
	enum signal signal;
	enum record_class class;
	int64_t stored_bytes;
	int64_t batch_records;
	int64_t first_time_ns;
	int64_t last_time_ns;
};
/* ST_END: there is none. */
MUST_USE enum status queue_find_delivery(struct queue *q, int64_t batch_id, int64_t destination_id,
					 struct queue_delivery *ret);
/* With its batch and payload where it is the last one. The caller has counted the outcome. */
MUST_USE enum status queue_remove_delivery(struct queue *q, const struct queue_delivery *d);
/* Count so many of its records as an outcome other than delivered, with a row in the ledger. */
MUST_USE enum status queue_lose_of(struct queue *q, const struct queue_delivery *d,
				   enum outcome outcome, int64_t records, struct bytes detail);
/* The outcomes in storage/queue_part.c. */
MUST_USE enum status queue_settle_split(struct queue *q, const struct settlement *s,
					const struct queue_delivery *d,
					const struct settle_item *item);
MUST_USE enum status queue_settle_moved(struct queue *q, const struct queue_delivery *d,
					int64_t to_destination_id);
MUST_USE enum status queue_settle_unreadable(struct queue *q, const struct queue_delivery *d);
/* The payload of a batch whose row is there. Borrows body. */
MUST_USE enum status queue_insert_payload(struct queue *q, int64_t id, struct bytes body);
/* (3) Counts accepted, unless the delivery is there already. */
MUST_USE enum status queue_insert_delivery(struct queue *q, int64_t batch_id,
					   int64_t destination_id, int priority, int64_t records,
					   enum signal signal);

#endif
