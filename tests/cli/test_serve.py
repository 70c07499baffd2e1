"""O1: one command; what cannot start says why in one sentence, before any process is started."""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from gatehouse import __version__
from gatehouse.cli.options import set_up
from gatehouse.cli.serve import greeting, program
from gatehouse.config.paths import DataDir
from tests.cli.conftest import Cli


def serve(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gatehouse", "serve", "--data", str(data), *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": str(data.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        cwd=data.parent,
    )


def test_a_taken_port_names_the_flag(data: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = serve(data, "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert f"port {port} on 127.0.0.1 is taken; choose another with --port" in done.stderr


def test_a_listener_for_everybody_needs_insecure(data: Path) -> None:
    done = serve(data, "--host", "0.0.0.0")  # noqa: S104
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: --host: server.host: can be reached from other machines")
    assert "--insecure" in done.stderr
    assert not data.exists()


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--port", "70000", "Error: --port: server.port: is `70000`; must be a whole number from 0 to 65535"),
        ("--workers", "0", "Error: --workers: server.workers: is `0`; must be a whole number from 1 to 256"),
        ("--host", "http://x", "Error: --host: server.host: is no address or host name"),
    ],
)
def test_wrong_flags_name_the_flag(cli: Cli, flag: str, value: str, says: str) -> None:
    done = cli("serve", flag, value)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(says)


def test_a_data_directory_that_is_not_usable_is_2(data: Path) -> None:
    data.mkdir()
    data.chmod(0o777)
    done = serve(data, "--port", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"the directory {data} is writable by others" in done.stderr


def test_the_greeting_says_where_and_what_next(tmp_path: Path) -> None:
    setup = set_up({"GATEHOUSE_DATA": str(tmp_path)}, None, None)
    text = greeting(setup, "http://127.0.0.1:8080", "gatehouse", "")
    assert text.splitlines()[:3] == [
        f"Gatehouse {__version__} listens on http://127.0.0.1:8080",
        f"  data           {tmp_path}",
        "  configuration  defaults (no gatehouse.yaml)",
    ]
    curl = text.partition("no key needed:\n")[2].partition("\nPoint")[0].replace("\\\n", " ")
    assert shlex.split(curl) == [
        "curl",
        "http://127.0.0.1:8080/simulated/v1/chat/completions",
        "-H",
        "content-type: application/json",
        "-d",
        '{"model": "simulated", "messages": [{"role": "user", "content": "Hello"}]}',
    ]
    assert '  eval "$(gatehouse shell-init)"' in text
    elsewhere = greeting(setup, "http://127.0.0.1:1", "gatehouse", " --data 'my data'")
    assert "  gatehouse report --data 'my data'\n" in elsewhere
    off = set_up({"GATEHOUSE_DATA": str(tmp_path), "GATEHOUSE_SIMULATED__ENABLED": "false"}, None, None)
    assert "curl" not in greeting(off, "http://127.0.0.1:1", "gatehouse", "")


def test_hints_name_the_program_as_it_can_be_called(tmp_path: Path) -> None:
    """`make serve` runs `.venv/bin/gatehouse`, which is not on anybody's PATH."""
    script = tmp_path / "gatehouse"
    script.write_text("")
    script.chmod(0o755)
    assert program(str(script), {"PATH": str(tmp_path)}) == "gatehouse"
    assert program(str(script), {"PATH": "/nowhere"}) == str(script)
    assert program(".venv/bin/gatehouse", {}) == ".venv/bin/gatehouse"
    assert program("/x/gatehouse/__main__.py", {}) == f"{shlex.quote(sys.executable)} -m gatehouse"


def test_the_environment_makes_the_owner_once_and_no_child_sees_it(data: Path) -> None:
    """Create, never reset; from then on accounts are on."""
    secret = "correct horse battery"
    process = subprocess.Popen(
        [sys.executable, "-m", "gatehouse", "serve", "--data", str(data), "--port", "0"],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(data.parent),
            "GATEHOUSE_OWNER_EMAIL": "owner@example.com",
            "GATEHOUSE_OWNER_PASSWORD": secret,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said: list[str] = []
        while not said or "Ctrl-C stops it." not in said[-1]:
            said.append(process.stdout.readline())
            assert said[-1], said
        assert "/api/v1/setup#" not in "".join(said)  # there is an owner
        assert DataDir(data).accounts.exists() and not DataDir(data).setup.exists()
        if Path("/proc/self/task").exists():
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert len(children) >= 2
            for child in children:
                with suppress(PermissionError):  # a child made itself untraceable; root sees it all the same
                    assert secret.encode() not in Path(f"/proc/{child}/environ").read_bytes()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert secret not in errors
    finally:
        process.kill()
        process.communicate()
