/* tests/support/queue_file.h - a queue in a directory of its own, and jobs that wait for their end.
 * Owner: tests. Needs: storage/writer.h. */
#ifndef TESTS_SUPPORT_QUEUE_FILE_H
#define TESTS_SUPPORT_QUEUE_FILE_H

#include <limits.h>
#include <pthread.h>

#include <sqlite3.h>

#include "storage/writer.h"

struct queue_file {
	char dir[128];
	char path[192];
};

/* A new directory below TMPDIR, and the name of a queue file in it that is not made yet. */
void queue_file_make(struct queue_file *f);
/* The same, and the file is made and opened, with pages of 4 KiB, as the writer's connection is.
 * db_close is the caller's. */
sqlite3 *queue_file_open(struct queue_file *f);
/* Queue files of this program go to a tmpfs, where there is one of some size: for tests that commit
 * much, and say nothing about the disk. */
void queue_file_in_memory(void);
/* Removes the directory with all that is in it. */
void queue_file_remove(struct queue_file *f);
/* The first column of the query's first row, read by the stock way: a connection of its own. */
int64_t queue_file_int(const char *path, const char *sql);
/* The same as text; "" for NULL or no row. */
void queue_file_text(const char *path, const char *sql, char *ret, size_t size);
/* Run statements on the file. Only while no writer has it. */
void queue_file_exec(const char *path, const char *sql);

/* Waits for one job. */
struct waiter {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	int done;
	enum status st;
};
void waiter_init(struct waiter *w);
/* For how many jobs it is to wait; gives the status of the last. */
enum status waiter_wait(struct waiter *w, int count);
void waiter_done(struct waiter *w);

/* A put of one part, with its waiter. Everything in it is static or lives in the struct. */
struct test_put {
	struct put_job put; /* first: done gets its address */
	struct waiter *waiter;
};
void test_put_fill(struct test_put *t, struct waiter *waiter, enum signal signal,
		   enum record_class class, uint32_t records, uint64_t destinations,
		   struct bytes body);
/* Give it and wait for its status. */
enum status test_put_run(struct writer *w, enum signal signal, enum record_class class,
			 uint32_t records, uint64_t destinations, struct bytes body);
/* Settle one batch and wait for the status. */
enum status test_settle(struct writer *w, int64_t destination_id, int64_t batch_id,
			enum settle_outcome outcome, uint32_t rejected, const char *error);

#endif
