"""The command line against a real gateway that runs: O5, and reading beside a running collector."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gatehouse import __version__
from tests.cli.certificates import self_signed
from tests.cli.conftest import Cli, Result
from tests.running import Gateway, gateway

BODY = b'{"model":"simulated","messages":[{"role":"user","content":"Hello"}]}'


NOBODY = {name: {"base_url": "http://127.0.0.1:9"} for name in ("openai", "anthropic", "google")}


@pytest.fixture(scope="module")
def house() -> Iterator[Gateway]:
    """Nobody listens where its providers should be."""
    with gateway({"providers": NOBODY, "timeouts": {"connect": 2}}) as running:
        yield running


Run = Callable[..., Result]


@pytest.fixture
def run(cli: Cli, house: Gateway) -> Run:
    """A command line on the gateway's data directory, in this process."""
    return lambda *arguments: cli(*arguments, GATEHOUSE_DATA=str(house.data), GATEHOUSE_CONFIG=str(house.config))


def call(house: Gateway) -> str:
    """A call that is on record and in the store; its id."""
    status, headers, _ = house.call("POST", "/simulated/v1/chat/completions", BODY)
    assert status == 200
    house.stored(headers["x-gatehouse-id"])
    return headers["x-gatehouse-id"]


def greeted(house: Gateway) -> str:
    """What `serve` printed, once it is through: it announces itself to programs first."""
    deadline = time.monotonic() + 30
    while "Ctrl-C stops it." not in (said := house.said()):
        assert time.monotonic() < deadline, said
        time.sleep(0.01)
    return said


def test_the_greeting_is_printed_when_it_is_ready(house: Gateway) -> None:
    said = greeted(house)
    assert said.startswith(f"Gatehouse {__version__} listens on {house.url}\n  data           {house.data}\n")
    assert f"--data {house.data} --config {house.config}" in said


def test_a_second_serve_on_the_directory_names_the_first(house: Gateway) -> None:
    done = house.run("serve", "--port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"is in use by another gatehouse (pid {house.pid})" in done.stderr


def test_clients_find_the_running_gateway_whatever_its_port(run: Run, house: Gateway) -> None:
    assert f"export OPENAI_BASE_URL={house.url}/openai/v1;\n" in run("shell-init", "bash").out
    shown = house.run("wrap", "--", "printenv", "ANTHROPIC_BASE_URL")
    assert (shown.returncode, shown.stdout) == (0, f"{house.url}/anthropic\n")


def test_report_and_debug_read_beside_the_collector(run: Run, house: Gateway) -> None:
    call_id = call(house)
    report = json.loads(run("report", "--format", "json").out)
    assert report["calls"] >= 1
    assert "simulated" in {row["provider"] for row in report["rows"]}
    last = json.loads(run("debug", "last", "--format", "json").out)
    assert last["call"]["id"] == call_id
    assert last["call"] == house.get_json(f"/api/v1/traces/{call_id}")
    assert run("debug", call_id).out.startswith(f"{call_id}  ok  200  ")


def test_verify_beside_the_writers(run: Run, house: Gateway) -> None:
    call(house)
    done = run("verify")
    assert done.code == 0, done.out
    assert done.out.startswith(f"intact: {house.data}/journal\n")


def test_doctor_finds_nothing_wrong(run: Run, house: Gateway) -> None:
    done = run("doctor")
    assert done.code == 0, done.out
    for line in (
        f"ok    running        pid {house.pid} at {house.url}",
        "ok    control        connected",
        "ok    journal        connected",
        "ok    collector      connected, ",
        "ok    store          connected",
        f"ok    store          {house.data / 'store.db'} is readable",
    ):
        assert line in done.out


def test_doctor_from_a_clients_side(run: Run, house: Gateway) -> None:
    """The gateway does not reach its providers and says so; the doctor says whose fault it is."""
    done = run("doctor", "--url", house.url)
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[0].startswith(f"ok    reachable      Gatehouse {__version__} at {house.url} (control connected")
    assert lines[1].startswith("ok    simulated      a streamed call works (id ")
    assert lines[2].startswith("fail  OpenAI SDKs    base URL /openai/v1: the gateway refused (UPSTREAM_ERROR): ")
    unified = run("doctor", "--url", f"{house.url}/v1", "--key", "sk-proj-x")
    assert "base URL /v1: the gateway refused (NOT_FOUND): the unified API (/v1) needs accounts" in unified.out
    assert unified.code == 1


def test_the_greetings_own_commands_work(house: Gateway, tmp_path: Path) -> None:
    """As a newcomer would paste them into a shell."""
    commands = greeted(house).partition("no key needed:\n")[2].partition("\nAccounts")[0]
    curl = commands.partition("\nPoint")[0] if shutil.which("curl") else "true"
    hints = [line.strip() for line in commands.splitlines() if "gatehouse" in line and line.startswith("  ")]
    assert len(hints) == 3
    call(house)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    script = "set -e\n" + "\n".join([curl, *hints])
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "simulated" in done.stdout


def test_the_whole_way_over_tls(cli: Cli, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    self_signed(certificate, key)
    with gateway({"server": {"tls_cert": str(certificate), "tls_key": str(key)}}) as house:
        names = {"GATEHOUSE_DATA": str(house.data), "GATEHOUSE_CONFIG": str(house.config)}
        assert house.url.startswith("https://127.0.0.1:")
        assert f"export OPENAI_BASE_URL={house.url}/openai/v1;\n" in cli("shell-init", "bash", **names).out
        assert house.run("wrap", "--", "echo", "x").stdout == "x\n"
        local = cli("doctor", **names)
        assert local.code == 0, local.out
        assert "ok    control        connected" in local.out
        unknown = cli("doctor", "--url", house.url)
        assert unknown.code == 1
        assert "its certificate is not trusted" in unknown.out
        # The trust store is the process's own business: a process of its own.
        trusted = house.run("doctor", "--url", f"{house.url}/nowhere", env={"SSL_CERT_FILE": str(certificate)})
        assert "ok    simulated      a streamed call works" in trusted.stdout
