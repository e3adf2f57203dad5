"""deploy/quickstart.sh --demo shows what it promises, in under a minute."""
import re
import subprocess
import sys

from tests.support.gateway import ROOT, binary
from tests.support.patience import DEADLINE_S


def test_what_was_accepted_arrived(tmp_path):
    done = subprocess.run([sys.executable, ROOT / "deploy/demo/demo.py", binary(), tmp_path / "demo"],
                          capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    accepted = re.search(r"accepted by the gateway +([\d,]+) records", done.stdout)
    assert int(accepted.group(1).replace(",", "")) > 1000
    assert re.search(r"lost +0\n", done.stdout)
