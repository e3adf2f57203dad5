"""A gateway and a backend in two network namespaces, and a link between them that the kernel makes bad.

Run by tests/integration/it_real_link.py within a namespace of its own (unshare -rn), as what it does to interfaces
needs rights that it has nowhere else:

    unshare -rn python3 tests/support/real_link.py DIRECTORY

Prints one JSON object with what it saw. `netem` is null where the kernel has no netem.
"""
import collections
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.support import otlp  # noqa: E402
from tests.support.gateway import Gateway  # noqa: E402
from tests.support.patience import DEADLINE_S, Stopwatch  # noqa: E402

NEAR, FAR, PORT = "10.77.0.1", "10.77.0.2", 4319
RATE_KBIT = 400


def run(*command, check=True):
    return subprocess.run(command, check=check, capture_output=True, text=True)


class Link:
    """Two ends of a cable: `near` here, `far` in the namespace of the backend's process."""

    def __init__(self):
        code = (f"import sys; sys.path.insert(0, {str(pathlib.Path(__file__).resolve().parents[2])!r})\n"
                "import threading; sys.stdin.readline()\n"
                "from tests.support.sink import Sink\n"
                f"Sink({PORT}, host='0.0.0.0').start(); print('ready', flush=True); threading.Event().wait()")
        self.backend = subprocess.Popen(["unshare", "-n", sys.executable, "-c", code],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
        # unshare -n has made its namespace once it differs from ours.
        here = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self.backend.pid}/ns/net") == here:
            time.sleep(0.01)
        run("ip", "link", "set", "far", "netns", str(self.backend.pid))
        run("ip", "addr", "add", f"{NEAR}/24", "dev", "near")
        # As on a real wire: no packet larger than the MTU, so that headers are counted as they are.
        run("ip", "link", "set", "near", "gso_max_segs", "1", check=False)
        run("ip", "link", "set", "near", "up")
        self.far("ip", "addr", "add", f"{FAR}/24", "dev", "far")
        self.up()
        self.backend.stdin.write("go\n")
        self.backend.stdin.flush()
        assert self.backend.stdout.readline() == "ready\n"

    def far(self, *command):
        return run("nsenter", "-t", str(self.backend.pid), "-n", *command)

    def up(self):
        self.far("ip", "link", "set", "far", "up")

    def cut(self):
        """The other end is gone: what is sent is lost without a word."""
        self.far("ip", "link", "set", "far", "down")

    def shape(self, *discipline):
        """False: this kernel has no such discipline."""
        run("tc", "qdisc", "del", "dev", "near", "root", check=False)
        return not discipline or run("tc", "qdisc", "add", "dev", "near", "root", *discipline,
                                     check=False).returncode == 0

    def bytes_seen(self):
        """What the interface carried in both directions, without Ethernet's headers."""
        counts = {}
        for line in pathlib.Path("/proc/net/dev").read_text().splitlines():
            name, _, rest = line.partition(":")
            counts[name.strip()] = [int(n) for n in rest.split()] if rest else []
        received, sent = counts["near"][0:2], counts["near"][8:10]
        return received[0] + sent[0] - 14 * (received[1] + sent[1])

    def ask(self, what):
        with urllib.request.urlopen(f"http://{FAR}:{PORT}/_sink/{what}", timeout=DEADLINE_S) as answer:
            return json.load(answer)

    def close(self):
        self.backend.kill()
        self.backend.wait()


def used(gateway):
    return gateway.metrics().get('tidegate_uplink_used_bytes{uplink="default",period="day"}', 0)


def send(gateway, sent, seconds, pace_s=0.01):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ids = otlp.new_ids(20)
        signal = ("logs", "traces")[len(sent) // 20 % 2]
        assert otlp.post(gateway, signal, otlp.request(signal, ids)).status_code == 200
        sent += ids
        threading.Event().wait(pace_s)


def wait_more(link, count):
    """Until the backend has more than count requests. Our own way to it is back at the same time as the gateway's."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            if link.ask("stats")["requests"] > count:
                return
        except OSError:
            pass
        assert time.monotonic() < end, "nothing came after the return"
        time.sleep(0.01)


def main():
    seen = {}
    sent = []
    link = Link()
    try:
        with Gateway(sys.argv[1], {"destinations": {"central": {
                "kind": "otlp_http", "endpoint": f"http://{FAR}:{PORT}", "timeout": "2s",
                "retry_on_failure": {"initial_interval": "100ms", "max_interval": "1s", "probe_interval": "300ms"}}}},
                expect=[r"event=forward\.down"]) as gateway:
            # What is counted is what the wire carries.
            wire, counted = link.bytes_seen(), used(gateway)
            for size in (20, 500, 4000, 20000):
                ids = otlp.new_ids(size)
                assert otlp.post(gateway, "logs", otlp.logs(ids)).status_code == 200
                sent += ids
                gateway.wait_drained()
            seen["wire_bytes"] = link.bytes_seen() - wire
            seen["counted_bytes"] = used(gateway) - counted
            send(gateway, sent, 0.3)
            # A thin link, by the kernel's own shaping.
            seen["tbf"] = link.shape("tbf", "rate", f"{RATE_KBIT}kbit", "burst", "4k", "latency", "2s")
            send(gateway, sent, 1)
            seen["netem"] = None
            if link.shape("netem", "delay", "80ms", "40ms", "loss", "10%", "duplicate", "2%", "reorder", "10%"):
                seen["netem"] = "delay 80ms +-40ms, loss 10%, duplicate 2%, reorder 10%"
                send(gateway, sent, 1.5)
            link.shape()
            gateway.wait_drained()
            count = link.ask("stats")["requests"]
            # Gone without a word, and back.
            link.cut()
            send(gateway, sent, 2.5)
            seen["queued"] = len(otlp.queued_ids(gateway))
            back = Stopwatch()
            link.up()
            wait_more(link, count)
            seen["first_after_s"] = back.seconds()
            gateway.wait_drained()
            gateway.assert_balanced()
            metrics = gateway.metrics()
            ids = collections.Counter(link.ask("ids"))
            seen |= {"sent": len(sent), "missing": len(set(sent) - set(ids)), "strange": len(set(ids) - set(sent)),
                     "repeats": sum(ids.values()) - len(ids),
                     "retries": metrics.get('tidegate_destination_attempts{destination="central",outcome="retry"}', 0),
                     "delivered": metrics['tidegate_destination_attempts{destination="central",outcome="delivered"}'],
                     "exports": link.ask("stats")["requests"]}
    finally:
        link.close()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
