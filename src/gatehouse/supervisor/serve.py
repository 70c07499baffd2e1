"""`gatehouse serve`, below the command line: takes the data directory and the port, runs the tree, puts all back.

The order is the point: the lock before anything in the directory is touched, the listener before any process is
started, and on the way out the reverse. Standard library only: this process stays small and starts fast.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from gatehouse import __version__
from gatehouse.config.leash import ControlProcess, WorkerProcess
from gatehouse.config.loads import Loads
from gatehouse.config.paths import DataDir, create_or_read_secret
from gatehouse.errors import ConfigError
from gatehouse.supervisor.child import Child
from gatehouse.supervisor.failure import StartError
from gatehouse.supervisor.kept import Kept
from gatehouse.supervisor.listener import listen, refuse
from gatehouse.supervisor.lock import lock
from gatehouse.supervisor.serving import Serving, local_url
from gatehouse.supervisor.tree import Patience, Tree

_OPEN_MAX: Final = 10_240
"""What macOS grants at most while it names its hard limit `unlimited`."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `serve` needs to know. Times are in seconds."""

    data: DataDir
    settings: bytes
    """Handed to the children in a file, as they are."""
    host: str
    port: int
    workers: int
    grace_seconds: float
    on_ready: Callable[[Serving], None]
    """Called once, in this process, when every child is ready for the first time."""
    tls: bool = False
    """Whether the workers speak TLS on the listener; only for the URL."""
    ready_seconds: float = 60.0
    """From a child's start to its `ready`."""
    collect_seconds: float = 10.0
    """How long control may collect after the last worker has ended."""
    control_module: str = "gatehouse.control"
    worker_module: str = "gatehouse.worker"


def main(options: Options) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Main thread only.

    0: stopped as asked. 1: could not start. 2: the data directory is not usable. The reason stands on stderr.
    """
    try:
        _serve(options)
    except StartError as error:
        _log(str(error))
        return 1
    except ConfigError as error:
        _log(str(error))
        return 2
    return 0


def _serve(options: Options) -> None:
    data = options.data
    with ExitStack() as stack:
        _occupy_standard_descriptors()
        data.create()
        stack.callback(os.close, lock(data))
        _raise_descriptor_limit()
        try:
            _empty(data)
            stack.callback(_empty, data)
            kept = Kept(data, _log)
            kept.write(data.settings, options.settings)
            kept.keep(data.local_token, create_or_read_secret(data.local_token))
            loads = Loads.create(options.workers)
            stack.callback(os.close, loads.fd)
        except OSError as error:
            raise StartError(f"cannot write to {data.run}: {error.strerror}") from error
        listener = stack.enter_context(closing(listen(options.host, options.port)))
        # Nobody writes to this pipe. That its write end closes when this process ends, however it ends, is the message.
        alive_fd, kept_fd = os.pipe()
        stack.callback(os.close, kept_fd)
        stack.callback(os.close, alive_fd)
        _tree(options, kept, listener, loads, alive_fd).run()


def _tree(options: Options, kept: Kept, listener: socket.socket, loads: Loads, alive_fd: int) -> Tree:
    data, parent = options.data, os.getpid()
    listen_fd, load_fd, slots = listener.fileno(), loads.fd, options.workers

    def control(ready_fd: int) -> ControlProcess:
        return ControlProcess(
            data=data.root,
            settings=data.settings,
            alive_fd=alive_fd,
            ready_fd=ready_fd,
            load_fd=load_fd,
            slots=slots,
            parent=parent,
        )

    def worker(index: int) -> Callable[[int], ControlProcess]:
        return lambda ready_fd: WorkerProcess(
            data=data.root,
            settings=data.settings,
            alive_fd=alive_fd,
            ready_fd=ready_fd,
            load_fd=load_fd,
            slots=slots,
            parent=parent,
            listen_fd=listen_fd,
            index=index,
        )

    return Tree(
        Child("control", options.control_module, control, (alive_fd, load_fd)),
        [
            Child(
                f"worker {index}",
                options.worker_module,
                worker(index),
                (alive_fd, listen_fd, load_fd),
                over=partial(loads.clear, index),
            )
            for index in range(options.workers)
        ],
        Patience(ready=options.ready_seconds, grace=options.grace_seconds, collect=options.collect_seconds),
        all_ready=partial(_announce, options, kept, listener),
        keep=kept.restore,
        ending=lambda: refuse(listener),
        log=_log,
    )


def _announce(options: Options, kept: Kept, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    url = local_url(host, port, tls=options.tls)
    serving = Serving(pid=os.getpid(), host=host, port=port, url=url, version=__version__)
    try:
        kept.write(options.data.serving, serving.encoded())
    except OSError as error:
        raise StartError(f"cannot write {options.data.serving}: {error.strerror}") from error
    options.on_ready(serving)


def _occupy_standard_descriptors() -> None:
    """Where stdin, stdout or stderr is closed, its number, and what is written to it, would go to a lock or socket."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _raise_descriptor_limit() -> None:
    """Children inherit it: a worker holds a descriptor per connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, _OPEN_MAX):
        if wanted != resource.RLIM_INFINITY and soft >= wanted:
            return
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return


def _empty(data: DataDir) -> None:
    """Remove what this `serve`, or an earlier one that was killed, left in `run`. Only with the lock."""
    with suppress(FileNotFoundError):  # somebody else cleans up, too
        for path in data.run.iterdir():
            if not path.is_dir() or path.is_symlink():
                path.unlink(missing_ok=True)


def _log(line: str) -> None:
    # A terminal that went away must not take the gateway with it. Not sys.stderr: that is None if it was closed.
    with suppress(OSError):
        os.write(2, f"gatehouse: {line}\n".encode(errors="backslashreplace"))
