"""Names, addresses and what the operator is told."""

from __future__ import annotations

import re
import socket
import sys
import threading

import pytest

from gatehouse.supervisor.failure import StartError
from gatehouse.supervisor.listener import listen, refuse
from gatehouse.supervisor.serving import local_url


@pytest.mark.parametrize(
    ("host", "bound"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
    ],
)
def test_hosts(host: str, bound: str) -> None:
    with listen(host, 0) as listener:
        assert listener.getsockname()[0] == bound
        assert not listener.getblocking()
        assert not listener.get_inheritable()
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("", "--host"),
        ("x" * 300, "does not resolve.*--host"),
        ("192.0.2.1", "not an address of this machine.*--host"),
    ],
)
def test_hosts_it_cannot_listen_on(host: str, problem: str) -> None:
    with pytest.raises(StartError, match=problem):
        listen(host, 0)


@pytest.mark.parametrize(
    ("first", "second"), [("127.0.0.1", "localhost"), ("localhost", "127.0.0.1"), ("::1", "[::1]")]
)
def test_a_taken_port_is_never_shared(first: str, second: str) -> None:
    with listen(first, 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port} on {re.escape(second)} is taken.*--port"):
            listen(second, port)


def test_a_port_just_left_is_waited_for() -> None:
    """A worker whose supervisor was killed holds it for a moment longer."""
    first = listen("127.0.0.1", 0)
    port = first.getsockname()[1]
    leaving = threading.Timer(0.1, first.close)
    leaving.start()
    with listen("127.0.0.1", port) as second:
        assert second.getsockname()[1] == port
    leaving.join()


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels go on queueing")
def test_a_listener_that_refuses_does_so_in_every_process() -> None:
    """Stopping: whoever connects learns at once that nobody will answer; what was accepted goes on."""
    with listen("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        inherited = listener.dup()
        with socket.create_connection(address) as client, listener.accept()[0] as accepted:
            refuse(listener)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address).close()
            with pytest.raises(OSError, match="Invalid argument"):
                inherited.accept()
            client.sendall(b"x")
            accepted.settimeout(5)
            assert accepted.recv(1) == b"x"
        inherited.close()


@pytest.mark.parametrize(
    ("host", "tls", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:1"),
        ("0.0.0.0", True, "https://127.0.0.1:1"),  # noqa: S104 - not bound
        ("::", False, "http://[::1]:1"),
        ("2001:db8::1", True, "https://[2001:db8::1]:1"),
    ],
)
def test_local_url(host: str, tls: bool, url: str) -> None:
    assert local_url(host, 1, tls=tls) == url
