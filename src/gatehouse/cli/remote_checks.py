"""`gatehouse doctor --url`: what SDKs meet at an address, and what is wrong where they fail.

Rules: every request has time-outs and a bound on what is read; redirects are not followed and proxies not used, so the
key goes to the given address and nowhere else. The gateway forwards a key to the provider of the path it stands on:
so a key is tried only where it belongs, as told by its form or by the URL's path. Only listings and the built-in
simulated provider are called: nothing here costs anything.

Paths: what the SDKs of `docs/clients.md` send for their base URLs.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

import click
import httpx2

from gatehouse.cli.findings import Finding, Level
from gatehouse.routing.compat import SERVICES

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 20.0
"""For one whole answer; the provider stands behind it."""

_READ_BYTES: Final = 4 * 1024 * 1024
_PROXIES: Final = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_ENDPOINTS: Final = ("/chat/completions", "/completions", "/responses", "/embeddings", "/messages", "/models")


class Client(NamedTuple):
    """How one family of SDKs lists models: it appends `listing` to its base URL."""

    name: str
    provider: str
    base: str
    """Base URL below the gateway's address."""
    listing: str
    headers: Mapping[str, str]
    """`{key}` stands for the key."""


_BEARER: Final = {"authorization": "Bearer {key}"}
_ANTHROPIC: Final = {"x-api-key": "{key}", "anthropic-version": "2023-06-01"}
_GOOGLE: Final = {"x-goog-api-key": "{key}"}
_PROXY: Final = "/api/v1/gateway/proxy/v1"

FAMILIES: Final = (
    Client("OpenAI SDKs", "openai", "/openai/v1", "/models", _BEARER),
    Client("Anthropic SDKs", "anthropic", "/anthropic", "/v1/models", _ANTHROPIC),
    Client("Google SDKs", "google", "/google", "/v1beta/models", _GOOGLE),
)
_OTHER_BASES: Final = (
    Client("AI SDK", "anthropic", "/anthropic", "/models", _ANTHROPIC),
    Client("AuditTrail", "openai", _PROXY, "/models", _BEARER),
    Client("AuditTrail", "anthropic", _PROXY, "/v1/models", _ANTHROPIC),
    Client("TruePortAI", "openai", f"{SERVICES}/openai/v1", "/models", _BEARER),
    Client("TruePortAI", "anthropic", f"{SERVICES}/anthropic/v1", "/v1/models", _ANTHROPIC),
    Client("TruePortAI", "google", f"{SERVICES}/google", "/v1beta/models", _GOOGLE),
)


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: httpx2.Headers
    body: bytes
    pieces: tuple[float, ...]
    """When each piece of the body came, in seconds after the head."""

    @property
    def ours(self) -> bool:
        """Whether a Gatehouse passed this on or said it."""
        return "x-gatehouse-id" in self.headers

    @property
    def json(self) -> dict[str, Any]:
        """The body, if it is a JSON object; else empty."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Unanswered(Exception):
    """No answer: `str(error)` says why."""


def run(url: str, key: str | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Findings as they are made. `url`: the gateway's address, or the base URL given to an SDK."""
    parts = _parse(url)
    root = f"{parts.scheme}://{parts.netloc}"
    yield from _proxies(environ)
    # Loading the trust store takes a while; without TLS it is not needed.
    tls = httpx2.create_ssl_context() if parts.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with httpx2.Client(
        verify=tls,
        trust_env=False,
        timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
    ) as http:
        try:
            health = _ask(http, "GET", f"{root}/health")
        except Unanswered as error:
            yield Finding(
                "fail", "reachable", f"{root} does not answer: {error}", "check host and port; is it running?"
            )
            return
        found = _judge_health(root, health)
        yield found
        if found.level == "fail":
            return
        yield from _simulated(http, root, key)
        base = parts.path.rstrip("/")
        yield from _given(http, root, base, key) if base else _all(http, root, key)


def owner(key: str) -> str | None:
    """The provider a key belongs to, by its form; `gatehouse` for our own; `None` where that cannot be told."""
    for prefix, provider in (
        ("gth_", "gatehouse"),
        ("sk-ant-", "anthropic"),
        ("AIza", "google"),
        ("sk-proj-", "openai"),
    ):
        if key.startswith(prefix):
            return provider
    return None


def _parse(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment or not url.isprintable():
        raise click.UsageError("--url must look like http://host:8080 or http://host:8080/openai/v1.")
    return parts


def _proxies(environ: Mapping[str, str]) -> Iterator[Finding]:
    named = [name for name in _PROXIES if environ.get(name)]
    if named:
        yield Finding(
            "warn",
            "proxy",
            f"{named[0]} is set: SDKs may send calls to the gateway through that proxy (this check does not)",
            "name the gateway's host in NO_PROXY",
        )


def _ask(
    http: httpx2.Client, method: str, url: str, headers: Mapping[str, str] | None = None, body: Any = None
) -> Answer:
    """One request. Raises `Unanswered`."""
    deadline = time.monotonic() + ANSWER_SECONDS
    data, pieces = b"", []
    try:
        with http.stream(
            method, url, headers={"accept-encoding": "identity", **(headers or {})}, json=body
        ) as response:
            start = time.monotonic()
            for piece in response.iter_raw():
                data += piece
                pieces.append(time.monotonic() - start)
                if len(data) > _READ_BYTES or time.monotonic() > deadline:
                    break
            return Answer(response.status_code, response.headers, data, tuple(pieces))
    except httpx2.ConnectTimeout as error:
        raise Unanswered(f"no connection within {CONNECT_SECONDS:g} s") from error
    except httpx2.TimeoutException as error:
        raise Unanswered(f"no answer within {ANSWER_SECONDS:g} s") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise Unanswered(_worded(error)) from error


def _worded(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message}); SDKs will refuse it too"
        if isinstance(cause, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(cause):
            return "it does not speak TLS; try http://"
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _judge_health(root: str, health: Answer) -> Finding:
    said = health.json
    services = said.get("services")
    if isinstance(services, dict) and isinstance(said.get("status"), str):
        state = ", ".join(f"{name} {value}" for name, value in services.items())
        version = f" {said['version']}" if isinstance(said.get("version"), str) else ""
        if health.status == 200:
            return Finding("ok", "reachable", f"Gatehouse{version} at {root} ({state})")
        return Finding(
            "warn",
            "reachable",
            f"Gatehouse{version} at {root} says {said['status']} ({state})",
            "gatehouse doctor there",
        )
    if health.ours:
        detail = said.get("detail") or f"status {health.status}"
        return Finding("fail", "reachable", f"Gatehouse at {root} refuses this address: {detail}", _remedy(health))
    if health.status in range(300, 400):
        where = health.headers.get("location", "")
        return Finding(
            "fail",
            "reachable",
            f"{root} redirects to {where}; SDKs would send the prompt there",
            "give the final address",
        )
    server = health.headers.get("server", "an unknown server")
    return Finding(
        "fail",
        "reachable",
        f"{server} answers at {root} (status {health.status}), not a Gatehouse",
        "check host and port",
    )


def _simulated(http: httpx2.Client, root: str, key: str | None) -> Iterator[Finding]:
    """A streamed call to the provider inside the gateway: everything but a real provider is on its way."""
    headers = {"authorization": f"Bearer {key}"} if key and owner(key) == "gatehouse" else None
    body = {"model": "doctor", "stream": True, "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}
    try:
        answer = _ask(http, "POST", f"{root}/simulated/v1/chat/completions", headers, body)
    except Unanswered as error:
        yield Finding("fail", "simulated", f"a streamed call got no answer: {error}", "gatehouse doctor on the gateway")
        return
    if answer.status == 404 and answer.headers.get("x-gatehouse-error") == "gateway":
        yield Finding("ok", "simulated", "is switched off there (simulated.enabled)")
    elif answer.status != 200:
        yield _refused("simulated", answer, "")
    elif b"data: [DONE]" not in answer.body:
        yield Finding("fail", "simulated", "a streamed call broke off", "gatehouse doctor on the gateway")
    elif answer.body.count(b"data: ") > 4 and len(answer.pieces) < 3:
        yield Finding(
            "warn",
            "simulated",
            "the stream came in one piece: something in between holds answers back",
            "turn off response buffering in the proxy before the gateway (nginx: proxy_buffering off)",
        )
    else:
        yield Finding("ok", "simulated", f"a streamed call works (id {answer.headers.get('x-gatehouse-id', '')})")


def _all(http: httpx2.Client, root: str, key: str | None) -> Iterator[Finding]:
    whose = owner(key) if key else None
    if key and whose is None:
        yield Finding(
            "warn",
            "key",
            "its form does not say whose it is, so it was sent nowhere",
            f"give the provider's route with it: --url {root}/openai/v1, or {root}/NAME/v1",
        )
    silent: set[str] = set()
    for client in (*FAMILIES, *_OTHER_BASES):
        if client.provider not in silent:
            sent = key if whose in (client.provider, "gatehouse") else None
            finding = _listing(http, root, client.base, client, sent, many=True)
            yield finding
            if finding.level != "ok":
                silent.add(client.provider)


def _given(http: httpx2.Client, root: str, base: str, key: str | None) -> Iterator[Finding]:
    """The base URL as it was given, for the SDKs that may use it."""
    for ending in _ENDPOINTS:
        if base.endswith(ending):
            fix = f"use {root}{base.removesuffix(ending)}"
            yield Finding("fail", "base URL", f"{base} ends in an endpoint, which the SDK appends itself", fix)
            return
    whose = owner(key) if key else None
    for client in _clients(base):
        # A key of unknown form belongs to the route the operator named; one of another provider's must not go there.
        shared = base.startswith(_PROXY)
        belongs = whose in (client.provider, "gatehouse") or (whose is None and not shared)
        if key and not belongs and not shared:
            yield Finding("warn", "key", f"is {whose}'s by its form, so it was not sent to {client.provider}")
        yield _listing(http, root, base, client, key if belongs else None)


def _clients(base: str) -> tuple[Client, ...]:
    """Whose SDK a base URL is for: any on the shared one, else that of the provider it names, else OpenAI's."""
    if base.startswith(_PROXY):
        return FAMILIES
    segments = base.removeprefix(SERVICES).split("/")
    family = next((client for client in FAMILIES if client.provider == segments[1]), None)
    named = "the key's project" if segments[1] in ("v1", "v1beta") else segments[1]
    return (family or FAMILIES[0]._replace(provider=named),)


def _listing(
    http: httpx2.Client, root: str, base: str, client: Client, key: str | None, *, many: bool = False
) -> Finding:
    """Ask for the models as the client would, and judge what comes back."""
    subject = client.name
    headers = {
        name: value.format(key=key or "") for name, value in client.headers.items() if key or "{key}" not in value
    }
    try:
        answer = _ask(http, "GET", f"{root}{base}{client.listing}", headers)
    except Unanswered as error:
        return Finding("fail", subject, f"base URL {base}: {error}", "gatehouse doctor on the gateway")
    if not answer.ours:
        server = answer.headers.get("server", "an unknown server")
        return Finding(
            "fail",
            subject,
            f"{server} answered {base} (status {answer.status}), not Gatehouse",
            "check the proxy's routes",
        )
    if answer.headers.get("x-gatehouse-error") == "gateway":
        return _refused(subject, answer, f"base URL {base}: ", many=many)
    if answer.status < 300:
        models = answer.json.get("data", answer.json.get("models"))
        count = f", {len(models)} models listed" if isinstance(models, list) else ""
        return Finding("ok", subject, f"base URL {root}{base} reaches {client.provider}{count}")
    return _provider_said(subject, root, base, client, answer, key)


def _provider_said(subject: str, root: str, base: str, client: Client, answer: Answer, key: str | None) -> Finding:
    reached = f"base URL {root}{base} reaches {client.provider}"
    if answer.status in (400, 401, 403) and key is None:
        return Finding("ok", subject, f"{reached}, which wants a key (status {answer.status}; none was sent)")
    if answer.status in (401, 403):
        return Finding(
            "fail",
            subject,
            f"{reached}, which refuses this key (status {answer.status})",
            "check the key with the provider",
        )
    if answer.status == 404:
        suggestion = (
            f"use {root}{client.base}" if base != client.base else "check providers in the gateway's configuration"
        )
        return Finding("fail", subject, f"{reached}, which does not know this path (404)", suggestion)
    if answer.status == 429:
        return Finding(
            "warn", subject, f"{reached}, which limits this key now (429)", "wait, or ask the provider for more"
        )
    return Finding("warn", subject, f"{reached}, which answered {answer.status}", "see the provider's status page")


def _refused(subject: str, answer: Answer, where: str, *, many: bool = False) -> Finding:
    """The gateway itself said no, or what stands in for it did."""
    said = answer.json
    detail = said.get("detail") if isinstance(said.get("detail"), str) else f"status {answer.status}"
    code = said.get("code") if isinstance(said.get("code"), str) else answer.status
    level: Level = "warn" if code == "NO_CREDENTIAL" and many else "fail"
    return Finding(level, subject, f"{where}the gateway refused ({code}): {detail}", _remedy(answer))


def _remedy(answer: Answer) -> str:
    match answer.status:
        case 401:
            return "give the kind of key that the sentence above names: --key-file FILE"
        case 403 if answer.json.get("code") == "NO_CREDENTIAL":
            return "on the gateway's machine, if the project is to use this provider; else leave it"
        case 403:
            return "change the setting that the sentence above names, on the gateway"
        case 404:
            return "use one of the base URLs that the sentence above names"
        case 502:
            return "the gateway does not reach the provider: check its network, DNS and providers.*.base_url"
        case _:
            return "gatehouse doctor on the gateway"
