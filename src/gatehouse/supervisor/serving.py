"""How others find a running `serve`: one small file, there from the moment all processes are ready until the end."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from gatehouse.config.paths import DataDir
from gatehouse.supervisor.lock import holder


@dataclass(frozen=True)
class Serving:
    """`run/serve.json`: `host` and `port` are the listener's own, `url` is how a program on this machine reaches it."""

    pid: int
    host: str
    port: int
    url: str
    version: str

    def encoded(self) -> bytes:
        """As the file has it."""
        return json.dumps(asdict(self)).encode() + b"\n"


def find(data: DataDir) -> Serving | None:
    """The `serve` that runs on `data` and is ready; `None` if there is none.

    A file left behind by a killed supervisor is recognised by the lock, which nobody or somebody else holds.
    """
    try:
        serving = Serving(**json.loads(data.serving.read_bytes()))
    except (OSError, ValueError, TypeError):
        # Not there, or of another version: then it is not ours to understand.
        return None
    return serving if serving.pid == holder(data) else None


def local_url(host: str, port: int, *, tls: bool) -> str:
    """The URL of a listener for callers on this machine: a wildcard address becomes the loopback one of its family."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
