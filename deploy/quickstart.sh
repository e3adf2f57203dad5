#!/bin/sh
# quickstart.sh - from a fresh Debian 12 or Ubuntu 24.04 to a running gateway.
#
# Packages are installed through apt (with sudo where it is not root), and only where they are missing. Everything else
# stays in this folder: build/ and data/.
set -eu
cd "$(dirname "$0")/.."

usage() {
	cat <<'USAGE'
usage: sh deploy/quickstart.sh           install what is missing, build, run in the foreground
       sh deploy/quickstart.sh --demo    half a minute: backend away, gateway killed, both back, nothing lost
       sh deploy/quickstart.sh --hints   only say what to try with a running gateway
USAGE
}

hints() {
	cat <<'HINTS'

  tidegate runs in this terminal; Ctrl-C stops it. From another one:

  Send it a log record (200 means that it is on disk):

    curl -i http://127.0.0.1:4318/v1/logs -H 'Content-Type: application/json' -d '
      {"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "hello"}}]},
        "scopeLogs": [{"logRecords": [{"severityNumber": 9, "body": {"stringValue": "first light"}}]}]}]}'

  Or point any OpenTelemetry SDK at it:

    export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317   # where it speaks gRPC
    export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318   # where it speaks HTTP

  What was delivered:   tail -f data/delivered.jsonl
  Health and metrics:   curl http://127.0.0.1:13133/healthz
                        curl http://127.0.0.1:13133/metrics
  State and queue:      curl http://127.0.0.1:13133/api/v1/status
                        build/release/tidegate status
  The books, in SQL:    sqlite3 -readonly -header -column data/queue.db 'SELECT * FROM balance'

  Deliver to your own backend: copy deploy/tidegate.yaml, and run
                        build/release/tidegate run --config tidegate.yaml

HINTS
}

build() {
	log=build/quickstart.log
	mkdir -p build
	echo "building tidegate (about a minute the first time)"
	if ! { cmake --preset release && cmake --build --preset release --target tidegate; } >$log 2>&1; then
		tail -n 50 $log
		echo "the build failed; all of it is in $log"
		exit 1
	fi
}

case ${1:-} in
-h | --help)
	usage
	;;
--hints)
	hints
	;;
--demo)
	sh deploy/install-deps.sh
	build
	exec python3 deploy/demo/demo.py build/release/tidegate build/demo
	;;
'')
	sh deploy/install-deps.sh
	build
	hints
	exec build/release/tidegate run
	;;
*)
	usage >&2
	exit 2
	;;
esac
