"""Compares gateways: the same load in turns on each binary, many short runs, medians.

    python3 tests/bench/ab.py --bin build/release OLD NEW [--http] [--records 100] [--connections 4] [--rate 0]

--bin is where bench_load is; OLD and NEW are gateways. Prints us of CPU a record, of all threads and by thread. On a
machine that others use, run it with real-time priority for a few seconds: chrt -r 5 python3 tests/bench/ab.py ...
"""
import argparse
import collections
import pathlib
import re
import shutil
import statistics
import tempfile

from bench import Bench, Gateway


class Side:
    """What Bench.load and Gateway need to know of one of the binaries."""

    def __init__(self, gateway, bin_dir, seconds):
        self.work = tempfile.mkdtemp(prefix="tidegate-ab-")
        self.bin = pathlib.Path(self.work, "bin")
        self.bin.mkdir()
        (self.bin / "tidegate").symlink_to(pathlib.Path(gateway).resolve())
        self.tests = pathlib.Path(bin_dir).resolve() / "tests"
        self.seconds = seconds


def thread_ns(gateway):
    """CPU of each thread by name; workers that differ by a number count as one."""
    ns = collections.Counter()
    for task in (gateway.proc / "task").iterdir():
        name = re.sub(r"-\d+$", "", (task / "comm").read_text().strip())
        ns[name] += int((task / "schedstat").read_text().split()[0])
    return ns


def run(side, args):
    transport = "http" if args.http else "grpc"
    shape = {"records": args.records, "connections": args.connections, "streams": args.streams, "rate": args.rate}
    gateway = Gateway(side)
    Bench.load(side, gateway, transport, **dict(shape, seconds=0.5))
    before = thread_ns(gateway)
    result = Bench.load(side, gateway, transport, **shape)
    spent = thread_ns(gateway) - before
    gateway.stop()
    result["threads"] = {name: ns / result["acked"] / 1e3 for name, ns in spent.items()}
    result["cpu_us"] = sum(result["threads"].values())
    return result


def report(name, results):
    def median(key):
        return statistics.median(r[key] for r in results)

    threads = {t: statistics.median(r["threads"].get(t, 0) for r in results) for t in results[0]["threads"]}
    print(f"{name}: {median('cpu_us'):.3f} us, {median('per_s') / 1e6:.3f} M/s, p50 {median('p50_ms'):.2f} "
          f"p95 {median('p95_ms'):.2f} p99 {median('p99_ms'):.2f} ms; "
          + ", ".join(f"{t} {us:.3f}" for t, us in threads.items() if us >= 0.01))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gateways", nargs="+")
    parser.add_argument("--bin", required=True)
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--records", type=int, default=100)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.7)
    args = parser.parse_args()
    sides = [Side(g, args.bin, args.seconds) for g in args.gateways]
    results = [[] for _ in sides]
    for turn in range(args.rounds):
        order = list(zip(sides, results))
        for side, rows in order if turn % 2 == 0 else reversed(order):
            rows.append(run(side, args))
    for name, side, rows in zip(args.gateways, sides, results):
        report(name, rows)
        shutil.rmtree(side.work)


main()
