/* grpc_target.c - checks the configuration of an otlp_grpc destination without a network.
 *
 * Headers become metadata, with names in lower case, as HTTP/2 wants them. */
#include "gateway/forward/grpc_target.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/xalloc.h"
#include "gateway/forward/grpc_tls.h"

static enum status add(struct grpc_target *t, const char *name, const char *value, struct err *e)
{
	struct config_pair *p = &t->metadata.items[t->metadata.count++];
	p->key = xstrdup(name);
	p->value = xstrdup(value);
	for (char *c = p->key; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return grpc_metadata_check(p->key, p->value, e);
}

static enum status make_metadata(struct grpc_target *t, const struct config_map *headers,
				 struct err *e)
{
	bool has_agent = false;
	enum status st = ST_OK;
	t->metadata.items = xcalloc(headers->count + 1, sizeof(struct config_pair));
	for (size_t i = 0; i < headers->count && !st; i++) {
		st = add(t, headers->items[i].key, headers->items[i].value, e);
		has_agent = has_agent || strcmp(t->metadata.items[i].key, "user-agent") == 0;
	}
	return st || has_agent ? st : add(t, "user-agent", "tidegate/" TIDEGATE_VERSION, e);
}

enum status grpc_target_init(struct grpc_target *t, const struct destination_config *c,
			     struct err *e)
{
	t->config = c;
	enum status st = grpc_endpoint_parse(c->endpoint, c->tls_insecure, &t->endpoint, e);
	if (st)
		return err_wrap(e, st, "endpoint");
	st = make_metadata(t, &c->headers, e);
	return st || !t->endpoint.is_tls ? st : grpc_tls_check(c, e);
}

void grpc_target_done(struct grpc_target *t)
{
	for (size_t i = 0; i < t->metadata.count; i++) {
		free(t->metadata.items[i].key);
		free(t->metadata.items[i].value);
	}
	free(t->metadata.items);
	*t = (struct grpc_target){ 0 };
}
