"""Who may speak to this origin: browsers, and callers on loopback, which is no credential; Host in every mode."""

from __future__ import annotations

import pytest

from gatehouse import errors
from gatehouse.config.settings import Cors, Server, Settings
from gatehouse.errors import GatehouseError
from gatehouse.gateway.guard import Guard
from gatehouse.http.message import Head

OWN = b"127.0.0.1:8080"


def guard(*origins: str, **server: object) -> Guard:
    return Guard(Settings(server=Server(**server), cors=Cors(origins=origins)))  # type: ignore[arg-type]


def head(host: bytes = OWN, **headers: str) -> Head:
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Head(b"POST", b"/openai/v1/x", "1.1", [(b"Host", host), *lines])


def passes(made: Guard, asked: Head, *, data: bool = False, peer: str = "127.0.0.1", local: str = "127.0.0.1") -> bool:
    try:
        made.check(asked, peer, local)
        if data:
            made.check_data(asked)
    except GatehouseError as error:
        assert error.kind is errors.FORBIDDEN
        return False
    return True


def why(made: Guard, asked: Head, *, peer: str = "127.0.0.1", local: str = "127.0.0.1") -> str:
    with pytest.raises(GatehouseError) as raised:
        made.check(asked, peer, local)
        made.check_data(asked)
    return raised.value.detail


# -- 5.1: what a browser says it will do with the answer


@pytest.mark.parametrize(
    ("destination", "may"),
    [("empty", True), ("websocket", True), ("document", False), ("iframe", False), ("script", False), ("worker", False),
     ("sharedworker", False), ("serviceworker", False), ("image", False), ("object", False), ("style", False)],
)  # fmt: skip
def test_5_1_a_page_can_fetch_an_answer_and_not_embed_it(destination: str, may: bool) -> None:
    asked = head(Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="same-origin", Sec_Fetch_Dest=destination)
    assert passes(guard(), asked, data=True) is may


# -- 5.2: Host, in every mode


@pytest.mark.parametrize(
    "host",
    [b"localhost", b"localhost:8080", b"LOCALHOST:8080", b"localhost.", b"127.0.0.1", b"127.0.0.1:8080", b"[::1]",
     b"[::1]:8080", b"localhost:"],
)  # fmt: skip
def test_5_2_loopback_names_pass(host: bytes) -> None:
    assert passes(guard(), head(host))


@pytest.mark.parametrize(
    "host",
    [b"evil.example", b"evil.example:8080", b"localhost.evil.example", b"127.0.0.1.evil.example", b"127.0.0.1.nip.io",
     b"localhost..", b"localtest.me", b"0.0.0.0:8080", b"127.1", b"2130706433", b"0x7f000001", b"127.0.0.2",
     b"[::ffff:127.0.0.2]", b"[::]", b"::1", b"[::1", b"[localhost]", b"[::1%25lo]", b"gateway", b"*", b".", b"-",
     b"192.168.1.20"],
)  # fmt: skip
def test_5_2_names_that_dns_could_rebind_and_other_addresses_do_not_pass(host: bytes) -> None:
    assert "server.allowed_hosts" in why(guard(), head(host))


@pytest.mark.parametrize(
    "host",
    [b"evil.example@localhost", b"localhost@evil.example", b"localhost/evil", b"localhost?x", b"localhost#x",
     b"localhost,evil.example", b"localhost evil.example", b"localhost:8080:8080", b"localhost:x", b"localhost:999999",
     b"\xffocalhost", b"local\xc2\xadhost", b"localhost\\x"],
)  # fmt: skip
def test_5_2_what_is_no_host_does_not_pass(host: bytes) -> None:
    """It goes into addresses that we hand back."""
    assert not passes(guard(), head(host))


def test_5_2_public_url_and_allowed_hosts_pass() -> None:
    made = guard(public_url="https://Gateway.Example:8443/base", allowed_hosts=("gw.internal", "10.0.0.5"))
    for host in (b"gateway.example", b"GATEWAY.example:443", b"gw.internal:8080", b"10.0.0.5", b"localhost"):
        assert passes(made, head(host)), host
    for host in (b"example", b"evil.gateway.example", b"gateway.example.evil", b"internal"):
        assert not passes(made, head(host)), host


def test_5_2_the_address_the_client_connected_to_passes_and_no_other() -> None:
    """A literal address cannot be rebound by DNS."""
    made = guard()
    for local, host in (
        ("192.168.1.20", b"192.168.1.20:8080"),
        ("2001:db8::5", b"[2001:db8::5]:8080"),
        ("2001:db8::5", b"[2001:DB8:0:0::5]"),
        ("::ffff:192.168.1.20", b"192.168.1.20"),
        ("127.0.0.2", b"127.0.0.2"),
    ):
        assert passes(made, head(host), local=local), (local, host)
        assert not passes(made, head(host), local="192.168.1.21"), (local, host)
    assert not passes(made, head(b"name"), local="name"), "a name is not an address"
    assert not passes(made, head(b"192.168.1.20"), local=""), "a Unix socket has none"


def test_5_2_a_verdict_belongs_to_host_and_local_address() -> None:
    made = guard()
    for _ in range(2):
        assert passes(made, head(b"192.168.1.20"), local="192.168.1.20")
        assert not passes(made, head(b"192.168.1.20"), local="10.0.0.1")


def test_I9_remembered_hosts_are_bounded() -> None:
    made = guard()
    for number in range(3000):
        assert not passes(made, head(b"host-%d.test" % number))
        assert not passes(made, head(b"a" * 60_000 + b"%d" % number))
    assert len(made._known_hosts) <= 1024
    assert max(len(host) for host, _ in made._known_hosts) < 300
    assert passes(made, head(b"localhost"))


# -- 5.2: a proxy in front

PROXIED = [
    "Forwarded", "Via", "X-Forwarded-For", "x-forwarded-for", "X-Forwarded-Host", "X-Forwarded-Proto",
    "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Anything", "X-Forwarded", "X-Real-IP",
]  # fmt: skip


@pytest.mark.parametrize("name", PROXIED)
def test_5_2_what_only_a_proxy_sends_is_refused_from_anybody_else(name: str) -> None:
    """T: behind nginx's default proxy_pass an Internet request arrives from 127.0.0.1 with Host 127.0.0.1."""
    detail = why(guard(), head(OWN, **{name: "203.0.113.7"}))
    assert name.lower() in detail
    assert "server.trusted_proxies" in detail


def test_5_2_a_named_proxy_may() -> None:
    made = guard(trusted_proxies=("10.0.0.0/8", "2001:db8::/32", "127.0.0.1"))
    asked = head(X_Forwarded_For="203.0.113.7", Via="1.1 nginx")
    for peer in ("10.1.2.3", "2001:db8::7", "127.0.0.1", "::ffff:10.1.2.3"):
        assert passes(made, asked, peer=peer), peer
    for peer in ("11.0.0.1", "2001:db9::7", "::1", "", "not an address"):
        assert not passes(made, asked, peer=peer), peer
        assert passes(made, head(), peer=peer), peer


def test_other_headers_are_no_sign_of_a_proxy() -> None:
    assert passes(guard(), head(My_X_Forwarded_For="a", Viaduct="b", X_Request_Id="c", X_Real_Ips="d"))


# -- 5.1: browsers

EVIL = "https://evil.example"
APP = "https://app.example"


@pytest.mark.parametrize("origin", [EVIL, "null", "http://localhost:3000", "http://127.0.0.1:8081", "file://", ""])
def test_5_1_a_foreign_origin_is_refused_on_every_plane(origin: str) -> None:
    for made in (guard(), guard(APP)):
        asked = head(Origin=origin)
        assert not passes(made, asked)
        assert "cors.origins" in why(made, asked)


def test_5_1_an_allowed_origin_may_call_and_is_named() -> None:
    made = guard(APP, "http://localhost:3000/")
    for origin in (APP, "HTTPS://App.Example", "http://localhost:3000"):
        assert passes(made, head(Origin=origin), data=True)
        assert passes(made, head(Origin=origin, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors"), data=True)
        assert made.allowed_origin(head(Origin=origin)) == origin.encode()
    for origin in (EVIL, "http://app.example", "https://app.example:8443", "https://app.example.evil", "null"):
        assert not passes(made, head(Origin=origin)), origin
        assert made.allowed_origin(head(Origin=origin)) is None
    assert made.allowed_origin(head()) is None


def test_5_1_our_own_pages_may_use_the_console_but_not_the_models() -> None:
    """A provider's answer must never run with the console's session, and not spend its user's keys either."""
    asked = head(Origin="http://127.0.0.1:8080", Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="cors")
    assert passes(guard(), asked)
    assert not passes(guard(), asked, data=True)


def test_5_1_a_browser_cannot_open_a_model_route_but_the_console() -> None:
    for site in ("none", "same-origin", "cross-site"):
        asked = head(Sec_Fetch_Mode="navigate", Sec_Fetch_Site=site, Sec_Fetch_Dest="document")
        assert passes(guard(), asked)
        assert "navigate" in why(guard(APP), asked)


def test_5_1_cross_site_without_an_origin_is_refused_on_model_routes() -> None:
    """An image or a form of another site."""
    for mode in ("no-cors", "cors"):
        asked = head(Sec_Fetch_Site="cross-site", Sec_Fetch_Mode=mode)
        assert "cross-site" in why(guard(), asked)


def test_5_1_what_is_no_browser_passes() -> None:
    assert passes(guard(), head(Authorization="Bearer x", User_Agent="OpenAI/Python"), data=True)
    assert passes(guard(), head(Sec_Fetch_Mode="cors"), data=True), "Node's fetch sends this one alone"
