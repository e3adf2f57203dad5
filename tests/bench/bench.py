"""The benchmarks behind docs/performance.md.

Starts the release gateway on a fresh queue for each scenario, drives it with bench_load, and reads the
gateway's own CPU time, memory and I/O from /proc. Prints Markdown tables and writes DIR/bench.json.
"""
import argparse
import inspect
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

CONFIG = """
queue: {{path: {dir}/queue.db, max_size: 32GiB, min_free_disk: 1GiB}}
receivers:
  otlp:
    grpc: {{endpoint: "127.0.0.1:0"}}
    http: {{endpoint: "127.0.0.1:0"}}
admin: {{endpoint: "127.0.0.1:0"}}
{more}
"""
TICKS = os.sysconf("SC_CLK_TCK")


class Gateway:
    """The release binary on a queue of its own."""

    def __init__(self, bench, more="", directory=None):
        self.dir = directory or tempfile.mkdtemp(prefix="bench-", dir=bench.work)
        path = pathlib.Path(self.dir, "tidegate.yaml")
        path.write_text(CONFIG.format(dir=self.dir, more=more))
        self.process = subprocess.Popen([bench.bin / "tidegate", "run", "--config", path],
                                        stderr=subprocess.PIPE, text=True)
        self.ports = {}
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r"event=receiver.listen transport=(\w+) .*port=(\d+)", line)
            if found:
                self.ports[found[1]] = found[2]
            found = re.search(r"event=admin.listen .*port=(\d+)", line)
            if found:
                self.ports["admin"] = found[1]
            if "event=gateway.ready" in line:
                break
        else:
            sys.exit("".join(self.log))
        threading.Thread(target=lambda: [self.log.append(x) for x in self.process.stderr], daemon=True).start()
        self.proc = pathlib.Path("/proc", str(self.process.pid))

    def cpu(self):
        fields = (self.proc / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, key="VmRSS"):
        return int(re.search(key + r":\s+(\d+)", (self.proc / "status").read_text())[1]) * 1024

    def reset_peak(self):
        (self.proc / "clear_refs").write_text("5")

    def written(self):
        return int(re.search(r"^write_bytes: (\d+)", (self.proc / "io").read_text(), re.M)[1])

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['admin']}/metrics", timeout=60) as reply:
            text = reply.read().decode()
        return sum(float(x) for x in re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+-]+)$", text, re.M))

    def post(self, path):
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['admin']}{path}", b"{}",
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            reply.read()

    def stop(self, keep=False):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(120)
        if code:
            sys.exit(f"gateway ended with {code}\n" + "".join(self.log[-20:]))
        if not keep:
            shutil.rmtree(self.dir)


class Bench:
    def __init__(self, args):
        self.bin = pathlib.Path(args.bin).resolve()
        self.tests = self.bin / "tests"
        self.work = tempfile.mkdtemp(prefix="tidegate-bench-", dir=args.dir)
        self.seconds = 3 if args.quick else 8
        self.quick = args.quick
        self.results = {}

    def load(self, gateway, transport="grpc", **options):
        command = [self.tests / "bench_load", "--port", gateway.ports[transport]]
        options.setdefault("seconds", self.seconds)
        if transport == "http":
            command.append("--http")
        for name, value in options.items():
            command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def sqlite(self, records, rows, *more):
        """Records per second into a bare table, with so many requests (rows) in a commit."""
        path = os.path.join(self.work, "bare.db")
        out = subprocess.run([self.tests / "bench_sqlite", path, str(records), str(self.seconds), str(rows), *more],
                             check=True, capture_output=True, text=True).stdout
        for suffix in ("", "-wal", "-shm"):
            pathlib.Path(path + suffix).unlink(missing_ok=True)
        return json.loads(out)["per_s"]

    def ingest(self):
        """Acknowledged records per second, closed loop, beside the same bytes in a bare table with as many requests in
        a commit as the gateway had in its own."""
        rows = []
        for signal_option in ((), ("logs",)):
            for records in (10, 100, 1000):
                for transport in ("grpc", "http"):
                    # As many requests open at a time either way: HTTP/1.1 has one on a connection.
                    shape = {"connections": 4, "streams": 64} if transport == "grpc" else {"connections": 256}
                    if records == 1000:
                        shape = {"connections": 4, "streams": 4} if transport == "grpc" else {"connections": 16}
                    options = dict(shape, records=records, **{x: True for x in signal_option})
                    gateway = Gateway(self)
                    self.load(gateway, transport, **dict(options, seconds=1))
                    cpu, wrote = gateway.cpu(), gateway.written()
                    stored = gateway.metric("tidegate_queue_stored_bytes")
                    commits = gateway.metric("tidegate_commit_duration_seconds_count")
                    result = self.load(gateway, transport, **options)
                    result["cpu_us"] = (gateway.cpu() - cpu) / result["acked"] * 1e6
                    stored = gateway.metric("tidegate_queue_stored_bytes") - stored
                    result["written_per_stored"] = (gateway.written() - wrote) / stored
                    result["stored_per_raw"] = stored / (result["acked"] / records * result["request_bytes"])
                    result["peak_rss"] = gateway.memory("VmHWM")
                    commits = gateway.metric("tidegate_commit_duration_seconds_count") - commits
                    group = max(1, round(result["acked"] / records / commits))
                    gateway.stop()
                    bare = self.sqlite(records, group, *(["--logs"] if signal_option else []))
                    rows.append({"signal": "logs" if signal_option else "spans", "records": records,
                                 "transport": transport, "bare_per_s": bare,
                                 "group": group, **result})
                    print(rows[-1], file=sys.stderr)
        table(["signal", "a request", "transport", "acked/s", "requests a commit", "bare SQLite/s", "ratio", "CPU us", "client CPU us",
               "p50 ms", "p95 ms", "p99 ms", "written/stored", "stored/raw", "peak RSS MB"],
              [[r["signal"], r["records"], r["transport"], f"{r['per_s']:,.0f}", r["group"], f"{r['bare_per_s']:,.0f}",
                f"{r['per_s'] / r['bare_per_s']:.2f}", f"{r['cpu_us']:.2f}", f"{r['client_cpu_s'] / r['acked'] * 1e6:.2f}",
                f"{r['p50_ms']:.1f}", f"{r['p95_ms']:.1f}", f"{r['p99_ms']:.1f}", f"{r['written_per_stored']:.2f}",
                f"{r['stored_per_raw']:.3f}", f"{r['peak_rss'] / 1e6:.0f}"] for r in rows])
        return rows

    def disk(self, rate=500, size=72 << 10, length=8 << 20):
        """The disk alone, as the gateway's log uses it at 50,000 spans/s: as many commits of as many bytes, written over
        and over into one file, each synced. Milliseconds."""
        path = os.path.join(self.work, "disk")
        block = os.urandom(size)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.pwrite(fd, bytes(length), 0)
        os.fsync(fd)
        took = []
        start = time.monotonic()
        for i in range(int(rate * self.seconds)):
            due = start + i / rate
            time.sleep(max(0.0, due - time.monotonic()))
            os.pwrite(fd, block, i * size % (length - size))
            os.fdatasync(fd)
            took.append((time.monotonic() - due) * 1e3)
        per_s = len(took) / (time.monotonic() - start)
        os.close(fd)
        os.unlink(path)
        cuts = statistics.quantiles(took, n=100)
        return {"per_s": per_s, "p50_ms": cuts[49], "p95_ms": cuts[94], "p99_ms": cuts[98], "max_ms": max(took)}

    def latency(self):
        """Ack latency, open loop at 50,000 spans/s: the transports in turns on one gateway, and between them the disk
        alone, since it has good and bad minutes. The median of the turns, and behind it the worst."""
        shapes = {"grpc": {"connections": 4, "streams": 64}, "http": {"connections": 64}}
        figures = ("p50_ms", "p95_ms", "p99_ms", "max_ms", "cpu_us")
        turns = {transport: [] for transport in (*shapes, "disk")}
        os.sync()  # what an earlier part left to be written is not this one's
        gateway = Gateway(self)
        for transport, shape in shapes.items():
            self.load(gateway, transport, records=100, rate=50000, seconds=1, **shape)
        for _ in range(3 if self.quick else 7):
            for transport, shape in shapes.items():
                cpu = gateway.cpu()
                result = self.load(gateway, transport, records=100, rate=50000, **shape)
                result["cpu_us"] = (gateway.cpu() - cpu) / result["acked"] * 1e6
                turns[transport].append(result)
            turns["disk"].append(self.disk())
        gateway.stop()
        table(["transport", "per second", "p50 ms", "p95 ms", "p99 ms", "max ms", "CPU us"],
              [[name, f"{statistics.median(r['per_s'] for r in rows):,.0f}"] +
               [f"{statistics.median(r[f] for r in rows):.2f} ({max(r[f] for r in rows):.1f})" if f in rows[0] else ""
                for f in figures] for name, rows in turns.items()])
        return turns

    def backlog(self):
        """Memory with an empty queue and with 2 GB queued, then the drain while ingesting, without the slow start that
        spares a backend after a long outage."""
        port = 0
        sink = subprocess.Popen([self.tests / "bench_sink"], stdout=subprocess.PIPE, text=True)
        port = int(sink.stdout.readline())
        sink.terminate()
        sink.wait()
        more = ("destinations: {sink: {kind: otlp_http, endpoint: \"http://127.0.0.1:%d\", compression: zstd}}\n"
                "routes: [{match: {}, to: [sink]}]\n"
                "uplinks: {default: {slow_start: 0s}}" % port)
        gateway = Gateway(self, more)
        self.load(gateway, records=100, connections=4, streams=64, seconds=self.seconds)
        empty = gateway.memory("VmHWM")
        goal = 2e8 if self.quick else 2e9
        while gateway.metric("tidegate_queue_file_bytes") < goal:
            self.load(gateway, records=100, connections=4, streams=64, seconds=5)
        gateway.reset_peak()
        self.load(gateway, records=100, connections=4, streams=64, seconds=self.seconds)
        full = gateway.memory("VmHWM")
        queued = gateway.metric("tidegate_queue_file_bytes")
        back = time.monotonic_ns()
        sink = subprocess.Popen([self.tests / "bench_sink", f"127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True)
        sink.stdout.readline()
        gateway.reset_peak()
        sent = gateway.metric("otelcol_exporter_sent_spans")
        start = time.monotonic()
        load = self.load(gateway, records=100, connections=4, streams=64, rate=50000, seconds=self.seconds * 2)
        took = time.monotonic() - start
        sent = gateway.metric("otelcol_exporter_sent_spans") - sent
        draining = gateway.memory("VmHWM")
        sink.terminate()
        said = json.loads(sink.communicate()[0])
        first = (said["first_ns"] - back) / 1e9
        gateway.stop()
        table(["what", "figure"],
              [["peak RSS, ingesting at full speed, empty queue", f"{empty / 1e6:.0f} MB"],
               [f"the same with {queued / 1e9:.2f} GB queued", f"{full / 1e6:.0f} MB"],
               ["the same while draining", f"{draining / 1e6:.0f} MB"],
               ["drain while ingesting 50,000 spans/s", f"{sent / took:,.0f} spans/s"],
               ["ack latency meanwhile, p50 / p95 / p99",
                f"{load['p50_ms']:.1f} / {load['p95_ms']:.1f} / {load['p99_ms']:.1f} ms"],
               ["first delivery after the backend is back", f"{first:.2f} s"]])
        return {"rss_empty": empty, "rss_full": full, "rss_draining": draining, "queued": queued,
                "drain_per_s": sent / took, "first_delivery_s": first, "load": load}

    def destinations(self):
        """A backlog of 2 GB to a local sink, by kind of destination: alone, and while 50,000 records/s are taken in. One
        queue for each signal, and one of its destinations at a time. otlp_grpc goes to another gateway, which commits it."""
        sink = subprocess.Popen([self.tests / "bench_sink"], stdout=subprocess.PIPE, text=True)
        url = "http://127.0.0.1:" + sink.stdout.readline().strip()
        other = Gateway(self, "destinations: {gone: {kind: otlp_http, endpoint: \"http://127.0.0.1:9\"}}")
        kinds = {
            "traces": {
                "otlp_http, gzip": f"kind: otlp_http, endpoint: \"{url}\"",
                "otlp_http, zstd": f"kind: otlp_http, endpoint: \"{url}\", compression: zstd",
                "otlp_grpc, zstd": f"kind: otlp_grpc, endpoint: \"http://127.0.0.1:{other.ports['grpc']}\", compression: zstd",
            },
            "metrics": {
                "prometheus, 1.0": f"kind: prometheus, endpoint: \"{url}/api/v1/write\", prometheus: {{protocol: \"1.0\"}}",
                "prometheus, 2.0": f"kind: prometheus, endpoint: \"{url}/api/v1/write\", prometheus: {{protocol: \"2.0\"}}",
            },
            "logs": {
                "loki, protobuf": f"kind: loki, endpoint: \"{url}\"",
                "loki, json": f"kind: loki, endpoint: \"{url}\", loki: {{format: json}}",
                "file": "kind: file, path: \"{dir}/out.jsonl\"",
            },
        }
        out = {}
        for sig, destinations in kinds.items():
            out.update(self.drain(sig, destinations))
        other.stop()
        sink.terminate()
        sink.communicate()
        table(["destination", "signal", "backlog", "records/s", "us CPU a record", "records/s while ingesting",
               "ack p50 / p95 ms meanwhile", "peak RSS"],
              [[name, f["signal"], f"{f['queued'] / 1e9:.1f} GB", f"{f['per_s']:,.0f}", f"{f['us']:.2f}",
                f"{f['per_s_ingesting']:,.0f}", f"{f['load']['p50_ms']:.1f} / {f['load']['p95_ms']:.1f}",
                f"{f['rss'] / 1e6:.0f} MB"] for name, f in out.items()])
        return out

    def drain(self, sig, kinds):
        """Fills a queue for several destinations that are paused, and lets them drain one by one."""
        directory = tempfile.mkdtemp(prefix="bench-", dir=self.work)
        names = {f"out{i}": kind for i, kind in enumerate(kinds)}
        blocks = ", ".join(f"{name}: {{{kinds[kind].replace('{dir}', directory)}}}" for name, kind in names.items())
        gateway = Gateway(self, f"destinations: {{{blocks}}}\nroutes: [{{match: {{signal: {sig}}}, to: [{', '.join(names)}]}}]",
                          directory)
        flags = {"traces": {}, "metrics": {"metrics": True}, "logs": {"logs": True}}[sig]
        for name in names:
            gateway.post(f"/api/v1/destinations/{name}/pause")
        goal = 2e8 if self.quick else 2e9
        while gateway.metric("tidegate_queue_file_bytes") < goal:
            self.load(gateway, records=100, connections=4, streams=64, seconds=5, **flags)
        out = {}
        for name, kind in names.items():
            queued = gateway.metric("tidegate_queue_file_bytes")
            gateway.reset_peak()
            gateway.post(f"/api/v1/destinations/{name}/resume")
            alone = self.sent_within(gateway, self.seconds)
            load = {}
            busy = self.sent_within(gateway, self.seconds, lambda: load.update(
                self.load(gateway, records=100, connections=4, streams=64, rate=50000, **flags)))
            gateway.post(f"/api/v1/destinations/{name}/pause")
            out[kind] = {"signal": sig, "queued": queued, "per_s": alone["per_s"], "us": alone["us"],
                         "per_s_ingesting": busy["per_s"], "load": load, "rss": gateway.memory("VmHWM")}
        gateway.stop()
        return out

    @staticmethod
    def sent_within(gateway, seconds, meanwhile=None):
        """Records that left within so many seconds, and the gateway's CPU for each."""
        sent = "otelcol_exporter_sent_(?:spans|metric_points|log_records)"
        before, cpu, start = gateway.metric(sent), gateway.cpu(), time.monotonic()
        if meanwhile:
            meanwhile()
        else:
            time.sleep(seconds)
        took = time.monotonic() - start
        count = max(1, gateway.metric(sent) - before)
        return {"per_s": count / took, "us": (gateway.cpu() - cpu) / count * 1e6}

    def convert(self):
        """Conversion alone, for destinations that do not take OTLP: one core, no network."""
        out = {}
        for program in sorted(self.tests.glob("bench_convert_*")):
            if os.access(program, os.X_OK) and program.is_file():
                out[program.name] = subprocess.run([program], check=True, capture_output=True, text=True).stdout
                print(out[program.name])
        return out


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(str(x) for x in row) + " |")
    print(flush=True)


NAMES = ["ingest", "latency", "backlog", "destinations", "convert"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default="build/release")
    parser.add_argument("--dir", help="where the queues are made; default: the temporary directory")
    parser.add_argument("--out", default="build/bench")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=NAMES)
    args = parser.parse_args()
    bench = Bench(args)
    try:
        for name in [args.only] if args.only else NAMES:
            print(f"### {name}\n\n{inspect.getdoc(getattr(Bench, name))}\n")
            bench.results[name] = getattr(bench, name)()
    finally:
        shutil.rmtree(bench.work, ignore_errors=True)
    os.makedirs(args.out, exist_ok=True)
    pathlib.Path(args.out, "bench.json").write_text(json.dumps(bench.results, indent=1))


if __name__ == "__main__":
    main()
