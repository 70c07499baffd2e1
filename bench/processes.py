"""Every process a benchmark starts: pinned to a core, measured through /proc, ended by pid whatever happens.

Rules: each child runs in its own session, so that Ctrl-C reaches only us; the kernel ends it if we die first
(PR_SET_PDEATHSIG); nothing is ever ended by name.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOAD_CORE = 0
"""Load generator, upstream, control and collector."""
WORK_CORE = 1
"""What is measured."""

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PR_SET_PDEATHSIG = 1
_STOP_SECONDS = 40.0


class BenchError(Exception):
    """A measurement that cannot be taken; the message says why and what to do."""


def start(
    command: Sequence[str],
    *,
    core: int | None = LOAD_CORE,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[str]:
    """Start a child. Its output goes to the file `log`; without one its standard output is a pipe for us to read."""
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if core is not None:
            os.sched_setaffinity(0, {core})

    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(log.open("ab")) if log is not None else None
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=sink if sink is not None else subprocess.PIPE,
            stderr=sink,
            text=True,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=prepare,
        )


@contextlib.contextmanager
def running(child: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """End the child and everything below it when the block is left."""
    try:
        yield child
    finally:
        end(child)


def end(child: subprocess.Popen[str]) -> None:
    """SIGTERM, then after a grace time SIGKILL, for the child and its descendants."""
    below = {pid: _started(pid) for pid in descendants(child.pid)}
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for pid, started in below.items():
        # The same pid may be somebody else's by now: only a process that started when ours did is ended.
        if started and _started(pid) == started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if child.stdout is not None:
        child.stdout.close()


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            children.setdefault(_parent(int(entry.name)), []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(0), [])
        found += below
        waiting += below
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def pin(pid: int, core: int, *, nice: int | None = None) -> None:
    """Put every thread of a running process on one core, and lower its priority."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {core})
            if nice is not None:
                os.setpriority(os.PRIO_PROCESS, int(task.name), nice)


def rss(pid: int) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads so far."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


@dataclass(frozen=True)
class Watched:
    """A process whose CPU time and memory a run reports."""

    name: str
    pid: int


def spent(watched: Sequence[Watched]) -> dict[int, float]:
    return {process.pid: cpu_seconds(process.pid) for process in watched}


def until(ready: Callable[[], bool], seconds: float, what: str, *, alive: subprocess.Popen[str] | None = None) -> None:
    """Poll for something another process does; fails when time is up or that process has ended."""
    deadline = time.monotonic() + seconds
    while not ready():
        if alive is not None and alive.poll() is not None:
            raise BenchError(f"{what}: the process ended with {alive.returncode}")
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {seconds:g} s")
        time.sleep(0.005)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat after the command's name, which may hold spaces and parentheses."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError as error:
        raise BenchError(f"process {pid} ended during the measurement") from error


def _parent(pid: int) -> int:
    try:
        return int(_stat(pid)[1])
    except BenchError:
        return -1


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty if there is none."""
    try:
        return _stat(pid)[19]
    except BenchError:
        return ""
