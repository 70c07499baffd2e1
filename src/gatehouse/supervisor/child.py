"""One child process through all its starts: spawning, readiness, its end, and how long to wait before the next start.

Nothing here decides or waits; `tree` does. A child is exec'd in its own session, so that Ctrl-C reaches the supervisor
alone and the whole group can be killed by the child's pid.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gatehouse.config.leash import ControlProcess

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 10.0
STEADY_AFTER: Final = 30.0
"""Seconds of life after which an end counts as the first one again."""

_LINE_BYTES: Final = 8192


class Backoff:
    """Delay before a restart: 0.1 s, doubling to 10 s, from the start again after 30 s of life."""

    def __init__(self) -> None:
        self._next = FIRST_DELAY

    def after(self, lived: float) -> float:
        """Seconds to wait now that the process has ended, `lived` seconds after its start."""
        delay = FIRST_DELAY if lived >= STEADY_AFTER else self._next
        self._next = min(delay * 2, LONGEST_DELAY)
        return delay


class Child:
    """`name` as in the log; `module` is run as `python -m`; `arrange` makes its flags, given the ready descriptor.
    `over` is called when the process has ended, while its id still belongs to it: before it is reaped.

    State: `pid` while it runs; `ready` once this process said so, `served` once any did; `doomed` once it was killed;
    `restart_at` while it waits to be started again. Times are those of `time.monotonic`, passed in.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arrange: Callable[[int], ControlProcess],
        shared: tuple[int, ...],
        over: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.ready = False
        self.served = False
        self.doomed = False
        self.ready_fd: int | None = None
        self.restart_at: float | None = None
        self.started_at = 0.0
        self._module = module
        self._arrange = arrange
        self._shared = shared
        self._over = over
        self._backoff = Backoff()
        self._said = b""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """`None` while it does not run."""
        return self._process.pid if self._process else None

    @property
    def starting(self) -> bool:
        """It runs, and has yet to say whether it serves."""
        return self.pid is not None and not self.ready and not self.doomed

    def start(self, now: float) -> None:
        """Start the process. Raises `OSError`."""
        self.ready = self.doomed = False
        self._said, self.restart_at, self.started_at = b"", None, now
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        try:
            # -P: the working directory must not shadow modules. No -I: how gatehouse was found must find it again.
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", self._module, *self._arrange(theirs).arguments()],
                stdin=subprocess.DEVNULL,
                pass_fds=(*self._shared, theirs),
                start_new_session=True,
                umask=0o077,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self.ready_fd = ours

    def hear(self) -> str | None:
        """Read what it said on its ready descriptor, after that became readable.

        Sets `ready`, or returns the message of a child that cannot start.
        """
        if self.ready_fd is None:
            return None
        try:
            piece = os.read(self.ready_fd, _LINE_BYTES)
        except BlockingIOError:
            return None
        self._said += piece
        line, newline, _ = self._said.partition(b"\n")
        if piece and not newline and len(line) < _LINE_BYTES:
            return None
        self.close()
        if newline and line == b"ready":
            self.ready = self.served = True
        elif newline and line.startswith(b"failed: "):
            return line.removeprefix(b"failed: ").decode(errors="replace")
        return None

    def ended(self) -> str | None:
        """How the process ended, once, if it did: `exit status 3`, `killed by SIGKILL`. Ends its whole group, too."""
        process = self._process
        if process is None or not _is_over(process):
            return None
        # The group first: as long as its leader is not reaped, the id cannot belong to anybody else.
        self.kill()
        self._over()
        status = process.wait()
        self._process = None
        self.close()
        return f"exit status {status}" if status >= 0 else f"killed by {_signal_name(-status)}"

    def postpone(self, now: float) -> float:
        """Note when to start it again, after `ended`; returns the delay in seconds."""
        delay = self._backoff.after(now - self.started_at)
        self.restart_at = now + delay
        return delay

    def terminate(self) -> None:
        """SIGTERM to the process, if it runs."""
        if self._process:
            # Not Popen.send_signal: it may reap. The pid is ours until `ended` reaps.
            os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to its process group, if it runs."""
        self.doomed = True
        if self._process:
            # PermissionError: macOS, for a group of which only zombies are left.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the ready descriptor."""
        if self.ready_fd is not None:
            os.close(self.ready_fd)
            self.ready_fd = None


def _is_over(process: subprocess.Popen[bytes]) -> bool:
    if sys.platform == "darwin":
        # No waitid(2) in Python 3.11 there: this reaps, and the group is killed a moment later.
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
