"""Every setting, its default, its unit and its bounds. Declared here and nowhere else.

Rules: frozen; unknown keys are errors; a field's description is its documentation (`docs/configuration.md` is generated
from it); a unit that is not obvious stands in the name. Cross-field rules live in `load.check`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(gt=0, le=86_400, extra={"unit": "seconds"})]
Bytes = Annotated[int, Meta(ge=1, extra={"unit": "bytes"})]
Count = Annotated[int, Meta(ge=1)]
Money = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$",
        extra={"unit": "US dollars", "says": "a decimal number such as 2.50 (up to 9 digits either side)"},
    ),
]
"""US dollars as a decimal string, to the nano-dollar: a binary float would not be the number you wrote."""


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping in the file."""


class Server(Section, frozen=True):
    """Where the gateway listens, and whom it believes."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="Port to listen on; 0 picks a free one.")] = 8080
    workers: Annotated[int, Meta(ge=1, le=256, description="Data-plane processes.")] = 1
    public_url: Annotated[
        str | None, Meta(description="The URL callers use, when it differs from the listener (behind a proxy).")
    ] = None
    allowed_hosts: Annotated[
        tuple[str, ...], Meta(description="Further names accepted in `Host`, besides loopback and `public_url`.")
    ] = ()
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses or networks of proxies whose `Forwarded` and `X-Forwarded-For` are believed. Who "
            "comes through one is not on this machine: the management API tells them no more than it tells everybody."
        ),
    ] = ()
    insecure: Annotated[
        bool, Meta(description="Allow a listener other than loopback while `auth.enabled` is false.")
    ] = False
    grace_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="How long running calls may finish after SIGTERM or Ctrl-C.")
    ] = 30.0
    tls_cert: Annotated[
        str | None, Meta(description="PEM certificate chain; with `tls_key`, the listener speaks TLS.")
    ] = None
    tls_key: Annotated[str | None, Meta(description="PEM private key.")] = None


class Limits(Section, frozen=True):
    """Bounds on what one client, and all together, may make the gateway hold."""

    header_bytes: Annotated[Bytes, Meta(description="Request line and headers; beyond: 431.")] = 65_536
    header_count: Annotated[Count, Meta(description="Number of headers; beyond: 431.")] = 128
    url_bytes: Annotated[Bytes, Meta(description="Request target; beyond: 431.")] = 16_384
    body_bytes: Annotated[Bytes, Meta(description="Request body; beyond: 413.")] = 64 * 1024 * 1024
    upload_bytes: Annotated[Bytes, Meta(description="Request body of uploads (multipart, files); beyond: 413.")] = (
        1024**3
    )
    body_memory: Annotated[Bytes, Meta(description="All request bodies a worker holds; beyond: waits, then 503.")] = (
        512 * 1024 * 1024
    )
    read_whole: Annotated[Bytes, Meta(description="JSON bodies above this are read in slices.")] = 8 * 1024 * 1024
    connections: Annotated[Count, Meta(description="Client connections per worker; beyond: 503 and close.")] = 10_000
    pipelined: Annotated[Count, Meta(description="Requests that may wait behind the running one on a connection.")] = 16


class Timeouts(Section, frozen=True):
    """All in seconds. One coarse sweep enforces them: they fire up to half a second early or late."""

    header: Annotated[
        Seconds, Meta(description="A request head must be complete this long after its first byte; then 408.")
    ] = 15.0
    body_idle: Annotated[Seconds, Meta(description="Longest silence while a request body arrives; then 408.")] = 30.0
    keep_alive: Annotated[Seconds, Meta(description="An idle client connection is closed after this.")] = 75.0
    write_stall: Annotated[Seconds, Meta(description="A client that takes no byte for this long is dropped.")] = 60.0
    connect: Annotated[Seconds, Meta(description="Resolve, connect and TLS handshake with a provider.")] = 10.0
    first_byte: Annotated[Seconds, Meta(description="From the request sent to the answer's head.")] = 600.0
    idle: Annotated[Seconds, Meta(description="Longest silence inside an answer.")] = 300.0
    websocket_idle: Annotated[
        Seconds, Meta(description="Longest silence of both sides of a WebSocket; pings count as speaking.")
    ] = 1800.0


class RouteTimeouts(Section, frozen=True):
    """An override of upstream time-outs for calls that match. The first match wins."""

    match: Annotated[str, Meta(description="Path pattern, `*` matches anything: `/openai/v1/responses*`.")]
    model: Annotated[str | None, Meta(description="Only for this model asked; `*` matches anything: `o3*`.")] = None
    connect: Annotated[Seconds | None, Meta(description="As `timeouts.connect`.")] = None
    first_byte: Annotated[Seconds | None, Meta(description="As `timeouts.first_byte`.")] = None
    idle: Annotated[Seconds | None, Meta(description="As `timeouts.idle`.")] = None
    websocket_idle: Annotated[Seconds | None, Meta(description="As `timeouts.websocket_idle`.")] = None


class Pool(Section, frozen=True):
    """Connections to providers, per worker and origin."""

    connections: Annotated[Count, Meta(description="Connections per origin; beyond: calls wait.")] = 2048
    waiting: Annotated[Count, Meta(description="Calls that may wait for a connection per origin; beyond: 503.")] = 4096
    idle_seconds: Annotated[Seconds, Meta(description="An idle connection is closed after this.")] = 60.0
    post_reuse_seconds: Annotated[Seconds, Meta(description="A connection idle longer is not reused for POST.")] = 15.0
    replay: Annotated[
        bool, Meta(description="Send once more when a reused connection turns out closed before any byte was answered.")
    ] = True
    handshakes: Annotated[Count, Meta(description="TLS handshakes in flight.")] = 32
    dns_seconds: Annotated[
        Seconds, Meta(description="Age at which a resolved address is refreshed in the background.")
    ] = 60.0


class Provider(Section, frozen=True):
    """An upstream. Built-in names (`openai`, `anthropic`, `groq` …) need only what differs."""

    base_url: Annotated[
        str | None, Meta(description="What precedes `/v1`: `https://api.openai.com`. No trailing `/v1`.")
    ] = None
    dialect: Annotated[
        Literal["openai", "anthropic", "google"] | None, Meta(description="Wire format; `openai` for a new provider.")
    ] = None
    prefix: Annotated[str | None, Meta(description="Our path prefix, `/{name}` unless set.")] = None
    enabled: Annotated[bool, Meta(description="`false` removes the route.")] = True
    ca_file: Annotated[str | None, Meta(description="PEM bundle to trust instead of the system's.")] = None
    ask_usage: Annotated[bool | None, Meta(description="Override `metering.ask_usage` for this provider.")] = None
    private: Annotated[
        bool | None,
        Meta(description="Allow addresses that are not public. Default: yes where you set `base_url`, else no."),
    ] = None
    trace_context: Annotated[
        Literal["off", "propagate"],
        Meta(
            description="`propagate`: `traceparent` goes on with our span as parent, `tracestate` and `baggage` as "
            "they came. `off`: none of them leaves."
        ),
    ] = "off"


class Metering(Section, frozen=True):
    """Counting tokens."""

    ask_usage: Annotated[
        bool,
        Meta(description="Ask OpenAI-dialect streams for usage and take it out again for callers who did not ask."),
    ] = True


class ModelPrice(Section, frozen=True):
    """A price of your own: for a model nobody lists, or instead of a listed one. US dollars per million tokens."""

    provider: Annotated[str, Meta(description="Provider name as in the route.")]
    model: Annotated[str, Meta(description="Model name; a trailing `*` matches any ending.")]
    input: Annotated[Money, Meta(description="Prompt tokens.")]
    output: Annotated[Money, Meta(description="Generated tokens.")] = "0"
    cache_read: Annotated[Money | None, Meta(description="Default: as `input`.")] = None
    cache_write: Annotated[Money | None, Meta(description="Default: as `input`.")] = None
    cache_write_1h: Annotated[Money | None, Meta(description="Default: as `cache_write`.")] = None
    reasoning: Annotated[Money | None, Meta(description="Default: as `output`.")] = None
    audio_input: Annotated[Money | None, Meta(description="Default: as `input`.")] = None
    audio_output: Annotated[Money | None, Meta(description="Default: as `output`.")] = None
    image_input: Annotated[Money | None, Meta(description="Default: as `input`.")] = None
    image_output: Annotated[Money | None, Meta(description="Default: as `output`.")] = None
    image_cache_read: Annotated[Money | None, Meta(description="Default: as `cache_read`.")] = None
    audio_cache_read: Annotated[
        Money | None, Meta(description="Default: as `cache_read` if that is set, else as `audio_input`.")
    ] = None
    per_request: Annotated[Money, Meta(description="US dollars per call.")] = "0"
    web_search: Annotated[
        Money | None, Meta(description="US dollars per 1,000 searches of the provider's own web search.")
    ] = None
    file_search: Annotated[Money | None, Meta(description="US dollars per 1,000 searches of its file search.")] = None


class Prices(Section, frozen=True):
    """Listed prices come with the release; these go before them."""

    models: Annotated[tuple[ModelPrice, ...], Meta(description="Own prices, first match wins.")] = ()


class Journal(Section, frozen=True):
    """The append-only record."""

    durability: Annotated[
        Literal["process", "disk"],
        Meta(description="`process`: survives the death of any process. `disk`: fdatasync before forwarding."),
    ] = "process"
    when_full: Annotated[
        Literal["drop_oldest_collected", "refuse"], Meta(description="What happens when `max_bytes` is reached.")
    ] = "drop_oldest_collected"
    max_bytes: Annotated[int, Meta(ge=64 * 1024 * 1024, description="All segments together.")] = 20 * 1024**3
    keep_days: Annotated[int, Meta(ge=1, description="Collected segments are deleted after this.")] = 183
    segment_bytes: Annotated[int, Meta(ge=1024 * 1024, description="A segment is closed at this size.")] = (
        64 * 1024 * 1024
    )
    segment_seconds: Annotated[Seconds, Meta(description="A segment is closed at this age.")] = 3600.0


class Database(Section, frozen=True):
    """The store: a projection of the journal that can be rebuilt."""

    url: Annotated[
        str | None,
        Meta(
            description="`postgresql://user:password@host:5432/database`, or `sqlite:////path/to/store.db`. Default: "
            "SQLite, `store.db` in the data directory."
        ),
    ] = None
    keep_days: Annotated[
        int, Meta(ge=1, description="Calls are deleted from the store after this; the journal keeps them longer.")
    ] = 30
    max_bytes: Annotated[
        int,
        Meta(
            ge=64 * 1024 * 1024,
            description="Calls together, with their bodies and indexes; beyond: the oldest are deleted from the store.",
            extra={"unit": "bytes"},
        ),
    ] = 10 * 1024**3
    keep_hourly_days: Annotated[
        int, Meta(ge=1, description="What is summed up by the hour is kept so long, and at least as long as calls.")
    ] = 90
    keep_daily_days: Annotated[
        int, Meta(ge=1, description="What is summed up by the day is kept so long, and at least as long as hours.")
    ] = 1096


class Capture(Section, frozen=True):
    """Bodies of requests and answers. Off unless you turn it on: they hold what your users wrote."""

    bodies: Annotated[bool, Meta(description="Keep bodies, compressed, apart from the calls.")] = False
    max_bytes: Annotated[Bytes, Meta(description="Per body; the rest is cut and marked.")] = 1024 * 1024


class Cors(Section, frozen=True):
    """Browsers calling the data plane."""

    origins: Annotated[tuple[str, ...], Meta(description="Origins allowed to call, `https://app.example.com`.")] = ()


class Auth(Section, frozen=True):
    """Gateway keys and accounts (a later release)."""

    enabled: Annotated[bool, Meta(description="Require a gateway key. Not available yet: must be false.")] = False


class Simulated(Section, frozen=True):
    """The built-in provider for trying things out."""

    enabled: Annotated[bool, Meta(description="Serve `/simulated/v1`.")] = True
    tokens_per_second: Annotated[float, Meta(gt=0, le=100_000, description="Rate of its streams.")] = 50.0


class Settings(Section, frozen=True):
    """The whole file."""

    profile: Annotated[
        Literal["default", "compliance"],
        Meta(
            description="`compliance`: no call without its record on disk, and no record deleted early. Sets "
            "`journal.durability: disk` and `journal.when_full: refuse`, and allows no `journal.keep_days` below 183."
        ),
    ] = "default"
    server: Server = Server()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    routes: tuple[RouteTimeouts, ...] = ()
    pool: Pool = Pool()
    providers: dict[str, Provider] = {}
    metering: Metering = Metering()
    prices: Prices = Prices()
    journal: Journal = Journal()
    database: Database = Database()
    capture: Capture = Capture()
    cors: Cors = Cors()
    auth: Auth = Auth()
    simulated: Simulated = Simulated()
