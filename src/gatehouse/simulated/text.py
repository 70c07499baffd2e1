"""Text out of nothing: words drawn by a hash of the prompt, cut into pieces that count as tokens.

Same prompt and choice, same text. "in 200 words" in the prompt sets the length. A token is a piece of up to six
characters with the space before it; a prompt's tokens are its UTF-8 bytes by four.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

_WORDS: Final = (
    "amber anchor autumn basin bright calm candle canyon cedar circle clear cloud coast copper current dawn "
    "distant drift early ember evening fern field flint forest garden gentle glass golden granite harbor hidden "
    "hollow island ivory lantern late light linen maple marble meadow mirror morning mossy narrow north ocean "
    "open orchard paper pebble pine plain quiet rain reed ridge river sail salt sand shadow shore signal silver "
    "slow small snow soft spring stone story summer tide timber valley velvet water west wind winter wooden"
).split()
_PIECE: Final = re.compile(r"\s?\S{1,6}|\s")
_LENGTH: Final = re.compile(r"\b(\d{1,4}) words?\b", re.IGNORECASE)
_LOOKED_AT: Final = 4096
"""Characters of a prompt that are read for what it wants; all of it counts for the draw."""
_QUOTED: Final = 60
_SHORTEST: Final = 12
_SPREAD: Final = 24
_SENTENCE: Final = 9


def reply(prompt: str, choice: int) -> str:
    """The answer to a prompt. `choice`: which of several answers."""
    seed = f"{choice}\0{prompt}".encode(errors="replace")
    prompt = prompt[:_LOOKED_AT]
    wanted = _LENGTH.search(prompt)
    if wanted:
        return _sentences(seed, max(1, int(wanted[1])))
    quoted = " ".join(prompt.split())
    if len(quoted) > _QUOTED:
        quoted = quoted[:_QUOTED].rstrip() + "…"
    opening = f'A simulated answer to "{quoted}". ' if quoted else "A simulated answer. "
    return opening + _sentences(seed, _SHORTEST + hashlib.sha256(seed).digest()[0] % _SPREAD)


def pieces(text: str) -> list[str]:
    """The text cut into tokens; joined they are the text."""
    return _PIECE.findall(text)


def prompt_tokens(text: str) -> int:
    """How many tokens a prompt counts as."""
    return (len(text.encode(errors="replace")) + 3) // 4


def identifier(prefix: str, body: bytes) -> str:
    """An id that is the same for the same request."""
    return f"{prefix}{hashlib.sha256(body).hexdigest()[:24]}"


def _sentences(seed: bytes, count: int) -> str:
    drawn = hashlib.shake_256(seed).digest(count)
    words = [_WORDS[number % len(_WORDS)] for number in drawn]
    sentences = [" ".join(words[start : start + _SENTENCE]) for start in range(0, count, _SENTENCE)]
    return " ".join(f"{sentence.capitalize()}." for sentence in sentences)
