"""Which entry a name belongs to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.model.prices import Period, Price, Rates
from gatehouse.pricing.match import Matcher, dashed_date

PERIODS = (Period(rates=Rates(input=1)),)


def price(identity: str, *patterns: tuple[str, ...], names: tuple[str, ...] = ()) -> Price:
    return Price(id=identity, periods=PERIODS, names=names, patterns=patterns)


@pytest.mark.parametrize(
    ("pattern", "matches", "does_not"),
    [
        (("^gpt-",), "gpt-4o", "my-gpt-4o"),
        (("$-mini",), "gpt-4o-mini", "gpt-4o-mini-2"),
        (("~claude",), "eu.claude-3", "clyde"),
        (("=o1",), "o1", "o1-mini"),
        ((r"/^o\d$",), "o3", "o3-mini"),
        (("^gemini", "$-tts"), "gemini-2-tts", "gemini-2"),
        (("^",), "", None),
    ],
)
def test_each_sign(pattern: tuple[str, ...], matches: str, does_not: str | None) -> None:
    matcher = Matcher([price("it", pattern)])
    found = matcher.find(matches)
    assert found is not None
    assert found.id == "it"
    assert does_not is None or matcher.find(does_not) is None


def test_an_unknown_sign_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match=r"price pattern '\?x': unknown sign '\?'"):
        Matcher([price("it", ("?x",))])


@given(
    st.lists(
        st.tuples(
            st.lists(st.text("ab", max_size=3), max_size=2),
            st.lists(st.tuples(st.sampled_from("^$~="), st.text("ab", max_size=2)), max_size=2),
        ),
        max_size=6,
    ),
    st.text("ab", max_size=4),
)
def test_the_first_entry_that_matches_counts(entries: list[tuple[list[str], list[tuple[str, str]]]], name: str) -> None:
    def belongs(names: list[str], patterns: list[tuple[str, str]]) -> bool:
        tests = {"^": name.startswith, "$": name.endswith, "~": name.__contains__, "=": name.__eq__}
        return name in names or any(tests[sign](text) for sign, text in patterns)

    prices = [
        price(str(place), *((sign + text,) for sign, text in patterns), names=tuple(names))
        for place, (names, patterns) in enumerate(entries)
    ]
    expected = next((str(place) for place, entry in enumerate(entries) if belongs(*entry)), None)
    found = Matcher(prices).find(name)
    assert (found.id if found else None) == expected


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("gpt-5.2-20251211", "gpt-5.2-2025-12-11"),
        ("gpt-5.2-20251211:free", "gpt-5.2-2025-12-11:free"),
        ("a-20240229-b-20230229", "a-2024-02-29-b-20230229"),
        ("gpt-5.2-20251311", "gpt-5.2-20251311"),
        ("gpt-5.2-202512112", "gpt-5.2-202512112"),
        ("gpt-5.2", "gpt-5.2"),
    ],
)
def test_compact_dates_are_spelt_out(name: str, spelt: str) -> None:
    assert dashed_date(name) == spelt
