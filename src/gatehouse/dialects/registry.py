"""Which dialect code serves which endpoint: the one door into this package.

`for_endpoint` never fails: an endpoint nobody meters gets a plain entry, which reads nothing, counts nothing and still
words errors in the caller's dialect. Endpoint names are those of the route table (`model.call.Route.endpoint`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Final, NamedTuple

from gatehouse.dialects import (
    anthropic_extent,
    anthropic_messages,
    errors,
    gemini,
    gemini_caches,
    gemini_embeddings,
    gemini_extent,
    gemini_live,
    jobs,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_extent,
    openai_filter,
    openai_media,
    openai_moderations,
    openai_option,
    openai_realtime,
    openai_responses,
    openai_responses_socket,
)
from gatehouse.dialects.answer import SilentMeter
from gatehouse.dialects.asking import Read, ReadSlices, model_reader
from gatehouse.dialects.crowds import crowded
from gatehouse.dialects.extent import in_slices, just_bytes, unread
from gatehouse.dialects.turns import Conversation, unheard
from gatehouse.errors import GatehouseError
from gatehouse.model.call import Ask, Dialect, Extent
from gatehouse.ports import Filter, Meter


class Wording(NamedTuple):
    """How one dialect words the gateway's errors."""

    body: Callable[[GatehouseError, str], bytes]
    event: Callable[[GatehouseError, str, str], bytes]


class Option(NamedTuple):
    """The usage option of OpenAI streams (`openai_option`, `openai_filter`)."""

    ask_usage: Callable[[bytes, Ask], bytes | None]
    ask_usage_slices: Callable[[bytes, Ask], Generator[None, None, bytes | None]]
    usage_filter: Callable[[str], Filter | None]


class Endpoint(NamedTuple):
    """What a dialect offers for one endpoint. All of it is sans-I/O."""

    read: Read
    read_slices: ReadSlices
    meter: Callable[[Ask, str, int], Meter]
    """(ask, the answer's Content-Type, its status) → the meter for its body."""
    error_body: Callable[[GatehouseError, str], bytes]
    """(error, call id) → the JSON body of an error answer."""
    error_event: Callable[[GatehouseError, str, str], bytes]
    """(error, call id, the answer's Content-Type) → what ends a stream that failed; empty where nothing can."""
    option: Option | None = None
    """Present where usage has to be asked for."""
    converse: Callable[[Ask], Conversation] = unheard
    """Who watches the endpoint's WebSocket."""
    extent: Callable[[bytes], Extent] = just_bytes
    """(body as it goes upstream) → how large the request may become. Only for calls whose worst case is reckoned."""
    extent_names: frozenset[str] | None = None
    """For `extent_slices`; `None`: nothing but its size matters."""

    def intricate(self, body: bytes) -> bool:
        """Whether `extent` would hold up all other calls, whatever the body's size."""
        return self.extent is not just_bytes and crowded(body)

    def extent_at_once(self, body: bytes) -> Extent:
        """`extent`, but of an intricate body what may be said of one that nobody could read."""
        return unread(len(body)) if self.intricate(body) else self.extent(body)

    def extent_slices(self, body: bytes) -> Generator[None, None, Extent]:
        """The same as `extent` for a large or intricate body; yields between slices."""
        if self.extent_names is None:
            return self.extent_at_once(body)
        return (yield from in_slices(self.extent, self.extent_names, body))


_OPENAI: Final = Wording(errors.openai_body, errors.openai_event)
_ANTHROPIC: Final = Wording(errors.openai_body, errors.anthropic_event)
_GOOGLE: Final = Wording(errors.google_body, errors.google_event)

_WORDINGS: Final[dict[Dialect, Wording]] = {
    "openai": _OPENAI,
    "anthropic": _ANTHROPIC,
    "google": _GOOGLE,
    "none": _OPENAI,
}


def _silent(ask: Ask, content_type: str, status: int) -> Meter:
    return SilentMeter()


def _media(
    operation: str,
    meter: Callable[[Ask, str, int], Meter],
    *,
    form: bool = False,
    extent: Callable[[bytes], Extent] = just_bytes,
) -> Endpoint:
    """An endpoint of `openai_media`. `form`: it takes forms."""
    reader = openai_media.FormReader(operation) if form else openai_media.reader(operation)
    return Endpoint(reader.read, reader.read_slices, meter, *_OPENAI, extent=extent)


def _read_nothing(operation: str, body: bytes, route_model: str | None) -> Ask:
    return Ask(operation=operation, model=route_model, input_bytes=len(body))


def _read_nothing_slices(operation: str, body: bytes, route_model: str | None) -> Generator[None, None, Ask]:
    yield from ()
    return _read_nothing(operation, body, route_model)


def _conversed(operation: str, wording: Wording, converse: Callable[[Ask], Conversation]) -> Endpoint:
    """An endpoint that is spoken over WebSocket alone."""
    read = partial(_read_nothing, operation)
    return Endpoint(read, partial(_read_nothing_slices, operation), _silent, *wording, converse=converse)


_COUNTING: Final = model_reader("count_tokens")
_USAGE_OPTION: Final = Option(openai_option.ask_usage, openai_option.ask_usage_slices, openai_filter.usage_filter)

_METERED: Final[dict[tuple[Dialect, str], Endpoint]] = {
    ("openai", "chat"): Endpoint(
        openai_chat.read,
        openai_chat.read_slices,
        openai_chat.meter,
        *_OPENAI,
        _USAGE_OPTION,
        extent=openai_extent.chat_extent,
        extent_names=openai_extent.CHAT_NAMES,
    ),
    ("openai", "completions"): Endpoint(
        openai_completions.read,
        openai_completions.read_slices,
        openai_completions.meter,
        *_OPENAI,
        _USAGE_OPTION,
        extent=openai_extent.completion_extent,
    ),
    ("openai", "responses"): Endpoint(
        openai_responses.read,
        openai_responses.read_slices,
        openai_responses.meter,
        *_OPENAI,
        converse=openai_responses_socket.converse,
        extent=openai_extent.response_extent,
        extent_names=openai_extent.RESPONSE_NAMES,
    ),
    ("openai", "stored_response"): Endpoint(
        partial(_read_nothing, "stored_response"),
        partial(_read_nothing_slices, "stored_response"),
        openai_responses.meter_stored,
        *_OPENAI,
    ),
    ("openai", "realtime"): _conversed("realtime", _OPENAI, openai_realtime.converse),
    ("openai", "moderations"): Endpoint(
        openai_moderations.read, openai_moderations.read_slices, openai_moderations.meter, *_OPENAI
    ),
    ("openai", "embeddings"): Endpoint(
        openai_embeddings.read, openai_embeddings.read_slices, openai_embeddings.meter, *_OPENAI
    ),
    ("openai", "image_generation"): _media("image_generation", openai_media.meter_images),
    ("openai", "image_edit"): _media(
        "image_edit", openai_media.meter_images, form=True, extent=openai_extent.image_edit_extent
    ),
    ("openai", "image_variation"): _media("image_variation", openai_media.meter_images, form=True),
    ("openai", "speech"): _media("speech", openai_media.meter_speech, extent=openai_extent.speech_extent),
    ("openai", "transcription"): _media("transcription", openai_media.meter_transcript, form=True),
    ("openai", "translation"): _media("translation", openai_media.meter_transcript, form=True),
    ("anthropic", "messages"): Endpoint(
        anthropic_messages.read,
        anthropic_messages.read_slices,
        anthropic_messages.meter,
        *_ANTHROPIC,
        extent=anthropic_extent.messages_extent,
        extent_names=anthropic_extent.NAMES,
    ),
    # The answer's `input_tokens` were counted, not used.
    ("anthropic", "count_tokens"): Endpoint(
        _COUNTING.read, _COUNTING.read_slices, _silent, *_ANTHROPIC, extent=anthropic_extent.messages_extent
    ),
    ("google", "generate_content"): Endpoint(
        gemini.read,
        gemini.read_slices,
        gemini.meter,
        *_GOOGLE,
        extent=gemini_extent.generate_extent,
        extent_names=gemini_extent.NAMES,
    ),
    ("google", "stream_generate_content"): Endpoint(
        gemini.read_stream,
        gemini.read_stream_slices,
        gemini.meter,
        *_GOOGLE,
        extent=gemini_extent.generate_extent,
        extent_names=gemini_extent.NAMES,
    ),
    ("google", "live"): _conversed("live", _GOOGLE, gemini_live.converse),
    ("google", "embed_content"): Endpoint(
        gemini_embeddings.read,
        gemini_embeddings.read_slices,
        gemini_embeddings.meter,
        *_GOOGLE,
        extent=gemini_extent.embedding_extent,
    ),
    ("google", "cached_contents"): Endpoint(
        gemini_caches.read,
        gemini_caches.read_slices,
        gemini_caches.meter,
        *_GOOGLE,
        extent=gemini_extent.cache_extent,
        extent_names=gemini_extent.NAMES,
    ),
}


_JOBS: Final[dict[Dialect, tuple[str, ...]]] = {
    "openai": ("files", "batches", "fine_tuning", "videos"),
    "anthropic": ("files", "batches"),
    "google": ("files", "batches", "operations"),
}
"""Endpoints whose answers are about an object that the provider keeps."""


def for_endpoint(dialect: Dialect, endpoint: str) -> Endpoint:
    """The entry for an endpoint of a dialect."""
    known = _METERED.get((dialect, endpoint))
    if known is not None:
        return known
    meter = _silent
    if endpoint in _JOBS.get(dialect, ()):
        meter = jobs.meter_google if dialect == "google" else jobs.meter
    return Endpoint(
        partial(_read_nothing, endpoint), partial(_read_nothing_slices, endpoint), meter, *_WORDINGS[dialect]
    )
