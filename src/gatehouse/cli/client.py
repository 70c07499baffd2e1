"""The management API as commands use it: over HTTP, over the socket of the `serve` that runs here, or in this process.

Rules
- One API for all: a command says what it wants of it and not how it is reached. `--url` names a gateway; without it the
  data directory does: while `serve` runs on it, its control socket with the local token; else the same application in
  this process, which holds the directory's lock meanwhile.
- A token goes to the URL that was named and nowhere else (I3): https, or http on this machine; no redirect is followed.
- Every wait has an end. What the API refuses becomes its own sentence, one line per field; wrong input is exit code 2.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click
import httpx2
import msgspec

from gatehouse import supervisor
from gatehouse.cli.confidential import given
from gatehouse.cli.options import Setup, config_option, data_option, set_up
from gatehouse.cli.unattended import Unattended, occupied, unattended
from gatehouse.config import control_headers
from gatehouse.config.check import is_loopback
from gatehouse.config.paths import read_secret
from gatehouse.config.printable import clean
from gatehouse.store.engine import StoreError

PAGE: Final = 500
"""Items that are asked for at a time."""

_MOST_PAGES: Final = 2_000
_MOST_BYTES: Final = 64 * 1024 * 1024
"""Of an answer."""
_TIMEOUT: Final = httpx2.Timeout(60.0, connect=5.0)
_RETRIES: Final = 3
"""Of a connection to control, which is started again when it has ended: within 1.5 s altogether."""
_LONGEST: Final = 300.0
"""Seconds for one request, however slowly its answer comes."""
_OWN: Final = ("url", "token", "token_file", "tenant", "data", "config")
_Command = TypeVar("_Command", bound=Callable[..., Any])
T = TypeVar("T")


class ApiError(click.ClickException):
    """The API did not do it."""

    def __init__(self, lines: list[str], *, status: int | None = None) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.status = status
        """Of the answer; `None`: there was none."""

    def show(self, file: Any = None) -> None:
        for line in self.lines:
            click.echo(f"Error: {clean(line)}", file=file, err=file is None)


class WrongInputError(ApiError):
    """It says what is wrong with what it was given."""

    exit_code = 2


class Api:
    """The API, reached. Paths begin with `/api/v1`; answers are decoded JSON, `None` where there is nothing to say."""

    def __init__(self, client: httpx2.AsyncClient, place: str, unknown: str = "") -> None:
        """`place`: whom errors name. `unknown`: what to do where it does not know who asks."""
        self._client = client
        self._place = place
        self._unknown = unknown

    async def get(self, path: str, **asked: Any) -> dict[str, Any]:
        """`asked`: parameters; `None` is left out."""
        return self._object(await self._ask("GET", path, asked=asked))

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self._object(await self._ask("POST", path, body=body))

    async def patch(self, path: str, body: Mapping[str, Any], **asked: Any) -> dict[str, Any]:
        return self._object(await self._ask("PATCH", path, asked=asked, body=body))

    async def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._object(await self._ask("PUT", path, body=body))

    async def delete(self, path: str, **asked: Any) -> None:
        await self._ask("DELETE", path, asked=asked)

    async def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """By any of these methods."""
        return await self._ask(method, path, body=body)

    async def every(self, path: str, *, most: int | None = None, **asked: Any) -> list[dict[str, Any]]:
        """All items of a list, page by page, or the first `most`."""
        items: list[dict[str, Any]] = []
        async for page in self.pages(path, most=most, **asked):
            items += page
        return items

    async def pages(self, path: str, *, most: int | None = None, **asked: Any) -> AsyncIterator[list[dict[str, Any]]]:
        """A list's pages, until `most` items came."""
        cursor: str | None = None
        left = PAGE * _MOST_PAGES if most is None else most
        for _ in range(_MOST_PAGES):
            page = await self.get(path, **asked, limit=min(left, PAGE), cursor=cursor)
            if not {"items", "next_cursor"} <= page.keys():
                raise ApiError([f"what answers at {self._place} is no management API (no list at {path})"])
            yield page["items"]
            left -= len(page["items"])
            cursor = page["next_cursor"]
            if cursor is None or (most is not None and left <= 0):
                return
        raise ApiError([f"{self._place} has more of this than can be listed; ask for less of it"])

    def _object(self, answered: Any) -> dict[str, Any]:
        if not isinstance(answered, dict):
            raise ApiError([f"what answers at {self._place} is no management API (not an object)"])
        return answered

    async def _ask(
        self, method: str, path: str, *, asked: Mapping[str, Any] | None = None, body: Mapping[str, Any] | None = None
    ) -> Any:
        parameters = {name: _word(value) for name, value in (asked or {}).items() if value is not None}
        unknown = "" if method == "GET" else "; it may have been done: look before you try again"
        try:
            async with (
                asyncio.timeout(_LONGEST),
                self._client.stream(method, path, params=parameters, json=body) as answer,
            ):
                return self._read(answer, await self._content(answer))
        except (httpx2.TimeoutException, TimeoutError) as error:
            raise ApiError([f"{self._place} does not answer in time{unknown}"]) from error
        except httpx2.ConnectError as error:
            raise ApiError([f"{self._place} cannot be reached: {str(error) or type(error).__name__}"]) from error
        except httpx2.HTTPError as error:
            said = str(error) or type(error).__name__
            raise ApiError([f"{self._place} ended before it answered ({said}){unknown}"]) from error

    async def _content(self, answer: httpx2.Response) -> bytes:
        content = bytearray()
        async for piece in answer.aiter_bytes():
            content += piece
            if len(content) > _MOST_BYTES:
                raise ApiError([f"{self._place} answers with more than {_MOST_BYTES // 1024 // 1024} MiB"])
        return bytes(content)

    def _read(self, answer: httpx2.Response, content: bytes) -> Any:
        if answer.status_code == 204:
            return None
        said: Any = None
        with suppress(msgspec.MsgspecError):
            said = msgspec.json.decode(content)
        if answer.is_success and said is not None:
            return said
        if answer.is_redirect:
            target = clean(answer.headers.get("location", "elsewhere"))
            raise ApiError([f"{self._place} points to {target}; name the gateway's own URL"], status=answer.status_code)
        if not isinstance(said, dict) or not isinstance(said.get("detail"), str):
            what = f"what answers at {self._place} is no management API (status {answer.status_code})"
            raise ApiError([what], status=answer.status_code)
        refused = WrongInputError if answer.status_code == 400 else ApiError
        more = [self._unknown] if answer.status_code == 401 and self._unknown else []
        raise refused(_sentences(said) + more, status=answer.status_code)


@dataclass(frozen=True)
class Where:
    """What the options say about which API is meant."""

    environ: Mapping[str, str] = field(repr=False)
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None
    tenant: str | None = None
    data: str | None = None
    config: Path | None = None

    def run(self, work: Callable[[Api], Awaitable[T]], *, records: bool = False) -> T:
        """Do something with the API. `records`: what the journal holds is asked for.

        Raises `click.ClickException`, `ConfigError`."""
        try:
            return self._run(work, records)
        except BrokenPipeError:
            raise  # Whoever read our output has left.
        except (StoreError, OSError) as error:
            raise click.ClickException(clean(str(error))) from error

    def _run(self, work: Callable[[Api], Awaitable[T]], records: bool) -> T:
        if self.url is not None:
            return asyncio.run(_with(self._elsewhere(self.url), work))
        for name in ("token", "token_file"):
            if getattr(self, name) is not None:
                raise click.UsageError(f"--{name.replace('_', '-')} needs --url: here nobody has to sign in.")
        setup = set_up(self.environ, self.data, self.config)
        try:
            done = self._locally(setup, work, records)
            if _unowned(setup):
                click.echo(f"{_unowned(setup)}, or name another by --data, or a gateway by --url", err=True)
            return done
        except ApiError as error:
            if _unowned(setup):
                error.lines.insert(0, f"{_unowned(setup)} first")
            elif error.status is None and supervisor.find(setup.data) is not None:
                error.lines.append(
                    "its control plane is down or hangs: calls go on, and once it is back so do commands"
                )
            raise

    def _locally(self, setup: Setup, work: Callable[[Api], Awaitable[T]], records: bool) -> T:
        with occupied(setup.data) as serving:
            if serving is not None:
                path = str(setup.data.control_socket)
                transport = httpx2.AsyncHTTPTransport(uds=path, trust_env=False, retries=_RETRIES)
                secret = read_secret(setup.data.local_token)
                place = f"the gateway that runs on {setup.data.root}"
                return asyncio.run(_with(self._here(transport, secret, place, serving.url), work))
            return asyncio.run(_with(self._alone(unattended(setup, self.environ), records), work))

    @asynccontextmanager
    async def _alone(self, application: Unattended, records: bool) -> AsyncIterator[Api]:
        async with application.running(records=records) as app:
            place = f"the data directory {application.data.root}"
            async with self._here(httpx2.ASGITransport(app), application.token, place) as api:
                yield api

    @asynccontextmanager
    async def _here(
        self, transport: httpx2.AsyncBaseTransport, secret: bytes, place: str, address: str | None = None
    ) -> AsyncIterator[Api]:
        """`address`: what callers reach the gateway by, where it runs."""
        headers = {control_headers.LOCAL_TOKEN: secret.hex()}
        if address is not None:
            headers[control_headers.BASE] = address
        async with _client("http://gatehouse", headers, transport=transport) as client:
            api = Api(client, place)
            if self.tenant is not None:
                client.headers[control_headers.TENANT] = await tenant_id(api, self.tenant)
            yield api

    @asynccontextmanager
    async def _elsewhere(self, url: str) -> AsyncIterator[Api]:
        if self.tenant is not None:
            raise click.UsageError("--tenant does not go with --url: a token belongs to one tenant.")
        base, local = checked(url)
        token = given("token", self.token, self.token_file)
        headers: dict[str, str] = {} if token is None else {"authorization": f"Bearer {token}"}
        async with _client(base, headers, trust_env=not local) as client:
            yield Api(client, base, f"`gatehouse login --url {base}` gets a token; name its file by --token-file")


async def _with(reaching: AbstractAsyncContextManager[Api], work: Callable[[Api], Awaitable[T]]) -> T:
    async with reaching as api:
        return await work(api)


def api_options(command: _Command) -> _Command:
    """The options that say which API is meant; the command gets them as its first argument, a `Where`."""

    @functools.wraps(command)
    def called(**given: Any) -> Any:
        environ: Mapping[str, str] = click.get_current_context().obj
        return command(Where(environ, **{name: given.pop(name) for name in _OWN}), **given)

    options = [
        click.option("--url", help="A gateway elsewhere: https, or http on this machine. Needs a token."),
        click.option("--token", help="Platform token, or gateway key with a role, for --url. Shows in process lists."),
        click.option("--token-file", metavar="FILE", help="File whose first line is the token; `-` for stdin."),
        click.option("--tenant", help="Name or id of the tenant to act in, on this machine; else `default`."),
        data_option,
        config_option,
    ]
    found: Any = called
    for option in reversed(options):
        found = option(found)
    wrapped: _Command = found
    return wrapped


def _unowned(setup: Setup) -> str:
    """What to say of a data directory that is nobody's yet, or not the one that was meant; else nothing."""
    if setup.settings.auth.enabled or setup.data.accounts.exists():
        return ""
    return f"nobody owns the data directory {clean(str(setup.data.root))} yet: run `gatehouse init`"


def _client(
    base: str,
    headers: Mapping[str, str],
    *,
    transport: httpx2.AsyncBaseTransport | None = None,
    trust_env: bool = False,
) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        base_url=base,
        headers={"accept": "application/json", **headers},
        transport=transport,
        trust_env=trust_env,
        timeout=_TIMEOUT,
        follow_redirects=False,
    )


def checked(url: str) -> tuple[str, bool]:
    """The URL without a slash at the end, and whether it is on this machine. Raises `click.UsageError`."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise click.UsageError(f"--url: {clean(url)} is no http or https URL of a gateway.")
    if parts.username is not None or parts.password is not None:
        raise click.UsageError("--url: holds a user or a password; give a token by --token-file.")
    local = is_loopback(host)
    if parts.scheme == "http" and not local:
        raise click.UsageError(f"--url: {clean(host)} is another machine, and http would show it the token; use https.")
    return url.rstrip("/"), local


async def tenant_id(api: Api, name: str) -> str:
    """The id of a tenant, by name or id. Raises `click.ClickException`."""
    tenants = await api.every("/api/v1/tenants")
    for each in tenants:
        if each["id"] == name:
            return name
    found: list[str] = [each["id"] for each in tenants if each["name"].casefold() == name.casefold()]
    if not found:
        raise click.ClickException(f"there is no tenant {clean(name)}")
    return found[0]


def _word(value: Any) -> str | list[str]:
    if isinstance(value, list):
        return list(map(str, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _sentences(said: Mapping[str, Any]) -> list[str]:
    """What an error body says: of fields each on its own, else its sentence."""
    problems = [each for each in said.get("errors") or [] if isinstance(each, dict)]
    if problems:
        return [f"{each.get('field')}: {each.get('message')}" for each in problems]
    wait = said.get("retry_after")
    return [f"{said['detail']} (try again in {wait} s)" if isinstance(wait, int) else said["detail"]]
