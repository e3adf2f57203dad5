/* fuzz_config.c - any bytes as a configuration file: no crash, no hang, and what is accepted can be
 * written and read again, twice the same. A refusal always has words.
 *
 * The environment has one variable, so that references in the corpus resolve. */
#include <stdlib.h>

#include "gateway/base/config.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	CHECK(setenv("NAME", "value", 1) == 0);
	return 0;
}

/* Reads what was written, and writes it again: the same bytes. */
static void check_again(const struct buf *first)
{
	struct config *c = NULL;
	struct err e = { 0 };
	struct buf second;
	buf_init(&second, 16 << 20, NULL);
	enum status st = config_parse("again", buf_view(first), &c, &e);
	/* A configuration near the caps of a document is longer with its defaults written out. */
	if (st == ST_INVALID && first->n > 200000)
		return;
	CHECK(!st);
	CHECK(!config_write(c, &second));
	CHECK(bytes_equal(buf_view(first), buf_view(&second)));
	config_free(c);
	buf_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *c = NULL;
	struct err e = { 0 };
	enum status st = config_parse("fuzz", bytes_of(data, size), &c, &e);
	CHECK(!st == (c != NULL));
	if (st) {
		CHECK(e.text[0]);
		return 0;
	}
	struct buf first;
	buf_init(&first, 16 << 20, NULL);
	CHECK(!config_write(c, &first));
	config_free(c);
	check_again(&first);
	buf_done(&first);
	return 0;
}
