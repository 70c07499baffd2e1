"""Every position of a credential × mode × validity × SDK, as one table (I3, T4, T5, A1, A2).

What is asserted of each row: what the SDK raised, what the upstream saw (target, every header, body: searched for every
secret that was planted), and that neither the error nor the record holds one.
"""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import msgspec
import pytest

from gatehouse.config.settings import Provider, Settings
from tests import fakes
from tests.auth.tokens import issuer, token
from tests.fakes.server import Fake, Seen
from tests.pipeline.house import House, house
from tests.pipeline.tenancy import UUID, Tenancy
from tests.sdk import node_clients
from tests.sdk.callers import CALLERS, Asking, Caller, Refused

Mode = Literal["stored", "own", "off"]
POSITIONS = (
    "own place", "authorization", "x-api-key", "api-key", "x-goog-api-key", "?key", "?api-key", "X-Gatehouse-Key",
    "X-OngoingAI-Gateway-Key",
)  # fmt: skip
REFUSALS = {
    "unknown": (401, "UNAUTHORIZED", "unknown, or was revoked"),
    "cut short": (401, "UNAUTHORIZED", "it is not whole"),
    "revoked": (401, "UNAUTHORIZED", "unknown, or was revoked"),
    "expired": (401, "UNAUTHORIZED", "has expired"),
    "disabled": (403, "FORBIDDEN", "disabled"),
    "wrong project": (403, "NO_CREDENTIAL", "gatehouse project enable"),
    "token expired": (401, "UNAUTHORIZED", "has expired"),
    "token of another": (401, "UNAUTHORIZED", "signed"),
    "two keys": (401, "UNAUTHORIZED", "different gateway credentials"),
}
ASKED: dict[Mode, tuple[str, ...]] = {
    "stored": ("valid", "token", *REFUSALS),
    "own": ("valid", "token", "revoked", "disabled", "wrong project", "token expired", "two keys"),
    "off": ("valid", "cut short", "token"),
}
"""Who pays changes nothing of who is known; without accounts no gateway key is known."""
OWN = "sk-own-provider-key-of-the-caller-7391"
STORED = "sk-stored-with-the-gateway-for-{}-5520"
OTHER_UUID = UUID.replace("abcd", "beef")


@dataclass(frozen=True)
class Rig:
    """A data plane before all four fake providers, and the credentials planted in it by validity."""

    house: House
    fakes: dict[str, Fake]
    credentials: dict[str, str]

    def seen(self) -> list[Seen]:
        """What any provider saw since it was last asked."""
        found = [seen for fake in self.fakes.values() for seen in fake.requests]
        for fake in self.fakes.values():
            assert fake.faults == []
            fake.requests.clear()
        return found


@contextlib.contextmanager
def _rig(mode: Mode, folder: Path) -> Iterator[Rig]:
    with contextlib.ExitStack() as stack:
        providers = {
            "openai": stack.enter_context(fakes.openai(gzip_policy="never")),
            "anthropic": stack.enter_context(fakes.anthropic(gzip_policy="never")),
            "google": stack.enter_context(fakes.gemini(gzip_policy="never")),
            "azure": stack.enter_context(fakes.azure(gzip_policy="never")),
        }
        settings = Settings(providers={name: Provider(base_url=fake.url) for name, fake in providers.items()})
        tenancy = Tenancy(folder)
        if mode == "stored":
            for name, fake in providers.items():
                tenancy.credential(name, fake.url, STORED.format(name))
        credentials = _plant(tenancy)
        on = mode != "off"
        running = stack.enter_context(
            house(settings, tenancy.sections if on else None, tenancy.unsealer() if on else None)
        )
        rig = Rig(running, providers, credentials)
        if on:
            openai = CALLERS["openai"]
            key = {"X-Gatehouse-Key": credentials["revoked"]}
            assert isinstance(openai.ask(Asking(running.url + "/openai/v1", OWN, key)), str)
            rig.seen()
            kept = {name: entry for name, entry in tenancy.sections.keys.items() if name != "key_revoked"}
            running.swap(msgspec.structs.replace(tenancy.sections, keys=kept))
        yield rig


def _plant(tenancy: Tenancy) -> dict[str, str]:
    """One credential of every validity."""
    tenancy.project("prj_other", uuid=OTHER_UUID, own_keys=False)
    tenancy.issuer(issuer(tenant="ten_a", project="prj_a", scopes=("chat",)))
    now = int(time.time())
    valid = tenancy.key()
    return {
        "valid": valid.text,
        "second": tenancy.key().text,
        "unknown": "gth_live_" + "Zq7" * 12,
        "cut short": valid.text[:30],
        "revoked": tenancy.key(id="key_revoked").text,
        "expired": tenancy.key(expires=now - 1).text,
        "disabled": tenancy.key(disabled=True).text,
        "wrong project": tenancy.key(project="prj_other").text,
        "token": token(iat=now, exp=now + 600).decode(),
        "token expired": token(iat=now - 900, exp=now - 300).decode(),
        "token of another": token(kid="rsa", iat=now, exp=now + 600).decode(),
    }


@pytest.fixture(scope="module", params=["stored", "own", "off"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mode, Rig]]:
    with _rig(request.param, tmp_path_factory.mktemp("credentials") / "data") as running:
        yield request.param, running


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("name", CALLERS)
def test_I3_every_position_mode_and_validity(rig: tuple[Mode, Rig], name: str, position: str) -> None:
    mode, running = rig
    caller = CALLERS[name]
    if position == caller.place or (position == "own place" and mode == "own"):
        return  # the one is `own place`; the other has no room for a key of the caller's own
    rig_url = running.house.url + caller.below["transparent"]
    for validity in ASKED[mode]:
        asking = _asking(rig_url, caller, position, validity, running.credentials)
        answer = caller.ask(asking)
        row = f"{name}, {position}, {mode}, {validity}"
        seen = running.seen()
        if mode == "off" and not validity.startswith("token"):
            _refused(row, caller, answer, (401, "UNAUTHORIZED", "auth.enabled"))
        elif mode != "off" and validity in REFUSALS:
            _refused(row, caller, answer, REFUSALS[validity])
        else:
            assert isinstance(answer, str), f"{row}: {answer}"
            assert len(seen) == 1 and running.fakes[caller.provider].faults == [], row
            if mode != "off":
                _clean(row, caller, mode, seen[0], running.credentials)
            continue
        assert seen == [], f"{row}: {seen[0].target} went upstream"
        told = f"{answer.error}{answer.body}" if isinstance(answer, Refused) else ""
        assert not _planted(told, running.credentials), f"{row}: the error quotes a secret"


def test_I3_no_record_of_any_of_it_holds_a_secret(rig: tuple[Mode, Rig]) -> None:
    """After the table: what became of a thousand calls."""
    _, running = rig
    journal = running.house.journal
    for record in (*journal.decisions, *journal.outcomes, *journal.refusals):
        assert not _planted(msgspec.json.encode(record).decode(), running.credentials)


@pytest.mark.parametrize("name", CALLERS)
@pytest.mark.parametrize("surface", ["services", "unified", "project", "proxy"])
def test_each_address_takes_the_key_where_the_sdk_puts_it(rig: tuple[Mode, Rig], name: str, surface: str) -> None:
    """T1–T5, A1, P2: on a stored credential; and an address that names another project than the key's is refused."""
    mode, running = rig
    caller = CALLERS[name]
    if mode != "stored" or surface not in caller.below:
        return
    base = running.house.url + caller.below[surface]
    key = running.credentials["valid"]
    answer = caller.ask(Asking(base.format(project=UUID), key))
    assert isinstance(answer, str), answer
    [seen] = running.seen()
    _clean(f"{name} on {surface}", caller, "stored", seen, running.credentials)
    if surface == "project":
        answer = caller.ask(Asking(base.format(project=OTHER_UUID), key))
        _refused(f"{name} on another project", caller, answer, (403, "FORBIDDEN", "another project"))
        assert running.seen() == []


@node_clients.needed
@pytest.mark.parametrize("name", ["openai", "anthropic", "google"])
def test_nodes_sdks_with_a_gateway_key(rig: tuple[Mode, Rig], name: str) -> None:
    mode, running = rig
    if mode != "stored":
        return
    assert node_clients.ask(name, running.house, running.credentials["valid"])["text"]
    [seen] = running.seen()
    _clean(f"node, {name}", CALLERS["google-genai" if name == "google" else name], mode, seen, running.credentials)


def test_I3_an_azure_key_goes_to_its_own_resource_only(tmp_path: Path) -> None:
    """T4: bound to the resource it was stored for; the address is the caller's word."""
    tenancy = Tenancy(tmp_path / "data")
    tenancy.credential("azure", "https://my-resource.openai.azure.com", STORED.format("azure"))
    key = tenancy.key()
    caller = CALLERS["AzureOpenAI"]
    with house(Settings(), tenancy.sections, tenancy.unsealer()) as running:
        for resource in ("other-resource", "my-resource2", "my-resourc"):
            answer = caller.ask(Asking(f"{running.url}/azure/{resource}/gpt-4o", key.text))
            _refused(resource, caller, answer, (403, "NO_CREDENTIAL", "at this address"))
        assert running.wait(3).decisions == []


def _asking(url: str, caller: Caller, position: str, validity: str, planted: dict[str, str]) -> Asking:
    value = planted["valid" if validity == "two keys" else validity]
    key, headers, query = OWN, {}, {}
    if position == "own place":
        key = value
    elif position.startswith("?"):
        query[position[1:]] = value
    else:
        headers[position] = f"Bearer {value}" if position == "authorization" else value
    if validity == "two keys":
        headers["X-OngoingAI-Gateway-Key" if position == "X-Gatehouse-Key" else "X-Gatehouse-Key"] = planted["second"]
    return Asking(url, key, headers, query)


def _refused(row: str, caller: Caller, answer: str | Refused, expected: tuple[int, str, str]) -> None:
    status, code, words = expected
    assert isinstance(answer, Refused), f"{row}: {answer!r}"
    assert (answer.status, answer.body["code"]) == (status, code), f"{row}: {answer.body}"
    assert words in answer.body["detail"], f"{row}: {answer.body['detail']}"
    assert type(answer.error) is caller.raises[status], f"{row}: {answer.error!r}"


def _clean(row: str, caller: Caller, mode: Mode, seen: Seen, planted: dict[str, str]) -> None:
    """What the upstream saw: the credential that pays, once, and nothing else that was planted."""
    if mode == "stored":
        header, form = caller.stored
        assert seen.header(header) == form.format(STORED.format(caller.provider)), row
    else:
        assert seen.header(caller.place) in (OWN, f"Bearer {OWN}"), row
    pays = STORED.format(caller.provider) if mode == "stored" else OWN
    wire = _wire(seen)
    assert wire.count(pays) == 1, f"{row}: {wire}"
    assert not _planted(wire.replace(pays, ""), planted), f"{row}: {wire}"


def _wire(seen: Seen) -> str:
    """Everything of a request, also as anybody might decode it."""
    lines = [f"{seen.method} {seen.target}", *(f"{name}: {value}" for name, value in seen.headers)]
    text = "\n".join(lines) + "\n\n" + seen.body.decode("latin-1")
    hidden = [value.partition(" ")[2] for value in seen.values("authorization") if value.lower().startswith("basic")]
    return "\n".join([unquote(text), *(base64.b64decode(each + "==").decode("latin-1") for each in hidden)])


def _planted(text: str, credentials: dict[str, str]) -> list[str]:
    """Names of what is found of it: a key's middle is enough of it, a token's signature of that."""
    secrets = {**{name: _core(value) for name, value in credentials.items()}, "own": OWN, "stored": "sk-stored"}
    return [name for name, value in secrets.items() if value in text]


def _core(value: str) -> str:
    return value.rpartition(".")[2][:24] if "." in value else value[9:29]
