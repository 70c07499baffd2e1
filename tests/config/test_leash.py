"""The child's side of the leash, and its command line."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gatehouse.config import leash
from gatehouse.config.leash import ControlProcess, WorkerProcess

PROCESS = ControlProcess(
    data=Path("/a b"), settings=Path("/a b/run/settings"), alive_fd=5, ready_fd=6, load_fd=9, slots=2, parent=7
)


def test_command_line_round_trip() -> None:
    worker = WorkerProcess(**dataclasses.asdict(PROCESS), listen_fd=8, index=1)
    assert ControlProcess.parse(PROCESS.arguments()) == PROCESS
    assert WorkerProcess.parse(worker.arguments()) == worker
    assert worker.arguments()[:2] == ["--data", "/a b"]


@pytest.mark.parametrize("spoil", [["--more", "1"], ["--parent"], ["--parent", "x"]])
def test_command_line_errors(spoil: list[str]) -> None:
    with pytest.raises(SystemExit, match="--ready-fd.*gatehouse serve"):
        ControlProcess.parse(PROCESS.arguments() + spoil)
    with pytest.raises(SystemExit, match="--listen-fd"):
        WorkerProcess.parse(PROCESS.arguments())


def run(code: str, parent: int, alive_fd: int, ready_fd: int) -> subprocess.Popen[bytes]:
    process = dataclasses.replace(PROCESS, parent=parent, alive_fd=alive_fd, ready_fd=ready_fd, load_fd=alive_fd)
    prelude = "import os, sys, time; from gatehouse.config import leash; p = leash.ControlProcess.parse(sys.argv[1:]); "
    return subprocess.Popen(
        [sys.executable, "-P", "-c", prelude + code, *process.arguments()],
        pass_fds=(alive_fd, ready_fd),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def test_a_parent_that_is_gone_already() -> None:
    """The gap between a child's start and its PDEATHSIG."""
    ours, theirs = os.pipe()
    with run("leash.hold(p); print('held')", os.getpid() + 1, ours, theirs) as child:
        assert child.communicate(timeout=10)[0] == b""
        assert child.returncode == leash.ORPHANED
    os.close(ours)
    os.close(theirs)


def test_end_of_the_alive_pipe_kills_the_group() -> None:
    """What macOS has alone: also with a main thread that does nothing but hang, and a process it started."""
    alive, kept = os.pipe()
    code = (
        "import subprocess; subprocess.Popen(['sleep', '60']); leash.hold(p); print('held', flush=True); time.sleep(60)"
    )
    ready, said = os.pipe()
    with run(code, os.getpid(), alive, said) as child:
        assert child.stdout
        assert child.stdout.readline() == b"held\n"
        os.close(kept)
        # Both held it.
        assert child.stdout.read() == b""
        assert child.wait(30) == -signal.SIGKILL
    for descriptor in (alive, ready, said):
        os.close(descriptor)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("leash.say_ready(p)", b"ready\n"),
        ("leash.say_failed(p, 'first line\\nsecond')", b"failed: first line second\n"),
        ("leash.say_failed(p, 'x' * 9999)", b"failed: " + b"x" * 3992 + b"\n"),
    ],
)
def test_what_a_child_says(code: str, line: bytes) -> None:
    alive, kept = os.pipe()
    ready, said = os.pipe()
    with run("leash.hold(p); " + code, os.getpid(), alive, said) as child:
        os.close(said)
        with open(ready, "rb") as file:
            assert file.read() == line
        assert child.wait(30) == 0
    os.close(kept)
    os.close(alive)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_DUMPABLE")
def test_memory_is_closed_to_others_and_descriptors_are_not_passed_on() -> None:
    alive, kept = os.pipe()
    ready, said = os.pipe()
    get_dumpable = "__import__('ctypes').CDLL(None).prctl(3, 0, 0, 0, 0)"
    code = f"leash.hold(p); print({get_dumpable}, *map(os.get_inheritable, (p.alive_fd, p.ready_fd)))"
    with run(code, os.getpid(), alive, said) as child:
        output, _ = child.communicate(timeout=10)
        assert output.split() == [b"0", b"False", b"False"]
    for descriptor in (alive, kept, ready, said):
        os.close(descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="PDEATHSIG")
def test_a_leashed_command_dies_with_who_started_it() -> None:
    code = (
        "import os, subprocess, sys; from gatehouse.config import leash;"
        "subprocess.Popen(leash.command([sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(60)']));"
        "import time; time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"1\n"
        parent.kill()
        # Held by the command, too.
        assert parent.stdout.read() == b""
