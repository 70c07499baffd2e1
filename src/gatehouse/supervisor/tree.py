"""The running tree of processes: starts them, restarts the dead, stops them in order. One poll loop, no threads.

Phases: SERVING, from the first start on, until a signal or a failed first start; then WORKERS, in which they finish
their calls; then CONTROL, in which it collects what they wrote; then OVER. A dead child is started again only while
SERVING. Every phase after it has a deadline, at which what is left is killed.

Every wake-up, whatever its reason, looks at everything (`_look`): there are at most a few hundred children, and
wake-ups are rare. So no event can be missed by having been reported for another reason.
"""

from __future__ import annotations

import enum
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from gatehouse.supervisor.child import Child
from gatehouse.supervisor.failure import StartError
from gatehouse.supervisor.signals import Signals

KILL_MARGIN: Final = 4.0
"""Seconds beyond the grace: a worker ends its calls at the grace, then writes their outcomes and sends its last bytes.

Also how long a killed process may take to be gone.
"""

HURRIED_CONTROL: Final = 3.0
"""Seconds control gets after a second Ctrl-C."""

KEEP_SECONDS: Final = 2.0
"""How often it is looked, at the least, whether what children need is still there."""


@dataclass(frozen=True)
class Patience:
    """Seconds: `ready` from a start to its `ready`; `grace` for running calls; `collect` for control at the end."""

    ready: float
    grace: float
    collect: float


class Phase(enum.Enum):
    SERVING = enum.auto()
    WORKERS = enum.auto()
    CONTROL = enum.auto()
    OVER = enum.auto()


class Tree:
    """`control` and `workers`, not started yet. `all_ready` is called once, when all are ready for the first time;
    `keep` again and again while serving, and before a child is started; `ending` once, before the workers are told to
    end; `log` with one line at a time."""

    def __init__(
        self,
        control: Child,
        workers: Sequence[Child],
        patience: Patience,
        *,
        all_ready: Callable[[], None],
        keep: Callable[[], None],
        ending: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        self._control = control
        self._workers = list(workers)
        self._children = [control, *workers]
        self._patience = patience
        self._all_ready = all_ready
        self._keep = keep
        self._ending = ending
        self._log = log
        self._phase = Phase.SERVING
        self._deadline = 0.0
        self._killed = False
        self._announced = False
        self._hurried = False
        self._failure: StartError | None = None
        self._hangs_up = _has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN

    def run(self) -> None:
        """Start all, and return when all have ended after SIGTERM or SIGINT. Main thread only.

        Raises `StartError` if a child did not become ready at its first start; all have ended then, too.
        """
        with (
            Signals((signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)) as signals,
            selectors.DefaultSelector() as selector,
        ):
            selector.register(signals.fd, selectors.EVENT_READ)
            try:
                for child in self._children:
                    if self._phase is Phase.SERVING:
                        self._start(child)
                while self._phase is not Phase.OVER:
                    self._wait(selector)
                    for number in signals.take():
                        self._signalled(number)
                    self._look(time.monotonic())
            finally:
                # Only where something was raised is there anything left to kill.
                for child in self._children:
                    child.kill()
                    child.close()
        if self._failure:
            raise self._failure

    def _wait(self, selector: selectors.BaseSelector) -> None:
        """Until a signal, a word from a starting child, or the next deadline."""
        starting = [child.ready_fd for child in self._children if child.ready_fd is not None]
        for descriptor in starting:
            selector.register(descriptor, selectors.EVENT_READ)
        moments = [child.restart_at for child in self._children if child.restart_at is not None]
        moments += [child.started_at + self._patience.ready for child in self._children if child.starting]
        now = time.monotonic()
        moments = [*moments, now + KEEP_SECONDS] if self._phase is Phase.SERVING else [self._deadline]
        selector.select(max(0.0, min(moments) - now))
        for descriptor in starting:
            selector.unregister(descriptor)

    def _signalled(self, number: int) -> None:
        if number == signal.SIGHUP and not self._hangs_up:
            self._log("SIGHUP is ignored: settings are read at the start only")
        elif number in {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}:
            if self._phase is Phase.SERVING:
                self._log(
                    f"stopping after {signal.Signals(number).name}; running calls may finish within "
                    f"{self._patience.grace:g} s (Ctrl-C again cuts them)"
                )
                self._stop_workers()
            elif number == signal.SIGINT:
                self._hurry()

    def _look(self, now: float) -> None:
        """Bring the state up to date with what the processes did, and act on it."""
        for child in self._children:
            if failure := child.hear():
                self._cannot_start(child, failure)
            if how := child.ended():
                self._has_ended(child, how, now)
        if os.getpid() == 1:
            self._reap_strangers()
        if self._phase is Phase.SERVING:
            self._serve(now)
        else:
            self._finish(now)

    def _serve(self, now: float) -> None:
        self._keep()
        for child in self._children:
            if self._phase is not Phase.SERVING:
                return
            if child.restart_at is not None and now >= child.restart_at:
                self._start(child)
            elif child.starting and now >= child.started_at + self._patience.ready:
                self._cannot_start(child, f"not ready after {self._patience.ready:g} s")
        if self._phase is Phase.SERVING and not self._announced and all(c.ready and c.pid for c in self._children):
            self._announced = True
            self._all_ready()

    def _start(self, child: Child) -> None:
        now = time.monotonic()
        try:
            child.start(now)
        except OSError as error:
            self._cannot_start(child, f"cannot start {sys.executable}: {error.strerror}")
            child.postpone(now)

    def _cannot_start(self, child: Child, reason: str) -> None:
        """A child that never served ends everything; for another this is one more end to recover from."""
        child.kill()
        if child.served or self._phase is not Phase.SERVING:
            self._log(f"{child.name} cannot start: {reason}")
        else:
            self._failure = StartError(f"{child.name} cannot start: {reason}")
            self._stop_workers()

    def _has_ended(self, child: Child, how: str, now: float) -> None:
        if self._phase is Phase.SERVING and not child.served:
            self._cannot_start(child, f"it ended before it was ready ({how})")
        elif self._phase is Phase.SERVING:
            delay = child.postpone(now)
            self._log(f"{child.name} ended ({how}); starting it again in {delay:g} s")
        elif how != "exit status 0" and not child.doomed and not self._failure:
            self._log(f"{child.name} ended ({how}) while stopping")

    def _stop_workers(self) -> None:
        self._phase = Phase.WORKERS
        self._deadline = time.monotonic() + self._patience.grace + KILL_MARGIN
        self._ending()
        for child in self._workers:
            child.terminate()

    def _stop_control(self, now: float) -> None:
        self._phase = Phase.CONTROL
        self._killed = False
        self._deadline = now + (HURRIED_CONTROL if self._hurried else self._patience.collect)
        self._control.terminate()

    def _finish(self, now: float) -> None:
        """Go on to the next phase when the children of this one have ended, or were killed and still do not end."""
        left = [child for child in self._stopping() if child.pid is not None]
        if left and now < self._deadline:
            return
        if left and not self._killed:
            for child in left:
                self._log(f"{child.name} did not stop in time: killed")
            self._kill(left)
        elif self._phase is Phase.WORKERS:
            self._stop_control(now)
            self._finish(now)
        else:
            self._phase = Phase.OVER

    def _stopping(self) -> list[Child]:
        return self._workers if self._phase is Phase.WORKERS else [self._control]

    def _kill(self, children: Sequence[Child]) -> None:
        for child in children:
            child.kill()
        self._killed = True
        self._deadline = time.monotonic() + KILL_MARGIN

    def _hurry(self) -> None:
        """The second Ctrl-C: no grace for calls, and a short bound for control."""
        self._hurried = True
        if self._phase is Phase.WORKERS:
            self._kill(self._workers)
        elif self._phase is Phase.CONTROL:
            self._deadline = min(self._deadline, time.monotonic() + HURRIED_CONTROL)

    def _reap_strangers(self) -> None:
        """As the first process of a container we inherit every orphan in it."""
        ours = {child.pid for child in self._children}
        with suppress(ChildProcessError):
            while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and dead.si_pid not in ours:
                os.waitpid(dead.si_pid, 0)


def _has_terminal() -> bool:
    """Whether SIGHUP would mean that the terminal went away."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
