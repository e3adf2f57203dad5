"""A destination that is a file: OTLP JSON lines, each whole, on disk before the queue forgets them."""
import json

from tests.support import otlp


def config(path, **more):
    return {"destinations": {"file": {"kind": "file", "path": str(path), **more}}}


def send(gateway, signal, count):
    ids = otlp.new_ids(count)
    assert otlp.post(gateway, signal, otlp.request(signal, ids)).status_code == 200
    return ids


def test_records_of_all_signals_become_lines(start_gateway, tmp_path):
    path = tmp_path / "deep" / "er" / "out.jsonl"
    gateway = start_gateway(config(path))
    ids = [i for signal in otlp.SIGNALS for i in send(gateway, signal, 20)]
    gateway.wait_drained()
    assert sorted(otlp.file_ids(path)) == sorted(ids)
    keys = {key for line in path.read_text().splitlines() for key in json.loads(line)}
    assert keys == {"resourceSpans", "resourceMetrics", "resourceLogs"}
    gateway.assert_balanced()


def test_a_full_file_is_rotated_and_every_line_stays_whole(start_gateway, tmp_path):
    path = tmp_path / "out.jsonl"
    gateway = start_gateway(config(path, rotation={"max_size": "64KiB", "max_backups": 0}))
    ids = []
    for _ in range(30):
        ids += send(gateway, "logs", 50)
        gateway.wait_drained()
    backups = sorted(tmp_path.glob("out.jsonl.*"))
    assert len(backups) >= 2
    assert sorted(otlp.file_ids(path, *backups)) == sorted(ids)
    for backup in backups:
        assert 64 * 1024 <= backup.stat().st_size < 128 * 1024
    gateway.assert_balanced()


def test_only_so_many_backups_are_kept(start_gateway, tmp_path):
    path = tmp_path / "out.jsonl"
    gateway = start_gateway(config(path, rotation={"max_size": "64KiB", "max_backups": 2}))
    for _ in range(40):
        last = send(gateway, "logs", 50)
        gateway.wait_drained()
    assert sorted(p.name for p in tmp_path.glob("out.jsonl.*")) == ["out.jsonl.1", "out.jsonl.2"]
    assert set(last) <= set(otlp.file_ids(path))


def test_half_a_line_from_a_crash_is_cut_off_and_sent_again(start_gateway, tmp_path):
    path = tmp_path / "out.jsonl"
    gateway = start_gateway(config(path))
    ids = send(gateway, "traces", 5)
    gateway.wait_drained()
    gateway.sigkill()
    with open(path, "ab") as f:
        f.write(b'{"resourceSpans":[{"scopeSp')
    gateway.start()
    ids += send(gateway, "traces", 5)
    gateway.wait_drained()
    assert otlp.file_ids(path) == ids
    gateway.assert_balanced()


def test_a_file_that_cannot_be_written_holds_the_data_back(start_gateway, tmp_path):
    path = tmp_path / "out.jsonl"
    path.mkdir()
    gateway = start_gateway(
        config(path, retry_on_failure={"initial_interval": "50ms", "max_interval": "100ms"}),
        expect=[r"event=forward\.down"])
    ids = send(gateway, "metrics", 5)
    gateway.wait_event("forward.down", destination="file")
    assert otlp.queued_ids(gateway) == ids
    path.rmdir()
    gateway.wait_drained()
    assert otlp.file_ids(path) == ids
    gateway.assert_balanced()
