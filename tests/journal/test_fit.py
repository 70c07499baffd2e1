"""I2: whatever callers and providers put into a record, the outcome gets its line."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.journal.fit import fit
from gatehouse.model.record import Candidate, Outcome
from gatehouse.model.usage import Usage
from tests.journal.samples import outcome


def test_long_texts_are_cut_and_say_so() -> None:
    fitted = fit(outcome("c", model="m" * 10_000, finish_reasons=("x" * 10_000,) * 100))
    assert fitted.model == "m" * 512 + "… (10000 characters)"
    assert len(fitted.finish_reasons) == 32
    assert len(msgspec.json.encode(fitted)) < 64 * 1024


def test_what_fits_stays() -> None:
    record = outcome("c", served=Candidate("openai", "https://api.openai.com", "gpt-4o"))
    assert fit(record) == record


@given(
    st.text(st.characters(), max_size=2000),
    st.integers(),
    st.lists(st.text(st.characters(categories=["Cs", "Lu"]))),
)
def test_every_record_can_be_encoded(text: str, number: int, texts: list[str]) -> None:
    record = Outcome(
        "c", "p", "ok", model=text, cost=number, finish_reasons=tuple(texts), usage=Usage(input=number),
        served=Candidate(text, text, text),
    )  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(fit(record)), type=Outcome).outcome == "ok"
