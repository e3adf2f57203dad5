/* config_docs.c - prints docs/configuration.md, or says whether a file is what it would print.
 *
 *   config_docs > docs/configuration.md
 *   config_docs --check docs/configuration.md
 *
 * The committed page is made from schema/config.def; this is what keeps the two together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/config.h"

enum { DOCS_MAX = 1 << 20 };

static int check(const char *path, const struct buf *want)
{
	static char have[DOCS_MAX];
	FILE *f = fopen(path, "rb");
	if (!f) {
		(void)fprintf(stderr, "cannot open %s\n", path);
		return EXIT_FAILURE;
	}
	size_t n = fread(have, 1, sizeof(have), f);
	(void)fclose(f);
	if (bytes_equal(bytes_of(have, n), buf_view(want)))
		return EXIT_SUCCESS;
	(void)fprintf(stderr,
		      "%s is not what schema/config.def says: make it anew with\n"
		      "  build/dev/tests/config_docs > docs/configuration.md\n",
		      path);
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct buf out;
	buf_init(&out, DOCS_MAX, NULL);
	int code = EXIT_FAILURE;
	if (config_write_docs(&out))
		(void)fprintf(stderr, "the page is larger than %d bytes\n", DOCS_MAX);
	else if (argc == 3 && strcmp(argv[1], "--check") == 0)
		code = check(argv[2], &out);
	else if (argc != 1)
		(void)fprintf(stderr, "usage: config_docs [--check FILE]\n");
	else if (fwrite(out.p, 1, out.n, stdout) == out.n && fflush(stdout) == 0)
		code = EXIT_SUCCESS;
	buf_done(&out);
	return code;
}
