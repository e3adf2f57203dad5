/* check_tls.c - what an exporter only calls "verification failed", in words that say what to do.
 *
 * The handshake is made without the check, and the certificate is checked afterwards: so it can be
 * shown whatever is wrong with it. Nothing is sent over this connection. The exporters verify for
 * themselves, within their handshakes. */
#include "gateway/forward/check_tls.h"

#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gateway/base/now.h"

enum { SOON_DAYS = 14, NAME_MAX_SHOWN = 120 };

struct peer {
	gnutls_session_t session;
	gnutls_certificate_credentials_t credentials;
	char subject[NAME_MAX_SHOWN];
	char issuer[NAME_MAX_SHOWN];
	time_t from;
	time_t until;
};

static bool fail(struct check_step *s, const char *hint)
{
	s->outcome = CHECK_FAILED;
	(void)snprintf(s->hint, sizeof(s->hint), "%s", hint);
	return false;
}

static bool load_files(struct peer *p, const struct destination_config *c, struct check_step *s)
{
	int n = c->tls_ca_file[0] ? gnutls_certificate_set_x509_trust_file(
					    p->credentials, c->tls_ca_file, GNUTLS_X509_FMT_PEM) :
				    gnutls_certificate_set_x509_system_trust(p->credentials);
	if (n <= 0 && !c->tls_insecure_skip_verify) {
		(void)snprintf(s->text, sizeof(s->text), "no certificate authorities in %s",
			       c->tls_ca_file[0] ? c->tls_ca_file : "the system's store");
		return fail(s,
			    c->tls_ca_file[0] ?
				    "tls.ca_file must be a PEM file with at least one CERTIFICATE" :
				    "install ca-certificates, or set tls.ca_file");
	}
	if (c->tls_cert_file[0] &&
	    gnutls_certificate_set_x509_key_file(p->credentials, c->tls_cert_file, c->tls_key_file,
						 GNUTLS_X509_FMT_PEM) < 0) {
		(void)snprintf(s->text, sizeof(s->text), "the client certificate cannot be used");
		return fail(
			s, "tls.cert_file and tls.key_file must be PEM files that belong together");
	}
	return true;
}

static void start(struct peer *p, const char *host, int fd)
{
	static const char h2_text[] = "h2";
	static const char http_text[] = "http/1.1";
	const gnutls_datum_t protocols[] = {
		{ .data = (unsigned char *)(uintptr_t)h2_text, .size = sizeof(h2_text) - 1 },
		{ .data = (unsigned char *)(uintptr_t)http_text, .size = sizeof(http_text) - 1 },
	};
	CHECK(gnutls_init(&p->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) == 0);
	CHECK(gnutls_set_default_priority(p->session) == 0);
	CHECK(gnutls_credentials_set(p->session, GNUTLS_CRD_CERTIFICATE, p->credentials) == 0);
	(void)gnutls_alpn_set_protocols(p->session, protocols, 2, 0);
	/* A name only: addresses are not for SNI (RFC 6066, 3). */
	unsigned char address[sizeof(struct in6_addr)];
	if (inet_pton(AF_INET, host, address) != 1 && inet_pton(AF_INET6, host, address) != 1)
		(void)gnutls_server_name_set(p->session, GNUTLS_NAME_DNS, host, strlen(host));
	gnutls_transport_set_int(p->session, fd);
	gnutls_handshake_set_timeout(p->session, GNUTLS_INDEFINITE_TIMEOUT);
}

static bool say_handshake(struct peer *p, int rc, struct check_step *s)
{
	if (rc == GNUTLS_E_FATAL_ALERT_RECEIVED) {
		(void)snprintf(s->text, sizeof(s->text), "the server ended the handshake: %s",
			       gnutls_alert_get_name(gnutls_alert_get(p->session)));
		return fail(s,
			    "it may want a client certificate (tls.cert_file and tls.key_file), or "
			    "not know this name");
	}
	(void)snprintf(s->text, sizeof(s->text), "the handshake failed: %s", gnutls_strerror(rc));
	return fail(s, "is this a TLS port? For a server without TLS write http:// instead of "
		       "https://");
}

static bool handshake(struct peer *p, int fd, int64_t timeout_ns, struct check_step *s)
{
	int64_t end = now_mono_ns() + timeout_ns;
	for (;;) {
		int rc = gnutls_handshake(p->session);
		if (rc == 0)
			return true;
		if (gnutls_error_is_fatal(rc))
			return say_handshake(p, rc, s);
		int64_t left = end - now_mono_ns();
		bool is_write = gnutls_record_get_direction(p->session) == 1;
		struct pollfd f = { .fd = fd, .events = is_write ? POLLOUT : POLLIN };
		if (rc != GNUTLS_E_AGAIN && left > 0)
			continue; /* a warning */
		if (left <= 0 || poll(&f, 1, (int)(left / NS_PER_MS) + 1) == 0) {
			(void)snprintf(s->text, sizeof(s->text),
				       "connected, but no TLS handshake within %lld s",
				       (long long)(timeout_ns / NS_PER_S));
			return fail(s,
				    "is this a TLS port? For a server without TLS write http:// "
				    "instead of https://; or something on the way swallows data");
		}
	}
}

static void read_certificate(struct peer *p)
{
	unsigned count = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(p->session, &count);
	gnutls_x509_crt_t crt;
	size_t n = sizeof(p->subject);
	if (!chain || count == 0 || gnutls_x509_crt_init(&crt) < 0)
		return;
	if (gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) == 0) {
		if (gnutls_x509_crt_get_dn(crt, p->subject, &n) < 0)
			(void)snprintf(p->subject, sizeof(p->subject), "?");
		n = sizeof(p->issuer);
		if (gnutls_x509_crt_get_issuer_dn(crt, p->issuer, &n) < 0)
			(void)snprintf(p->issuer, sizeof(p->issuer), "?");
		p->from = gnutls_x509_crt_get_activation_time(crt);
		p->until = gnutls_x509_crt_get_expiration_time(crt);
	}
	gnutls_x509_crt_deinit(crt);
}

static const char *date(time_t t, char *ret, size_t size)
{
	struct tm tm;
	if (!gmtime_r(&t, &tm) || strftime(ret, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		(void)snprintf(ret, size, "?");
	return ret;
}

static void say_untrusted(const struct peer *p, const struct destination_config *c,
			  struct check_step *s)
{
	(void)snprintf(s->text, sizeof(s->text),
		       "the authority \"%s\" of the certificate is not "
		       "trusted",
		       p->issuer);
	(void)snprintf(
		s->hint, sizeof(s->hint),
		c->tls_ca_file[0] ?
			"%.300s does not hold this authority: put its PEM certificate there" :
			"set tls.ca_file to the PEM certificate of that authority%.0s",
		c->tls_ca_file);
	s->outcome = CHECK_FAILED;
}

/* The clock first: a wrong one makes good certificates look bad. */
static void judge(const struct peer *p, const struct destination_config *c, const char *host,
		  unsigned status, struct check_step *s)
{
	char from[32];
	char until[32];
	char now[32];
	time_t today = (time_t)(now_wall_ns() / NS_PER_S);
	(void)date(p->from, from, sizeof(from));
	(void)date(p->until, until, sizeof(until));
	(void)date(today, now, sizeof(now));
	if (status & GNUTLS_CERT_NOT_ACTIVATED) {
		(void)snprintf(s->text, sizeof(s->text), "the certificate is valid from %s", from);
		(void)snprintf(s->hint, sizeof(s->hint),
			       "this machine's clock says %s: is it right? (NTP)", now);
		s->outcome = CHECK_FAILED;
	} else if (status & GNUTLS_CERT_EXPIRED) {
		(void)snprintf(s->text, sizeof(s->text), "the certificate expired at %s", until);
		(void)snprintf(
			s->hint, sizeof(s->hint),
			"the server needs a new one; unless this machine's clock, which says "
			"%s, is wrong",
			now);
		s->outcome = CHECK_FAILED;
	} else if (status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA)) {
		say_untrusted(p, c, s);
	} else if (status & GNUTLS_CERT_UNEXPECTED_OWNER) {
		(void)snprintf(s->text, sizeof(s->text),
			       "the certificate is for \"%s\", not for %s", p->subject, host);
		(void)fail(s, "write the name in endpoint that the certificate has, or get one for "
			      "this name (in its subjectAltName)");
	} else {
		(void)snprintf(s->text, sizeof(s->text),
			       "the certificate of \"%s\" is not accepted", p->subject);
		(void)fail(s, "it is revoked, or uses an algorithm that is not secure any more");
	}
}

static void say_good(const struct peer *p, struct check_step *s)
{
	char until[32];
	time_t days = (p->until - (time_t)(now_wall_ns() / NS_PER_S)) / 86400;
	(void)snprintf(s->text, sizeof(s->text),
		       "certificate of \"%s\" by \"%s\", until %s (%lld days)", p->subject,
		       p->issuer, date(p->until, until, sizeof(until)), (long long)days);
	s->outcome = days < SOON_DAYS ? CHECK_WARNING : CHECK_FINE;
	if (days < SOON_DAYS)
		(void)snprintf(s->hint, sizeof(s->hint), "it expires soon: see that it is renewed");
}

static void verify(struct peer *p, const struct destination_config *c, const char *host,
		   struct check_step *s)
{
	unsigned status = 0;
	read_certificate(p);
	int rc = gnutls_certificate_verify_peers3(p->session, host, &status);
	if (c->tls_insecure_skip_verify) {
		(void)snprintf(s->text, sizeof(s->text), "certificate of \"%s\", not checked",
			       p->subject);
		s->outcome = CHECK_WARNING;
		(void)snprintf(s->hint, sizeof(s->hint),
			       "tls.insecure_skip_verify lets anyone on the way read and answer");
	} else if (rc < 0) {
		(void)snprintf(s->text, sizeof(s->text), "the certificate cannot be checked: %s",
			       gnutls_strerror(rc));
		(void)fail(s, "the server has none, or one that is damaged");
	} else if (status) {
		judge(p, c, host, status, s);
	} else {
		say_good(p, s);
	}
}

/* With TLS 1.3 a server that insists ends the connection only after the handshake, so here it can
 * only be said that it asks. */
static void note_request(const struct peer *p, const struct destination_config *c,
			 struct check_step *s)
{
	if (s->outcome == CHECK_FAILED || c->tls_cert_file[0] ||
	    gnutls_certificate_client_get_request_status(p->session) == 0)
		return;
	size_t n = strlen(s->text);
	(void)snprintf(s->text + n, sizeof(s->text) - n,
		       "; the server asks for a client certificate");
	s->outcome = CHECK_WARNING;
	(void)snprintf(s->hint, sizeof(s->hint),
		       "if it insists on one, set tls.cert_file and tls.key_file");
}

void check_tls(const struct destination_config *c, const char *host, int fd, int64_t timeout_ns,
	       struct check_step *s)
{
	struct peer p = { 0 };
	CHECK(gnutls_certificate_allocate_credentials(&p.credentials) == 0);
	bool is_loaded = load_files(&p, c, s);
	if (is_loaded)
		start(&p, host, fd);
	if (is_loaded && handshake(&p, fd, timeout_ns, s)) {
		verify(&p, c, host, s);
		note_request(&p, c, s);
		(void)gnutls_bye(p.session, GNUTLS_SHUT_WR);
	}
	if (p.session)
		gnutls_deinit(p.session);
	gnutls_certificate_free_credentials(p.credentials);
	(void)close(fd);
}
