"""Log-in attempts are throttled per account and per address, within bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.auth.throttle import ACCOUNT, ADDRESS, Throttle


def attempts(throttle: Throttle, account: str, address: str, count: int, now: float = 0.0) -> list[int]:
    return [throttle.begin(account, address, now) for _ in range(count)]


def test_an_account_of_the_same_name_elsewhere_buys_no_guesses() -> None:
    """I6: whoever owns a tenant can make a user with any e-mail address there, and log in as that."""
    throttle, now = Throttle(), 0.0
    for _ in range(ACCOUNT.free):
        assert throttle.begin("ann@example.com", "192.0.2.1", now) == 0
    now += 1
    assert throttle.begin("ann@example.com", "192.0.2.2", now) == 0
    throttle.succeeded("ann@example.com", "192.0.2.2", alone=False)
    assert throttle.begin("ann@example.com", "192.0.2.3", now) > 0


def test_an_account_waits_twice_as_long_each_time() -> None:
    throttle = Throttle()
    now = 0.0
    assert attempts(throttle, "a@example.com", "192.0.2.1", ACCOUNT.free) == [0] * ACCOUNT.free
    for wait in (1, 2, 4, 8, 16, 32, 60, 60):
        assert throttle.begin("a@example.com", "192.0.2.1", now) == wait
        assert throttle.begin("a@example.com", "198.51.100.7", now) == wait, "from wherever"
        now += wait
        assert throttle.begin("a@example.com", f"203.0.113.{wait}", now) == 0
    assert throttle.begin("b@example.com", "198.51.100.7", now) == 0


def test_a_thousand_at_once_do_not_all_pass() -> None:
    """An attempt counts from its beginning: passwords are checked on threads, side by side."""
    assert attempts(Throttle(), "a", "192.0.2.1", 1000).count(0) == ACCOUNT.free


def test_an_address_cannot_try_many_accounts() -> None:
    throttle = Throttle()
    waits = [throttle.begin(f"user{number}", "192.0.2.1", 0.0) for number in range(1000)]
    assert waits.count(0) == ADDRESS.free
    now = 0.0
    for _ in range(30):
        now += throttle.begin("another", "192.0.2.1", now)
        assert throttle.begin(f"user at {now}", "192.0.2.1", now) == 0
    assert throttle.begin("another", "192.0.2.1", now) == ADDRESS.longest


def test_success_clears_the_account_and_gives_the_address_one_back() -> None:
    throttle = Throttle()
    attempts(throttle, "a", "192.0.2.1", ACCOUNT.free)
    throttle.succeeded("a", "192.0.2.1")
    assert attempts(throttle, "a", "192.0.2.1", ACCOUNT.free) == [0] * ACCOUNT.free
    # One who has an account does not buy guesses at others with it.
    fresh = Throttle()
    tried = 0
    for number in range(200):
        if fresh.begin("mine", "192.0.2.9", 0.0) == 0:
            fresh.succeeded("mine", "192.0.2.9")
        tried += fresh.begin(f"other{number}", "192.0.2.9", 0.0) == 0
    assert tried == ADDRESS.free


def test_what_was_long_ago_is_forgotten() -> None:
    throttle = Throttle()
    attempts(throttle, "a", "192.0.2.1", 100)
    assert throttle.begin("a", "192.0.2.1", ACCOUNT.forgets - 1) == 0, "waited long enough"
    assert throttle.begin("a", "192.0.2.1", ACCOUNT.forgets - 1) > 1, "and one more doubles"
    assert attempts(throttle, "a", "192.0.2.1", ACCOUNT.free, 2 * ACCOUNT.forgets) == [0] * ACCOUNT.free


@pytest.mark.parametrize("name", ["A@Example.com", " a@example.com ", "ａ@example.com"])
def test_one_account_by_many_spellings(name: str) -> None:
    throttle = Throttle()
    attempts(throttle, "a@example.com", "192.0.2.1", ACCOUNT.free)
    assert throttle.begin(name, "192.0.2.2", 0.0) > 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "unix", True),
    ],
)
def test_addresses(one: str, other: str, same: bool) -> None:
    throttle = Throttle()
    for number in range(ADDRESS.free):
        throttle.begin(f"user{number}", one, 0.0)
    assert (throttle.begin("new", other, 0.0) > 0) is same


def test_memory_is_bounded() -> None:
    """I9. Who tried last is remembered."""
    throttle = Throttle(remembered=100)
    attempts(throttle, "victim", "192.0.2.1", ACCOUNT.free)
    for number in range(5000):
        throttle.begin("x" * 10_000 + str(number), f"10.0.{number // 250}.{number % 250}", 0.0)
        throttle.begin(f"user{number}", f"10.1.{number // 250}.{number % 250}", 0.0)
        if number % 30 == 0:
            throttle.begin("victim", f"10.2.{number // 250}.{number % 250}", 1000.0 * number)
    assert len(throttle) <= 200


_STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["192.0.2.1", "192.0.2.2"]), st.floats(0, 100), st.booleans()),
    max_size=60,
)


@given(_STEPS)
def test_never_more_than_the_rule_allows(steps: list[tuple[str, str, float, bool]]) -> None:
    """Of failures in any hour, and a wait that was waited for always ends."""
    throttle = Throttle()
    now = 0.0
    failed: dict[str, int] = {}
    for account, address, pause, good in steps:
        now += pause
        wait = throttle.begin(account, address, now)
        assert 0 <= wait <= ADDRESS.longest
        if wait == 0 and good:
            throttle.succeeded(account, address)
            failed[account] = 0
        elif wait == 0:
            failed[account] = failed.get(account, 0) + 1
            if failed[account] >= ACCOUNT.free:
                assert throttle.begin(account, address, now) > 0
