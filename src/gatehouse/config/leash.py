"""What ties a process to the one that started it: no process of Gatehouse outlives the supervisor, however it dies.

Here because the supervisor, which hands out leashes, stands above the children that hold them. Standard library only.

A child is told by argument which process is its parent, and inherits two descriptors: `alive_fd`, the read end of a
pipe whose write end only the supervisor has, and `ready_fd`, on which it says once that it serves or why it cannot.
Its `__main__` does, before anything slow:

    process = leash.WorkerProcess.parse(sys.argv[1:])
    leash.hold(process)

`hold` arms two independent triggers. On Linux the kernel kills the child the moment its parent dies
(PR_SET_PDEATHSIG; set by the child itself, since code between fork and exec can deadlock; the parent's id is compared
afterwards, which closes the gap before). Everywhere, a thread reads `alive_fd`: end of file means the supervisor is
gone, even for an event loop that hangs.

A child that starts a process of its own starts `command(...)`, from its main thread: PDEATHSIG fires when the
*thread* that started a process ends.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import resource
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

ORPHANED: Final = 86
"""Exit status of a process that found its parent gone. Nobody is left to read it; it shows in a trace."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_MESSAGE_BYTES: Final = 4000
"""Below PIPE_BUF of Linux, so that a line arrives whole."""


@dataclass(frozen=True, kw_only=True)
class ControlProcess:
    """The command line of `python -m gatehouse.control`; each field is a flag."""

    data: Path
    settings: Path
    alive_fd: int
    ready_fd: int
    load_fd: int
    """The memory of `config.loads`, for `slots` workers."""
    slots: int
    parent: int

    def arguments(self) -> list[str]:
        """The flags, as `parse` reads them."""
        return [
            word for field in dataclasses.fields(self) for word in (_flag(field.name), str(getattr(self, field.name)))
        ]

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Self:
        """From `sys.argv[1:]`: exactly the flags of the fields. Ends the process with a sentence otherwise."""
        fields = {_flag(field.name): field for field in dataclasses.fields(cls)}
        try:
            values: dict[str, Any] = {}
            for flag, value in zip(*[iter(arguments)] * 2, strict=True):
                values[fields[flag].name] = Path(value) if fields[flag].type == "Path" else int(value)
            return cls(**values)
        except (KeyError, ValueError, TypeError):
            raise SystemExit(f"expected {' '.join(fields)}, each with a value: `gatehouse serve` starts this") from None


@dataclass(frozen=True, kw_only=True)
class WorkerProcess(ControlProcess):
    """The command line of `python -m gatehouse.worker`."""

    listen_fd: int
    index: int


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def hold(process: ControlProcess) -> None:
    """Die with the parent from here on, and leave no core dump. Main thread, once, first thing.

    Does not return if the parent is gone already.
    """
    _die_with(process.parent)
    forbid_core_dumps()
    for field in dataclasses.fields(process):
        if field.name.endswith("_fd"):
            os.set_inheritable(getattr(process, field.name), False)
    threading.Thread(target=_watch, args=(process.alive_fd,), name="leash", daemon=True).start()


def say_ready(process: ControlProcess) -> None:
    """Tell the supervisor that this process serves. Once, instead of `say_failed`."""
    _say(process.ready_fd, "ready")


def say_failed(process: ControlProcess, message: str) -> None:
    """Tell the supervisor why this process cannot start: one sentence for the operator. The caller then exits."""
    _say(process.ready_fd, "failed: " + " ".join(message.split()))


def forbid_core_dumps() -> None:
    """A dump would hold keys and prompts. Also keeps other processes of this user from reading this one's memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # The limit alone is not looked at where core_pattern pipes dumps to a program (core(5)).
        _prctl(_PR_SET_DUMPABLE, 0)


def command(arguments: Sequence[str]) -> list[str]:
    """The command that runs `arguments` and has them killed when the calling process dies (Linux).

    Elsewhere the program ends with its process group, which the supervisor, or the caller's own leash, kills.
    """
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), str(os.getpid()), *arguments]


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(ORPHANED)


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0))) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def _watch(alive_fd: int) -> None:
    # Signals are the main thread's: one that arrived here would not interrupt what the main thread waits in.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    with suppress(OSError):
        while os.read(alive_fd, 64):
            pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(ORPHANED)


def _say(ready_fd: int, line: str) -> None:
    # A supervisor that is gone ends this process by other means.
    with suppress(BrokenPipeError):
        os.write(ready_fd, line.encode(errors="replace")[:_MESSAGE_BYTES] + b"\n")
    os.close(ready_fd)


def main() -> None:
    """`leash.py PARENT PROGRAM [ARGUMENT…]`: become PROGRAM, on a leash of PARENT. See `command`."""
    _die_with(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - the arguments come from `command`'s caller


if __name__ == "__main__":
    main()
