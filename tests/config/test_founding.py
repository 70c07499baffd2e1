"""The one-time token of setting up, and the file that says that there is an owner."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gatehouse.config.founding import OFFERED_SECONDS, mark, offer, offered, withdraw
from gatehouse.config.paths import DataDir, write_private

NOW = 1_800_000_000.0


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    made = DataDir(tmp_path)
    made.create()
    return made


def test_a_token_counts_for_half_an_hour_and_is_kept_as_a_digest(data: DataDir) -> None:
    token = offer(data, NOW)
    assert offered(data, token, NOW) and offered(data, token, NOW + OFFERED_SECONDS - 1)
    assert not offered(data, token, NOW + OFFERED_SECONDS)
    assert not offered(data, token + "x", NOW) and not offered(data, "", NOW)
    assert token.encode() not in data.setup.read_bytes()
    assert stat.S_IMODE(data.setup.stat().st_mode) == 0o600


def test_only_the_last_one_counts_and_none_once_there_is_an_owner(data: DataDir) -> None:
    first, second = offer(data, NOW), offer(data, NOW)
    assert not offered(data, first, NOW) and offered(data, second, NOW)
    mark(data)
    assert not offered(data, second, NOW)
    assert stat.S_IMODE(data.accounts.stat().st_mode) == 0o600
    before = data.accounts.read_bytes()
    mark(data)
    assert data.accounts.read_bytes() == before
    withdraw(data)


def test_a_file_that_is_not_ours_counts_for_nothing(data: DataDir) -> None:
    token = offer(data, NOW)
    data.setup.chmod(0o644)
    assert not offered(data, token, NOW)
    for content in (b"", b"{}", b'{"digest": 1}'):
        write_private(data.setup, content)
        assert not offered(data, token, NOW)
