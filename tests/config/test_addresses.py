"""config/addresses.py: one answer, wherever somebody's address is held against a list."""

from __future__ import annotations

import pytest

from gatehouse.config.addresses import is_loopback, networks, parsed, within


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("", False),
        ("10.1.2.3 ", False),
        ("10.1.2.3:80", False),
        ("unknown", False),
    ],
)
def test_where_an_address_belongs(text: str, inside: bool) -> None:
    assert within(parsed(text), networks(["10.0.0.9/8", "192.0.2.7", "2001:db8::/32"])) is inside


def test_what_is_no_network_is_said() -> None:
    with pytest.raises(ValueError, match="10.0.0.0/99"):
        networks(["10.0.0.0/99"])


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - compared, not bound
        ("::", False),
        ("", False),
        ("localhost", False),
        ("127.0.0.1, 10.0.0.1", False),
        ("127.0.0.1:80", False),
        ("2130706433", False),
        ("127.1", False),
        ("0177.0.0.1", False),
    ],
)
def test_what_counts_as_this_machine(address: str, local: bool) -> None:
    assert is_loopback(address) is local
