"""config/addresses.py: one answer, wherever somebody's address is held against a list."""

from __future__ import annotations

import pytest

from gatehouse.config.addresses import networks, parsed, within


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
