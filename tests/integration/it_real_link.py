"""The kernel's own bad link, between two network namespaces: thin (tbf), lossy (netem, where there is one), and gone
without a word, as when a modem loses its carrier."""
import json
import shutil
import subprocess
import sys

import pytest

from tests.support.gateway import ROOT
from tests.support.patience import DEADLINE_S


def why_not():
    """What this machine lacks, or None."""
    for tool in ("unshare", "nsenter", "ip", "tc"):
        if not shutil.which(tool):
            return f"there is no {tool}"
    probe = subprocess.run(["unshare", "-rn", "sh", "-c", "ip link set lo up && ip link add near0 type veth peer name far0"],
                           capture_output=True, text=True)
    return f"no network namespaces for us: {probe.stderr.strip()}" if probe.returncode else None


REASON = why_not()


@pytest.mark.skipif(REASON is not None, reason=f"waits for a machine with network namespaces: {REASON}")
def test_a_link_made_bad_by_the_kernel_loses_nothing(tmp_path, record_property):
    done = subprocess.run(["unshare", "-rn", sys.executable, str(ROOT / "tests" / "support" / "real_link.py"),
                           str(tmp_path / "gateway")], capture_output=True, text=True, timeout=4 * DEADLINE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    record_property("link", str(seen))
    print(seen)
    assert seen["sent"] > 1000 and seen["queued"] > 100
    assert seen["missing"] == 0 and seen["strange"] == 0
    # What came twice, the gateway sent again.
    assert 0 <= seen["exports"] - seen["delivered"] <= seen["retries"]
    assert (seen["repeats"] > 0) == (seen["exports"] > seen["delivered"])
    assert seen["retries"] < 30
    assert seen["first_after_s"] < 2
    assert seen["tbf"]
    # The estimate of headers, packets and acknowledgements.
    assert 0.9 < seen["counted_bytes"] / seen["wire_bytes"] < 1.15
    if seen["netem"] is None:
        print("netem is not in this kernel: loss and reordering were not made here")
