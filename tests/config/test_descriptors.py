"""Who stands back when file descriptors are short, and in which order."""

from __future__ import annotations

import resource

import pytest

from gatehouse.config.descriptors import Descriptors


@pytest.mark.parametrize(("limit", "clients", "client", "provider"), [(1024, 448, 960, 992), (64, 24, 56, 60)])
def test_clients_stop_first_and_providers_next(limit: int, clients: int, client: int, provider: int) -> None:
    descriptors = Descriptors(limit)
    assert descriptors.clients == clients
    assert [descriptors.short_for_client(number) for number in (client - 1, client)] == [False, True]
    assert [descriptors.short_for_provider(number) for number in (provider - 1, provider)] == [False, True]
    assert clients * 2 <= client, "each client leaves one for its provider"


def test_without_a_limit_nobody_does() -> None:
    unlimited = Descriptors(resource.RLIM_INFINITY)
    assert unlimited.clients is None
    assert not unlimited.short_for_client(10**6)
    assert not unlimited.short_for_provider(10**6)


def test_the_processs_own_limit_is_the_default() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert Descriptors().limit == (None if soft == resource.RLIM_INFINITY else soft)


def test_what_was_denied_is_counted() -> None:
    descriptors = Descriptors(64)
    assert (descriptors.denied, descriptors.denied_at) == (0, 0)
    descriptors.deny()
    descriptors.deny()
    assert descriptors.denied == 2
    assert descriptors.denied_at > 0
