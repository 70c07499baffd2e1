"""What the small real children of these tests do. The supervisor's settings, which it does not read, say which."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gatehouse.config import leash
from gatehouse.config.leash import ControlProcess


def begin(process: ControlProcess, name: str) -> dict[str, Any]:
    """Hold the leash and behave as settings say up to readiness; returns what is left to do when stopped.

    Keys below the child's name: `failed` a message, `exit` a status, `mute`, `again` the same for every start but the
    first; `grandchild` "leashed" or "wild"; `stop` seconds to take after SIGTERM, or "never".
    """
    leash.hold(process)
    behaviour: dict[str, Any] = json.loads(process.settings.read_bytes()).get(name, {})
    first = _count_start(process.data / f"starts-{name.replace(' ', '-')}") == 1
    before_ready = behaviour if first else behaviour.get("again", {})
    if "grandchild" in behaviour:
        _start_grandchild(behaviour["grandchild"])
    if "failed" in before_ready:
        leash.say_failed(process, before_ready["failed"])
        time.sleep(60)
    if "exit" in before_ready:
        sys.exit(before_ready["exit"])
    if "mute" in before_ready:
        say(event="mute", name=name, pid=os.getpid())
        time.sleep(60)
    say(event="start", name=name, pid=os.getpid(), **_circumstances())
    return behaviour


def say(**event: object) -> None:
    """One line on the inherited stdout."""
    os.write(1, json.dumps(event).encode() + b"\n")


def _count_start(path: Path) -> int:
    with path.open("a+b") as file:
        file.write(b".")
        return file.tell()


def _start_grandchild(kind: str) -> None:
    command = ["sleep", "60"]
    process = subprocess.Popen(leash.command(command) if kind == "leashed" else command)
    say(event="grandchild", pid=process.pid)


def _circumstances() -> dict[str, object]:
    umask = os.umask(0)
    os.umask(umask)
    return {
        "session": os.getsid(0),
        "stdin": os.readlink("/proc/self/fd/0") if sys.platform == "linux" else os.devnull,
        "umask": umask,
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "hangup": signal.getsignal(signal.SIGHUP) == signal.SIG_DFL,
    }
