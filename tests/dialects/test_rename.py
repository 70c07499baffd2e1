"""I1: with another model, every byte but the model's own stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.dialects.rename import rename_model, single_slices

AWKWARD = (
    b'\n{ "seed" : 9007199254740993 , "inner":{"model":"decoy"}, "text":"\\"model\\":\\"decoy\\"",'
    b' "temperature":1.0,\r\n'
    b'\t"mod\\u0065l" :  "gpt-4o\\u00e9" ,"x":3,"x":[4] }  \n'
)


@pytest.mark.parametrize(
    ("body", "single"),
    [
        (b'{"model":"a","messages":[{"model":"b"}],"prompt":"text"}', True),
        (b'{"mod\\u0065l":"a","models":null}', True),
        (b'{"model":"a","model":"a"}', False),
        (b'{"Model":"a"}', False),
        (b'{"model":"a","MODEL":"b"}', False),
        (b'{"model":"a","models":["b"]}', False),
        (b'{"model":"a","fallbacks":[{"model":"b"}]}', False),
        (b'{"model":"a","prompt":{"id":"pmpt_1"}}', False),
        (b'{"model":"a","tools":[{"type":"function","function":{"parameters":{"model":{}}}}]}', True),
        (b'{"model":"a","tools":null}', True),
        (b'{"model":"a","tools":[{"name":"x","input_schema":{}}]}', True),
        (b'{"model":"a","tools":[{"type":"image_generation"}]}', False),
        (b'{"model":"a","tools":[{"type":"advisor_20260301","mod\\u0065l":"b"}]}', False),
        (b'{"model":"a","Tools":[{"type":"x","MODEL":null}]}', False),
        (b'{"model":"a","tools":{"0":{"model":"b"}}}', False),
        (b'{"model":"a","tools":[{"type":"x"}],"tools":[{"type":"image_generation"}]}', False),
        (b'{"model":"a","tools":[' + b'{"type":"x"},' * 90_000 + b'{"type":"x"}]}', False),
        (b'{"messages":[]}', False),
        (b'{"model":"a"', False),
        (b'[{"model":"a"}]', False),
    ],
)
def test_a_model_is_named_once_and_plainly_or_not(body: bytes, single: bool) -> None:
    steps = single_slices(body)
    with pytest.raises(StopIteration) as done:
        while True:
            next(steps)
    assert done.value.value is single


def test_only_the_value_changes() -> None:
    assert rename_model(AWKWARD, 'o"5') == AWKWARD.replace(b'"gpt-4o\\u00e9"', b'"o\\"5"')


@given(st.integers(0, 40_000), st.text(max_size=20))
def test_wherever_it_stands(padding: int, model: str) -> None:
    before = b'{"padding":"%b","model":' % (b"x" * padding)
    body = rename_model(before + b'null,"n":1.0}', model)
    assert body == before + json.dumps(model, ensure_ascii=False).encode() + b',"n":1.0}' or json.loads(body) == {
        "padding": "x" * padding,
        "model": model,
        "n": 1.0,
    }
    assert body.startswith(before)
    assert body.endswith(b',"n":1.0}')


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"model":"a","model":"b"}', "once and plainly: it has `model`, `model`"),
        (b'{"Model":"a"}', "once and plainly: it has `Model`"),
        (b'{"x":{"model":"a"}}', "names no model"),
        (b"[]", "no object at byte 0"),
        (b'{"model":"a"', "ends early"),
        (b"", "ends early"),
    ],
)
def test_what_nobody_can_be_sure_of_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        rename_model(body, "b")
