"""Path safety before routing, and what of an address is kept on the record (I3)."""

from __future__ import annotations

import string
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatehouse import errors
from gatehouse.config.settings import Settings
from gatehouse.errors import GatehouseError
from gatehouse.providers.entries import entries
from gatehouse.routing.paths import recorded_path, refuse_unsafe, split_version
from tests.routing.routers import router

TABLE = router()

UNSAFE = [
    ("/openai/v1/../../admin", "dot segment"),
    ("/openai/./v1", "dot segment"),
    ("/openai/v1/..", "dot segment"),
    ("/openai/..;/v1", "dot segment"),
    ("/openai/%2e%2e/v1", "encoded dot"),
    ("/openai/.%2E/v1", "encoded dot"),
    ("/openai/%252e%252e/v1", "encoded dot"),
    ("/openai/v1/a%2Fb", "encoded slash"),
    ("/openai/v1/a%2fb", "encoded slash"),
    ("/openai/v1/a%25252fb", "encoded slash"),
    ("/openai/v1/a%5cb", "encoded backslash"),
    ("/openai\\v1", "backslash"),
    ("/openai//v1", "empty segment"),
    ("//openai/v1", "empty segment"),
    ("/openai/v1/\x00", "control character"),
    ("/openai/v1/\r\nX: y", "control character"),
    ("/openai/v1/\n", "control character"),
    ("/openai/v1/%00", "encoded control"),
    ("/openai/v1/%0d%0a", "encoded control"),
    ("/openai/v1/%7F", "encoded control"),
    ("/openai/v1/é", "not ASCII"),
    ("/openai/v1/%C0%AE%C0%AE/x", "not UTF-8"),
    ("/openai/v1/%zz", "encodes nothing"),
    ("/openai/v1/%", "encodes nothing"),
    ("/openai/v1/a b", "percent-encoded"),
    ('/openai/v1/"', "percent-encoded"),
    ("/openai/v1/a?b", "percent-encoded"),
    ("openai/v1", "start with"),
    ("", "start with"),
    ("*", "start with"),
]


@pytest.mark.parametrize(("path", "says"), UNSAFE)
def test_unsafe_paths_are_refused_and_the_fault_named(path: str, says: str) -> None:
    for _ in range(2):  # never remembered as safe
        with pytest.raises(GatehouseError, match=says) as caught:
            TABLE.resolve(b"POST", path, "", [])
        assert caught.value.kind is errors.BAD_REQUEST


@pytest.mark.parametrize(
    "path",
    [
        "/openai/v1/models/ft:gpt-4o:acme::abc",
        "/openai/v1/files/r%C3%A9sum%C3%A9.pdf",
        "/google/v1beta/models/gemini-2.5-flash:generateContent",
        "/openai/v1/models/gpt-4.1",
        "/openai/v1/models/...",
        "/openai/v1/models/a%20b",
        "/openai/v1/x/~a!$&'()*+,;=@b",
        "/openai/v1/models/",
    ],
)
def test_ordinary_paths_pass_as_received(path: str) -> None:
    refuse_unsafe(path)
    found = TABLE.resolve(b"GET", path, "", [])
    assert found.path == "/" + path.split("/", 2)[2]


_CHARACTERS = st.text(st.characters(codec="utf-8"), max_size=60)
_SEGMENTS = st.lists(
    st.one_of(
        st.sampled_from(
            "openai anthropic google azure v1 v1beta upload models messages m:generateContent openai deployments .. . "
            "%2e%2e %2F gateway proxy api trueportai-services health ui r d simulated %25 %C3%A9 ..; chat completions "
            "publishers projects ws anthropic perplexity deepinfra zai".split()
        ),
        st.text(string.ascii_letters + string.digits + "-._~%:;@!", max_size=8),
        _CHARACTERS,
    ),
    max_size=9,
).map(lambda segments: "/" + "/".join(segments))


@given(path=st.one_of(_CHARACTERS, _SEGMENTS), method=st.sampled_from([b"GET", b"POST", b"DELETE"]), query=_CHARACTERS)
@example(path="/azure/r/openai/deployments/", method=b"POST", query="")
@example(path="/api/v1/gateway/proxy", method=b"GET", query="%")
def test_routing_fails_only_in_its_own_words(path: str, method: bytes, query: str) -> None:
    """Any path: a resolution or a GatehouseError. What goes upstream holds no dot segment and no doubled slash."""
    try:
        found = TABLE.resolve(method, path, query, [])
    except GatehouseError as error:
        assert error.kind in (errors.BAD_REQUEST, errors.NOT_FOUND)
        return
    assert found.path.startswith("/")
    assert "//" not in found.path
    assert not {".", ".."} & set(found.path.split("/"))
    assert "%2f" not in found.path.lower()
    assert found.path.isascii()
    if found.route is not None:
        assert found.route.path == found.path
        assert found.route.origin.host in _hosts(path)


def _hosts(path: str) -> set[str]:
    """I3: the hosts that any route may lead to."""
    hosts = {entry.origin.host for entry in entries(Settings()).values()}
    resource = path.removeprefix("/trueportai-services").removeprefix("/azure/").partition("/")[0]
    return hosts | {f"{resource}.openai.azure.com"}


@given(version=st.sampled_from(["", "/v1", "/v1beta", "/v1/v1", "/v1beta/v1", "/v2", "/v1alpha2"]), rest=_SEGMENTS)
def test_splitting_a_version_loses_nothing(version: str, rest: str) -> None:
    found, left = split_version(version + rest)
    assert left == "" or left.startswith("/")
    assert (version + rest).endswith(found + left)
    assert split_version(left)[0] == "", "no version is left over"


@pytest.mark.parametrize(
    ("query", "recorded"),
    [
        ("", "/p"),
        ("api-version=2024-02-01", "/p?api-version=2024-02-01"),
        ("api-version=2024-09-01-preview&foo=1", "/p?api-version=2024-09-01-preview"),
        ("api%2Dversion=2024%2D02-01", "/p?api-version=2024-02-01"),
        ("alt=sse&key=AIzaSecret", "/p?alt=sse"),
        ("beta=true", "/p?beta=true"),
        ("beta=sk-secret", "/p"),
        ("key=AIzaSecret", "/p"),
        ("k%65y=AIzaSecret&%61lt=sse", "/p?alt=sse"),
        ("alt=AIzaSecret", "/p"),
        ("api-version=sk-secret", "/p"),
        ("api-version=2024-02-01%26key%3DAIzaSecret", "/p"),
        ("alt=sse%0Akey=AIzaSecret", "/p"),
        ("api-version", "/p"),
        ("&&=&", "/p"),
        ("%", "/p"),
    ],
)
def test_recorded_path(query: str, recorded: str) -> None:
    assert recorded_path("/p", query) == recorded


_SECRETS = st.sampled_from(["AIzaSySecret0123456789", "sk-ant-api03-secret", "gth_live_secretsecret"])


@given(
    secret=_SECRETS,
    name=st.sampled_from(["key", "k%65y", "%6b%65%79", "api-version", "alt", "api%2Dversion", "Key", "access_token"]),
    spelling=st.sampled_from([str, lambda text: "".join(f"%{ord(c):02x}" for c in text), lambda text: quote(text)]),
    around=st.tuples(_CHARACTERS, _CHARACTERS),
)
def test_credentials_never_survive_in_a_recorded_path(
    secret: str, name: str, spelling: object, around: tuple[str, str]
) -> None:
    """I3."""
    assert callable(spelling)
    before, after = (part.replace("&", "") for part in around)
    recorded = recorded_path("/google/v1beta/models", f"{before}&{name}={spelling(secret)}{after}")
    assert secret not in recorded
    assert recorded.startswith("/google/v1beta/models")
    assert recorded_path("/p?key=" + secret, "") == "/p", "a query that was not split off is cut"


@pytest.mark.parametrize(
    "spelt", ["gth_live_S3cret0", "%67th_live_S3cret0", "gth_%6Cive_S3cret0", "gth_test_%533cret0"]
)
def test_a_gateway_key_in_a_path_is_cut_short(spelt: str) -> None:
    """I3: it is refused with 401, and the refusal is on record."""
    recorded = recorded_path(f"/openai/v1/models/{spelt}/x%20y", "alt=sse")
    assert "cret0" not in recorded
    assert recorded in ("/openai/v1/models/gth_live_***/x%20y?alt=sse", "/openai/v1/models/gth_test_***/x%20y?alt=sse")
