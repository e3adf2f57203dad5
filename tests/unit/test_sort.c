/* What sorting promises: each part holds exactly the records of its class, every envelope that they
 * need, the inserted attributes once, and every unknown field; and costs nothing where nothing is
 * to be done. */
#include "gateway/telemetry/sort.h"

#include <stdio.h>

#include "tests/support/expect.h"
#include "tests/support/otlp_build.h"
#include "tests/support/otlp_oracle.h"
#include "tests/support/wrap.h"

static struct arena arena;
static struct buf body;
static struct buf out;
static struct attributes add;
static struct scan scan;
static struct sorted sorted;
static struct err err;

static void begin(void)
{
	arena_init(&arena, 64 << 20, NULL);
	buf_init(&body, 64 << 20, NULL);
	buf_init(&out, 64 << 20, NULL);
	sorted = (struct sorted){ 0 };
}

static void end(void)
{
	arena_done(&arena);
	buf_done(&body);
	buf_done(&out);
	attributes_done(&add);
}

static void append(const char *bytes, size_t n)
{
	EXPECT_OK(buf_append(&body, bytes_of(bytes, n)));
}

static void insert(const char *key, const char *value)
{
	EXPECT_OK(attributes_insert(&add, key, value, &err));
}

static void sort_body(enum signal signal)
{
	EXPECT_OK(scan_request(signal, buf_view(&body), &add, &arena, &scan, &err));
	EXPECT_OK(sort_request(&scan, &add, &out, &sorted));
}

static void append_body(const struct sorted_part *part, struct buf *to)
{
	EXPECT_OK(buf_append(to, part->body));
}

/* A part must be a request in itself, of one class, with the records that its summary says. */
static void check_part(enum signal signal, const struct sorted_part *part)
{
	struct scan again;
	size_t records;
	EXPECT_OK(scan_request(signal, part->body, &add, &arena, &again, &err));
	ck_assert_uint_eq(again.all.records, part->summary->records);
	ck_assert_uint_eq(again.of_class[part->class].records, part->summary->records);
	ck_assert(!again.needs_attributes);
	ck_assert(bytes_equal(again.all.service, part->summary->service));
	ck_assert(bytes_equal(again.all.preview, part->summary->preview));
	ck_assert_int_eq(again.all.first_time_ns, part->summary->first_time_ns);
	ck_assert_int_eq(again.all.last_time_ns, part->summary->last_time_ns);
	ck_assert(oracle_count(signal, part->body, &arena, &records));
	ck_assert_uint_eq(records, part->summary->records);
}

/* How often the bytes of needle stand in hay. */
static size_t occurrences(struct bytes hay, const char *needle)
{
	size_t n = 0;
	size_t len = strlen(needle);
	const uint8_t *p = hay.p;
	const uint8_t *last = hay.p + hay.n;
	while ((p = memmem(p, (size_t)(last - p), needle, len))) {
		n++;
		p += len;
	}
	return n;
}

START_TEST(one_class_with_nothing_to_insert_is_the_body_itself)
{
	for (int signal = 0; signal < SIGNAL_COUNT; signal++) {
		begin();
		insert("host.name", "ours");
		struct otlp_build b = { .signal = (enum signal)signal, .records = 10, .seed = 1 };
		otlp_build(&b, &body);
		sort_body(b.signal);
		ck_assert_uint_eq(sorted.count, 1);
		ck_assert_int_eq(sorted.parts[0].class, RECORD_CLASS_INFO);
		ck_assert_ptr_eq(sorted.parts[0].body.p, body.p);
		ck_assert_uint_eq(sorted.parts[0].body.n, body.n);
		ck_assert_uint_eq(out.n, 0);
		end();
	}
}
END_TEST

START_TEST(a_request_without_records_has_no_parts)
{
	begin();
	insert("site", "plant-7");
	sort_body(SIGNAL_LOGS);
	ck_assert_uint_eq(sorted.count, 0);
	append("\x0a\x02\x12\x00\x0a\x00\xa0\x06\x01", 9);
	sort_body(SIGNAL_LOGS);
	ck_assert_uint_eq(sorted.count, 0);
	ck_assert_uint_eq(out.n, 0);
	end();
}
END_TEST

START_TEST(the_parts_hold_every_record_once)
{
	for (uint64_t seed = 1; seed < 40; seed++) {
		begin();
		if (seed % 2)
			insert("site", "plant-7");
		struct otlp_build b = { .signal = seed % 3 ? SIGNAL_LOGS : SIGNAL_TRACES,
					.records = 3 * seed,
					.resources = 1 + seed % 5,
					.scopes = 1 + seed % 4,
					.seed = seed,
					.critical_percent = 30,
					.warning_percent = 30 };
		otlp_build(&b, &body);
		sort_body(b.signal);
		size_t records = 0;
		for (size_t i = 0; i < sorted.count; i++) {
			const struct sorted_part *part = &sorted.parts[i];
			check_part(b.signal, part);
			records += part->summary->records;
			ck_assert_uint_eq(occurrences(part->body, "test.id"),
					  part->summary->records);
			if (i > 0)
				ck_assert_int_gt(part->class, sorted.parts[i - 1].class);
		}
		ck_assert_uint_eq(records, b.records);
		/* The ids name each record: every one of them is in exactly one part. */
		for (size_t k = 0; k < b.records; k++) {
			char id[40];
			int n = snprintf(id + 2, sizeof(id) - 2, "%d-%zu", (int)seed, k);
			id[0] = 0x0a;
			id[1] = (char)n;
			size_t found = 0;
			for (size_t i = 0; i < sorted.count; i++)
				found += occurrences(sorted.parts[i].body, id);
			ck_assert_uint_eq(found, 1);
		}
		end();
	}
}
END_TEST

START_TEST(inserting_changes_nothing_else)
{
	for (int signal = 0; signal < SIGNAL_COUNT; signal++) {
		begin();
		struct otlp_build b = { .signal = (enum signal)signal,
					.records = 20,
					.resources = 3,
					.scopes = 2,
					.seed = 9 };
		otlp_build(&b, &body);
		insert("host.name", "ours");
		insert("site", "plant-7");
		insert("deployment.environment.name", "production");
		sort_body(b.signal);
		ck_assert_uint_eq(sorted.count, 1);
		struct bytes part = sorted.parts[0].body;
		check_part(b.signal, &sorted.parts[0]);
		ck_assert_uint_eq(occurrences(part, "plant-7"), 3);
		ck_assert_uint_eq(occurrences(part, "host.name"), 3);
		ck_assert_uint_eq(occurrences(part, "ours"), 0);
		/* Everything but the Resource itself is there, byte for byte. */
		struct wire_reader request = wire_reader_of(buf_view(&body));
		struct wire_field envelope;
		while (wire_next(&request, &envelope)) {
			struct wire_reader r = wire_reader_of(envelope.bytes);
			struct wire_field f;
			while (wire_next(&r, &f))
				ck_assert(f.number == 1 ||
					  memmem(part.p, part.n, f.whole.p, f.whole.n));
		}
		/* And it grew by what was inserted, but for the lengths around it. */
		size_t inserted = add.items[1].encoded.n + add.items[2].encoded.n;
		ck_assert_uint_ge(part.n, body.n + 3 * inserted);
		ck_assert_uint_le(part.n, body.n + 3 * (inserted + 2));
		end();
	}
}
END_TEST

START_TEST(a_missing_resource_is_made)
{
	begin();
	insert("site", "plant-7");
	append("\x12\x02\x12\x00", 4);
	WRAP(&body, 1);
	sort_body(SIGNAL_LOGS);
	ck_assert_uint_eq(sorted.count, 1);
	check_part(SIGNAL_LOGS, &sorted.parts[0]);
	struct buf want;
	buf_init(&want, 1000, NULL);
	EXPECT_OK(buf_append(&want, add.items[0].encoded));
	WRAP(&want, 1);
	EXPECT_OK(buf_append_str(&want, "\x12\x02\x12"));
	EXPECT_OK(buf_append_byte(&want, 0));
	WRAP(&want, 1);
	ck_assert(bytes_equal(sorted.parts[0].body, buf_view(&want)));
	buf_done(&want);
	end();
}
END_TEST

START_TEST(a_resource_in_two_pieces_counts_as_merged)
{
	begin();
	insert("a", "ours");
	insert("b", "ours");
	insert("c", "ours");
	/* "a" in the first piece, "c" in the second, records between them. */
	append("\x0a\x05\x0a\x03\x0a\x01"
	       "a\x12\x02\x12\x00\x0a\x05\x0a\x03\x0a\x01"
	       "c",
	       18);
	WRAP(&body, 1);
	sort_body(SIGNAL_LOGS);
	ck_assert_uint_eq(sorted.count, 1);
	check_part(SIGNAL_LOGS, &sorted.parts[0]);
	struct bytes part = oracle_repack(SIGNAL_LOGS, sorted.parts[0].body, &arena);
	ck_assert_uint_eq(occurrences(part, "ours"), 1);
	ck_assert_uint_eq(occurrences(part, "\x0a\x01"
					    "a"),
			  1);
	ck_assert_uint_eq(occurrences(part, "\x0a\x01"
					    "b"),
			  1);
	ck_assert_uint_eq(occurrences(part, "\x0a\x01"
					    "c"),
			  1);
	end();
}
END_TEST

/* One unknown field, number 100, with a text. */
static void put_unknown(const char *text)
{
	EXPECT_OK(wire_put_bytes(&body, 100, bytes_str(text)));
}

START_TEST(unknown_fields_survive_at_every_level)
{
	begin();
	insert("site", "plant-7");
	struct buf spans;
	buf_init(&spans, 1000, NULL);
	for (int critical = 0; critical < 2; critical++) {
		body.n = 0;
		put_unknown(critical ? "in-bad-span" : "in-good-span");
		if (critical)
			append("\x7a\x02\x18\x02", 4);
		WRAP(&body, 2);
		EXPECT_OK(buf_append(&spans, buf_view(&body)));
	}
	body.n = 0;
	append((const char *)spans.p, spans.n);
	put_unknown("in-scope-spans");
	WRAP(&body, 2);
	size_t start = body.n;
	put_unknown("in-resource");
	wrap_from(&body, start, 1);
	put_unknown("in-resource-spans");
	WRAP(&body, 1);
	put_unknown("in-request");
	sort_body(SIGNAL_TRACES);
	ck_assert_uint_eq(sorted.count, 2);
	static const struct {
		const char *text;
		size_t count[2]; /* in the critical part, in the other */
	} cases[] = {
		{ "in-good-span", { 0, 1 } },      { "in-bad-span", { 1, 0 } },
		{ "in-scope-spans", { 1, 1 } },    { "in-resource", { 2, 2 } },
		{ "in-resource-spans", { 1, 1 } }, { "in-request", { 1, 0 } },
		{ "plant-7", { 1, 1 } },
	};
	for (size_t part = 0; part < 2; part++) {
		check_part(SIGNAL_TRACES, &sorted.parts[part]);
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
			ck_assert_msg(occurrences(sorted.parts[part].body, cases[i].text) ==
					      cases[i].count[part],
				      "%s in part %zu", cases[i].text, part);
	}
	buf_done(&spans);
	end();
}
END_TEST

START_TEST(envelopes_without_records_are_left_out_of_rewritten_parts)
{
	begin();
	insert("site", "plant-7");
	append("\x0a\x08\x1a\x06unused", 10);
	append("\x0a\x04\x12\x02\x12\x00", 6);
	append("\x0a\x00", 2);
	sort_body(SIGNAL_LOGS);
	ck_assert_uint_eq(sorted.count, 1);
	check_part(SIGNAL_LOGS, &sorted.parts[0]);
	ck_assert_uint_eq(occurrences(sorted.parts[0].body, "unused"), 0);
	end();
}
END_TEST

START_TEST(parts_come_behind_what_out_already_holds)
{
	begin();
	insert("site", "plant-7");
	EXPECT_OK(buf_append_str(&out, "kept"));
	struct otlp_build b = {
		.signal = SIGNAL_LOGS, .records = 50, .seed = 2, .critical_percent = 50
	};
	otlp_build(&b, &body);
	sort_body(SIGNAL_LOGS);
	ck_assert_uint_eq(sorted.count, 2);
	ck_assert_ptr_eq(sorted.parts[0].body.p, out.p + 4);
	ck_assert_ptr_eq(sorted.parts[1].body.p, sorted.parts[0].body.p + sorted.parts[0].body.n);
	struct buf both;
	buf_init(&both, 64 << 20, NULL);
	append_body(&sorted.parts[0], &both);
	append_body(&sorted.parts[1], &both);
	/* Concatenated requests are one request: what the writer's merging rests on. */
	struct scan merged;
	EXPECT_OK(scan_request(SIGNAL_LOGS, buf_view(&both), NULL, &arena, &merged, &err));
	ck_assert_uint_eq(merged.all.records, 50);
	buf_done(&both);
	end();
}
END_TEST

START_TEST(a_full_buffer_is_reported)
{
	begin();
	insert("site", "plant-7");
	struct otlp_build b = {
		.signal = SIGNAL_LOGS, .records = 5, .seed = 2, .critical_percent = 50
	};
	otlp_build(&b, &body);
	EXPECT_OK(scan_request(SIGNAL_LOGS, buf_view(&body), &add, &arena, &scan, &err));
	size_t needed = 0;
	for (size_t max = 0; needed == 0; max += 7) {
		buf_done(&out);
		buf_init(&out, max, NULL);
		enum status st = sort_request(&scan, &add, &out, &sorted);
		if (st == ST_OK)
			needed = max;
		else
			ck_assert_int_eq(st, ST_TOO_LARGE);
	}
	ck_assert_uint_gt(needed, body.n / 2);
	end();
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		one_class_with_nothing_to_insert_is_the_body_itself,
		a_request_without_records_has_no_parts,
		the_parts_hold_every_record_once,
		inserting_changes_nothing_else,
		a_missing_resource_is_made,
		a_resource_in_two_pieces_counts_as_merged,
		unknown_fields_survive_at_every_level,
		envelopes_without_records_are_left_out_of_rewritten_parts,
		parts_come_behind_what_out_already_holds,
		a_full_buffer_is_reported,
	};
	return run_cases("sort", cases, sizeof(cases) / sizeof(cases[0]));
}
