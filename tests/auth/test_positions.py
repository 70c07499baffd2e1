"""Every position of a credential (T5): found, and gone from what goes upstream (I3)."""

from __future__ import annotations

import contextlib
import re
import string
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse import errors
from gatehouse.auth.keys import gateway_key, resembles
from gatehouse.auth.positions import Form, found
from gatehouse.errors import GatehouseError
from gatehouse.http.message import Head, Headers

LIVE = gateway_key("live", "0123456789ABCDEFGHIJabcdefghij")
TEST = gateway_key("test", "z" * 30)
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUifQ.c2ln"
PATH = "/openai/v1/chat/completions"
DOCS = Path(__file__).parents[2] / "docs" / "access.md"

Carrier = Callable[[str], tuple[Headers, str]]


def header(name: bytes, prefix: str = "") -> Carrier:
    return lambda key: ([(b"Accept", b"*/*"), (name, (prefix + key).encode())], "")


def basic(form: str) -> Carrier:
    return lambda key: ([(b"Authorization", b"Basic " + b64encode(form.format(key).encode()))], "")


KEPT: dict[str, Carrier] = {
    "bearer": header(b"Authorization", "Bearer "),
    "bearer in capitals": header(b"AUTHORIZATION", "BEARER  "),
    "bearer and a tab": header(b"Authorization", "Bearer\t"),
    "bare authorization": header(b"authorization"),
    "x-api-key": header(b"X-Api-Key"),
    "api-key": header(b"api-key"),
    "x-goog-api-key": header(b"x-goog-api-key"),
    "websocket": header(b"Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key."),
    "query": lambda key: ([], f"alt=sse&key={key}"),
    "query, name encoded": lambda key: ([], f"k%65y={key}"),
    "query, value encoded": lambda key: ([], "key=" + "".join(f"%{ord(letter):02X}" for letter in key)),
    "query, Google's other name": lambda key: ([], f"%24key={key}&alt=sse"),
    "query, Azure": lambda key: ([], f"api-version=2025-04-01-preview&api-key={key}"),
    "query, access token": lambda key: ([], f"access_token={key}"),
}
"""Where a provider's key may stand."""
OURS: dict[str, Carrier] = {
    "x-gatehouse-key": header(b"X-Gatehouse-Key"),
    "x-ongoingai-gateway-key": header(b"X-OngoingAI-Gateway-Key"),
    "x-gatehouse-key, bearer": header(b"x-gatehouse-key", "Bearer "),
}
BASIC: dict[str, Carrier] = {
    "basic, password": basic("user:{}"),
    "basic, name": basic("{}:"),
    "basic, no password": basic("{}"),
}
STRAY: dict[str, Carrier] = {
    "another header": header(b"X-My-Header", "token="),
    "a header like one": header(b"X_Api_Key"),
    "another scheme of a header": header(b"User-Agent", "app/"),
    "percent-encoded header": lambda key: ([(b"X-Url", b"?k=" + key.replace("g", "%67").encode())], ""),
    "a header's name": lambda key: ([(key.encode(), b"1")], ""),
    "another parameter": lambda key: ([], f"token={key}"),
    "another parameter, twice encoded": lambda key: ([], "token=" + key.replace("g", "%2567")),
    "a parameter's name": lambda key: ([], f"{key}=1"),
    "subprotocol in capitals": header(b"Sec-WebSocket-Protocol", "OpenAI-Insecure-API-Key."),
}
POSITIONS = KEPT | OURS | BASIC


def no_issuer(token: bytes) -> bool:
    return False


def issued(token: bytes) -> bool:
    return token == JWT.encode()


def ours_in(form: Form) -> bool:
    """Whether a key survived, whatever anybody upstream may decode."""
    text = b"\n".join([part for pair in form.headers for part in pair]) + b"\n" + form.query.encode()
    return any(resembles(piece) or JWT.encode() in piece for piece in (text, unquote_to_bytes(text)))


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("key", [LIVE, TEST, LIVE[:-1], LIVE[:20], LIVE[:-1] + "!", "gth_live_"])
def test_a_gateway_key_is_found_and_removed_in_every_position(position: str, key: str) -> None:
    """I3. Also one cut short or mistyped: it is still most of a secret."""
    headers, query = POSITIONS[position](key)
    positions = found(headers, PATH, query)
    assert positions.single() == key.encode()
    assert positions.provider == [] and positions.tokens == [] and positions.identity == []
    assert not ours_in(positions.own()) and not ours_in(positions.cleared())


@pytest.mark.parametrize("position", POSITIONS | STRAY)
@pytest.mark.parametrize("key", [LIVE, TEST, LIVE[:-1], LIVE[:20], LIVE[:-1] + "!", "gth_live_"])
def test_with_authentication_off_a_gateway_key_is_refused_in_every_position(position: str, key: str) -> None:
    headers, query = (POSITIONS | STRAY)[position](key)
    with pytest.raises(GatehouseError, match="gateway keys need auth.enabled") as caught:
        found(headers, PATH, query).refuse_gateway_keys()
    assert caught.value.kind is errors.UNAUTHORIZED
    assert key not in caught.value.detail


@pytest.mark.parametrize("path", [f"/openai/v1/models/{LIVE}", "/openai/v1/models/" + LIVE.replace("g", "%67", 1)])
def test_a_gateway_key_in_the_path_is_refused_in_every_mode(path: str) -> None:
    positions = found([], path, "")
    for refusing in (positions.refuse_gateway_keys, positions.own, positions.cleared):
        with pytest.raises(GatehouseError) as caught:
            refusing()
        assert caught.value.kind is errors.UNAUTHORIZED and LIVE not in caught.value.detail


@pytest.mark.parametrize("position", STRAY)
def test_a_gateway_key_elsewhere_is_no_credential_and_refused(position: str) -> None:
    headers, query = STRAY[position](LIVE)
    positions = found(headers, PATH, query)
    assert positions.single() is None
    with pytest.raises(GatehouseError, match="where no key belongs") as caught:
        positions.own()
    assert caught.value.kind is errors.UNAUTHORIZED and LIVE not in caught.value.detail


@pytest.mark.parametrize("position", POSITIONS | STRAY)
@pytest.mark.parametrize("key", ["sk-proj-abc", "sk-ant-api03-x", "AIzaSyX", "test", "at-gw-x", "pg_live_x"])
def test_other_keys_pass_as_they_came(position: str, key: str) -> None:
    headers, query = (POSITIONS | STRAY)[position](key)
    positions = found(headers, PATH, query)
    positions.refuse_gateway_keys()
    if position not in OURS:
        assert positions.own() == (headers, query)
        assert positions.single() is None


@pytest.mark.parametrize(
    "value", [b"length_live_x", b"max_length_test_", b"gth_prod_x", b"gth", b"gth_livex", b"Basic !!!", b"Basic gth_"]
)
def test_words_that_only_look_alike_pass(value: bytes) -> None:
    headers = [(b"Authorization", value)]
    found(headers, PATH, value.decode()).refuse_gateway_keys()


@pytest.mark.parametrize("position", KEPT)
def test_the_providers_key_is_found_where_sdks_put_it(position: str) -> None:
    headers, query = KEPT[position]("sk-proj-abc")
    assert found(headers, PATH, query).provider == [b"sk-proj-abc"]


def test_no_key() -> None:
    assert found([], PATH, "").provider == []
    empty: Headers = [
        (b"Accept", b"*/*"),
        (b"x-api-key", b""),
        (b"Authorization", b"Bearer "),
        (b"X-Gatehouse-Key", b""),
    ]
    nothing = found(empty, PATH, "monkey=x&alt=sse&key=")
    assert (nothing.provider, nothing.gateway, nothing.single()) == ([], [], None)


def test_whatever_stands_in_our_own_header_is_ours() -> None:
    """Another system's key, say: it is looked up, and goes to no provider."""
    positions = found([(b"X-Gatehouse-Key", b"pg_live_x")], PATH, "")
    assert (positions.provider, positions.single()) == ([], b"pg_live_x")
    positions.refuse_gateway_keys()


def test_basic_authentication_of_a_provider_is_one_key() -> None:
    value = b"Basic " + b64encode(b"user:secret")
    assert found([(b"Authorization", value)], PATH, "").provider == [value]


def test_the_same_key_is_found_whatever_the_order() -> None:
    headers: Headers = [(b"api-key", b"3"), (b"x-api-key", b"2"), (b"Authorization", b"Bearer 1")]
    assert found(headers, PATH, "key=5").provider == [b"1", b"2", b"3", b"5"]
    assert found(headers[::-1], PATH, "key=5").provider == [b"1", b"2", b"3", b"5"]


@pytest.mark.parametrize("first", POSITIONS)
@pytest.mark.parametrize("second", POSITIONS)
def test_one_distinct_gateway_credential(first: str, second: str) -> None:
    """The same twice is one; two are refused, and nobody chooses."""
    one, query = POSITIONS[first](LIVE)
    two, more = POSITIONS[second](LIVE)
    same = found([*one, *two], PATH, f"{query}&{more}")
    assert same.single() == LIVE.encode()
    assert not ours_in(same.own()) and not ours_in(same.cleared())
    other, more = POSITIONS[second](TEST)
    different = found([*one, *other], PATH, f"{query}&{more}")
    with pytest.raises(GatehouseError, match="different gateway credentials") as caught:
        different.single()
    assert caught.value.kind is errors.AMBIGUOUS_CREDENTIALS
    assert (caught.value.kind.status, caught.value.kind.word) == (401, "ambiguous_credentials")
    assert LIVE not in caught.value.detail and TEST not in caught.value.detail
    assert not ours_in(different.own()) and not ours_in(different.cleared())


def test_every_line_of_a_repeated_header_is_read() -> None:
    headers: Headers = [(b"Authorization", b"Bearer sk-own"), (b"Authorization", f"Bearer {LIVE}".encode())]
    for lines in (headers, headers[::-1]):
        positions = found(lines, PATH, "")
        assert (positions.single(), positions.provider) == (LIVE.encode(), [b"sk-own"])
        assert positions.own() == ([headers[0]], "")
        assert positions.cleared() == ([], "")


def test_two_keys_in_one_value_are_one_that_nobody_knows() -> None:
    positions = found([(b"Authorization", f"Bearer sk-own, Bearer {LIVE}".encode())], PATH, "")
    assert positions.provider == [] and positions.single() != LIVE.encode()
    assert positions.own().headers == []


def test_a_caller_with_a_key_of_both_kinds() -> None:
    headers: Headers = [
        (b"Host", b"gw"), (b"X-Gatehouse-Key", LIVE.encode()), (b"x-api-key", b"sk-ant-own"),
        (b"OpenAI-Organization", b"org-mine"), (b"anthropic-version", b"2023-06-01"),
    ]  # fmt: skip
    positions = found(headers, PATH, "")
    assert (positions.single(), positions.provider) == (LIVE.encode(), [b"sk-ant-own"])
    assert positions.own().headers == [headers[0], *headers[2:]]
    assert positions.cleared().headers == [headers[0], headers[4]]


# -- tokens and identities


@pytest.mark.parametrize("position", POSITIONS)
def test_a_token_of_a_configured_issuer_is_a_credential(position: str) -> None:
    """D2: a JWT in place of the key, in whatever position the SDK has; it goes to no provider."""
    headers, query = POSITIONS[position](JWT)
    positions = found(headers, PATH, query, issued)
    assert (positions.tokens, positions.gateway, positions.provider) == ([JWT.encode()], [], [])
    assert positions.single() == JWT.encode()
    assert not ours_in(positions.own()) and not ours_in(positions.cleared())


@pytest.mark.parametrize("position", KEPT)
def test_a_token_of_somebody_else_is_the_providers(position: str) -> None:
    """Entra ID's, say."""
    headers, query = KEPT[position](JWT)
    for who in (None, no_issuer):
        assert found(headers, PATH, query, who).provider == [JWT.encode()]


def test_a_token_beside_a_key_in_the_same_kind_of_place_is_ambiguous() -> None:
    headers: Headers = [(b"Authorization", f"Bearer {JWT}".encode()), (b"x-api-key", LIVE.encode())]
    with pytest.raises(GatehouseError) as caught:
        found(headers, PATH, "", issued).single()
    assert caught.value.kind is errors.AMBIGUOUS_CREDENTIALS


@pytest.mark.parametrize("value", [JWT, f"Bearer {JWT}", f"  bearer {JWT} "])
def test_an_identity_beside_a_key(value: str) -> None:
    headers: Headers = [(b"X-Gatehouse-Identity", value.encode()), (b"api-key", LIVE.encode())]
    positions = found(headers, PATH, "", issued)
    assert (positions.identity, positions.single(), positions.tokens) == ([JWT.encode()], LIVE.encode(), [])
    assert positions.own().headers == positions.cleared().headers == []


def test_an_identity_is_never_ignored() -> None:
    """Also an empty one is there to be refused; different ones are ambiguous."""
    assert found([(b"x-gatehouse-identity", b" ")], PATH, "").identity == [b""]
    twice: Headers = [(b"X-Gatehouse-Identity", b"a.b.c"), (b"X-Gatehouse-Identity", b"a.b.d")]
    with pytest.raises(GatehouseError, match="X-Gatehouse-Identity") as caught:
        found(twice, PATH, "").single()
    assert caught.value.kind is errors.AMBIGUOUS_CREDENTIALS
    assert found([twice[0], twice[0]], PATH, "").single() is None


# -- cleared for a stored credential


@pytest.mark.parametrize(
    "name",
    ["Authorization", "X-API-KEY", "api-key", "Api_Key", "x-goog-api-key", "X-Gatehouse-Key", "X-OngoingAI-Gateway-Key",
     "X-Gatehouse-Identity", "OpenAI-Organization", "OPENAI_PROJECT", "X-Goog-User-Project", "X-HTTP-Method-Override",
     "X-Method-Override", "Proxy-Authorization", "Ocp-Apim-Subscription-Key", "x-amz-date", "X-Amz-Security-Token",
     "X-Amz-Content-SHA256"],
)  # fmt: skip
def test_before_a_stored_credential_is_set_every_position_is_cleared(name: str) -> None:
    """Nothing of the caller's picks another account, signs, or makes another request of it."""
    kept: Headers = [(b"Accept", b"*/*"), (b"OpenAI-Beta", b"assistants=v2")]
    headers = [kept[0], (name.encode(), b"mine"), kept[1]]
    assert found(headers, PATH, "").cleared().headers == kept


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("", ""),
        ("alt=sse", "alt=sse"),
        ("alt=sse&key=AIza&prettyPrint=false", "alt=sse&prettyPrint=false"),
        ("k%65y=a&KEY=b&%24key=c&access_token=d&oauth_token=e&api-key=f", ""),
        ("userProject=p&$userProject=q&api-version=2024-10-21", "api-version=2024-10-21"),
        ("alt=sse;key=AIza&x=1", "x=1"),
        ("X-Amz-Signature=a&x-amz-Credential=b&X-Amz-Security-Token=c&x=1", "x=1"),
        ("key=&monkey=1", "monkey=1"),
        ("a=1&&b=2&", "a=1&&b=2&"),
    ],
)
def test_a_query_is_cleared(query: str, left: str) -> None:
    assert found([], PATH, query).cleared().query == left


def test_subprotocols_are_cleared() -> None:
    name = b"Sec-WebSocket-Protocol"
    value = (
        b"realtime,openai-insecure-api-key.sk-own, openai-organization.org-a,OpenAI-Project.p, openai-beta.realtime-v1"
    )
    positions = found([(name, value)], PATH, "")
    assert positions.provider == [b"sk-own"]
    assert positions.own().headers == [(name, value)]
    assert positions.cleared().headers == [(name, b"realtime, openai-beta.realtime-v1")]
    alone = found([(name, f"openai-insecure-api-key.{LIVE}".encode())], PATH, "")
    assert alone.own().headers == alone.cleared().headers == []
    mixed = found([(name, f"openai-insecure-api-key.{LIVE}, openai-insecure-api-key.sk-own".encode())], PATH, "")
    assert mixed.own().headers == [(name, b"openai-insecure-api-key.sk-own")]


def test_I8_a_head_full_of_keys_is_soon_read() -> None:
    """Before anybody is authenticated: 64 KB of them took a tenth of a second, to be told apart each from each."""
    name, prefix = b"Sec-WebSocket-Protocol", "openai-insecure-api-key."
    crowd = [f"{prefix}sk-{number}" for number in range(2000)]
    positions = found([(name, ",".join(crowd).encode())], PATH, "")
    assert positions.provider == [f"sk-{number}".encode() for number in range(64)]
    assert positions.cleared().headers == []
    last = [*["realtime"] * 64, f"{prefix}sk-own"]
    assert found([(name, ",".join(last).encode())], PATH, "").cleared().headers == [
        (name, ", ".join(["realtime"] * 64).encode())
    ]
    ours = [(b"X-Api-Key", gateway_key("live", f"{number:030}").encode()) for number in range(100)]
    positions = found([*ours, (b"X-Api-Key", b"sk-own")], PATH, "")
    assert (len(positions.gateway), positions.provider) == (8, [b"sk-own"])
    with pytest.raises(GatehouseError) as refused:
        positions.single()
    assert refused.value.kind is errors.AMBIGUOUS_CREDENTIALS and len(refused.value.detail) < 256
    padded = b"Basic " + b"A=" * 30_000 + b64encode(f":{LIVE}".encode())
    assert found([(b"Authorization", padded)], PATH, "").gateway == [LIVE.encode()]


def test_only_the_gateway_key_leaves_a_query_of_the_callers_own() -> None:
    positions = found([], PATH, f"alt=sse&key={LIVE}&key=AIza&userProject=p")
    assert (positions.single(), positions.provider) == (LIVE.encode(), [b"AIza"])
    assert positions.own().query == "alt=sse&key=AIza&userProject=p"


# -- anything at all

_NAMES = st.sampled_from(
    [b"Authorization", b"x-api-key", b"Api-Key", b"x-goog-api-key", b"X_Api_Key", b"X-Gatehouse-Key",
     b"Sec-WebSocket-Protocol", b"X-Gatehouse-Identity", b"User-Agent", b"X-Any"]
)  # fmt: skip
_SCHEMES = st.sampled_from(
    [b"", b"Bearer ", b"bearer\t", b"Basic ", b"Token ", b"a, ", b"realtime, openai-insecure-api-key.", b"x"]
)
_PARAMETERS = st.sampled_from(["key=", "k%65y=", "%6Bey=", "api-key=", "token=", "a=1;key=", "a=1&key=", "$key=", ""])


@st.composite
def hidden(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Most of a gateway key's secret; and the key, whole or cut short, in some encoding, with something around it."""
    secret = draw(st.text(string.digits + string.ascii_letters, min_size=30, max_size=30))
    key = gateway_key("live", secret)
    text = key[: draw(st.integers(25, len(key)))].encode()
    for _ in range(draw(st.integers(0, 2))):
        text = b"".join([b"%%%02x" % byte if draw(st.booleans()) else bytes([byte]) for byte in text])
    before = draw(st.sampled_from([b"", b" ", b",", b"\xe2\x80\x8b", b"Bearer ", b"word"]))
    return secret[:16].encode(), before + text + draw(st.binary(max_size=3))


def decodings(form: Form) -> list[bytes]:
    """What an upstream may read in a head: decoded never, or again and again, Basic too."""
    text = b"\n".join([part for pair in form.headers for part in pair]) + b"\n" + form.query.encode()
    for name, value in form.headers:
        if name.lower() == b"authorization" and value[:6].lower() == b"basic ":
            with contextlib.suppress(ValueError):
                text += b"\n" + b64decode(value[6:])
    texts = [text]
    for _ in range(3):
        texts.append(unquote_to_bytes(texts[-1]))
    return texts


@given(
    st.lists(st.tuples(_NAMES, _SCHEMES, hidden(), st.booleans()), max_size=3),
    st.lists(st.tuples(_PARAMETERS, hidden()), max_size=2),
)
def test_no_gateway_key_survives_clearing(
    lines: list[tuple[bytes, bytes, tuple[bytes, bytes], bool]], parts: list[tuple[str, tuple[bytes, bytes]]]
) -> None:
    """I3: whatever position and encoding, it is removed or the call is refused."""
    headers = []
    for name, scheme, (_, text), coded in lines:
        coded = coded and scheme == b"Basic " and name == b"Authorization"
        headers.append((name, scheme + (b64encode(b"user:" + text) if coded else text)))
    query = "&".join([name + "".join(f"%{byte:02X}" if byte > 126 or byte < 33 else chr(byte) for byte in text)
                      for name, (_, text) in parts])  # fmt: skip
    positions = found(headers, PATH, query, no_issuer)
    secrets = [secret for _, _, (secret, _), _ in lines] + [secret for _, (secret, _) in parts]
    for step in (positions.own, positions.cleared):
        try:
            form = step()
        except GatehouseError as error:
            assert error.kind is errors.UNAUTHORIZED
        else:
            assert not [text for text in decodings(form) for secret in secrets if secret in text]
    if secrets:
        with pytest.raises(GatehouseError):
            positions.refuse_gateway_keys()


_HEADERS = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=40)), max_size=6)


@given(_HEADERS, st.text(max_size=60))
def test_any_request_is_read(headers: Headers, query: str) -> None:
    positions = found(headers, PATH, query, no_issuer)
    for step in (positions.refuse_gateway_keys, positions.single, positions.own, positions.cleared):
        try:
            step()
        except GatehouseError as error:
            assert error.kind.status == 401


def test_a_head_as_it_is_received() -> None:
    head = Head(
        b"POST",
        f"{PATH}?key={LIVE}".encode(),
        "1.1",
        [(b"Host", b"gw"), (b"Authorization", f"Bearer {LIVE}  ".encode())],
    )
    positions = found(head.headers, head.path, head.query)
    assert positions.single() == LIVE.encode()
    assert positions.cleared() == ([(b"Host", b"gw")], "")


def test_every_position_is_documented() -> None:
    section = DOCS.read_text().split("## Where a credential stands")[1].split("\n## ")[0]
    documented = set(re.findall(r"`\??([A-Za-z_-]+)(?:[:=`])", section))
    for name in (
        "Authorization", "x-api-key", "api-key", "x-goog-api-key", "key", "access_token", "Sec-WebSocket-Protocol",
        "X-Gatehouse-Key", "X-OngoingAI-Gateway-Key", "X-Gatehouse-Identity", "OpenAI-Organization", "OpenAI-Project",
        "X-Goog-User-Project", "X-HTTP-Method-Override",
    ):  # fmt: skip
        assert name in documented, name
