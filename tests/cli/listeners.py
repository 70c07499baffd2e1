"""Servers to point the command line at: a stand-in for a gateway whose answers a test chooses, on a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Reply(NamedTuple):
    """An answer. `pieces` are written one by one, a few milliseconds apart."""

    status: int = 200
    headers: Mapping[str, str] = {}
    pieces: tuple[bytes, ...] = (b"{}",)


class Asked(NamedTuple):
    """A request that arrived."""

    method: str
    path: str
    headers: Mapping[str, str]


HEALTHY = Reply(
    pieces=(json.dumps({"status": "healthy", "version": "9.9.9", "services": {"control": "connected"}}).encode(),)
)


def gateway_error(status: int, code: str, detail: str) -> Reply:
    """As `dialects.errors` words it, in short."""
    body = json.dumps({"detail": detail, "code": code, "retry_after": None}).encode()
    return Reply(status, {"x-gatehouse-error": "gateway", "x-gatehouse-id": "id-1"}, (body,))


class Listener(NamedTuple):
    """A running server."""

    url: str
    asked: list[Asked]


@contextmanager
def listening(replies: Mapping[str, Reply], default: Reply | None = None) -> Iterator[Listener]:
    """Answers by path; `default` (else a bare 404) for the rest."""
    asked: list[Asked] = []
    pause = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
            self.rfile.read(int(self.headers.get("content-length", 0)))
            reply = replies.get(self.path) or default or Reply(404)
            self.send_response_only(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in reply.pieces:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                self.wfile.flush()
                pause.wait(0.003)
            self.wfile.write(b"0\r\n\r\n")

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Listener(f"http://127.0.0.1:{server.server_address[1]}", asked)
    finally:
        pause.set()
        server.shutdown()
        thread.join(10)
        server.server_close()
