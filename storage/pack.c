/* pack.c - many small requests become few rows.
 *
 * A concatenation of Export*ServiceRequest encodings is again one valid message, so bodies of equal
 * (tenant, signal, class, destinations) merge without being looked at: their pieces are handed to
 * the compressor one after the other and never copied. A row costs a fixed handful of B-tree
 * inserts and at least one page of 8 KiB, which is why small requests want company; past some
 * 512 KiB there is nothing left to win, and an export wants to be filled from several rows.
 *
 * The level of compression follows the load, which the packer knows. On an edge site the queue
 * mostly waits for requests: there is time to make rows small, which saves disk, flash and uplink.
 * Where much waits, a faster level shortens that queue.
 *
 * Within one key, order is the order of arrival: a body too large to merge first closes the open
 * row of its key. What is made stays in the struct packed until its job is done, so a transaction
 * that was rolled back can run again without compressing again. */
#include "storage/pack.h"

#include <zlib.h>

#include "gateway/base/compression.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"

enum {
	OPEN_MAX = 16,        /* keys at a time: 9 of one tenant and routing */
	PARTS_MAX = 512,      /* bodies in one row */
	KEEP_BYTES = 4 << 20, /* give larger output buffers back */
	BODY_MAX = 900 << 20, /* SQLite's limit of a value is 1e9 bytes */
};

/* One put may close as many open rows as it has parts, and all open ones are closed at the end. */
#define ROWS_FOR_A_PUT (2 * RECORD_CLASS_COUNT)

struct open_row {
	struct queue_batch batch; /* crc and encoding are made at the end */
	uint64_t destinations;
	size_t part_count;
	struct bytes parts[PARTS_MAX];
};

struct pack {
	size_t merge_bytes;
	struct pack_compression compression;
	struct compressor *compressor;
	struct packed *out;
	int64_t now_ns;
	int64_t boot_ns;
	uint64_t known_slots;
	int64_t slot_ids[DESTINATIONS_MAX];
	size_t open_count;
	struct open_row *open[OPEN_MAX]; /* the first open_count are in use */
};

struct pack *pack_new(size_t merge_bytes, const struct pack_compression *compression)
{
	struct pack *p = xcalloc(1, sizeof(*p));
	p->merge_bytes = merge_bytes;
	p->compression = *compression;
	p->compressor = compressor_new(compression->encoding, compression->level);
	for (size_t i = 0; i < OPEN_MAX; i++)
		p->open[i] = xcalloc(1, sizeof(*p->open[i]));
	return p;
}

void pack_free(struct pack *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < OPEN_MAX; i++)
		free(p->open[i]);
	compressor_free(p->compressor);
	free(p);
}

static void init_out(struct packed *packed)
{
	/* Compression can make incompressible data a little longer; and there is more than one. */
	buf_init(&packed->out, (size_t)BODY_MAX + BODY_MAX / 8, NULL);
}

struct packed *packed_new(const struct pack *p)
{
	struct packed *packed = xcalloc(1, sizeof(*packed));
	packed->pack = p;
	init_out(packed);
	return packed;
}

void packed_free(struct packed *packed)
{
	if (!packed)
		return;
	buf_done(&packed->out);
	free(packed);
}

void pack_set_slot(struct pack *p, int slot, int64_t destination_id)
{
	CHECK(slot >= 0 && slot < DESTINATIONS_MAX);
	p->slot_ids[slot] = destination_id;
	p->known_slots |= UINT64_C(1) << slot;
}

void packed_empty(struct packed *packed)
{
	if (packed->out.cap > KEEP_BYTES) {
		buf_done(&packed->out);
		init_out(packed);
	}
	buf_clear(&packed->out);
	packed->puts = NULL;
	packed->put_count = 0;
	packed->raw_bytes = 0;
	packed->stored_bytes = 0;
	packed->slots = 0;
	packed->row_count = 0;
}

void pack_begin(struct pack *p, struct packed *out, bool is_busy)
{
	p->open_count = 0;
	p->out = out;
	p->now_ns = now_wall_ns();
	p->boot_ns = now_boot_ns();
	compressor_set_level(p->compressor,
			     is_busy ? p->compression.busy_level : p->compression.level);
	packed_empty(out);
}

bool pack_has_room(const struct pack *p)
{
	return p->out->row_count + p->open_count + ROWS_FOR_A_PUT <= PACKED_ROWS_MAX;
}

/* At most PACK_WORDS_MAX bytes, cut between two UTF-8 characters. */
static struct bytes clip(struct bytes words)
{
	if (words.n <= PACK_WORDS_MAX)
		return words;
	words.n = PACK_WORDS_MAX;
	while (words.n > 0 && (words.p[words.n] & 0xc0) == 0x80)
		words.n--;
	return words;
}

static enum status finish_row(struct pack *p, struct open_row *r)
{
	struct packed *out = p->out;
	size_t offset = out->out.n;
	CHECK(out->row_count < PACKED_ROWS_MAX);
	enum status st = compress_parts(p->compressor, r->parts, r->part_count, &out->out);
	if (st)
		return status_class(st) == CLASS_REJECT ? ST_INTERNAL : st;
	size_t length = out->out.n - offset;
	r->batch.encoding = p->compression.encoding;
	r->batch.crc = (uint32_t)crc32_z(0, out->out.p + offset, length);
	out->rows[out->row_count++] = (struct packed_row){
		.batch = r->batch,
		.destinations = r->destinations,
		.offset = offset,
		.length = length,
	};
	out->raw_bytes += r->batch.raw_bytes;
	out->stored_bytes += length;
	out->slots |= r->destinations;
	return ST_OK;
}

enum status pack_flush(struct pack *p)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < p->open_count && !st; i++)
		st = finish_row(p, p->open[i]);
	p->open_count = 0;
	return st;
}

static enum status insert_row(const struct packed *packed, const struct packed_row *r,
			      struct queue *q)
{
	int64_t ids[DESTINATIONS_MAX];
	size_t count = 0;
	int64_t id;
	for (unsigned slot = 0; slot < DESTINATIONS_MAX; slot++)
		if (r->destinations >> slot & 1)
			ids[count++] = packed->pack->slot_ids[slot];
	struct queue_batch batch = r->batch;
	batch.body = bytes_of(packed->out.p + r->offset, r->length);
	enum status st = queue_insert(q, &batch, ids, count, &id);
	/* Sizes were checked when the put was taken: no put is at fault any more. */
	return status_class(st) == CLASS_REJECT ? ST_INTERNAL : st;
}

enum status packed_insert(const struct packed *packed, struct queue *q)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < packed->row_count && !st; i++)
		st = insert_row(packed, &packed->rows[i], q);
	return st;
}

/* Finish the open row and give its place back. Keys keep no order among each other. */
static enum status close_row(struct pack *p, size_t i)
{
	struct open_row *r = p->open[i];
	enum status st = finish_row(p, r);
	p->open[i] = p->open[--p->open_count];
	p->open[p->open_count] = r;
	return st;
}

static bool has_key(const struct open_row *r, const struct put_job *put,
		    const struct put_part *part)
{
	return r->batch.signal == put->signal && r->batch.class == part->class &&
	       r->destinations == part->destinations && bytes_equal(r->batch.tenant, put->tenant);
}

static bool has_room(const struct pack *p, const struct open_row *r, const struct put_part *part)
{
	return r->part_count < PARTS_MAX && r->batch.raw_bytes + part->body.n <= p->merge_bytes &&
	       r->batch.records <= UINT32_MAX - part->records;
}

static void open_row(struct pack *p, const struct put_job *put, const struct put_part *part)
{
	struct open_row *r = p->open[p->open_count++];
	r->batch = (struct queue_batch){ .received_at_ns = p->now_ns,
					 .received_mono_ns = p->boot_ns,
					 .signal = put->signal,
					 .class = part->class,
					 .tenant = put->tenant };
	r->destinations = part->destinations;
	r->part_count = 0;
}

static void append(struct open_row *r, const struct put_part *part)
{
	struct queue_batch *b = &r->batch;
	r->parts[r->part_count++] = part->body;
	b->requests++;
	b->records += part->records;
	b->raw_bytes += part->body.n;
	if (!b->service.n)
		b->service = clip(part->service);
	if (!b->preview.n)
		b->preview = clip(part->preview);
	if (part->first_time_ns && (!b->first_time_ns || part->first_time_ns < b->first_time_ns))
		b->first_time_ns = part->first_time_ns;
	if (part->last_time_ns > b->last_time_ns)
		b->last_time_ns = part->last_time_ns;
}

static enum status add_part(struct pack *p, const struct put_job *put, const struct put_part *part)
{
	enum status st = ST_OK;
	size_t i = 0;
	while (i < p->open_count && !has_key(p->open[i], put, part))
		i++;
	if (i < p->open_count && !has_room(p, p->open[i], part)) {
		st = close_row(p, i);
		i = p->open_count;
	}
	if (!st && i == p->open_count && p->open_count == OPEN_MAX) {
		st = close_row(p, 0);
		i = p->open_count;
	}
	if (st)
		return st;
	if (i == p->open_count)
		open_row(p, put, part);
	append(p->open[i], part);
	return p->open[i]->batch.raw_bytes >= p->merge_bytes ? close_row(p, i) : ST_OK;
}

static enum status check_put(const struct pack *p, const struct put_job *put)
{
	if (put->signal >= SIGNAL_COUNT || put->part_count == 0 ||
	    put->part_count > RECORD_CLASS_COUNT || put->tenant.n > TENANT_MAX)
		return ST_INVALID;
	for (size_t i = 0; i < put->part_count; i++) {
		const struct put_part *part = &put->parts[i];
		if (part->class >= RECORD_CLASS_COUNT || part->records == 0 || part->body.n == 0 ||
		    part->destinations == 0 || part->destinations & ~p->known_slots)
			return ST_INVALID;
		if (part->body.n > BODY_MAX)
			return ST_TOO_LARGE;
	}
	return ST_OK;
}

enum status pack_add(struct pack *p, const struct put_job *put)
{
	enum status st = check_put(p, put);
	for (size_t i = 0; i < put->part_count && !st; i++)
		st = add_part(p, put, &put->parts[i]);
	return st;
}
