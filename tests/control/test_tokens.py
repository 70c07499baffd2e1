"""Short-lived secrets are kept fresh: ahead of time, one request at a time, through failures (D11)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatehouse.auth.injection import injection
from gatehouse.auth.secrets import AwsKeys, EntraClient, Source, Token
from gatehouse.auth.vault import Vault, VaultError, binding_of
from gatehouse.config import masterkeys
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Callouts, Secrets
from gatehouse.control.callout import Callout
from gatehouse.control.exchange import PLACES, Cloud, ExchangeError, exchange
from gatehouse.control.tokens import LEAST_PAUSE, LONGEST_PAUSE, Health, Tokens, Watched, refresh_pause, retry_pause
from gatehouse.model.access import CredentialEntry
from tests.control.places import answer, place
from tests.http.certificates import self_signed, server_context

NOW = 1_700_000_000
FIRST, SECOND = EntraClient("contoso", "client", "one"), EntraClient("contoso", "client", "two")


class Granting:
    """A provider and a directory in one: counts, and answers as it is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Source]] = []
        self.kept: list[tuple[str, Token | AwsKeys]] = []
        self.lifetime = 3600
        self.failing = ""
        self.full = ""
        self.open = asyncio.Event()
        """Answers come while it is set."""
        self.open.set()
        self.arrived = asyncio.Event()
        self.under_way = 0
        self.most = 0

    async def fetch(self, credential: str, source: Source) -> Token | AwsKeys:
        self.asked.append((credential, source))
        self.arrived.set()
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.open.wait()
        self.under_way -= 1
        if self.failing:
            raise ExchangeError(self.failing)
        return Token(f"token-{len(self.asked)}", NOW + self.lifetime)

    async def keep(self, credential: str, fetched: Token | AwsKeys) -> None:
        if self.full:
            raise ExchangeError(self.full)
        self.kept.append((credential, fetched))


@asynccontextmanager
async def running(granting: Granting, now: Callable[[], float] = lambda: NOW) -> AsyncIterator[Tokens]:
    tokens = Tokens(granting.fetch, granting.keep, now=now, jitter=lambda: 0.0)
    task = asyncio.create_task(tokens.run())
    try:
        yield tokens
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def run(what: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await what

    asyncio.run(bounded())


async def tried(tokens: Tokens, credential: str, holds: Callable[[Health], bool] = lambda _: True) -> Health:
    """How it is, once it was tried and this holds."""
    while (health := tokens.health()[credential]).state == "waiting" or not holds(health):  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.005)
    return health


def test_what_is_missing_is_fetched_and_kept() -> None:
    async def watching() -> None:
        granting = Granting()
        async with running(granting) as tokens:
            tokens.watch({"crd_1": Watched(FIRST)})
            assert tokens.health()["crd_1"].state == "waiting"
            health = await tried(tokens, "crd_1")
            assert (health.state, health.expires, health.failures) == ("ok", NOW + 3600, 0)
            assert tokens.health() == {"crd_1": health}
            assert granting.asked == [("crd_1", FIRST)]
            assert granting.kept == [("crd_1", Token("token-1", NOW + 3600))]

    run(watching())


def test_watching_may_begin_before_it_runs() -> None:
    async def watching() -> None:
        granting = Granting()
        tokens = Tokens(granting.fetch, granting.keep)
        tokens.watch({"crd_1": Watched(FIRST)})
        task = asyncio.create_task(tokens.run())
        await granting.arrived.wait()
        task.cancel()
        await asyncio.wait([task])

    run(watching())


def test_what_is_stored_and_fresh_is_left_alone() -> None:
    async def watching() -> None:
        granting = Granting()
        async with running(granting) as tokens:
            tokens.watch({"crd_1": Watched(FIRST, NOW + 3600)})
            for _ in range(20):
                await asyncio.sleep(0)
            assert granting.asked == []
            assert tokens.health()["crd_1"].expires == NOW + 3600

    run(watching())


def test_it_is_asked_again_before_it_expires() -> None:
    """Time runs for the keeper: what is stored is nearly over, and the pause until the next one has passed."""

    async def watching() -> None:
        granting = Granting()
        async with running(granting, now=lambda: NOW + 3599.98) as tokens:
            tokens.watch({"crd_1": Watched(FIRST, NOW + 3600)})
            await granting.arrived.wait()
            assert granting.asked == [("crd_1", FIRST)]

    run(watching())


def test_one_request_at_a_time_however_often_it_is_named() -> None:
    async def watching() -> None:
        granting = Granting()
        granting.open.clear()
        async with running(granting) as tokens:
            tokens.watch({"crd_1": Watched(FIRST)})
            await granting.arrived.wait()
            for _ in range(50):
                tokens.watch({"crd_1": Watched(FIRST)})
                await asyncio.sleep(0)
            granting.open.set()
            assert (await tried(tokens, "crd_1")).state == "ok"
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(granting.asked) == granting.most == 1

    run(watching())


def test_a_failure_is_said_while_the_old_one_serves_on_and_tried_again() -> None:
    async def watching() -> None:
        granting = Granting()
        granting.failing = "login.microsoftonline.com answered 401: invalid_client"
        async with running(granting, now=lambda: NOW + 599.98) as tokens:
            tokens.watch({"crd_1": Watched(FIRST, NOW + 600)})
            first = await tried(tokens, "crd_1")
            assert (first.state, first.failures, first.why) == ("failing", 1, granting.failing)
            assert first.expires == NOW + 600
            second = await tried(tokens, "crd_1", lambda health: health.failures == 2)  # after 1 s
            assert (second.failures, second.since) == (2, first.since)
            assert granting.kept == []
            granting.failing = ""
            third = await tried(tokens, "crd_1", lambda health: health.state == "ok")
            assert (third.state, third.failures, third.why) == ("ok", 0, "")

    run(watching())


def test_what_could_not_be_stored_counts_as_failed() -> None:
    async def watching() -> None:
        granting = Granting()
        granting.full = "the directory is away"
        async with running(granting) as tokens:
            tokens.watch({"crd_1": Watched(FIRST)})
            health = await tried(tokens, "crd_1")
            assert (health.state, health.why, health.expires) == ("failing", "the directory is away", 0)

    run(watching())


def test_changes_of_what_is_watched() -> None:
    async def watching() -> None:
        granting = Granting()
        async with running(granting) as tokens:
            tokens.watch({"crd_1": Watched(FIRST), "crd_2": Watched(FIRST)})
            await tried(tokens, "crd_1")
            await tried(tokens, "crd_2")
            asked = len(granting.asked)
            tokens.watch({"crd_1": Watched(FIRST), "crd_2": Watched(SECOND)})
            assert (await tried(tokens, "crd_2")).state == "ok"
            assert granting.asked[asked:] == [("crd_2", SECOND)], "the other goes on as it was"
            tokens.watch({})
            assert tokens.health() == {}

    run(watching())


def test_a_bug_is_not_swallowed() -> None:
    async def fetch(credential: str, source: Source) -> Token:
        raise ZeroDivisionError

    async def watching() -> None:
        granting = Granting()
        tokens = Tokens(fetch, granting.keep)
        tokens.watch({"crd_1": Watched(FIRST)})
        with pytest.raises(ExceptionGroup) as caught:
            await tokens.run()
        assert caught.group_contains(ZeroDivisionError)

    run(watching())


def test_from_the_source_to_the_header_line(tmp_path: Path) -> None:
    """All parts together: the client secret is sealed in the control plane, its token goes to the worker, sealed."""
    data = DataDir(tmp_path / "data")
    data.create()
    vault = Vault(masterkeys.read(Secrets(), data, {}, create=True))
    entry = CredentialEntry("crd_1", "ten_1", "azure", "https://my-resource.openai.azure.com", "azure_entra", b"")
    binding = binding_of(entry)
    stored = vault.seal(binding, FIRST)
    pem = self_signed(tmp_path, "DNS:localhost")
    sealed: dict[str, bytes] = {}

    async def keep(credential: str, fetched: Token | AwsKeys) -> None:
        sealed[credential] = vault.seal(binding, fetched)

    async def fetching() -> None:
        granted = answer(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": "ey.planted"})
        async with place(lambda _: granted, server_context(pem)) as there:
            client = Callout(Callouts(private=(there.url,), ca_file=str(pem)))
            places = PLACES._replace(entra={"public": Cloud(there.url, "scope")})

            async def fetch(credential: str, source: Source) -> Token | AwsKeys:
                return await exchange(source, client, credential=credential, now=NOW, places=places)

            tokens = Tokens(fetch, keep, now=lambda: NOW)
            tokens.watch({"crd_1": Watched(vault.open(binding, stored, (EntraClient,)))})
            task = asyncio.create_task(tokens.run())
            assert (await tried(tokens, "crd_1")).state == "ok"
            task.cancel()
            await asyncio.wait([task])

    run(fetching())
    worker = Vault(masterkeys.read(Secrets(), data, {}, create=False))
    found = injection(msgspec.structs.replace(entry, sealed=sealed["crd_1"]), "azure", worker)
    assert found.lines(entry.origin, "openai") == b"authorization: Bearer ey.planted\r\n"
    assert found.expires == NOW + 3599
    with pytest.raises(VaultError, match="another kind"):
        injection(msgspec.structs.replace(entry, sealed=stored), "azure", worker)


def test_pauses() -> None:
    assert refresh_pause(3600, 0) == 2520
    assert refresh_pause(3600, 1) == pytest.approx(2880)
    assert refresh_pause(-5, 0.5) == 0
    pauses = [retry_pause(failures, 1.0) for failures in range(1, 12)]
    assert pauses[:4] == [2, 4, 8, 16]
    assert pauses == sorted(pauses)
    assert max(pauses) == retry_pause(10**9, 1.0) == LONGEST_PAUSE
    assert retry_pause(3, 0.0) == 4, "jitter halves at most"
    assert LEAST_PAUSE >= 10
