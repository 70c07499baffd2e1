"""`doctor`: each thing that can be wrong on the machine has its line, and that line says what to do."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gatehouse.config import founding
from gatehouse.config.paths import DataDir, create_or_read_secret
from tests.cli.certificates import self_signed
from tests.cli.conftest import Cli
from tests.cli.recording import decision, new_ids, outcome, record
from tests.crash.processes import free_port


def lines(out: str) -> dict[str, str]:
    """Subject → level and what was found; the last of each subject."""
    return {
        line[6:20].strip(): f"{line[:5].strip()} {line[21:]}" for line in out.splitlines() if not line.startswith(" ")
    }


def test_a_fresh_machine_is_fine(cli: Cli, data: Path) -> None:
    port = free_port()
    done = cli("doctor", GATEHOUSE_SERVER__PORT=str(port))
    assert done.code == 0, done.out
    found = lines(done.out)
    assert found["configuration"] == "ok defaults: there is no gatehouse.yaml"
    assert found["data directory"] == f"ok {data} is not there yet; `gatehouse serve` makes it"
    assert found["accounts"] == "ok off: whoever reaches the port may call; `gatehouse init` turns them on"
    assert found["running"] == "ok no: `gatehouse serve` starts it"
    assert found["port"] == f"ok 127.0.0.1 port {port} is free"
    assert found["store"] == "ok not there yet; `gatehouse serve` makes it"
    assert found["disk"].startswith("ok ") or found["disk"].startswith("warn ")
    assert found["journal"].startswith("ok 0 B of at most 20.0 GiB")


def test_after_a_day_of_work(cli: Cli, data: Path) -> None:
    call = new_ids(1)[0]
    record(data, [(decision(call), outcome(call))])
    create_or_read_secret(DataDir(data).journal_hmac)
    assert cli("report").code == 0
    done = cli("doctor", GATEHOUSE_SERVER__PORT="0")
    assert done.code == 0, done.out
    found = lines(done.out)
    assert found["data directory"] == f"ok {data}"
    assert found["store"] == f"ok {data / 'store.db'} is readable"
    assert found["port"] == "ok any free one (server.port 0)"
    assert "secrets" not in found


def test_accounts_are_on_once_there_is_an_owner_unless_it_is_said_otherwise(cli: Cli, data: Path) -> None:
    data.mkdir(mode=0o700)
    founding.mark(DataDir(data))
    assert lines(cli("doctor", GATEHOUSE_SERVER__PORT="0").out)["accounts"] == "ok on: callers need a gateway key"
    found = lines(cli("doctor", GATEHOUSE_SERVER__PORT="0", GATEHOUSE_AUTH__ENABLED="false").out)
    assert found["accounts"].startswith("warn off by auth.enabled, although there is an owner")


def test_wrong_configuration_does_not_hide_the_rest(cli: Cli, data: Path) -> None:
    data.mkdir(mode=0o755)
    done = cli("doctor", GATEHOUSE_SERVER__PORT="x", GATEHOUSE_NONSENSE="1")
    assert done.code == 1
    assert done.out.count("fail  configuration") == 2
    assert "GATEHOUSE_SERVER__PORT: server.port: is `x`" in done.out
    assert lines(done.out)["data directory"] == f"warn {data} is open to others (mode 0755)"
    assert f"→ chmod 700 {data}" in done.out


def test_a_directory_others_may_write_to_fails(cli: Cli, data: Path) -> None:
    data.mkdir()
    data.chmod(0o777)
    assert lines(cli("doctor").out)["data directory"] == f"fail {data} is open to others (mode 0777)"
    data.rmdir()
    data.write_text("")
    assert lines(cli("doctor").out)["data directory"] == f"fail {data} is no directory"


def test_a_secret_that_others_may_read_fails(cli: Cli, data: Path) -> None:
    directory = DataDir(data)
    directory.create()
    create_or_read_secret(directory.journal_hmac)
    directory.journal_hmac.chmod(0o644)
    done = cli("doctor")
    assert done.code == 1
    assert lines(done.out)["secrets"].startswith(f"fail the secret {directory.journal_hmac} is open to others")


def test_a_taken_port_fails(cli: Cli) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = cli("doctor", GATEHOUSE_SERVER__PORT=str(port))
    assert done.code == 1
    assert lines(done.out)["port"] == f"fail 127.0.0.1 port {port} cannot be listened on: Address already in use"


def test_certificates_are_tried(cli: Cli, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    self_signed(certificate, key)
    names = {"GATEHOUSE_SERVER__TLS_CERT": str(certificate), "GATEHOUSE_SERVER__TLS_KEY": str(key)}
    assert lines(cli("doctor", **names).out)["certificate"] == f"ok {certificate}"
    key.write_text("nonsense")
    assert lines(cli("doctor", **names).out)["certificate"].startswith("fail server.tls_cert and server.tls_key cannot")
    wrong = cli("doctor", GATEHOUSE_PROVIDERS__OPENAI__CA_FILE=str(tmp_path / "none.pem"))
    assert lines(wrong.out)["certificate"].startswith("fail providers.openai.ca_file cannot be used: ")


def test_a_journal_near_its_limit_warns(cli: Cli, data: Path) -> None:
    lane = data / "journal" / "lane"
    lane.mkdir(parents=True)
    (lane / "000001.jsonl").write_bytes(b"")
    os.truncate(lane / "000001.jsonl", 60 * 2**20)
    done = cli("doctor", GATEHOUSE_JOURNAL__MAX_BYTES=str(64 * 2**20))
    assert lines(done.out)["journal"] == "warn the journal holds 60.0 MiB of 64.0 MiB (journal.max_bytes)"
    assert "its oldest collected part is deleted" in done.out
    done = cli("doctor", GATEHOUSE_JOURNAL__MAX_BYTES=str(64 * 2**20), GATEHOUSE_JOURNAL__WHEN_FULL="refuse")
    assert "calls are refused" in done.out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_lane_that_cannot_be_read_fails(cli: Cli, data: Path) -> None:
    lane = data / "journal" / "lane"
    lane.mkdir(parents=True)
    lane.chmod(0)
    done = cli("doctor")
    lane.chmod(0o700)
    assert done.code == 1
    assert lines(done.out)["journal"] == f"fail cannot read {lane}: Permission denied"


def test_a_store_that_is_none_fails(cli: Cli, data: Path) -> None:
    data.mkdir(mode=0o700)
    (data / "store.db").write_text("this is not a database, and long enough to be looked at as one" * 100)
    done = cli("doctor")
    assert done.code == 1
    assert lines(done.out)["store"].startswith("fail ")


def test_too_many_connections_for_the_open_file_limit_warns(cli: Cli) -> None:
    done = cli("doctor", GATEHOUSE_LIMITS__CONNECTIONS=str(2**40))
    assert lines(done.out)["descriptors"].startswith(("warn ", "ok unlimited"))


def test_a_gateway_that_is_starting_is_no_failure(cli: Cli, data: Path) -> None:
    """The lock is held and nothing is announced yet."""
    directory = DataDir(data)
    directory.create()
    directory.lock.write_text("4242\n")
    hold = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(directory.lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holding:
        assert holding.stdout is not None
        assert holding.stdout.readline() == b"held\n"
        done = cli("doctor")
        holding.communicate(b"\n", timeout=10)
    assert lines(done.out)["running"] == "warn pid 4242 has the data directory, but is not ready"
    assert "port" not in lines(done.out)


@pytest.mark.parametrize("version", ["0.0.1"])
def test_json_of_another_release_is_not_ours(cli: Cli, data: Path, version: str) -> None:
    """A `serve.json` without the lock behind it is from a supervisor that was killed."""
    directory = DataDir(data)
    directory.create()
    serving = {"pid": 1, "host": "127.0.0.1", "port": 9, "url": "http://127.0.0.1:9", "version": version}
    directory.serving.write_text(json.dumps(serving))
    assert lines(cli("doctor").out)["running"] == "ok no: `gatehouse serve` starts it"
