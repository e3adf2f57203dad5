/* forward/file.h - OTLP JSON lines in a file, the exporter of kind file (file_ops).
 * Owner: the destination's thread. Needs: forward/exporter.h. */
#ifndef FORWARD_FILE_H
#define FORWARD_FILE_H

#include "gateway/forward/exporter.h"

/* Cut what follows the last line feed, as a crash left it. *ret_size is what remains; *ret_cut how
 * much went. The fd must be readable and writable. ST_IO: e says why. */
MUST_USE enum status file_repair(int fd, int64_t *ret_size, int64_t *ret_cut, struct err *e);
/* Rename path to path.1, path.1 to path.2 and so on, up to max_backups (0: no bound), whose old
 * content goes. A gap in the numbers ends the chain. */
MUST_USE enum status file_rotate(const char *path, int max_backups, struct err *e);

#endif
