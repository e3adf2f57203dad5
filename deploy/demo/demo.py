"""The point of tidegate in half a minute: sh deploy/quickstart.sh --demo

Telemetry flows to a local backend. The backend goes away, the gateway is killed with SIGKILL, both come back. A record
counts as accepted when the gateway answered its request with 200, and as arrived when the backend has written it down.
At the end both are compared, record by record; the exit code is 1 if one is missing.

    python3 demo.py TIDEGATE DIRECTORY
"""
import http.client
import json
import pathlib
import shutil
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
RECORDS_A_REQUEST = 50
REQUESTS_A_SECOND = 20
DRAIN_DEADLINE_S = 30


class Backend:
    """The other side of the uplink, as a process of its own."""

    def __init__(self, directory):
        self._file = directory / "arrived.txt"
        self._file.touch()
        self.port = 0
        self.process = None

    def start(self):
        self.process = subprocess.Popen([sys.executable, HERE / "backend.py", str(self.port), self._file],
                                        stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        self.process = None

    def ids(self):
        return self._file.read_text().split()


class Gateway:
    def __init__(self, binary, directory, backend_port):
        self._binary = binary
        self._directory = directory
        self._log = directory / "gateway.log"
        self.port = 0
        self.process = None
        (directory / "tidegate.yaml").write_text(f"""\
queue: {{path: {directory / 'queue.db'}, min_free_disk: 0}}
receivers:
  otlp:
    grpc: {{endpoint: "127.0.0.1:0"}}
    http: {{endpoint: "127.0.0.1:0"}}
admin: {{endpoint: "127.0.0.1:0"}}
destinations:
  backend: {{kind: otlp_http, endpoint: "http://127.0.0.1:{backend_port}", compression: gzip}}
""")

    def start(self):
        """Returns once it takes requests: it says so on stderr."""
        log = open(self._log, "ab")
        self.process = subprocess.Popen([self._binary, "run", "--config", self._directory / "tidegate.yaml"],
                                        stderr=subprocess.PIPE)
        ready = threading.Event()
        threading.Thread(target=self._read, args=(self.process.stderr, log, ready), daemon=True).start()
        if not ready.wait(30):
            raise SystemExit(f"the gateway did not start; its log is {self._log}")

    def _read(self, pipe, log, ready):
        with log:
            for line in pipe:
                log.write(line)
                log.flush()
                if b"event=receiver.listen transport=http" in line:
                    self.port = int(line.rsplit(b"port=", 1)[1].split()[0])
                if b"event=gateway.ready" in line:
                    ready.set()
        ready.set()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        self.process.terminate()
        return self.process.wait()


class Application:
    """Sends log records, and sends again what was not acknowledged, as an OpenTelemetry SDK does."""

    def __init__(self, gateway):
        self._gateway = gateway
        self._is_over = threading.Event()
        self.accepted = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._is_over.set()
        self._thread.join()

    @staticmethod
    def _body(ids):
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "demo"}}]}
        records = [{"timeUnixNano": str(time.time_ns()), "severityNumber": 9,
                    "body": {"stringValue": f"record {one}"}} for one in ids]
        return json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]})

    def _send(self, body):
        connection = http.client.HTTPConnection("127.0.0.1", self._gateway.port, timeout=5)
        try:
            connection.request("POST", "/v1/logs", body, {"Content-Type": "application/json"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _run(self):
        number = 0
        while not self._is_over.is_set():
            ids = [f"demo-{number + i:08d}" for i in range(RECORDS_A_REQUEST)]
            body = self._body(ids)
            while not self._send(body):
                if self._is_over.wait(0.2):
                    return
            self.accepted += ids
            number += RECORDS_A_REQUEST
            self._is_over.wait(1 / REQUESTS_A_SECOND)


class Show:
    """One line a second, and one for each thing that happens."""

    def __init__(self, application, gateway, backend):
        self._application = application
        self._gateway = gateway
        self._backend = backend
        self._start = time.monotonic()
        self._bold = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
        print(f"\n{'time':>6}  {'accepted':>9}  {'arrived':>9}  {'waiting':>9}   gateway  backend")

    def _time(self):
        return f"{time.monotonic() - self._start:4.0f} s"

    def line(self):
        accepted = len(self._application.accepted)
        arrived = len(set(self._backend.ids()))
        print(f"{self._time()}  {accepted:9,}  {arrived:9,}  {max(accepted - arrived, 0):9,}   "
              f"{'up' if self._gateway.process else '-':7}  {'up' if self._backend.process else '-'}", flush=True)

    def lines(self, seconds):
        for _ in range(seconds):
            time.sleep(1)
            self.line()

    def event(self, text):
        print(f"{self._time()}  {self._bold[0]}{text}{self._bold[1]}", flush=True)


def story(show, application, gateway, backend):
    show.lines(3)
    backend.stop()
    show.event("the backend goes away: the uplink is down")
    show.lines(4)
    gateway.kill()
    show.event("the gateway is killed with SIGKILL")
    show.lines(2)
    gateway.start()
    show.event("the gateway is back, with what it had acknowledged")
    show.lines(3)
    backend.start()
    show.event("the backend is back: the queue drains")
    show.lines(4)
    application.stop()
    show.event("the application has stopped sending")
    deadline = time.monotonic() + DRAIN_DEADLINE_S
    while set(application.accepted) - set(backend.ids()) and time.monotonic() < deadline:
        show.lines(1)
    show.line()


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    binary, directory = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    backend = Backend(directory)
    backend.start()
    gateway = Gateway(binary, directory, backend.port)
    gateway.start()
    application = Application(gateway)
    try:
        story(Show(application, gateway, backend), application, gateway, backend)
    finally:
        for part in (gateway, backend):
            if part.process:
                part.stop()
    accepted, arrived = application.accepted, backend.ids()
    missing = set(accepted) - set(arrived)
    print(f"""
  accepted by the gateway   {len(accepted):9,} records
  arrived at the backend    {len(set(arrived)):9,} unique records, {len(arrived) - len(set(arrived)):,} of them came again
  lost                      {len(missing):9,}

The queue file, the log and the configuration are in {directory}.""")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
