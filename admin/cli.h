/* admin/cli.h - the command line: tidegate run | check-config | status | queue | show.
 * Owner: main. Needs: storage, telemetry, gateway/base. */
#ifndef ADMIN_CLI_H
#define ADMIN_CLI_H

/* Parses the command line and runs the command; `run` is the gateway itself (config_path NULL: the
 * embedded default). Returns the exit code of the process. */
int cli_main(int argc, char **argv, int (*run)(const char *config_path));

#endif
