"""The guarded client: what it calls, what it takes, and that it tells nothing (I3)."""

from __future__ import annotations

import asyncio
import gzip
import os
import ssl
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gatehouse.config.settings import Callouts
from gatehouse.control.callout import ANSWER_BYTES, Callout, CalloutError, look_up, signature
from tests.control.places import Asked, answer, place
from tests.http.certificates import self_signed, server_context

T = TypeVar("T")
PLANTED = "planted-0123456789"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"), "DNS:localhost,DNS:sts.example.com,IP:127.0.0.1")


def run(what: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(20):
            return await what

    return asyncio.run(bounded())


def callouts(*private: str, ca_file: Path | None = None, seconds: float = 5.0) -> Callouts:
    return Callouts(private=private, ca_file=str(ca_file) if ca_file else None, seconds=seconds)


def to_loopback(calls: list[str] | None = None) -> Any:
    """A resolver that knows one address, and notes what it was asked."""

    async def resolve(host: str, port: int) -> list[str]:
        if calls is not None:
            calls.append(host)
        return ["127.0.0.1"]

    return resolve


def hello(asked: Asked) -> bytes:
    return answer(200, b"hello", "X-Kind: test")


def test_a_call_over_tls(pem: Path) -> None:
    async def calling() -> None:
        calls: list[str] = []
        async with place(hello, server_context(pem), "sts.example.com") as there:
            client = Callout(callouts(there.url, ca_file=pem), resolve=to_loopback(calls))
            found = await client.send("POST", f"{there.url}/a%20b?x=1", headers={"x-one": "1"}, body=b"body")
        assert (found.status, found.body) == (200, b"hello")
        (asked,) = there.asked
        assert (asked.method, asked.target, asked.body) == ("POST", "/a%20b?x=1", b"body")
        assert asked.headers["host"] == f"sts.example.com:{there.port}"
        assert asked.headers["x-one"] == "1"
        assert asked.headers["accept-encoding"] == "identity"
        assert asked.headers["connection"] == "close"
        assert "gatehouse" in asked.headers["user-agent"]
        assert asked.server_name == "sts.example.com"
        assert calls == ["sts.example.com"], "resolved once: nobody can answer otherwise the second time"

    run(calling())


def test_a_private_address_is_not_called_unless_the_operator_lists_the_origin(pem: Path) -> None:
    async def calling() -> None:
        async with place(hello, server_context(pem)) as there:
            for others in ((), (f"https://localhost:{there.port + 1}",), ("https://localhost",)):
                with pytest.raises(CalloutError, match=r"localhost: has no public address.*callouts\.private"):
                    await Callout(callouts(*others, ca_file=pem)).send("GET", there.url)
        assert there.asked == []

    run(calling())


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "::1", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
     "0.0.0.1", "224.0.0.1", "100.64.0.1"],
)  # fmt: skip
def test_names_of_addresses_that_are_not_public(address: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return [address]

    with pytest.raises(CalloutError, match="no public address"):
        run(Callout(callouts(), resolve=resolve).send("GET", "https://rebound.example.com/"))


@pytest.mark.parametrize("url", ["https://2130706433/", "https://127.1/", "https://[::1]/", "https://0x7f000001/"])
def test_spellings_of_loopback(url: str) -> None:
    with pytest.raises(CalloutError, match="no public address|cannot be resolved|no valid host"):
        run(Callout(callouts()).send("GET", url))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://api.example.com/planted", "https only"),
        ("ftp://api.example.com/planted", "https only"),
        ("file:///etc/planted", "no valid host"),
        ("https://user:planted@api.example.com/", "a user, a password"),
        ("https://api.example.com/#planted", "a fragment"),
        ("https://api.example.com/planted\r\nx:1", "a space"),
        ("https://api.example.com/pla\tnted", "a space"),
        ("https://api.example.com/planted x", "a space"),
        ("https://api.example.com/plänted", "ASCII"),
        ("https://exämple.com/planted", "ASCII"),
        ("https://api.example.com\\@evil.example/planted", "a user, a password"),
        ("https://planted%2eexample/", "no valid host"),
        ("https://api.example.com:99999/planted", "no URL"),
        ("https:///planted", "no valid host"),
        ("planted", "no valid host"),
    ],
)
def test_addresses_that_are_never_called(url: str, said: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise AssertionError("asked for an address")

    with pytest.raises(CalloutError, match=said) as caught:
        run(Callout(callouts(), resolve=resolve).send("GET", url))
    assert "planted" not in str(caught.value)


def test_plain_http_is_for_listed_loopback() -> None:
    async def elsewhere(host: str, port: int) -> list[str]:
        return ["93.184.215.14"]

    async def calling() -> None:
        async with place(hello) as there:
            assert (await Callout(callouts(there.url)).send("GET", there.url)).body == b"hello"
            with pytest.raises(CalloutError, match="https only"):
                await Callout(callouts()).send("GET", there.url)
            with pytest.raises(CalloutError, match="no public address"):
                await Callout(callouts(there.url), resolve=elsewhere).send("GET", there.url)

    run(calling())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    async def calling() -> None:
        def reply(asked: Asked) -> bytes:
            return answer(status, b"", f"location: {there.url}/{PLANTED}")

        async with place(reply) as there:
            with pytest.raises(
                CalloutError, match=f"localhost: answered {status}; redirects are not followed"
            ) as caught:
                await Callout(callouts(there.url)).send("GET", there.url)
        assert len(there.asked) == 1
        assert PLANTED not in str(caught.value)

    run(calling())


def test_answers_that_are_not_taken() -> None:
    large = answer(200, b"x" * (ANSWER_BYTES + 1))
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (ANSWER_BYTES + 1)
    bomb = answer(200, gzip.compress(bytes(ANSWER_BYTES * 4)), "content-encoding: gzip")
    cut = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx"

    async def calling() -> None:
        for content, said in (
            (large, "more than"),
            (endless, "more than"),
            (bomb, "an encoding"),
            (cut, "broke off"),
            (b"nonsense\r\n\r\n", "broke off"),
        ):
            async with place(lambda asked, content=content: content) as there:  # type: ignore[misc]
                with pytest.raises(CalloutError, match=f"localhost: .*{said}") as caught:
                    await Callout(callouts(there.url)).send("GET", f"{there.url}/{PLANTED}")
            assert PLANTED not in str(caught.value)
            assert caught.value.__cause__ is None

    run(calling())


def test_silence_is_bounded() -> None:
    async def calling() -> None:
        async with place(lambda asked: b"") as there:
            began = time.monotonic()
            with pytest.raises(CalloutError, match=r"localhost: no answer within 0\.3 s"):
                await Callout(callouts(there.url, seconds=0.3)).send("GET", there.url)
            assert time.monotonic() - began < 10

    run(calling())


def test_certificates_are_checked_for_the_name(pem: Path) -> None:
    async def calling() -> None:
        async with place(hello, server_context(pem), "other.example.com") as there:
            trusting = Callout(callouts(there.url, ca_file=pem), resolve=to_loopback())
            with pytest.raises(CalloutError, match="its certificate is not accepted: Hostname mismatch"):
                await trusting.send("GET", there.url)
            with pytest.raises(CalloutError, match="its certificate is not accepted: self-signed"):
                await Callout(callouts(there.url), resolve=to_loopback()).send("GET", there.url)
        assert there.asked == []

    run(calling())


def test_the_next_address_is_tried() -> None:
    """Also where the first takes no connection."""

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    async def calling() -> None:
        async with place(hello) as there:
            assert (await Callout(callouts(there.url), resolve=resolve).send("GET", there.url)).status == 200
        with pytest.raises(CalloutError, match="localhost: does not take connections"):
            await Callout(callouts(there.url), resolve=resolve).send("GET", there.url)

    run(calling())


def test_a_name_nobody_knows() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(CalloutError, match=r"absent\.example\.com: its name cannot be resolved"):
        run(Callout(callouts(), resolve=resolve).send("GET", "https://absent.example.com"))


def test_the_environment_changes_nothing(pem: Path) -> None:
    """A proxy of the environment would see every name we call, and could answer for it."""
    names = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "http://127.0.0.1:1"))

    async def calling() -> None:
        async with place(hello, server_context(pem)) as there:
            assert (await Callout(callouts(there.url, ca_file=pem)).send("GET", there.url)).status == 200

    try:
        run(calling())
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def test_a_bad_bundle_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(ssl.SSLError):
        Callout(callouts(ca_file=tmp_path / "ca.pem"))


def test_the_systems_resolver() -> None:
    assert "127.0.0.1" in run(look_up("127.0.0.1", 443))


def test_the_signature_of_a_call() -> None:
    """HMAC-SHA256, computed by hand: `printf '1700000000.{}' | openssl dgst -sha256 -hmac key`."""
    made = signature(b"key", b"{}", 1_700_000_000)
    assert made == f"t=1700000000,v1={made[-64:]}"
    assert signature(b"key", b"{}", 1_700_000_001) != made
    assert signature(b"key", b"{ }", 1_700_000_000)[-64:] != made[-64:]
    assert made[-64:] == EXPECTED


EXPECTED = "9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
