"""Embeddings of the simulated provider: unit vectors drawn from a hash. Equal texts are equal, others are not."""

from __future__ import annotations

import hashlib
import math
import sys
from array import array
from base64 import b64encode
from collections.abc import Iterator

import msgspec

from gatehouse.simulated.request import EmbeddingRequest
from gatehouse.simulated.text import prompt_tokens

DIMENSIONS = 256


def embeddings(request: EmbeddingRequest, inputs: list[str | list[int]]) -> Iterator[bytes]:
    """The answer's JSON, an input at a time: many vectors are never in memory together."""
    dimensions = request.dimensions or DIMENSIONS
    tokens = 0
    yield b'{"object":"list","data":['
    for index, item in enumerate(inputs):
        tokens += prompt_tokens(item) if isinstance(item, str) else len(item)
        vector = _vector(item, dimensions)
        embedding = _base64(vector) if request.encoding_format == "base64" else [round(x, 8) for x in vector]
        entry = {"object": "embedding", "index": index, "embedding": embedding}
        yield (b"," if index else b"") + msgspec.json.encode(entry)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    yield b'],"model":' + msgspec.json.encode(request.model) + b',"usage":' + msgspec.json.encode(usage) + b"}"


def _vector(item: str | list[int], dimensions: int) -> array[float]:
    seed = item.encode(errors="replace") if isinstance(item, str) else repr(item).encode()
    raw = [number - 127.5 for number in hashlib.shake_256(seed).digest(dimensions)]
    length = math.sqrt(sum(x * x for x in raw))
    return array("f", [x / length for x in raw])


def _base64(vector: array[float]) -> str:
    """Little-endian 32-bit floats, as openai-py decodes them."""
    if sys.byteorder == "big":
        vector.byteswap()
    return b64encode(vector.tobytes()).decode()
