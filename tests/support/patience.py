"""How long tests wait, in one place: tests/support/patience.h says why."""
import os
import time

# How long to wait for what must come. What passes never waits for it.
DEADLINE_S = float(os.environ.get("TIDEGATE_TEST_DEADLINE", "120"))


def _lost_s():
    """The time in which somebody waited for a processor or a disk, and what a hypervisor took; 0 where nothing tells."""
    lost = 0.0
    for resource in ("cpu", "io"):
        try:
            with open(f"/proc/pressure/{resource}") as lines:
                lost += int(lines.readline().rpartition("total=")[2]) / 1e6
        except (OSError, ValueError):
            pass
    with open("/proc/stat") as lines:
        return lost + int(lines.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


class Stopwatch:
    """Measures what the machine gave us: on a quiet one a limit is meant as it stands, on a crowded one it gives way."""

    def __init__(self):
        self._began, self._lost = time.monotonic(), _lost_s()

    def passed_s(self):
        """By the clock."""
        return time.monotonic() - self._began

    def seconds(self):
        return max(0.0, self.passed_s() - (_lost_s() - self._lost))
