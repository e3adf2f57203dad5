/* transport.c - the cleartext transport.
 *
 * The session above knows three results of a read or write and nothing of sockets, so that a TLS
 * transport (GnuTLS on the same fd, its handshake within read and write: forward/grpc_tls.c) takes
 * this one's place without a change above. */
#include "gateway/base/transport.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static enum status fail(const struct transport *t, int error)
{
	if (error == EAGAIN || error == EWOULDBLOCK)
		return ST_BUSY;
	return err_set(t->err, ST_IO, "%s", strerror(error));
}

static enum status plain_read(struct transport *t, void *dst, size_t size, size_t *ret_n)
{
	ssize_t n;
	do {
		n = recv(t->fd, dst, size, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return fail(t, errno);
	if (n == 0)
		return ST_END;
	*ret_n = (size_t)n;
	return ST_OK;
}

static enum status plain_write(struct transport *t, struct bytes src, size_t *ret_n)
{
	ssize_t n;
	do {
		n = send(t->fd, src.p, src.n, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return fail(t, errno);
	*ret_n = (size_t)n;
	return ST_OK;
}

static void plain_done(struct transport *t)
{
	if (t->fd >= 0)
		(void)close(t->fd);
	t->fd = -1;
}

void transport_init_plain(struct transport *t, int fd)
{
	static const struct transport_ops plain = { plain_read, plain_write, plain_done };
	*t = (struct transport){ .ops = &plain, .fd = fd };
}
