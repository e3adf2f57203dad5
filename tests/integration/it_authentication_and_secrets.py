"""Destinations authenticate with what the configuration, the environment or a file says now, and no secret comes to
light: not in the log, the status, the metrics, the printed configuration, nor in what is kept of a backend's answer."""
import base64
import html
import json
import subprocess
import urllib.parse

import grpc
import pytest
import yaml

from tests.support import otlp
from tests.support.gateway import binary
from tests.support.loki_standin import Loki
from tests.support.patience import DEADLINE_S
from tests.support.sink import Sink, _Handler
from tests.support.tempo_standin import Refused, Tempo

FAST = {"initial_interval": "20ms", "max_interval": "50ms"}
SLOW = {"initial_interval": "1h", "max_interval": "1h"}


def destination(url, kind="otlp_http", **more):
    return {"destinations": {"central": {"kind": kind, "endpoint": url, **more}}}


def send(gateway, signal="traces", count=2):
    ids = otlp.new_ids(count)
    assert otlp.post(gateway, signal, otlp.request(signal, ids)).status_code == 200
    return ids


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def replace(path, text):
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.rename(path)


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["otlp_http", "otlp_grpc"])
@pytest.mark.parametrize("scheme", ["basic", "bearer", "basic_file", "bearer_file", "headers"])
def test_every_source_of_a_credential_reaches_the_backend(start_gateway, tmp_path, kind, scheme):
    (tmp_path / "secret").write_text("hush-hush\n")
    auth, want = {
        "basic": ({"auth": {"basic": {"username": "123456", "password": "${PASSWORD}"}}}, basic("123456", "hush-hush")),
        "bearer": ({"auth": {"bearer": {"token": "${PASSWORD}"}}}, "Bearer hush-hush"),
        "basic_file": ({"auth": {"basic": {"username": "123456", "password_file": str(tmp_path / "secret")}}},
                       basic("123456", "hush-hush")),
        "bearer_file": ({"auth": {"bearer": {"token_file": str(tmp_path / "secret")}}}, "Bearer hush-hush"),
        "headers": ({"headers": {"authorization": "Bearer ${PASSWORD}"}}, "Bearer hush-hush"),
    }[scheme]
    with Tempo(auth=want) as tempo:
        url = tempo.url if kind == "otlp_http" else tempo.grpc_url
        gateway = start_gateway(destination(url, kind, **auth), env={"PASSWORD": "hush-hush"})
        ids = send(gateway)
        tempo.wait_ids(ids)
        gateway.wait_drained()


@pytest.mark.parametrize("kind", ["otlp_http", "otlp_grpc", "loki"])
def test_a_renewed_token_is_tried_at_once_after_a_refusal(start_gateway, tmp_path, kind):
    token = tmp_path / "token"
    token.write_text("expired-one")
    server = Loki(auth="Bearer fresh-one") if kind == "loki" else Tempo(auth="Bearer fresh-one")
    server_of = {"otlp_http": lambda s: s.url, "otlp_grpc": lambda s: s.grpc_url, "loki": lambda s: s.url}
    with server:
        # The wait after a 401 is twice the longest back-off: two hours.
        gateway = start_gateway(destination(server_of[kind](server), kind, retry_on_failure=SLOW,
                                            auth={"bearer": {"token_file": str(token)}}),
                                expect=[r"event=forward\.down.*state=unauthorized"])
        signal = "logs" if kind == "loki" else "traces"
        if kind == "loki":
            message = otlp.request("logs", ["a-1", "a-2"])
            for record in otlp.records(message):
                record.time_unix_nano = 0
            assert otlp.post(gateway, "logs", message).status_code == 200
            ids = ["a-1", "a-2"]
        else:
            ids = send(gateway, signal)
        gateway.wait_event("forward.down", destination="central")
        assert server.ids() == []
        replace(token, "fresh-one")
        server.wait_ids(ids)
        gateway.wait_event("forward.up")
        gateway.wait_drained()


def test_a_token_file_that_is_gone_leaves_the_last_token_in_use(start_gateway, tmp_path):
    token = tmp_path / "token"
    token.write_text("still-good")
    with Sink() as sink:
        gateway = start_gateway(destination(sink.url, auth={"bearer": {"token_file": str(token)}}),
                                expect=[r"event=forward\.credentials.*kept=previous"])
        sink.wait_ids(send(gateway))
        token.unlink()
        for _ in range(3):
            sink.wait_ids(send(gateway))
        replace(token, "another-one")
        sink.wait_ids(send(gateway))
        gateway.wait_drained()
        assert {r.headers["Authorization"] for r in sink.received[:-1]} == {"Bearer still-good"}
        assert sink.received[-1].headers["Authorization"] == "Bearer another-one"
        warned = [e for e in gateway.events("forward.credentials") if e["level"] == "warn"]
        assert len(warned) == 1 and str(token) in warned[0]["reason"]


def test_a_missing_file_is_said_at_the_start_with_its_place(start_gateway, tmp_path):
    gateway = start_gateway(destination("http://127.0.0.1:1"))
    gateway.sigterm()
    gateway.write_config(destination("http://127.0.0.1:1", auth={"bearer": {"token_file": str(tmp_path / "none")}}))
    gateway.launch()
    assert gateway.wait_exit() == 3
    [fatal] = gateway.events("gateway.start.failed")
    lines = gateway.config_path.read_text().splitlines()
    [line] = [n for n, text in enumerate(lines, 1) if "token_file: " in text]
    column = lines[line - 1].index("token_file: ") + len("token_file: ") + 1
    assert f"tidegate.yaml:{line}:{column}: destinations.central: auth.bearer.token_file: cannot read" in fatal["error"]
    gateway.expect_log("level=fatal")


# ---- secrets ----

class _Echo(_Handler):
    """Answers with what it got, as helpful backends do."""

    def do_POST(self):
        sink = self.server.sink
        self._read_body()
        headers = dict(self.headers.items())
        if sink.style == "text":
            body, kind = "bad request:\n" + "\n".join(f"{k}: {v}" for k, v in headers.items()), "text/plain"
            body = body.replace("\n", " | ", 1)
        elif sink.style == "json":
            body, kind = json.dumps({"code": 3, "message": "rejected with " + headers["Authorization"]}), "application/json"
        elif sink.style == "decoded":
            secret = base64.b64decode(headers["Authorization"].split()[1]).decode().split(":", 1)[1]
            body = f"no: {html.escape(secret)} {base64.b64encode(secret.encode()).decode()} {urllib.parse.quote(secret)}"
            kind = "text/plain"
        else:
            body = json.dumps({"got": headers["Authorization"], "key": headers["X-Api-Key"]}).replace("/", "\\/")
            body, kind = body.replace("=", "\\u003d"), "application/json"
        sink.echoed.append(body)
        self._reply(sink.status, body.encode(), content_type=kind)


class EchoSink(Sink):
    handler = _Echo

    def __init__(self, status, style):
        super().__init__()
        self.status, self.style, self.echoed = status, style, []


PASSWORD = "p4ss/w0rd+of?plant=seven&<b>"
API_KEY = "key-0123456789abcdef"


def forms_of_the_secrets():
    whole = base64.b64encode(f"123456:{PASSWORD}".encode()).decode()
    return [PASSWORD, API_KEY, whole, whole.rstrip("="), whole[:24], PASSWORD.replace("/", "\\/"), html.escape(PASSWORD),
            base64.b64encode(PASSWORD.encode()).decode().rstrip("="), urllib.parse.quote(PASSWORD)]


@pytest.mark.parametrize("status, style", [(400, "text"), (400, "json"), (400, "escaped"), (400, "decoded"), (503, "text"), (401, "json")])
def test_no_secret_comes_to_light(start_gateway, status, style):
    with EchoSink(status, style) as sink:
        gateway = start_gateway(
            destination(sink.url, retry_on_failure=FAST, headers={"X-Api-Key": API_KEY},
                        auth={"basic": {"username": "123456", "password": "${PASSWORD}"}}),
            env={"PASSWORD": PASSWORD}, expect=[r"event=forward\.(down|dead_letter)"])
        send(gateway, "logs")
        gateway.wait_event("forward.dead_letter" if status == 400 else "forward.down")
        gateway.wait_until(lambda: gateway.sqlite("SELECT count(*) FROM deliveries WHERE last_error <> ''") != [(0,)],
                           "the reason is in the queue")
        # It did say them to us.
        assert any(form in sink.echoed[0] for form in forms_of_the_secrets())
        shown = {"log": gateway.log_text(), "metrics": gateway.admin_get("/metrics").text,
                 "queue": repr(gateway.sqlite("SELECT * FROM deliveries")) + repr(gateway.sqlite("SELECT * FROM destinations")),
                 "config": config_output(gateway)}
        for path in ("status", "batches", "losses", "balance", "dead-letters", "dead-letters/list?destination=central"):
            shown[path] = gateway.admin_get("/api/v1/" + path).text
        assert "****" in shown["log"] + shown["queue"]
        gateway.sigterm()
        shown["log"] = gateway.log_text()
        for name in gateway.dir.glob("queue.db*"):
            shown[name.name] = name.read_bytes().decode("latin-1")
        for where, text in shown.items():
            for form in forms_of_the_secrets():
                assert form not in text, f"{form!r} is in {where}"


def config_output(gateway):
    done = subprocess.run([binary(), "check-config", "--config", str(gateway.config_path)], capture_output=True, text=True,
                          timeout=DEADLINE_S, check=False, env={"PASSWORD": PASSWORD})
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["destinations"]["central"]["auth"]["basic"]["password"] == "***"
    return done.stdout + done.stderr


def test_a_grpc_server_that_shows_the_credential_is_not_quoted(start_gateway):
    class Telltale(Tempo):
        def take(self, body, headers):
            del body
            raise Refused(400, grpc.StatusCode.INVALID_ARGUMENT, f"no good: {dict(headers)['authorization']}")

    with Telltale() as tempo:
        gateway = start_gateway(destination(tempo.grpc_url, "otlp_grpc", retry_on_failure=FAST,
                                            auth={"bearer": {"token": "hush/hush+hush"}}),
                                expect=[r"event=forward\.dead_letter"])
        send(gateway)
        gateway.wait_event("forward.dead_letter")
        gateway.wait_until(lambda: gateway.sqlite("SELECT count(*) FROM deliveries WHERE last_error <> ''") != [(0,)],
                           "the reason is in the queue")
        everything = gateway.log_text() + repr(gateway.sqlite("SELECT * FROM deliveries"))
        assert "hush/hush+hush" not in everything and "no good" in everything
