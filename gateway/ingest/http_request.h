/* ingest/http_request.h - one OTLP/HTTP request from its headers to its response. Private to the
 * HTTP receiver. Owner: the worker thread of its connection, but for the time between ingest_commit
 * and its done. Needs: ingest, http_headers, cors, gateway/base, libmicrohttpd. */
#ifndef INGEST_HTTP_REQUEST_H
#define INGEST_HTTP_REQUEST_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "gateway/base/channel.h"
#include "gateway/base/metrics.h"
#include "gateway/ingest/cors.h"
#include "gateway/ingest/http_headers.h"
#include "gateway/ingest/ingest.h"

/* What all workers share. Immutable while they run, but for the atomics. */
struct http_server {
	struct ingest *in;
	struct cors cors;
	size_t max_message_bytes;
	int64_t idle_timeout_ns;
	int64_t read_timeout_ns;
	atomic_bool is_stopping;
};

struct http_worker {
	struct http_server *server;
	struct http_connection *first; /* its connections, newest first */
	int active;                    /* requests whose headers came and that are not completed */
	struct chan wake; /* requests that ingest is done with; also rung by other workers */
	int out;          /* requests that ingest has, or that wait in wake */
	int waiting;      /* of those: their connection is not suspended */
	int64_t turn_ns;  /* when this turn of its loop began */
	bool has_stepped; /* set where libmicrohttpd calls about more than a waiting request */
	/* Private to http_reply.c. */
	struct MHD_Response *success[HTTP_MEDIA_OTHER]; /* by media: the same for every request */
	struct series *requests[SIGNAL_COUNT + 1][STATUS_COUNT]; /* made when first counted */
};

struct http_connection {
	struct http_connection *next;
	struct http_connection *prev;
	struct http_worker *worker;
	struct MHD_Connection *mhd;
	struct http_request *request; /* NULL between requests */
	int fd;                       /* libmicrohttpd's */
	struct sockaddr_storage peer;
	int64_t deadline_ns; /* now_mono_ns; the worker cuts the connection then */
	bool is_late;        /* it was cut */
};

/* Who may act on a request that is out (http_request.c has the moves). */
enum http_request_state { HTTP_AT_WORKER, HTTP_AT_WRITER, HTTP_ABANDONED };

struct http_request {
	struct chan_item item; /* the way back from the writer */
	struct http_worker *worker;
	struct http_connection *connection; /* NULL: it is gone, and the request still out */
	struct MHD_Connection *mhd;
	_Atomic enum http_request_state state;
	bool is_out; /* what the worker knows of it: not taken back yet */
	bool is_suspended;
	int64_t out_ns;          /* now_mono_ns when it went out */
	struct ingest_call call; /* status and err also hold what the receiver itself refuses */
	enum http_media media;   /* of the request, and so of the reply */
	int signal;              /* enum signal; SIGNAL_COUNT: unknown path */
	bool is_preflight;
	bool must_close;    /* the body's end is not known for sure: answer at once, and close */
	bool was_committed; /* given to ingest: call.status is the outcome */
	bool is_answered;   /* a response is queued */
	const char *origin; /* borrowed from mhd until completion; NULL: none */
	uint64_t length;    /* that the headers say the body has; 0: they do not */
	size_t drain_left;  /* bytes of a refused body that are still read, for the answer's sake */
};

/* For MHD_AccessHandlerCallback: *slot is the request, made by the first call. */
enum MHD_Result http_request_step(struct http_connection *c, const char *url, const char *method,
				  size_t *upload_size, const char *upload,
				  struct http_request **slot);
/* libmicrohttpd is done with the request, answered or not: frees it. */
void http_request_completed(struct http_request *r);
/* Let the requests be answered that ingest is done with. */
void http_request_take_back(struct http_worker *w);
/* The receiver stops and waits no longer. The connection may be closed; the request lives on until
 * the writer is done with it, and its answer is dropped. */
void http_request_abandon(struct http_request *r);

/* http_reply.c. Before the worker's first request, and after its last. */
MUST_USE enum status http_reply_prepare(struct http_worker *w, struct err *e);
void http_reply_done(struct http_worker *w);
/* Queue the response that r->call.status and err ask for. MHD_NO: close. */
enum MHD_Result http_reply_send(struct http_request *r);
/* Count the request under a status. */
void http_reply_count(const struct http_request *r, enum status st);

#endif
