"""The `rotate` hook never learns the old secret; reminders come when a secret is due (D12)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from gatehouse.auth.secrets import ApiKey, AwsKeys, Source
from gatehouse.auth.vault import Binding
from gatehouse.config.settings import Callouts
from gatehouse.control.callout import Callout, signature
from gatehouse.control.rotation import REMIND_SECONDS, Rotation, RotationError, due, rotated
from gatehouse.model.access import CredentialKind
from tests.auth.test_secrets import AWS, AWS_KEYS
from tests.control.places import Asked, Reply, answer, place
from tests.http.certificates import self_signed, server_context

NOW = 1_700_000_000
DAY = 86_400
BINDING = Binding("ten_1", "crd_1", "openai", "https://api.openai.com")
PLANTED = "sk-planted-0123456789"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"), "DNS:localhost")


def hooked(reply: Reply, pem: Path, kind: CredentialKind = "api_key") -> tuple[ApiKey | AwsKeys | Source, Asked]:
    async def hooking() -> tuple[ApiKey | AwsKeys | Source, Asked]:
        async with asyncio.timeout(20), place(reply, server_context(pem)) as there:
            client = Callout(Callouts(private=(there.url,), ca_file=str(pem), seconds=5.0))
            url = f"{there.url}/hooks/{PLANTED}?x=1"
            found = await rotated(client, url, BINDING, kind, key=b"hook", now=NOW)
            (asked,) = there.asked
            return found, asked

    return asyncio.run(hooking())


def test_the_hook_gives_a_new_secret(pem: Path) -> None:
    found, asked = hooked(lambda _: answer(200, {"secret": "sk-new-0123456789"}), pem)
    assert found == ApiKey("sk-new-0123456789")
    assert asked.method == "POST"
    assert asked.headers["x-gatehouse-signature"] == signature(b"hook", asked.body, NOW)
    assert msgspec.json.decode(asked.body) == {
        "event": "credential.rotate",
        "time": NOW,
        "tenant": "ten_1",
        "credential": "crd_1",
        "provider": "openai",
        "origin": "https://api.openai.com",
        "kind": "api_key",
    }


def test_kinds_of_more_parts(pem: Path) -> None:
    found, _ = hooked(lambda _: answer(200, {"secret": AWS}), pem, "aws_keys")
    assert found == AWS_KEYS


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (answer(500, {"secret": PLANTED}), "the rotate hook of credential crd_1 answered 500"),
        (answer(200, {"other": PLANTED}), "something other than"),
        (answer(200, {"secret": 7}), "something other than"),
        (answer(200, PLANTED.encode()), "something other than"),
        (answer(200, {"secret": f"{PLANTED} and more"}), "crd_1: key: "),
        (answer(200, {"secret": ""}), "crd_1: key: "),
        (answer(302, b"", f"location: https://evil.example/{PLANTED}"), "redirects are not followed"),
    ],
)
def test_answers_that_give_none(reply: bytes, said: str, pem: Path) -> None:
    with pytest.raises(RotationError, match=said) as caught:
        hooked(lambda _: reply, pem)
    assert PLANTED not in str(caught.value)


def test_what_is_due() -> None:
    rotations = [
        Rotation("fresh", NOW - 29 * DAY, 30),
        Rotation("due", NOW - 30 * DAY, 30),
        Rotation("late", NOW - 90 * DAY, 30),
        Rotation("told yesterday", NOW - 90 * DAY, 30, NOW - DAY),
        Rotation("told a week ago", NOW - 91 * DAY, 30, NOW - REMIND_SECONDS),
        Rotation("told before it was changed", NOW - 31 * DAY, 30, NOW - 32 * DAY),
    ]
    assert due(rotations, NOW) == ["told a week ago", "late", "told before it was changed", "due"]
    assert due([], NOW) == []
