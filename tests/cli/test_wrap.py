"""O5: the wrapped command is the process: its environment, output, exit code, signals. I3: no secret of ours."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.listeners import HEALTHY, Listener, Reply, listening

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.fixture
def gateway() -> Iterator[Listener]:
    with listening({"/health": HEALTHY}) as listener:
        yield listener


def wrap(
    folder: Path, *arguments: str, url: str = "http://127.0.0.1:9", **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gatehouse", "wrap", *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "GATEHOUSE_SERVER__PORT": url.rpartition(":")[2], **environ},
        capture_output=True,
        text=True,
        timeout=30,
        cwd=folder,
    )


def test_the_environment_of_the_command(tmp_path: Path, gateway: Listener) -> None:
    done = wrap(
        tmp_path,
        "--",
        sys.executable,
        "-c",
        SHOW,
        url=gateway.url,
        OPENAI_API_KEY="sk-mine",
        OPENAI_BASE_URL="https://api.openai.com/v1",
        GATEHOUSE_DATA=str(tmp_path / "data"),
        GATEHOUSE_DATABASE__URL=f"sqlite:///{tmp_path}/secret.db",
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["OPENAI_BASE_URL"] == seen["OPENAI_API_BASE"] == f"{gateway.url}/openai/v1"
    assert seen["ANTHROPIC_BASE_URL"] == f"{gateway.url}/anthropic"
    assert seen["GOOGLE_GEMINI_BASE_URL"] == f"{gateway.url}/google"
    assert seen["OPENAI_API_KEY"] == "sk-mine"
    assert {name for name in seen if name.startswith("GATEHOUSE_")} == {"GATEHOUSE_DATA"}


def test_exit_codes_are_passed_on(tmp_path: Path, gateway: Listener) -> None:
    assert wrap(tmp_path, "--", "sh", "-c", "exit 7", url=gateway.url).returncode == 7
    assert wrap(tmp_path, "--", "sh", "-c", "kill -TERM $$", url=gateway.url).returncode == -signal.SIGTERM
    missing = wrap(tmp_path, "--", "no-such-command-at-all", url=gateway.url)
    assert (missing.returncode, missing.stdout) == (127, "")
    assert missing.stderr == "Error: cannot run no-such-command-at-all: No such file or directory\n"
    (tmp_path / "plain").write_text("x")
    assert wrap(tmp_path, "--", "./plain", url=gateway.url).returncode == 126


def test_the_commands_own_options_are_its_own(tmp_path: Path, gateway: Listener) -> None:
    assert wrap(tmp_path, "--", "echo", "--config", "x", "--help", url=gateway.url).stdout == "--config x --help\n"
    assert wrap(tmp_path, "echo", "--no-check", "--", "y", url=gateway.url).stdout == "--no-check -- y\n"


def test_a_reader_that_leaves_ends_the_command(tmp_path: Path, gateway: Listener) -> None:
    """Python ignores SIGPIPE; the command must not inherit that: `yes` would complain, or never end."""
    command = f"{sys.executable} -m gatehouse wrap -- yes | head -1"
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GATEHOUSE_SERVER__PORT": gateway.url.rpartition(":")[2]},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == f"y\n{128 + signal.SIGPIPE}\n"
    assert done.stderr == ""


def test_no_gateway_is_said_before_anything_runs(tmp_path: Path) -> None:
    done = wrap(tmp_path, "--", "touch", str(tmp_path / "ran"))
    assert done.returncode == 1
    assert "no gateway answers at http://127.0.0.1:9" in done.stderr
    assert "`gatehouse serve`" in done.stderr
    assert not (tmp_path / "ran").exists()
    assert wrap(tmp_path, "--no-check", "--", "echo", "x").stdout == "x\n"


@pytest.mark.parametrize("reply", [Reply(200, {"server": "nginx"}, (b"<html>",)), Reply(404), Reply(200, {}, (b"[]",))])
def test_something_else_on_the_port(tmp_path: Path, reply: Reply) -> None:
    with listening({}, reply) as other:
        done = wrap(tmp_path, "--", "echo", "x", url=other.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"what answers at {other.url} is not a Gatehouse (status {reply.status})" in done.stderr


def test_a_gateway_without_its_control_plane_still_serves(tmp_path: Path) -> None:
    """`/health` is 503 then, and calls go on."""
    down = Reply(503, {}, (b'{"status":"unhealthy","services":{"control":"down"}}',))
    with listening({"/health": down}) as gateway:
        assert wrap(tmp_path, "--", "echo", "x", url=gateway.url).stdout == "x\n"
