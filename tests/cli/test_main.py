"""Exit codes, lazy loading and quiet ends: what every command has in common."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gatehouse import __version__
from gatehouse.cli.main import COMMANDS
from tests.cli.conftest import Cli


def test_help_lists_every_command_without_importing_one() -> None:
    code = (
        "import sys; from gatehouse.cli.main import run; run(['--help'], {});"
        "print([m for m in sys.modules if m.startswith('gatehouse.cli.') and m != 'gatehouse.cli.main'],"
        " [m for m in ('yaml', 'msgspec', 'rich', 'httpx2', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    for name, (_, line) in COMMANDS.items():
        assert f"  {name:<12}{line}" in done.stdout
    assert done.stdout.splitlines()[-1] == "[] []"


def test_version_loads_nothing_heavy_and_is_quick() -> None:
    """The aim is 0.15 s; the bound here is loose, for a busy machine."""
    code = (
        "import sys; from gatehouse.cli.main import run; run(['version'], {});"
        "print([m for m in ('yaml', 'msgspec', 'rich', 'httpx2', 'sqlalchemy', 'asyncio') if m in sys.modules])"
    )
    took = []
    for _ in range(3):
        start = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
        took.append(time.monotonic() - start)
    assert done.stdout == f"gatehouse {__version__}\n[]\n"
    assert min(took) < 1.0


def test_module_and_script_are_the_same_program() -> None:
    script = Path(sys.executable).with_name("gatehouse")
    for command in ([sys.executable, "-m", "gatehouse"], [str(script)]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=30)
        assert done.stdout == f"gatehouse {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(cli: Cli, name: str) -> None:
    done = cli(name, "--help")
    assert done.code == 0
    assert done.out.startswith(f"Usage: gatehouse {name}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["version", "--nonsense"],
        ["serve", "--port", "x"],
        ["report", "--since", "yesterday-ish"],
        ["debug"],
        ["wrap"],
        ["shell-init", "tcsh"],
        ["doctor", "--key", "x"],
        ["doctor", "--url", "localhost:8080"],
    ],
)
def test_wrong_usage_is_2(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.code == 2
    assert "Usage: gatehouse" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("name", ["serve", "shell-init", "report", "debug", "config"])
def test_wrong_configuration_is_2_with_a_line_per_problem(cli: Cli, name: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text('server:\n  prot: 1\n"a\\e[31mb": 2\n')
    arguments = {"debug": ["debug", "last"], "config": ["config", "show"]}.get(name, [name])
    done = cli(*arguments, "--config", str(file))
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == [
        f"Error: {file}:2: server.prot: is no known key; did you mean `port`?",
        f"Error: {file}:3: a�[31mb: is no known key; keys are profile, server, limits, timeouts, routes, pool, "
        "providers, metering, prices, journal, database, capture, redis, cors, auth, sso, secrets, callouts, "
        "simulated",
    ]


def test_problems_with_built_in_providers_name_their_place(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "g.yaml"
    file.write_text(
        "providers:\n  groq:\n    prefix: /openai\n  mine: {}\n"
        "prices:\n  models:\n    - {provider: mien, model: x, input: 1}\n"
    )
    done = cli("config", "validate", str(file))
    assert done.code == 2
    assert f"Error: {file}:3: providers.groq.prefix: /openai is already the route of provider openai\n" in done.err
    assert f"Error: {file}:4: providers.mine.base_url: is missing" in done.err
    assert f"Error: {file}:7: prices.models[0].provider: no provider is called `mien`; did you mean mine?" in done.err


def test_a_broken_pipe_is_quiet(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m gatehouse config show | head -1"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == "# no configuration file\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["key", "show", "\udcff\udcfe"],
        ["project", "create", "a\udcff"],
        ["debug", "\udcff"],
        ["report", "--by", "\udcff"],
        ["wrap\udcff"],
    ],
)
def test_arguments_that_are_no_text_are_refused(cli: Cli, data: Path, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch("Error: the argument .*\N{REPLACEMENT CHARACTER}+ is not UTF-8\n", done.err)
    assert not data.exists()


def test_what_is_written_to_a_file_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    """So that what `export` wrote can be applied, and JSON be read."""
    file = tmp_path / "ü – ….yaml"
    file.write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "gatehouse", "config", "show", "--config", str(file)],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "ü – ….yaml" in done.stdout.decode()


def test_a_full_disk_under_the_output_is_said(data: Path) -> None:
    command = [sys.executable, "-m", "gatehouse", "config", "show", "--data", str(data)]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: what there is to say cannot be written: No space left on device; what was done is done\n"
    )


def test_a_closed_stdout_is_no_failure(tmp_path: Path) -> None:
    command = ["bash", "-c", f"exec {sys.executable} -m gatehouse version >&-"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_is_130_and_quiet(tmp_path: Path) -> None:
    """While `doctor` waits for a key that nobody writes."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    arguments = [sys.executable, "-m", "gatehouse", "doctor", "--url", "http://127.0.0.1:9", "--key-file", str(pipe)]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_listen_to_ctrl_c
    ) as process:
        writer = _open_once_read(pipe)
        try:
            _wait_until_asleep(process)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
            os.close(writer)
    assert process.returncode == 130
    assert (out, err.strip()) == (b"", b"")


def _listen_to_ctrl_c() -> None:
    """As a shell's foreground job does: what runs in the background is started with SIGINT ignored, and so are we."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _open_once_read(pipe: Path) -> int:
    """The write end, as soon as somebody reads."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def _wait_until_asleep(process: subprocess.Popen[bytes]) -> None:
    """In its read: CPython only notes a signal that comes just before a call to the kernel, and then waits in that."""
    deadline = time.monotonic() + 30
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nothing_is_written_where_a_command_only_looks(cli: Cli, data: Path) -> None:
    for arguments in (
        ["config", "show"],
        ["config", "validate"],
        ["shell-init"],
        ["doctor"],
        ["report"],
        ["debug", "last"],
    ):
        cli(*arguments)
        assert not data.exists(), arguments
    assert os.listdir(data.parent) == []
