/* admin/cli.h - the command line: tidegate run, and what asks or changes a gateway from outside.
 * Owner: main. Needs: storage, telemetry, gateway/base. */
#ifndef ADMIN_CLI_H
#define ADMIN_CLI_H

#include "gateway/base/check_step.h"

typedef enum check_result (*cli_check_fn)(const struct check_request *r);

/* Parses the command line and runs the command; `run` is the gateway itself (config_path NULL: the
 * embedded default), `check` looks at one destination. Returns the exit code of the process. */
int cli_main(int argc, char **argv, int (*run)(const char *config_path), cli_check_fn check);

#endif
