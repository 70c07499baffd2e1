"""From configuration and directory to a snapshot, and from that to what the pipeline uses."""

from __future__ import annotations

from gatehouse.config.settings import ModelPrice, Prices, Settings
from gatehouse.gateway.snapshot import FIRST_VERSION, build, filled, live
from gatehouse.model.snapshot import SECTIONS, Sections
from tests.gateway.entries import PLAIN, SETTINGS, sections


def test_the_configuration_alone() -> None:
    assert build(SETTINGS) == PLAIN
    assert PLAIN.version == FIRST_VERSION == 1
    assert not any(getattr(PLAIN, name) for name in SECTIONS)


def test_with_what_the_directory_contributes() -> None:
    given = sections(10)
    made = filled(build(SETTINGS), given, 12)
    assert made.version == 12
    assert {name: getattr(made, name) for name in SECTIONS} == {name: getattr(given, name) for name in SECTIONS}
    assert (made.providers, made.prices) == (PLAIN.providers, PLAIN.prices)


def test_a_swap_keeps_the_prices_it_looked_up_unless_they_changed() -> None:
    first = live(PLAIN, SETTINGS)
    newer = filled(PLAIN, sections(3), 2)
    second = live(newer, SETTINGS, (PLAIN, first))
    assert (second.version, second.prices, second.times) == (2, first.prices, first.times)
    dearer = Settings(prices=Prices(models=(ModelPrice(provider="openai", model="x", input="1", output="2"),)))
    third = live(filled(build(dearer), Sections(), 3), dearer, (newer, second))
    assert third.prices.version == f"{first.prices.version}-{third.prices.version.rpartition('-')[2]}"
