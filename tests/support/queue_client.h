/* queue_client.h - what tests of the queue do: put requests that can be told apart, settle them,
 * and look into the file with a connection of their own. Owner: one test thread. Needs: storage,
 * sqlite3. */
#ifndef TESTS_SUPPORT_QUEUE_CLIENT_H
#define TESTS_SUPPORT_QUEUE_CLIENT_H

#include "storage/writer.h"

enum {
	CLIENT_PUTS_MAX = 16,
	CLIENT_SETTLE_MAX = 64,
	CLIENT_BODY_MIN = 13,
	CLIENT_IDS_MAX = 4096,
	CLIENT_DESTINATIONS_MAX = 64,
	CLIENT_PATH_SIZE = 1024
};

/* Where fake clocks begin: further ahead than any machine has run. Threads wait by the real clock
 * for what a fake one says, so they sleep until they are rung, and do not spin for a time that is
 * past.
 */
#define CLIENT_BOOT_NS (INT64_C(20) * 365 * 86400 * 1000000000)

/* One request. Its body names its id, so that it is found again in whatever batch it was merged. */
struct client_request {
	int64_t id; /* 1 to CLIENT_IDS_MAX - 1 */
	enum signal signal;
	enum record_class class;
	uint32_t records;
	size_t size;       /* bytes of the body; random ones, which do not compress */
	struct bytes body; /* instead of these, where it is not empty */
	uint64_t destinations;
};

/* Called on the writer thread when a request is done; may be NULL. */
typedef void (*client_done_fn)(int64_t id, enum status st);

/* Give all to the writer at once (at most CLIENT_PUTS_MAX), wait until each is done. */
void client_put(struct writer *w, const struct client_request *requests, size_t count,
		enum status *ret, client_done_fn done);
/* The body of request id, n bytes of it (CLIENT_BODY_MIN at least). */
void client_fill_body(uint8_t *p, size_t n, int64_t id);
/* Settle batches of one destination, each by its item, and wait. */
enum status client_settle_items(struct writer *w, int64_t destination_id, int status,
				const char *error, const struct settle_item *items, size_t count);
/* Settle batches of one destination alike, and wait. SETTLE_SPLIT: one record of each dies, in a
 * part that names no request. */
enum status client_settle(struct writer *w, int64_t destination_id, const int64_t *batch_ids,
			  size_t count, enum settle_outcome outcome, uint32_t rejected_records);

/* Run work within a transaction of the writer, and wait for its commit. */
enum status client_run(struct writer *w, enum status (*work)(struct queue *q, void *ctx),
		       void *ctx);

/* One step of evict_some, and what was said of it. */
struct client_eviction {
	const bool *may_evict;
	enum record_class arriving;
	bool can; /* before it */
	size_t count;
	bool is_searching; /* after it */
};
enum status client_evict(struct writer *w, struct client_eviction *e);

/* An empty directory of its own below $TMPDIR or /dev/shm. */
void client_make_dir(char *ret, size_t size, const char *what);
void client_remove_dir(const char *dir);
/* Byte by byte; nothing happens where `from` is missing. */
void client_copy_file(const char *from, const char *to);
/* How many files in dir contain part in their name. */
int client_count_files(const char *dir, const char *part);

/* What the file holds, as seen by the stock library. */
struct facts {
	bool is_sound;      /* integrity_check says ok */
	char problem[256];  /* else what it says */
	int64_t imbalance;  /* sum of abs(difference) of the balance view */
	int64_t crc_errors; /* rows that make no sense: a payload that is not its crc's, a stranger
			     */
	int64_t batches;
	int64_t accepted; /* records of the outcome in totals, of all destinations */
	int64_t delivered;
	/* How often request i stands in batches that are owed to the destination of row id d. */
	uint8_t ready[CLIENT_DESTINATIONS_MAX][CLIENT_IDS_MAX];
	uint8_t dead[CLIENT_DESTINATIONS_MAX][CLIENT_IDS_MAX];
	/* The batch that request i was merged into; 0: none is there. */
	int64_t batch_of[CLIENT_IDS_MAX];
};

/* False: the file cannot be read (problem says why). */
bool facts_read(const char *path, struct facts *ret);
/* The one integer of a query, -1 where it fails. */
int64_t facts_int(const char *path, const char *sql);
/* Asks again until it is this. */
void facts_await(const char *path, const char *sql, int64_t want);
/* The same as text. False where it fails. */
bool facts_text(const char *path, const char *sql, char *ret, size_t size);
/* Changes the file behind the gateway's back, with SQL. Fails the test where it cannot. */
void client_execute(const char *path, const char *sql);

#endif
