"""Names to addresses: only public ones unless private; cached, and refreshed in time (I8)."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gatehouse.upstream.resolve import ResolveError, Resolver, is_public
from tests.http.serving import run
from tests.upstream.farside import NamingLoop, until


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("::ffff:8.8.8.8", True), ("64:ff9b::808:808", True),
        ("127.0.0.1", False), ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.0.1", False),
        ("0.0.0.0", False),  # noqa: S104
        ("169.254.169.254", False), ("100.64.0.1", False), ("224.0.0.1", False), ("255.255.255.255", False),
        ("192.0.0.8", False), ("::1", False), ("::", False), ("::7f00:1", False), ("fe80::1", False),
        ("fe80::1%eth0", False), ("fc00::1", False), ("fec0::1", False), ("ff02::1", False),
        ("::ffff:127.0.0.1", False), ("::ffff:10.0.0.1", False), ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False), ("64:ff9b:1::808:808", False), ("2002:7f00:1::", False),
    ],
)  # fmt: skip
def test_what_is_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_private_addresses_are_refused_unless_meant() -> None:
    async def main() -> None:
        loop = NamingLoop({"inside.test": ["10.0.0.5"], "mixed.test": ["10.0.0.5", "8.8.8.8", "127.0.0.1"]})
        resolver = Resolver(loop.as_loop(), 60.0)
        for host in ("127.0.0.1", "::1", "169.254.169.254", "inside.test"):
            with pytest.raises(ResolveError, match="no public address; set `private: true`"):
                await resolver.addresses(host, 80, private=False)
            assert await resolver.addresses(host, 80, private=True)
        assert await resolver.addresses("mixed.test", 80, private=False) == ["8.8.8.8"]
        assert await resolver.addresses("mixed.test", 80, private=True) == ["10.0.0.5", "8.8.8.8", "127.0.0.1"]

    run(main())


@pytest.mark.parametrize("spelling", ["2130706433", "0x7f.1", "127.1", "017700000001"])
def test_other_spellings_of_loopback_are_seen_through(spelling: str) -> None:
    """The C library reads them as 127.0.0.1: what is checked is what it says, and that is what is connected to."""

    async def main() -> None:
        with pytest.raises(ResolveError):
            await Resolver(asyncio.get_running_loop(), 60.0).addresses(spelling, 80, private=False)

    run(main())


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".test", "exa mple", ""])
def test_what_is_no_name_says_so(host: str) -> None:
    async def main() -> None:
        with pytest.raises(ResolveError, match="cannot resolve"):
            await Resolver(asyncio.get_running_loop(), 60.0).addresses(host, 80, private=False)

    run(main())


def test_I8_a_known_name_is_not_looked_up_again_while_it_is_young() -> None:
    async def main() -> None:
        loop = NamingLoop({"far.test": ["8.8.8.8"]})
        resolver = Resolver(loop.as_loop(), 60.0)
        for _ in range(3):
            assert await resolver.addresses("far.test", 80, private=False) == ["8.8.8.8"]
        assert loop.look_ups == 1

    run(main())


def test_I8_an_old_answer_serves_while_the_new_one_is_fetched_and_after_that_failed() -> None:
    async def main() -> None:
        loop = NamingLoop({"far.test": ["8.8.8.8"]})
        resolver = Resolver(loop.as_loop(), 0.0)
        await resolver.addresses("far.test", 80, private=False)
        loop.answering.clear()
        loop.names["far.test"] = ["8.8.4.4"]
        for _ in range(5):
            assert await resolver.addresses("far.test", 80, private=False) == ["8.8.8.8"]
        await until(lambda: loop.look_ups == 2)
        loop.answering.set()
        for _ in range(3):
            await asyncio.sleep(0)
        assert await resolver.addresses("far.test", 80, private=False) == ["8.8.4.4"]
        loop.names["far.test"] = socket.gaierror(-3, "Temporary failure in name resolution")
        for _ in range(5):
            assert await resolver.addresses("far.test", 80, private=False) == ["8.8.4.4"]
            await asyncio.sleep(0)

    run(main())


def test_many_who_ask_at_once_share_one_look_up_and_one_who_gives_up_does_not_end_it() -> None:
    async def main() -> None:
        loop = NamingLoop({"far.test": ["8.8.8.8"]})
        loop.answering.clear()
        resolver = Resolver(loop.as_loop(), 60.0)
        asking = [asyncio.ensure_future(resolver.addresses("far.test", 80, private=False)) for _ in range(5)]
        await until(lambda: loop.look_ups)
        asking[0].cancel()
        loop.answering.set()
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert found[1:] == [["8.8.8.8"]] * 4
        assert loop.look_ups == 1

    run(main())


def test_a_failure_is_told_to_all_who_ask_and_tried_anew_next_time() -> None:
    async def main() -> None:
        loop = NamingLoop({"far.test": socket.gaierror(-2, "Name or service not known")})
        resolver = Resolver(loop.as_loop(), 60.0)
        for _ in range(2):
            with pytest.raises(ResolveError, match=r"cannot resolve far\.test: Name or service not known"):
                await resolver.addresses("far.test", 80, private=False)
        loop.names["far.test"] = ["8.8.8.8", "8.8.8.8"]
        assert await resolver.addresses("far.test", 80, private=False) == ["8.8.8.8"]
        assert loop.look_ups == 3

    run(main())


def test_I9_the_cache_is_bounded() -> None:
    async def main() -> None:
        names = {f"{i}.test": ["8.8.8.8"] for i in range(1100)}
        loop = NamingLoop(dict(names))
        resolver = Resolver(loop.as_loop(), 60.0)
        for host in names:
            await resolver.addresses(host, 80, private=False)
        assert len(resolver._cache) <= 1024

    run(main())
