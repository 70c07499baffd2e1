"""What is expected of the gateway for every way a provider goes wrong: the table, as data.

`test_table.py` holds the gateway to it for every dialect, streamed and not; `test_docs.py` holds docs/faults.md to it.
A row holds for all dialects unless `but` says otherwise.

In a `reason`, `*` stands for any text, and `{idle}` and the like for the time-outs of docs/configuration.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from gatehouse.model.call import OutcomeName
from tests.fakes.misbehaving import Spoken, Way
from tests.faults import before, within

DIALECTS: Final[tuple[Spoken, ...]] = ("openai", "anthropic", "google")

Gets = Literal["whole", "part", "cut", "event", "error"]
"""What reaches the caller.

`whole`: the provider's answer, byte for byte, and a proper end. `part`: what HTTP takes for the whole.
`cut`: what came, and an end no client takes for a proper one. `event`: the same with the dialect's error event as last
word. `error`: the gateway's own error in the dialect."""

Usage = Literal["provider", "estimated", "none"]

Place = Literal["here", "refusing", "unnamed", "tls", "tls of a stranger", "tls of another name"]
"""Where the provider is: behind a plain port, one nobody listens at, a name that is none, or behind TLS whose
certificate is good, signed by somebody unknown, or somebody else's."""


@dataclass(frozen=True)
class Expect:
    """Of one call. `status`: the caller's. `answered`: the provider's status, if it gave one."""

    status: int
    gets: Gets
    outcome: OutcomeName
    reason: str
    usage: Usage
    answered: int | None

    @property
    def code(self) -> str | None:
        """The gateway's own word on it, if it has one."""
        return None if self.gets in ("whole", "part") else "UPSTREAM_ERROR"


@dataclass(frozen=True, eq=False)
class Row:
    """One fault. `does`: what the provider does, for the page. `stream` absent: as `plain`."""

    group: str
    does: str
    way: Way
    plain: Expect
    stream: Expect | None = None
    but: Mapping[tuple[Spoken, bool], Expect] = field(default_factory=dict)
    at: Place = "here"
    kept: bool = False
    """The connection may serve again."""
    turns: frozenset[int] = frozenset({0})
    """The exchanges that go wrong; those before them are there to have a connection that was used."""
    attempts: int = 1
    replayed: bool = False
    big: bool = False
    """With a request too large for the kernel's buffers."""

    @property
    def warm(self) -> int:
        """Good calls before the one that meets the fault."""
        return min(self.turns)

    def expect(self, dialect: Spoken, *, streamed: bool) -> Expect:
        found = self.but.get((dialect, streamed))
        return found or (self.stream if streamed and self.stream is not None else self.plain)


def _passed(status: int = 200, usage: Usage = "provider", gets: Gets = "whole") -> Expect:
    return Expect(status, gets, "ok", "", usage, status)


def _unanswered(reason: str, answered: int | None = None) -> Expect:
    return Expect(502, "error", "upstream_error", reason, "none", answered)


def _unreached(reason: str) -> Expect:
    return _unanswered(f"provider not reached: {reason}")


def _lost(reason: str) -> Expect:
    return _unanswered(f"no answer from upstream: {reason}")


def _cut(reason: str, usage: Usage = "estimated", gets: Gets = "cut") -> Expect:
    return Expect(200, gets, "cut", reason, usage, 200)


def _broken(reason: str, usage: Usage = "estimated") -> tuple[Expect, Expect]:
    """A plain answer and a stream that broke off in the middle."""
    why = f"upstream broke off: {reason}"
    return _cut(why, usage), _cut(why, usage, "event")


_WHOLE = _passed()
_CLOSED = "connection closed"
_BROKE_OFF = f"upstream broke off: {_CLOSED}"
_SILENT = "no answer within {first_byte} s"

CONNECTING = "No connection"
BEFORE = "Before the answer's head"
WITHIN = "Within the answer"
FRAMING = "Framing"
CONTENT = "Content"
BEHIND = "Behind the answer"
ERRORS = "The provider's own errors"

ROWS: Final[tuple[Row, ...]] = (
    # -- no connection
    Row(CONNECTING, "has a name that cannot be resolved", before.good, _unreached("cannot resolve its host: *"),
        at="unnamed", attempts=0),
    Row(CONNECTING, "refuses the connection", before.good, _unreached("cannot connect: Connection refused"),
        at="refusing", attempts=0),
    Row(CONNECTING, "has a certificate from an authority we do not trust", before.good,
        _unreached("certificate not accepted: *"), at="tls of a stranger", attempts=0),
    Row(CONNECTING, "has a certificate for another name", before.good, _unreached("certificate not accepted: *"),
        at="tls of another name", attempts=0),
    Row(CONNECTING, "answers the TLS handshake with plain text", before.no_tls, _unreached("TLS failed: *"), at="tls",
        attempts=0),
    Row(CONNECTING, "closes in the middle of the TLS handshake", before.cut_handshake, _unreached("*"), at="tls",
        attempts=0),
    Row(CONNECTING, "accepts and never answers the TLS handshake", before.half_open,
        _unreached("no connection within {connect} s"), at="tls", attempts=0),
    # -- before the head
    Row(BEFORE, "accepts and never reads", before.half_open, _unanswered(_SILENT), big=True),
    Row(BEFORE, "takes the request and stays silent", before.silence, _unanswered(_SILENT)),
    Row(BEFORE, "closes without an answer", before.close, _lost(_CLOSED)),
    Row(BEFORE, "resets the connection without an answer", before.reset, _lost("connection *")),
    Row(BEFORE, "resets while the request's body is still being sent", before.close_while_sent, _lost("connection *"),
        big=True),
    Row(BEFORE, "answers 413 before it has read the body", before.answer_before_read, _passed(413, "none"), big=True),
    Row(BEFORE, "answers 413 and reads no further", before.answer_and_read_no_further, _passed(413, "none"), big=True),
    Row(BEFORE, "sends its head line by line", before.slow_head, _WHOLE, kept=True),
    Row(BEFORE, "sends header after header, slowly, without end", before.endless_slow_head, _unanswered(_SILENT)),
    Row(BEFORE, "sends header after header, fast, without end", before.endless_headers, _lost("answer head too large")),
    Row(BEFORE, "sends 300 headers", before.many_headers, _lost("too many headers in the answer")),
    Row(BEFORE, "sends a header of 100 KB", before.huge_header, _lost("answer head too large")),
    Row(BEFORE, "closes in the middle of the head", before.cut_in_head, _lost(_CLOSED)),
    Row(BEFORE, "sends a `100` and a `103` before its answer", before.some_1xx, _WHOLE, kept=True),
    Row(BEFORE, "sends nothing but `103`, without end", before.storm_of_1xx, _lost("too many informational answers")),
    Row(BEFORE, "sends a `103` and then nothing", before.only_1xx, _unanswered(_SILENT)),
    Row(BEFORE, "sends something that is not HTTP", before.no_http, _lost("malformed answer: *")),
    Row(BEFORE, "answers with `HTTP/2.0`", before.http_2, _lost("malformed answer: *")),
    Row(BEFORE, "announces a length and chunks", before.length_and_chunked, _lost("malformed answer: *")),
    Row(BEFORE, "switches protocols (`101`)", before.upgrade, _lost("unexpected *")),
    Row(BEFORE, "offers an upgrade beside its answer", before.offered_upgrade, _WHOLE, kept=True),
    Row(BEFORE, "redirects (`307`)", before.redirect,
        _unanswered("the provider answered 307, a redirect: not followed", 307), kept=True),
    # -- a connection that served before
    Row(BEFORE, "has closed the connection we use again", before.close, _WHOLE, turns=frozenset({1}), attempts=2,
        replayed=True),
    Row(BEFORE, "has closed it, and closes the next one too", before.close, _lost(_CLOSED), turns=frozenset({1, 2}),
        attempts=2, replayed=True),
    Row(BEFORE, "closes a connection we use again in the middle of the head", before.cut_in_head, _lost(_CLOSED),
        turns=frozenset({1})),
    Row(BEFORE, "stays silent on a connection we use again", before.silence, _unanswered(_SILENT),
        turns=frozenset({1})),
    # -- within the answer
    Row(WITHIN, "sends its body slowly", within.slow_body, _WHOLE, kept=True),
    Row(WITHIN, "falls silent in the middle", within.stall, _cut("upstream silent for {idle} s"),
        _cut("upstream silent for {idle} s", gets="event")),
    Row(WITHIN, "closes right behind the head", within.cut_behind_head, *_broken(_CLOSED)),
    Row(WITHIN, "closes between two chunks", within.cut_between_chunks, *_broken(_CLOSED)),
    Row(WITHIN, "closes in the middle of a chunk", within.cut_in_chunk, *_broken(_CLOSED)),
    Row(WITHIN, "closes in a chunk's header", within.cut_in_chunk_header, *_broken(_CLOSED)),
    Row(WITHIN, "closes before the last chunk", within.cut_before_last_chunk, _cut(_BROKE_OFF, "provider"),
        but={("google", True): _cut(_BROKE_OFF, "provider", "event")}),
    Row(WITHIN, "closes before the announced length", within.cut_in_body, _cut(_BROKE_OFF),
        but={("openai", True): _cut(_BROKE_OFF, gets="event")}),
    Row(WITHIN, "resets the connection", within.reset_in_body, *_broken("connection reset")),
    Row(WITHIN, "closes in a compressed answer", within.cut_encoded, _cut(_BROKE_OFF)),
    # -- framing
    Row(FRAMING, "announces more than it sends", within.length_too_long, _cut(_BROKE_OFF, "provider")),
    Row(FRAMING, "sends more than it announced", within.length_too_short, _passed(gets="part"),
        but={("anthropic", False): _passed(gets="part", usage="estimated")}),
    Row(FRAMING, "sends a chunk whose size is no number", within.no_chunk_size, *_broken("malformed answer: *")),
    Row(FRAMING, "sends a chunk size of 17 digits", within.huge_chunk_size, *_broken("malformed answer: *")),
    Row(FRAMING, "sends a chunk longer than its size", within.chunk_longer_than_said, *_broken("malformed answer: *")),
    Row(FRAMING, "sends a chunk extension without end", within.endless_chunk_extension,
        *_broken("absurdly much transfer encoding in the answer")),
    Row(FRAMING, "sends trailers", within.trailers, _WHOLE, kept=True),
    Row(FRAMING, "ends by closing (HTTP/1.0, no length)", within.to_the_end, _WHOLE),
    Row(FRAMING, "the same, too early: nobody can know", within.to_the_end_cut,
        _passed(gets="part", usage="estimated"), but={("google", True): _passed(gets="part")}),
    Row(FRAMING, "the same with a reset", within.to_the_end_reset, *_broken("connection reset")),
    # -- content
    Row(CONTENT, "sends bytes that are not UTF-8", within.bad_utf8, _WHOLE, kept=True),
    Row(CONTENT, "sends a line of 3 MB", within.long_line, _WHOLE, kept=True),
    Row(CONTENT, "sends no body", within.empty, _passed(usage="none"), kept=True),
    Row(CONTENT, "sends HTML with status 200", within.html(200), _passed(usage="none"), kept=True),
    Row(CONTENT, "announces gzip and sends none", within.not_what_it_is_encoded_as, _passed(usage="estimated"),
        kept=True),
    # -- behind the answer
    Row(BEHIND, "sends a second answer", within.second_answer, _WHOLE),
    Row(BEHIND, "sends a second answer after `Connection: close`", within.answer_after_close, _WHOLE),
    Row(BEHIND, "sends an answer that nobody asked for, later", within.unasked_answer, _WHOLE),
    # -- its own errors
    *(Row(ERRORS, f"answers {status}", within.error(status), _passed(status, "none"), kept=True)
      for status in (400, 401, 429, 500, 503)),
    *(Row(ERRORS, f"answers {status} in HTML", within.html(status), _passed(status, "none"), kept=True)
      for status in (400, 401, 429, 500, 503)),
    Row(ERRORS, "puts its error into a `200`", within.error_event, _passed(usage="none"), _passed(usage="estimated"),
        but={("google", True): _WHOLE}, kept=True),
    Row(ERRORS, "does so as `event: error`", within.named_error_event, _passed(usage="none"),
        _passed(usage="estimated"), but={("google", True): _WHOLE}, kept=True),
    Row(ERRORS, "puts its error into a `200` and closes before the last chunk", within.error_event_cut,
        _cut(_BROKE_OFF, "none"), _cut(_BROKE_OFF)),
)  # fmt: skip
