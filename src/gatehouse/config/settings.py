"""Every setting, its default, its unit and its bounds. Declared here and nowhere else.

Rules: frozen; unknown keys are errors; a field's description is its documentation (`docs/configuration.md` is generated
from it); a unit that is not obvious stands in the name. Cross-field rules live in `check`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from gatehouse.config.fields import Bytes, Count, Money, Seconds, Section, Variable
from gatehouse.model.access import Role


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
    auth: Annotated[
        Literal["bearer", "anthropic", "azure", "google", "bedrock"] | None,
        Meta(
            description="How a stored credential goes into its requests ([credentials](credentials.md)). Default: as "
            "built in, else by the dialect."
        ),
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
    tenant_share: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="How much of `max_bytes` one tenant may fill with what is not collected yet, where there are "
            "several; beyond, its calls alone are refused (503 `JOURNAL_FULL`).",
            extra={"unit": "per cent"},
        ),
    ] = 50
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


class Redis(Section, frozen=True):
    """Where several workers share limits: one Redis or Valkey server for all of them, on one machine or many."""

    url: Annotated[
        str | None,
        Meta(
            description="`redis://[[user]:password@]host[:port][/database]`, `rediss://` for TLS (`?ca_file=/path.pem` "
            "to trust that alone), or `unix:///path/of.sock`. Its `maxmemory-policy` must be `noeviction`. Default: "
            "one worker keeps limits itself; several start a Valkey of their own if the extra `valkey` is installed."
        ),
    ] = None
    timeout_ms: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="Longest a call waits for it; beyond, each limit's `when_down` says what happens.",
            extra={"unit": "milliseconds"},
        ),
    ] = 50
    connect_ms: Annotated[
        int,
        Meta(
            ge=1,
            le=60_000,
            description="Resolve, connect, TLS and log in; no call waits for that.",
            extra={"unit": "milliseconds"},
        ),
    ] = 2000


class Cors(Section, frozen=True):
    """Browsers calling the data plane."""

    origins: Annotated[tuple[str, ...], Meta(description="Origins allowed to call, `https://app.example.com`.")] = ()


class Auth(Section, frozen=True):
    """Gateway keys and accounts."""

    enabled: Annotated[
        bool,
        Meta(
            description="Require a gateway key for calls, and who signs in for the management API. Unless set, it is "
            "on once the data directory has an owner (`gatehouse init`)."
        ),
    ] = False


class SsoRole(Section, frozen=True):
    """A role for people whose claim holds a value. The first that fits counts."""

    value: Annotated[str, Meta(min_length=1, max_length=256, description="What the claim holds: `gatehouse-admins`.")]
    role: Annotated[Role, Meta(description="A role of [access](access.md#roles).")]


class Sso(Section, frozen=True):
    """Signing in by OpenID Connect (authorization code with PKCE), for the people of one tenant."""

    issuer: Annotated[
        str | None,
        Meta(
            description="The provider, as its discovery document names itself: `https://sso.example.com/realms/main`. "
            "Register `<our URL>/api/v1/sso/callback` there."
        ),
    ] = None
    client_id: Annotated[str | None, Meta(description="What the provider knows Gatehouse as.")] = None
    client_secret_file: Annotated[
        str | None, Meta(description="File with the client's secret. Without one the client is a public one.")
    ] = None
    client_secret_env: Annotated[
        Variable | None, Meta(description="Name of an environment variable that holds the client's secret.")
    ] = None
    tenant: Annotated[str, Meta(description="Id of the tenant that people come into.")] = "default"
    scopes: Annotated[tuple[str, ...], Meta(description="What is asked of the provider; `openid` is needed.")] = (
        "openid",
        "email",
        "profile",
    )
    roles_claim: Annotated[
        str, Meta(min_length=1, max_length=256, description="Top-level claim that roles follow from: a text or a list.")
    ] = "groups"
    roles: Annotated[
        tuple[SsoRole, ...], Meta(description="Which role follows from which value. Asked at each log-in.")
    ] = ()
    default_role: Annotated[
        Role | None, Meta(description="For whom no value fits. Unless set, they do not come in.")
    ] = None
    algorithms: Annotated[tuple[str, ...], Meta(description="What ID tokens may be signed with; asymmetric.")] = (
        "RS256",
        "PS256",
        "ES256",
        "EdDSA",
    )


class Secrets(Section, frozen=True):
    """Where the master keys come from that seal provider secrets. Unless set: a file in the data directory."""

    key_file: Annotated[
        str | None, Meta(description="A file that a secret manager fills: one key a line, the newest first.")
    ] = None
    key_env: Annotated[
        Variable | None,
        Meta(description="Name of an environment variable that holds the keys, separated by spaces or lines."),
    ] = None
    key_command: Annotated[
        tuple[str, ...],
        Meta(description="A program and its arguments that prints the keys, as in `key_file`. No shell is involved."),
    ] = ()
    key_command_seconds: Annotated[Seconds, Meta(description="It has to be done within this.")] = 10.0


class Callouts(Section, frozen=True):
    """Calls that the control plane makes by itself: tokens, `rotate` hooks, webhooks, key sets of issuers."""

    private: Annotated[
        tuple[str, ...],
        Meta(
            description="Origins that may be called at addresses that are not public, `https://sso.corp.example`. Only "
            "these, and only on loopback, may be `http://`."
        ),
    ] = ()
    ca_file: Annotated[str | None, Meta(description="PEM bundle to trust instead of the system's.")] = None
    seconds: Annotated[Seconds, Meta(description="A call has to be answered within this.")] = 15.0


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
    redis: Redis = Redis()
    cors: Cors = Cors()
    auth: Auth = Auth()
    sso: Sso = Sso()
    secrets: Secrets = Secrets()
    callouts: Callouts = Callouts()
    simulated: Simulated = Simulated()
