"""Lists of models, filtered: whole elements go, every other byte stays (I1).

Shapes: openai-py 3.52 `types.model`, anthropic-py 2.11 `types.model_info`, google-genai 3.4 `types.Model`.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.dialects.model_list import MOST, ModelListFilter
from gatehouse.errors import GatehouseError
from gatehouse.model.call import Dialect

OPENAI = (
    b'{ "object":"list", "data" : [ {"id":"gpt-4o", "x":1.0 },\n {"id":"gpt-4o-mini"} , {"id":"o3"}], '
    b'"n":9007199254740993 }'
)
GEMINI = b'{"models":[{"name":"models/gemini-2.5-pro"},{"name":"models/gemini-2.5-flash"}],"nextPageToken":"t"}'


def run(body: bytes, dialect: Dialect, allowed: set[str], at: int = 0) -> bytes:
    filter_ = ModelListFilter(dialect, allowed.__contains__)
    return filter_.feed(body[:at]) + filter_.feed(body[at:]) + filter_.finish()


@given(st.integers(0, len(OPENAI)))
def test_only_what_the_key_may_ask_for_is_listed_however_it_comes(at: int) -> None:
    assert run(OPENAI, "openai", {"gpt-4o", "o3"}, at) == (
        b'{ "object":"list", "data" : [{"id":"gpt-4o", "x":1.0 },{"id":"o3"}], "n":9007199254740993 }'
    )
    assert run(OPENAI, "openai", {"gpt-4o", "gpt-4o-mini", "o3"}, at) == OPENAI


def test_geminis_names_have_a_prefix() -> None:
    assert run(GEMINI, "google", {"gemini-2.5-flash"}) == (
        b'{"models":[{"name":"models/gemini-2.5-flash"}],"nextPageToken":"t"}'
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data":{}}',
        b'{"data":[{"id":"a"}],"data":[{"id":"b"}]}',
        b'{"data":[{"id":"a"}],"Data":[{"id":"b"}]}',
        b'{"data":["a"]}',
        b'{"data":[{"id":7}]}',
        b'{"data":[{"id":"a"}]',
        b"{" + b" " * MOST + b"}",
    ],
)
def test_what_cannot_be_read_is_not_handed_out(body: bytes) -> None:
    with pytest.raises(GatehouseError):
        run(body, "openai", {"a"})


def test_an_element_without_a_name_is_nobodys() -> None:
    assert run(b'{"data":[{},{"id":"a"}]}', "openai", {"a"}) == b'{"data":[{"id":"a"}]}'
