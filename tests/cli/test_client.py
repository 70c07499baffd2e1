"""The API client: three ways to one API, tokens that go to the named gateway alone (I3), errors as sentences."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from gatehouse.cli.client import Api, ApiError, Where
from gatehouse.cli.unattended import occupied
from gatehouse.config.paths import DataDir, create_or_read_secret, write_private
from gatehouse.control.process import Server, server_config
from gatehouse.control.sockets import listen
from gatehouse.supervisor.lock import lock
from gatehouse.supervisor.serving import Serving
from tests.cli.conftest import Cli

TENANTS = {"items": [{"id": "default", "name": "default"}, {"id": "ten_2", "name": "Acme"}], "next_cursor": None}
ERROR = {"detail": "a: is wrong; b: too", "code": "BAD_REQUEST", "retry_after": None}
ANSWERS: dict[str, tuple[int, Any]] = {
    "/api/v1/wrong": (400, ERROR | {"errors": [{"field": f, "message": "is wrong"} for f in ("a", "b\x1b[31m")]}),
    "/api/v1/gone": (404, {"detail": "there is no x", "code": "NOT_FOUND", "retry_after": None, "errors": []}),
    "/api/v1/busy": (503, {"detail": "not now", "code": "OVERLOADED", "retry_after": 5, "errors": []}),
    "/api/v1/nothing": (204, None),
    "/api/v1/tenants": (200, TENANTS),
    "/api/v1/page": (500, "<html>"),
    "/api/v1/moved": (302, None),
}


class Sibling:
    """Answers by `ANSWERS`, else with what it was asked; pages a list of numbers."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        sent = b""
        while (message := await receive()).get("more_body") or message.get("body"):
            sent += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append(headers | {":path": scope["path"]})
        query = dict(part.split("=") for part in scope["query_string"].decode().split("&") if part)
        said = {"method": scope["method"], "query": query, "body": json.loads(sent or b"null")}
        status, answer = ANSWERS.get(scope["path"], (200, said))
        if scope["path"] == "/api/v1/numbers":
            start, most = int(query.get("cursor", 0)), int(query["limit"])
            end = min(start + most, 1_200)
            answer = {"items": list(range(start, end)), "next_cursor": str(end) if end < 1_200 else None}
        body = b"" if answer is None else answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        more = [(b"location", b"https://evil.example/")] if status == 302 else []
        await send({"type": "http.response.start", "status": status, "headers": [*more]})
        await send({"type": "http.response.body", "body": body})


@contextmanager
def running(app: ASGIApp, listener: socket.socket) -> Iterator[None]:
    ready, loops = threading.Event(), []

    async def run() -> None:
        given: Any = app
        server = Server(server_config(given))
        loops.append(server)
        ready.set()
        await server.serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield
    finally:
        loops[0].should_exit = True
        thread.join(30)
        listener.close()


@pytest.fixture
def sibling() -> Sibling:
    return Sibling()


@pytest.fixture
def url(sibling: Sibling) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    with running(sibling, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_requests_as_they_are_asked_for(url: str, sibling: Sibling, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("the-token\nmore\n")

    async def work(api: Api) -> list[Any]:
        got = await api.get("/api/v1/x", a=1, b=None, c=True)
        return [
            got,
            await api.post("/api/v1/x", {"a": [1]}),
            await api.patch("/api/v1/x", {}),
            await api.request("DELETE", "/api/v1/nothing"),
            await api.every("/api/v1/numbers"),
            await api.every("/api/v1/numbers", most=3),
        ]

    got, posted, patched, deleted, numbers, three = Where({}, url=f"{url}/", token_file=str(file)).run(work)
    assert got == {"method": "GET", "query": {"a": "1", "c": "true"}, "body": None}
    assert (posted["method"], posted["body"], patched["body"], deleted) == ("POST", {"a": [1]}, {}, None)
    assert (numbers, three) == (list(range(1_200)), [0, 1, 2])
    assert {each["authorization"] for each in sibling.asked} == {"Bearer the-token"}
    assert not any("x-gatehouse-local-token" in each for each in sibling.asked)


@pytest.mark.parametrize(
    ("path", "code", "lines"),
    [
        ("wrong", 2, ["a: is wrong", "b\x1b[31m: is wrong"]),
        ("gone", 1, ["there is no x"]),
        ("busy", 1, ["not now (try again in 5 s)"]),
        ("page", 1, ["what answers at {url} is no management API (status 500)"]),
        ("moved", 1, ["{url} points to https://evil.example/; name the gateway's own URL"]),
    ],
)
def test_errors_become_sentences(url: str, sibling: Sibling, path: str, code: int, lines: list[str]) -> None:
    with pytest.raises(ApiError) as caught:
        Where({}, url=url, token="t").run(lambda api: api.get(f"/api/v1/{path}"))
    assert (caught.value.exit_code, caught.value.lines) == (code, [line.format(url=url) for line in lines])
    assert len(sibling.asked) == 1


def test_errors_cannot_act_on_a_terminal(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ApiError) as caught:
        Where({}, url=url).run(lambda api: api.get("/api/v1/wrong"))
    caught.value.show()
    assert capsys.readouterr().err == "Error: a: is wrong\nError: b\ufffd[31m: is wrong\n"


def test_a_list_that_is_none(url: str) -> None:
    with pytest.raises(ApiError, match="no list at /api/v1/x"):
        Where({}, url=url).run(lambda api: api.every("/api/v1/x"))


def test_a_gateway_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ApiError, match="cannot be reached"):
        Where({}, url=url).run(lambda api: api.get("/api/v1/x"))


@pytest.mark.parametrize(("method", "unknown"), [("GET", False), ("POST", True), ("DELETE", True)])
def test_a_gateway_that_dies_meanwhile(method: str, unknown: bool) -> None:
    """Whether it had done it by then is not known, and whoever asked is told so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def die() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)

        thread = threading.Thread(target=die, daemon=True)
        thread.start()
        with pytest.raises(ApiError, match="ended before it answered") as caught:
            Where({}, url=f"http://127.0.0.1:{listener.getsockname()[1]}").run(
                lambda api: api.request(method, "/api/v1/x")
            )
        thread.join(30)
    assert ("it may have been done: look before you try again" in caught.value.lines[0]) is unknown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--url", "http://gateway.example"), "is another machine"),
        (("--url", "http://10.0.0.1:8080"), "is another machine"),
        (("--url", "ftp://gateway.example"), "is no http or https URL"),
        (("--url", "https://"), "is no http or https URL"),
        (("--url", "https://a:b@gateway.example"), "holds a user or a password"),
        (("--url", "https://gateway.example", "--tenant", "x"), "--tenant does not go with --url"),
        (("--url", "https://gateway.example", "--token", "a b"), "characters that no token has"),
        (("--url", "https://gateway.example", "--token", "a", "--token-file", "b"), "exclude each other"),
        (("--url", "https://gateway.example", "--token-file", "no/such"), "Cannot read the token"),
        (("--token", "x"), "--token needs --url"),
        (("--token-file", "x"), "--token-file needs --url"),
    ],
)
def test_options_that_do_not_fit(cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    done = cli("project", "list", *arguments)
    assert (done.code, done.out) == (2, "") and says in done.err
    assert "a b" not in done.err


@pytest.fixture
def served_directory(data: Path) -> Iterator[DataDir]:
    """As while `serve` runs: the lock is held, and `serve.json` says by whom."""
    directory = DataDir(data)
    directory.create()
    descriptor = lock(directory)
    serving = Serving(os.getpid(), "127.0.0.1", 1, "http://127.0.0.1:1", "0")
    write_private(directory.serving, serving.encoded())
    create_or_read_secret(directory.local_token)
    yield directory
    os.close(descriptor)


def test_the_running_gateways_socket_with_the_local_token(served_directory: DataDir, sibling: Sibling) -> None:
    environ = {"GATEHOUSE_DATA": str(served_directory.root)}
    with running(sibling, listen(served_directory.control_socket)):
        for tenant in (None, "acme", "ten_2"):
            Where(environ, tenant=tenant).run(lambda api: api.get("/api/v1/x"))
        with pytest.raises(click.ClickException, match="there is no tenant Nobody"):
            Where(environ, tenant="Nobody").run(lambda api: api.get("/api/v1/x"))
    told = [each for each in sibling.asked if each[":path"] == "/api/v1/x"]
    secret = served_directory.local_token.read_bytes().hex()
    assert {each["x-gatehouse-local-token"] for each in sibling.asked} == {secret}
    assert [each.get("x-gatehouse-tenant") for each in told] == [None, "ten_2", "ten_2"]


def test_a_socket_that_nobody_answers(served_directory: DataDir) -> None:
    with pytest.raises(ApiError, match="the gateway that runs on .* cannot be reached"):
        Where({"GATEHOUSE_DATA": str(served_directory.root)}).run(lambda api: api.get("/api/v1/x"))


def test_the_directory_is_locked_while_nobody_else_serves_it(data: Path) -> None:
    directory = DataDir(data)
    with occupied(directory) as serving:
        assert serving is None
        held = threading.Event()
        entered: list[bool] = []

        def second() -> None:
            held.set()
            with occupied(directory) as other:
                entered.append(other is None)

        thread = threading.Thread(target=second)
        thread.start()
        assert held.wait(30) and not entered
    thread.join(15)
    assert entered == [True]
