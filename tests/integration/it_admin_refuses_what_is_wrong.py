"""Every call of the admin API, and every parameter of it, taken from the tables of the program: what is wrong gets an
error in JSON that says what is allowed, and a status of its own; the page after the last one is empty."""
import re

import pytest
import requests

from tests.support.gateway import ROOT, Gateway
from tests.support.patience import DEADLINE_S

MACROS = dict(re.findall(r"#define (CHANGES|OF_DEAD|SELECTS)\b\s*\\?\s*\(([^)]*)\)", (ROOT / "admin" / "parameters.c").read_text()))
WRONG = {"read_state": ["gone", "READY"], "read_signal": ["log"], "read_class": ["urgent"], "read_number": ["x"],
         "read_limit": ["0", "-1", "501", "999999999999999999999", "1.5", "ten"], "read_cursor": ["0", "-1", "x", "1e3"],
         "read_status": ["1000", "-1", "ok"], "read_flag": ["yes", "1"], "read_age": ["5", "1w", "-1h", "h", "1h30m"],
         "read_rate": ["100", "fast", "2Mbit", "-1"], "read_while": ["1ms", "31d", "for ever"], "read_format": ["xml"], "read_text": []}


def sets_of(text):
    for name, meaning in MACROS.items():
        text = re.sub(rf"\b{name}\b", sets_of(meaning) if name in text else "", text)
    return text


def parameters():
    """{set: {name: (how it is read, what is allowed)}}"""
    source = (ROOT / "admin" / "parameters.c").read_text()
    source = source.replace("age_allowed,", '"a number with ms, s, m, h or d, as in 10m",')
    out = {}
    for name, sets, read, allowed in re.findall(
            r'^\t\{ "(\w+)", ([\w| &\n\t]+?),\s+(read_\w+),\s+FIELD\([^)]*\),\s+"([^"]*)"', source, re.M):
        narrow = sets_of(sets.split("&")[-1]) if "&" in sets else sets_of(sets)
        for one in re.findall(r"PARAMETERS_\w+", narrow):
            if "&" not in sets or one in sets_of(sets.split("&")[0]):
                out.setdefault(one, {})[name] = (read, allowed)
    return out


def routes():
    """(path, set, it is a change)"""
    source = (ROOT / "admin" / "routes.c").read_text()
    for kind, path, rest in re.findall(r'^\t(\w*)ROUTE\("(/[^"]*)",\s*(\w+)', source, re.M):
        parameter_set = rest if rest.startswith("PARAMETERS_") else "PARAMETERS_NONE"
        yield path.replace("{id}", "1").replace("{name}", "central"), parameter_set, kind == "CHANGE_"


ROUTES = list(routes())
PARAMETERS = parameters()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("gateway"), {
            "destinations": {"central": {"kind": "otlp_http", "endpoint": "http://127.0.0.1:1"}}},
            expect=[r"event=forward\.down"]) as gw:
        yield gw


def ask(gateway, method, path, **more):
    answer = requests.request(method, f"http://127.0.0.1:{gateway.admin_port}{path}", timeout=DEADLINE_S, **more)
    if answer.status_code != 200:
        assert answer.headers["Content-Type"] == "application/json", path
        error = answer.json()
        assert set(error) == {"error", "hint"} and error["error"], path
        return answer, error["error"]
    return answer, ""


def test_the_tables_were_read():
    assert len(ROUTES) >= 24 and sum(is_change for *_, is_change in ROUTES) >= 10
    known = {row for rows in PARAMETERS.values() for row in rows.values()}
    assert {read for read, _ in known} == set(WRONG) - {"read_number"}
    assert len(PARAMETERS["PARAMETERS_BATCHES"]) == 9 and len(PARAMETERS["PARAMETERS_REPLAY"]) >= 8


@pytest.mark.smoke
def test_unknown_parameters_name_those_that_are_known(gateway):
    for path, parameter_set, is_change in ROUTES:
        names = PARAMETERS.get(parameter_set, {})
        wrong = next((n + "x" for n in names), "x")
        more = {"json": {wrong: "1"}} if is_change else {"params": {wrong: "1"}}
        answer, error = ask(gateway, "POST" if is_change else "GET", path, **more)
        assert answer.status_code == 400, path
        if names:
            assert all(n in error for n in names) and f"did you mean {wrong[:-1]}?" in error, error
        else:
            assert "this call takes none" in error, error


def test_wrong_values_say_what_is_allowed(gateway):
    asked = 0
    for path, parameter_set, is_change in ROUTES:
        for name, (read, allowed) in PARAMETERS.get(parameter_set, {}).items():
            for value in [*WRONG[read], ""]:
                if is_change:
                    typed = {"read_flag": 1, "read_limit": value, "read_cursor": value, "read_status": value}.get(read, value)
                    answer, error = ask(gateway, "POST", path, json={name: typed})
                else:
                    answer, error = ask(gateway, "GET", path, params={name: value})
                assert answer.status_code == 400 and error.startswith(name + ": "), (path, name, value, error)
                assert allowed in error or "this must be" in error, (path, name, value, error)
                asked += 1
    assert asked > 150


def test_wrong_methods_are_told_the_right_one(gateway):
    for path, _, is_change in ROUTES:
        for method in ("GET", "PUT") if is_change else ("PUT", "DELETE", "PATCH", "POST"):
            answer, error = ask(gateway, method, path)
            assert answer.status_code == 405 and method in error, (path, method)
            assert answer.headers["Allow"] == ("POST" if is_change else "GET, HEAD")


def test_bodies_that_are_too_large_or_no_object(gateway):
    for path, _, is_change in ROUTES:
        if not is_change:
            continue
        answer, error = ask(gateway, "POST", path, data=b" " * (65 << 10), headers={"Content-Type": "application/json"})
        assert answer.status_code == 413 and "64 KiB" in error
        for body, says in ((b"[]", "JSON object"), (b"{", "no JSON"), (b"", "no JSON"), (b"\xff", "no JSON"),
                           (b'{"a": 1, "a": 2}', "no JSON")):
            answer, error = ask(gateway, "POST", path, data=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 400 and says in error, (path, body, error)
        answer, error = ask(gateway, "POST", path, data=b"{}", headers={"Content-Type": "text/plain"})
        assert answer.status_code == 415 and "application/json" in error


@pytest.mark.parametrize("path", ["/api", "/api/v1", "/api/v1/", "/api/v1/batch", "/api/v1/batches/", "/api/v1/batches/1/2",
                                  "/api/v1/destinations", "/api/v1/destinations/central", "/api/v1/uplinks/x", "/metric",
                                  "/%2e%2e/etc/passwd", "//", "/api/v1/destinations/UPPER/pause"])
def test_unknown_paths(gateway, path):
    answer, _ = ask(gateway, "GET", path)
    assert answer.status_code in (400, 404)


def test_names_that_are_not_there(gateway):
    for path, _, is_change in ROUTES:
        if "/central/" in path:
            answer, error = ask(gateway, "POST", path.replace("central", "nobody"), json={})
            assert answer.status_code == 404 and "nobody" in error, path


def test_the_page_after_the_last_one_is_empty(gateway):
    for path, parameter_set, is_change in ROUTES:
        if is_change or "cursor" not in PARAMETERS.get(parameter_set, {}):
            continue
        more = {"destination": "central"} if "dead-letters" in path else {}
        answer, _ = ask(gateway, "GET", path, params={"cursor": str(2**62), **more})
        page = answer.json()
        assert answer.status_code == 200 and page["next_cursor"] is None, path
        assert [v for v in page.values() if isinstance(v, list)] == [[]], path
