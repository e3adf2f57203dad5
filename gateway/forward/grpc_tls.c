/* grpc_tls.c - GnuTLS's client on a non-blocking socket, with its handshake inside read and write.
 *
 * The server's certificate is checked within the handshake, chain and name, before a byte of ours
 * is sent. ALPN offers h2 and nothing else, and a server that chooses nothing is turned down: what
 * it speaks would not be HTTP/2.
 *
 * Authorities and the client certificate are read from their files for every connection, so that a
 * renewed certificate needs no restart; that is a few milliseconds per connection, and connections
 * live for hours.
 *
 * With TLS 1.3 a server that misses our certificate says so after the handshake, in an alert that
 * comes with the first read: its name is in the error. */
#include "gateway/forward/grpc_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gateway/base/xalloc.h"

/* Read over so many warnings at a time; a peer that has more of them is ended. */
enum { WARNINGS_MAX = 32 };

struct tls {
	struct transport base;
	gnutls_session_t session;
	gnutls_certificate_credentials_t credentials;
	char host[256];
	bool has_certificate; /* ours */
	bool has_heard;       /* data, after the handshake */
};

static struct tls *self_of(struct transport *t)
{
	return (struct tls *)t;
}

/* ---- files ---- */

static enum status load_authorities(gnutls_certificate_credentials_t k, const char *file,
				    struct err *e)
{
	if (!file[0]) {
		int n = gnutls_certificate_set_x509_system_trust(k);
		if (n < 0)
			return err_set(e, ST_INVALID,
				       "the system has no certificate authorities (%s): install "
				       "ca-certificates or set tls.ca_file",
				       gnutls_strerror(n));
		return ST_OK;
	}
	int n = gnutls_certificate_set_x509_trust_file(k, file, GNUTLS_X509_FMT_PEM);
	if (n == 0)
		return err_set(e, ST_INVALID, "tls.ca_file: no certificate in %s", file);
	if (n < 0)
		return err_set(e, ST_INVALID, "tls.ca_file: %s is no PEM file of certificates (%s)",
			       file, gnutls_strerror(n));
	return ST_OK;
}

/* GnuTLS says of all that is wrong with a file that data is not available. */
static enum status check_readable(const char *key, const char *file, struct err *e)
{
	if (file[0] && access(file, R_OK))
		return err_set(e, ST_INVALID, "%s: cannot read %s: %s", key, file, strerror(errno));
	return ST_OK;
}

static enum status load_files(gnutls_certificate_credentials_t k,
			      const struct destination_config *c, struct err *e)
{
	enum status st = check_readable("tls.ca_file", c->tls_ca_file, e);
	if (!st)
		st = check_readable("tls.cert_file", c->tls_cert_file, e);
	if (!st)
		st = check_readable("tls.key_file", c->tls_key_file, e);
	if (!st && !c->tls_insecure_skip_verify)
		st = load_authorities(k, c->tls_ca_file, e);
	if (st || !c->tls_cert_file[0])
		return st;
	int rc = gnutls_certificate_set_x509_key_file(k, c->tls_cert_file, c->tls_key_file,
						      GNUTLS_X509_FMT_PEM);
	if (rc == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
		return err_set(e, ST_INVALID, "tls.key_file: %s is not the key of %s",
			       c->tls_key_file, c->tls_cert_file);
	if (rc < 0)
		return err_set(e, ST_INVALID,
			       "tls.cert_file, tls.key_file: %s or %s is no PEM file of a "
			       "certificate, or of its key without a password (%s)",
			       c->tls_cert_file, c->tls_key_file, gnutls_strerror(rc));
	return ST_OK;
}

static enum status make_credentials(const struct destination_config *c,
				    gnutls_certificate_credentials_t *ret, struct err *e)
{
	gnutls_certificate_credentials_t k;
	CHECK(gnutls_certificate_allocate_credentials(&k) == 0);
	enum status st = load_files(k, c, e);
	if (st)
		gnutls_certificate_free_credentials(k);
	else
		*ret = k;
	return st;
}

enum status grpc_tls_check(const struct destination_config *c, struct err *e)
{
	gnutls_certificate_credentials_t k = NULL;
	enum status st = make_credentials(c, &k, e);
	if (!st)
		gnutls_certificate_free_credentials(k);
	return st;
}

/* ---- failures ---- */

static enum status distrusted(struct tls *t)
{
	gnutls_datum_t text = { 0 };
	unsigned status = gnutls_session_get_verify_cert_status(t->session);
	(void)gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
	/* GnuTLS's sentences end in a blank each. */
	enum status st = err_set(t->base.err, ST_IO, "TLS: the certificate of %s is refused: %s%s",
				 t->host, text.data ? (const char *)text.data : "",
				 status & GNUTLS_CERT_SIGNER_NOT_FOUND ?
					 "(Its authority can be named in tls.ca_file.)" :
					 "");
	gnutls_free(text.data);
	return st;
}

/* The end. Some servers say nothing where they miss a client certificate. */
static enum status closed(struct tls *t)
{
	if (t->has_heard || t->has_certificate ||
	    gnutls_certificate_client_get_request_status(t->session) == 0)
		return ST_END;
	return err_set(t->base.err, ST_IO,
		       "TLS: %s asked for a client certificate, got none, and closed: set "
		       "tls.cert_file and tls.key_file",
		       t->host);
}

static enum status fail(struct tls *t, int rc)
{
	if (rc == GNUTLS_E_AGAIN || rc == GNUTLS_E_INTERRUPTED) {
		t->base.wants_write = gnutls_record_get_direction(t->session) == 1;
		return ST_BUSY;
	}
	if (rc == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR)
		return distrusted(t);
	if (rc == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return err_set(t->base.err, ST_IO, "TLS: %s ended the connection: %s", t->host,
			       gnutls_alert_get_name(gnutls_alert_get(t->session)));
	if (rc == GNUTLS_E_NO_APPLICATION_PROTOCOL)
		return err_set(t->base.err, ST_IO, "TLS: %s does not speak HTTP/2 (ALPN h2)",
			       t->host);
	if (t->base.is_opening &&
	    (rc == GNUTLS_E_UNEXPECTED_PACKET_LENGTH || rc == GNUTLS_E_UNSUPPORTED_VERSION_PACKET ||
	     rc == GNUTLS_E_UNEXPECTED_PACKET || rc == GNUTLS_E_RECORD_OVERFLOW))
		return err_set(t->base.err, ST_IO,
			       "TLS: the answer of %s is no TLS: for cleartext write http://",
			       t->host);
	return err_set(t->base.err, ST_IO, "TLS: %s", gnutls_strerror(rc));
}

/* ---- bytes ---- */

/* Neither a result nor an end: an alert that only warns, a signal, a ticket. Read on. */
static bool is_warning(ssize_t rc)
{
	return rc < 0 && rc != GNUTLS_E_AGAIN && gnutls_error_is_fatal((int)rc) == 0;
}

static enum status handshake(struct tls *t)
{
	if (!t->base.is_opening)
		return ST_OK;
	int rc = gnutls_handshake(t->session);
	for (int i = 0; i < WARNINGS_MAX && is_warning(rc); i++)
		rc = gnutls_handshake(t->session);
	if (rc < 0)
		return fail(t, rc);
	gnutls_datum_t protocol = { 0 };
	if (gnutls_alpn_get_selected_protocol(t->session, &protocol) < 0)
		return fail(t, GNUTLS_E_NO_APPLICATION_PROTOCOL);
	t->base.is_opening = false;
	return ST_OK;
}

static enum status tls_read(struct transport *base, void *dst, size_t size, size_t *ret_n)
{
	struct tls *t = self_of(base);
	enum status st = handshake(t);
	if (st)
		return st;
	ssize_t n = gnutls_record_recv(t->session, dst, size);
	for (int i = 0; i < WARNINGS_MAX && is_warning(n); i++)
		n = gnutls_record_recv(t->session, dst, size);
	/* Without its goodbye: HTTP/2 has an end of its own, as every stream has. */
	if (n == 0 || n == GNUTLS_E_PREMATURE_TERMINATION)
		return closed(t);
	if (n < 0)
		return fail(t, (int)n);
	t->has_heard = true;
	*ret_n = (size_t)n;
	return ST_OK;
}

static enum status tls_write(struct transport *base, struct bytes src, size_t *ret_n)
{
	struct tls *t = self_of(base);
	enum status st = handshake(t);
	if (st)
		return st;
	/* After GNUTLS_E_AGAIN the same bytes must come again: the session above keeps its output
	 * until it went. */
	ssize_t n = gnutls_record_send(t->session, src.p, src.n);
	if (n < 0)
		return fail(t, (int)n);
	*ret_n = (size_t)n;
	return ST_OK;
}

static void tls_done(struct transport *base)
{
	struct tls *t = self_of(base);
	if (!t->base.is_opening)
		(void)gnutls_bye(t->session, GNUTLS_SHUT_WR);
	gnutls_deinit(t->session);
	gnutls_certificate_free_credentials(t->credentials);
	(void)close(t->base.fd);
	free(t);
}

static bool is_address(const char *host)
{
	unsigned char out[sizeof(struct in6_addr)];
	return inet_pton(AF_INET, host, out) == 1 || inet_pton(AF_INET6, host, out) == 1;
}

enum status grpc_tls_open(const struct destination_config *c, const char *host, int fd,
			  struct err *err, struct transport **ret)
{
	static const struct transport_ops ops = { tls_read, tls_write, tls_done };
	const gnutls_datum_t h2 = { .data = (unsigned char *)(uintptr_t) "h2", .size = 2 };
	gnutls_certificate_credentials_t k;
	enum status st = make_credentials(c, &k, err);
	if (st) {
		(void)close(fd);
		return st;
	}
	struct tls *t = xcalloc(1, sizeof(*t));
	t->base = (struct transport){ .ops = &ops, .fd = fd, .is_opening = true, .err = err };
	t->credentials = k;
	t->has_certificate = c->tls_cert_file[0] != '\0';
	(void)snprintf(t->host, sizeof(t->host), "%s", host);
	CHECK(gnutls_init(&t->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) == 0);
	/* HTTP/2 is for TLS 1.2 and later (RFC 9113, 9.2). The system's policy may want more. */
	CHECK(gnutls_set_default_priority_append(t->session, "-VERS-TLS1.1:-VERS-TLS1.0", NULL,
						 0) == 0);
	CHECK(gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, k) == 0);
	CHECK(gnutls_alpn_set_protocols(t->session, &h2, 1, GNUTLS_ALPN_MANDATORY) == 0);
	/* A name only: addresses are not for SNI (RFC 6066, 3). */
	if (!is_address(host))
		(void)gnutls_server_name_set(t->session, GNUTLS_NAME_DNS, host, strlen(host));
	if (!c->tls_insecure_skip_verify)
		gnutls_session_set_verify_cert(t->session, t->host, 0);
	gnutls_transport_set_int(t->session, fd);
	/* Its own patience is not ours: time is counted above. */
	gnutls_handshake_set_timeout(t->session, GNUTLS_INDEFINITE_TIMEOUT);
	*ret = &t->base;
	return ST_OK;
}
