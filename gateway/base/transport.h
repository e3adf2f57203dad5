/* transport.h - the bytes under an HTTP/2 session: TCP, and TLS beside it.
 * Owner: the thread of the connection. Needs: gateway/base. */
#ifndef BASE_TRANSPORT_H
#define BASE_TRANSPORT_H

#include "gateway/base/buf.h"

struct transport;

/* What a kind of transport can do. None of these blocks. A handshake hides in read and write. */
struct transport_ops {
	/* ST_OK: *ret_n > 0 bytes came. ST_BUSY: none now. ST_END: the peer ended. ST_IO. */
	enum status (*read)(struct transport *t, void *dst, size_t size, size_t *ret_n);
	/* ST_OK: *ret_n > 0 bytes went. ST_BUSY: none now. ST_IO. Borrows src until return. */
	enum status (*write)(struct transport *t, struct bytes src, size_t *ret_n);
	/* Closes; the transport is not used again. */
	void (*done)(struct transport *t);
};

/* Embedded in the connection. A transport with state of its own has this as its first member. */
struct transport {
	const struct transport_ops *ops;
	int fd;           /* to poll */
	bool is_opening;  /* a handshake goes on, and waits ... */
	bool wants_write; /* ... until fd takes bytes; otherwise until it has some */
	struct err *err;  /* gets the words for ST_IO; may be NULL. Borrowed */
};

/* Cleartext on a connected, non-blocking socket. Takes fd. */
void transport_init_plain(struct transport *t, int fd);

#endif
