"""Every example configuration is one that the gateway takes: with the environment that it names, and nothing else."""
import pathlib
import re
import subprocess

import pytest
import yaml

from tests.support import pki
from tests.support.gateway import ROOT, binary
from tests.support.patience import DEADLINE_S

EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.yaml")) + [ROOT / "deploy" / "tidegate.yaml"]
VALUES = {"PROMETHEUS_URL": "https://backend.example.com/api/prom/push",
          "URL": "https://backend.example.com", "USER": "123456", "ID": "123456", "TOKEN": "hush", "FILE": "/etc/token"}


def environment(text, files):
    """What has no default in the file, and where the files are that it reads."""
    env = {name: next(v for k, v in VALUES.items() if name.endswith(k)) for name in re.findall(r"\$\{(\w+)\}", text)}
    return {**env, "TOKEN_FILE": str(files / "token"), "CERTS": str(files)}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("etc")
    (directory / "token").write_text("hush\n")
    pki.make_authority(directory, "ca")
    pki.make_certificate(directory, "site", "ca", "extendedKeyUsage=clientAuth\n")
    return directory


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: pathlib.Path(p).name)
def test_check_config_takes_it(path, files):
    env = environment(path.read_text(), files)
    done = subprocess.run([binary(), "check-config", "--config", str(path)], env=env, capture_output=True, text=True,
                          timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)
    assert shown["destinations"].keys() == yaml.safe_load(path.read_text())["destinations"].keys()
    assert "hush" not in done.stdout


def test_the_one_in_the_readme_too(files, tmp_path):
    text = re.search(r"```yaml\n(site:.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    path = tmp_path / "readme.yaml"
    path.write_text(text.replace("/etc/tidegate", str(files)))
    done = subprocess.run([binary(), "check-config", "--config", str(path)], capture_output=True, text=True, timeout=DEADLINE_S,
                          check=False)
    assert done.returncode == 0, done.stderr


def test_there_are_examples_of_what_users_have():
    kinds = {d["kind"] for p in EXAMPLES for d in yaml.safe_load(p.read_text())["destinations"].values()}
    assert {"loki", "otlp_http", "otlp_grpc", "prometheus", "file"} == kinds
