"""`gatehouse replay ID`: a captured call once more, through a running gateway, and what differs.

Rules: the answer is read within bounds of time and size; redirects are not followed and proxies not used, so that the
key goes to the gateway's address and nowhere else. The replayed call is an ordinary call: the gateway records and
meters it, and its figures are read from that record.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import click
import httpx2
import msgspec

from gatehouse.cli import confidential
from gatehouse.cli.difference import Side, compare, show
from gatehouse.cli.options import config_option, data_option, set_up, tenant_option
from gatehouse.cli.provider_keys import Key, environment_key, key_header, key_options, variables
from gatehouse.cli.recorded import recorded
from gatehouse.cli.replaying import Impossible, Plan, plan, with_headers
from gatehouse.cli.sdk_variables import gateway_url
from gatehouse.config.printable import clean
from gatehouse.providers.builtin import SIMULATED
from gatehouse.routing.azure import is_azure
from gatehouse.store.views import Body, Trace

CONNECT_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 600.0
"""As long as the gateway waits for a provider's first byte by default."""
ANSWER_SECONDS: Final = 3600.0
ANSWER_BYTES: Final = 64 * 1024 * 1024
_POLL_SECONDS: Final = 0.05
RECORD_SECONDS: Final = 15.0
"""Until the replayed call's record must be collected."""

_AUTHORISING: Final = frozenset(("authorization", "x-api-key", "api-key", "x-goog-api-key"))
_HEADER: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x21-\x7e]+(?:[ \t]+[\x21-\x7e]+)*)")


class Options(NamedTuple):
    """What the command line asks for."""

    url: str | None
    provider: str | None
    model: str | None
    header: tuple[str, ...]
    key: str | None
    key_file: str | None
    tenant: str
    data: str | None
    config: Path | None


@click.command(name="replay")
@click.argument("call", metavar="last|ID")
@click.option("--url", help="The gateway's address; else the one that runs on the data directory, or is configured.")
@click.option("--provider", metavar="NAME", help="Send it to this provider instead; it must speak the call's dialect.")
@click.option("--model", metavar="NAME", help="Ask this model instead.")
@click.option("--header", "header", metavar="'NAME: VALUE'", multiple=True, help="Send this header too; repeatable.")
@key_options
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@tenant_option
@data_option
@config_option
@click.pass_obj
def command(environ: Mapping[str, str], /, call: str, form: str, **given: Any) -> int:
    """Send the call with this ID again and show what differs: status, tokens, cost, latency, text, tool calls.

    Its request must have been captured (capture.bodies). The key is yours: --key, --key-file, or the variable that the
    provider's SDK reads. Exit code 0 if the answer has the same shape, 1 if not, or if it could not be sent.
    """
    options = Options(**given)
    url, further = _address(options.url), [_header(each) for each in options.header]
    setup = set_up(environ, options.data, options.config)
    left = recorded(setup, options.tenant, call)
    try:
        planned = plan(left.trace, left.request, setup.providers, provider=options.provider, model=options.model)
    except Impossible as error:
        raise click.ClickException(f"call {left.trace.id} cannot be replayed: {clean(str(error))}") from error
    if not _AUTHORISING.intersection(name.lower() for name, _ in further):
        further += _credential(left.trace, planned, confidential.given("key", options.key, options.key_file), environ)
    right = _sent(url or gateway_url(setup), with_headers(planned, further))
    notes = [*planned.notes, *(["the original answer was not captured"] if left.response is None else [])]
    # What was asked differs by nothing that is not said already.
    found = compare(msgspec.structs.replace(left, request=None), right, notes)
    show(found, form)
    return 0 if found.same_shape else 1


def _address(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise click.UsageError("--url must look like http://host:8080.")
    return f"{parts.scheme}://{parts.netloc}"


def _header(text: str) -> tuple[str, str]:
    match = _HEADER.fullmatch(text.strip())
    if match is None:
        raise click.UsageError("--header must look like 'anthropic-beta: name'.")
    return match[1], match[2]


def _credential(trace: Trace, planned: Plan, key: str | None, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """The header that authorises, if one is needed. Raises `click.UsageError` where a key is and none is given."""
    provider = planned.route.provider
    found = Key(key) if key is not None else environment_key(provider, environ)
    if found is not None:
        return [key_header(found, planned.route.dialect, azure=is_azure(planned.entry))]
    needed = trace.provider_key_hash is not None or provider != trace.provider
    if needed and provider != SIMULATED:
        raise click.UsageError(
            f"No key for {provider}: keys are not on record. Give one by --key-file, or set {variables(provider)[0]}."
        )
    return []


def _sent(url: str, planned: Plan) -> Side:
    """Send it and wait for its record. Raises `click.ClickException`."""
    tls = httpx2.create_ssl_context() if url.startswith("https") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    timeout = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
    try:
        with httpx2.Client(verify=tls, trust_env=False, timeout=timeout) as http:
            call, body = _exchanged(http, url, planned)
            return Side(_record(http, url, call), response=body)
    except httpx2.ConnectError as error:
        raise click.ClickException(
            f"no gateway answers at {url} ({clean(str(error))}); start it with `gatehouse serve`"
        ) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise click.ClickException(f"the replay failed: {clean(str(error)) or type(error).__name__}") from error


def _exchanged(http: httpx2.Client, url: str, planned: Plan) -> tuple[str, Body]:
    """The new call's id and its answer."""
    headers = [*planned.headers, ("accept-encoding", "identity")]
    deadline = time.monotonic() + ANSWER_SECONDS
    with http.stream(planned.method, url + planned.path, headers=headers, content=planned.body) as response:
        call = response.headers.get("x-gatehouse-id")
        if call is None:
            raise click.ClickException(f"what answers at {url} is not a Gatehouse (status {response.status_code})")
        kept, broken = bytearray(), False
        try:
            for piece in response.iter_raw():
                kept += piece
                if len(kept) > ANSWER_BYTES or time.monotonic() > deadline:
                    raise click.ClickException(
                        f"the answer of call {clean(call)} is longer than {ANSWER_BYTES >> 20} MiB or "
                        f"{ANSWER_SECONDS / 60:g} min"
                    )
        except httpx2.HTTPError:
            broken = True  # the record says why
        media, coding = (response.headers.get(name) for name in ("content-type", "content-encoding"))
    return call, Body(bytes(kept), media, coding, len(kept), truncated=broken)


def _record(http: httpx2.Client, url: str, call: str) -> Trace:
    """The new call as the gateway has it on record, once it has."""
    deadline = time.monotonic() + RECORD_SECONDS
    while True:
        answer = http.get(f"{url}/api/v1/traces/{call}")
        if answer.status_code == 200:
            try:
                trace = msgspec.json.decode(answer.content, type=Trace)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise click.ClickException(
                    f"the record of call {clean(call)} cannot be read: {clean(str(error))}; is the gateway of this "
                    "release?"
                ) from error
            if trace.outcome != "open":
                return trace
        if time.monotonic() > deadline:
            raise click.ClickException(
                f"call {clean(call)} was made, but its record is not there after {RECORD_SECONDS:g} s (status "
                f"{answer.status_code}); see `gatehouse debug {clean(call)}` later"
            )
        time.sleep(_POLL_SECONDS)
