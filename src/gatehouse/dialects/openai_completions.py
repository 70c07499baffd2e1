"""OpenAI's legacy completions: reading asks. Answers are metered as chat completions are.

Both have the same frame (`id`, `model`, `choices` with `index` and `finish_reason`, `usage`, `[DONE]`, the usage
option); a choice holds `text` where a chat's holds a message. `best_of` generates more than `n` answers: usage counts
them all.
Sources: `openai.types.completion`, `completion_choice`, `completion_create_params`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gatehouse.dialects import openai_chat
from gatehouse.dialects.asking import BodyReader, Read, ReadSlices, answers, model_asked
from gatehouse.dialects.values import count, real
from gatehouse.model.call import Ask


class _Body(msgspec.Struct):
    model: Any = None
    stream: Any = None
    stream_options: Any = None
    max_tokens: Any = None
    temperature: Any = None
    top_p: Any = None
    n: Any = None


def _ask(fields: _Body, unread: str | None, size: int, route_model: str | None) -> Ask:
    model, overlong = model_asked(fields.model, route_model)
    options = fields.stream_options
    choices, odd = answers(fields.n)
    return Ask(
        operation="text_completion",
        model=model,
        stream=fields.stream is True,
        max_output=count(fields.max_tokens),
        temperature=real(fields.temperature),
        top_p=real(fields.top_p),
        choices=choices,
        asks_usage=None if options is None else openai_chat.asks_usage(options),
        input_bytes=size,
        unread=unread or overlong,
        odd=odd,
    )


_asks: Final = BodyReader(_Body, _ask)
read: Final[Read] = _asks.read
"""(body, Azure's deployment) → what a request for completions asks."""
read_slices: Final[ReadSlices] = _asks.read_slices
"""The same for a large body; yields between slices."""


meter: Final = openai_chat.meter
"""The meter for an answer."""
