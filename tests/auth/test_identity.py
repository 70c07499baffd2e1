"""JWTs of callers (D2): who they are, and everything that makes one invalid."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from gatehouse import errors
from gatehouse.auth.compact import LONGEST
from gatehouse.auth.identity import LEEWAY, REMEMBERED, Identities, Identity
from gatehouse.auth.platform import PlatformToken, PlatformTokens
from gatehouse.errors import GatehouseError
from gatehouse.model.access import IssuerEntry
from tests.auth.tokens import (
    AUDIENCE,
    EC,
    ED,
    KEYS,
    NAME,
    NOW,
    RSA,
    STRANGER,
    b64,
    claims,
    hmac_key,
    issuer,
    key_set,
    signed,
    token,
)

EXPECTED = Identity(
    tenant="ten_1",
    issuer="iss_1",
    subject="user-1",
    user="user-1",
    groups=("dev", "ops"),
    service="app-1",
    actor=None,
    expires=NOW + 3600 + LEEWAY,
)


def identities(*entries: IssuerEntry) -> Identities:
    return Identities({entry.id: entry for entry in entries or (issuer(),)})


def refused(who: Identities, text: bytes, now: float = NOW, tenant: str | None = None) -> str:
    """What is said of a token that is not accepted: 401, and nothing of the token in it."""
    with pytest.raises(GatehouseError) as caught:
        who.verify(text, now, tenant)
    assert caught.value.kind is errors.UNAUTHORIZED
    for part in text.decode("latin-1").split("."):
        assert not part or len(part) < 8 or part not in caught.value.detail
    return caught.value.detail


# -- who somebody is


@pytest.mark.parametrize(("kid", "alg"), [("rsa", "RS256"), ("ec", "ES256"), ("ed", "Ed25519")])
def test_a_token_says_who_calls(kid: str, alg: str) -> None:
    assert identities().verify(token(KEYS[kid], kid, alg), NOW) == EXPECTED


def test_ed25519_by_its_former_name() -> None:
    assert identities(issuer(algorithms=("EdDSA",))).verify(token(ED, "ed", "EdDSA"), NOW) == EXPECTED


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt", "JOSE"])
def test_types_of_tokens_that_say_who_calls(typ: str) -> None:
    assert identities().verify(token(header={"typ": typ}), NOW) == EXPECTED


@pytest.mark.parametrize("typ", ["logout+jwt", "secevent+jwt", "dpop+jwt", "gatehouse-platform+jwt", "id"])
def test_types_that_do_not(typ: str) -> None:
    assert "`typ`" in refused(identities(), token(header={"typ": typ}))


def test_the_person_the_actor_and_the_application_are_three() -> None:
    """D2."""
    found = identities().verify(token(act={"sub": "agent-7", "act": {"sub": "agent-6"}}), NOW)
    assert (found.user, found.actor, found.service) == ("user-1", "agent-7", "app-1")


@pytest.mark.parametrize(
    "changes",
    [{"sub": "app-1"}, {"sub": "app-1", "azp": None, "client_id": "app-1"}, {"sub": "app-1", "client_id": "app-1"}],
)
def test_an_application_by_itself_is_no_person(changes: dict[str, Any]) -> None:
    """RFC 9068, 2.2: the subject of a token by client credentials is the client."""
    found = identities().verify(token(**changes), NOW)
    assert (found.user, found.service, found.subject) == (None, "app-1", "app-1")


def test_claims_by_other_names() -> None:
    entry = issuer(user_claim="email", groups_claim="https://example.com/roles", service_claim="appid")
    named: dict[str, Any] = {"email": "ann@example.com", "https://example.com/roles": "ops", "appid": "app-9"}
    text = token(**named)
    found = identities(entry).verify(text, NOW)
    assert (found.subject, found.user, found.groups, found.service) == ("user-1", "ann@example.com", ("ops",), "app-9")
    bare = identities(entry).verify(token(azp=None), NOW)
    assert (bare.user, bare.groups, bare.service) == (None, (), None)


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 257},
        {"sub": "a\nb"},
        {"sub": "a\x00b"},
        {"sub": "a\u202eb"},
        {"sub": "\ud800"},
        {"azp": ["app"]},
        {"azp": {}},
        {"act": "agent"},
        {"act": {}},
        {"act": {"sub": 1}},
        {"act": []},
        {"groups": [1]},
        {"groups": [""]},
        {"groups": {"a": 1}},
        {"groups": ["g"] * 257},
        {"groups": ["x" * 257]},
    ],
)
def test_claims_that_say_nothing_usable_are_refused(changes: dict[str, Any]) -> None:
    refused(identities(), token(**changes))


def test_groups_that_are_left_out_are_not_taken_for_none() -> None:
    """I7. Entra ID does so beyond 200 (learn.microsoft.com, "groups overage claim")."""
    text = token(groups=None, _claim_names={"groups": "src1"}, _claim_sources={"src1": {"endpoint": "https://graph"}})
    assert "elsewhere" in refused(identities(), text)


# -- whose tenant


def test_the_tenant_comes_from_issuer_and_audience_and_never_from_a_claim() -> None:
    """I6."""
    who = identities(issuer(), issuer(id="iss_2", tenant="ten_2", audience="other"))
    assert who.verify(token(tenant="ten_9", tid="ten_9", org="ten_9"), NOW).tenant == "ten_1"
    found = who.verify(token(aud=["nobody", "other"]), NOW)
    assert (found.tenant, found.issuer) == ("ten_2", "iss_2")


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": None},
        {"aud": ""},
        {"aud": []},
        {"aud": AUDIENCE + "/"},
        {"aud": [AUDIENCE.upper()]},
        {"aud": {AUDIENCE: 1}},
        {"aud": 1},
        {"iss": None},
        {"iss": NAME + "/"},
        {"iss": [NAME]},
        {"iss": 1},
        {"iss": ""},
    ],
)
def test_another_issuer_or_audience(changes: dict[str, Any]) -> None:
    assert "configured together" in refused(identities(), token(**changes))


def test_an_entry_without_an_audience_matches_nothing() -> None:
    assert "configured" in refused(identities(issuer(audience="")), token(aud=""))


def test_beside_a_key_only_its_tenants_issuers_count() -> None:
    who = identities(issuer(), issuer(id="iss_2", tenant="ten_2"))
    assert who.verify(token(), NOW, "ten_2").issuer == "iss_2"
    assert who.verify(token(), NOW, "ten_1").issuer == "iss_1"
    assert "configured" in refused(who, token(), tenant="ten_3")
    assert "more than one tenant" in refused(who, token()), "by itself it could be either's"


def test_a_tenant_cannot_vouch_for_anothers_people() -> None:
    """It configures the same issuer and audience, with keys of its own."""
    evil = issuer(id="iss_2", tenant="ten_2", jwks=key_set({"ec": STRANGER}))
    who = identities(issuer(), evil)
    assert who.verify(token(), NOW).tenant == "ten_1"
    assert who.verify(token(STRANGER), NOW).tenant == "ten_2"
    assert "signature" in refused(who, token(STRANGER), tenant="ten_1")


# -- signatures


def test_a_changed_token_is_refused() -> None:
    head, payload, signature = token().split(b".")
    other = b64(json.dumps(claims(sub="root")).encode())
    assert "signature" in refused(identities(), b".".join([head, other, signature]))
    assert "signature" in refused(identities(), b".".join([head, payload, token(STRANGER).split(b".")[2]]))
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    refused(identities(), b".".join([head, payload, flipped]))


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", "HS256", "hs256", "HS512", "ES256K", "RS1", "dir", "A128KW"]
)
def test_algorithms_that_are_none(alg: str) -> None:
    """Also where an entry allows them by mistake, and whatever signature there is."""
    who = identities(issuer(algorithms=("RS256", "ES256", alg)))
    payload = json.dumps(claims()).encode()
    for signature in (b"", b"AA", b64(bytes(64))):
        for kid in ("ec", "rsa"):
            refused(who, b64(json.dumps({"alg": alg, "kid": kid}).encode()) + b"." + b64(payload) + b"." + signature)


@pytest.mark.parametrize(
    "signature", [bytes(64), bytes(63) + b"\x01", b"\xff" * 64, b"\x01" * 65, b"\x00", bytes(256), bytes(700)]
)
def test_signatures_of_nothing(signature: bytes) -> None:
    """Among them r = s = 0, which some libraries took for good (CVE-2022-21449)."""
    for kid, key, alg in (("ec", EC, "ES256"), ("rsa", RSA, "RS256"), ("ed", ED, "Ed25519")):
        head, payload, _ = token(key, kid, alg).split(b".")
        assert "signature" in refused(identities(), b".".join([head, payload, b64(signature)]))


@pytest.mark.parametrize("kid", ["rsa", "ec"])
def test_a_public_key_is_no_shared_secret(kid: str) -> None:
    """The classic: HS256 with the published key for a secret, in every form it may be had in."""
    key = KEYS[kid]
    assert isinstance(key, RSAKey | ECKey)
    public = json.dumps(key.as_dict(private=False)).encode()
    who = identities(issuer(algorithms=("RS256", "ES256", "HS256")))
    for secret in (
        key.as_pem(private=False),
        key.as_pem(private=False).strip(),
        key.as_bytes("DER", private=False),
        public,
    ):
        for alg in ("HS256", "RS256", "ES256"):
            refused(who, signed({"alg": alg, "kid": kid}, json.dumps(claims()).encode(), hmac_key(secret)))


def test_an_algorithm_that_the_issuer_is_not_allowed() -> None:
    assert "`alg`" in refused(identities(issuer(algorithms=("RS256",))), token())
    assert "`alg`" in refused(identities(issuer(algorithms=())), token())


def test_an_algorithm_that_no_issuer_may_be_allowed() -> None:
    key = OKPKey.generate_key("Ed448")
    head = b64(json.dumps({"alg": "Ed448", "kid": "k"}).encode()) + b"." + b64(json.dumps(claims()).encode())
    text = head + b"." + b64(JWSRegistry.algorithms["Ed448"].sign(head, key))
    assert "`alg`" in refused(identities(issuer(jwks=key_set({"k": key}), algorithms=("Ed448",))), text)


def test_a_key_signs_by_its_own_algorithm_only() -> None:
    """RS256's key under ES256's name, and a key whose set says it is for something else."""
    who = identities()
    refused(who, token(RSA, "rsa", "ES256"))
    refused(who, token(EC, "rsa", "ES256"))
    refused(who, token(EC, "ec", "RS256"))
    refused(identities(issuer(jwks=key_set({"ec": EC}, alg="ES384"))), token())
    refused(identities(issuer(jwks=key_set({"ec": EC}, use="enc"))), token())
    refused(identities(issuer(jwks=key_set({"ec": EC}, key_ops=["encrypt"]))), token())
    p384 = ECKey.generate_key("P-384")
    refused(identities(issuer(jwks=key_set({"ec": p384}))), token(p384))


def test_keys_that_a_header_brings_along_are_ignored() -> None:
    """`jwk`, `jku`, `x5u`, `x5c`."""
    mine = STRANGER.as_dict(private=False)
    for header in (
        {"jwk": mine},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/c"},
        {"x5c": ["MIIB"]},
    ):
        assert "signature" in refused(identities(), token(STRANGER, header=header))
        assert identities().verify(token(header=header), NOW) == EXPECTED
        assert identities().verify(token(header={name: 7 for name in header}), NOW) == EXPECTED


@pytest.mark.parametrize(
    "header", [{"crit": ["exp"], "exp": 1}, {"crit": ["b64"], "b64": False}, {"b64": True}, {"crit": []}]
)
def test_a_header_that_insists_on_more_is_refused(header: dict[str, Any]) -> None:
    assert "extensions" in refused(identities(), token(header=header))


# -- keys and their names


@pytest.mark.parametrize(
    "kid", ["", "EC", "ec ", "ec\x00", "../ec", "/dev/null", "' OR 1=1 --", "https://id.example/ec", "é", "x" * 2000]
)
def test_a_kid_that_is_not_in_the_set_asks_for_a_newer_one(kid: str) -> None:
    """401 meanwhile; the control plane fetches."""
    who = identities()
    assert "try again" in refused(who, token(kid=kid))
    refused(who, token(kid=kid))
    assert who.take_wanted() == ("iss_1",)
    assert who.take_wanted() == ()
    newer = Identities({"iss_1": issuer(jwks=key_set({kid: EC}))}, who)
    assert newer.verify(token(kid=kid), NOW) == EXPECTED


@pytest.mark.parametrize("kid", [7, ["ec"], {"ec": 1}, True])
def test_a_kid_that_is_no_text(kid: object) -> None:
    who = identities()
    refused(who, token(kid=None, header={"kid": kid}))
    assert who.take_wanted() == ()


def test_a_bad_token_asks_for_nothing() -> None:
    """Only who gets as far as an unknown key can make us fetch; how often is the control plane's to bound."""
    who = identities()
    for text in (
        token(STRANGER),
        token(kid="new", exp=1),
        token(kid="new", aud="x"),
        token(kid="new", alg="HS256"),
        b"a.b.c",
    ):
        refused(who, text)
    assert who.take_wanted() == ()


def test_without_a_kid_the_only_key_of_its_kind_counts() -> None:
    assert identities().verify(token(kid=None), NOW) == EXPECTED
    two = identities(issuer(jwks=key_set({"a": EC, "b": STRANGER})))
    assert "which of" in refused(two, token(kid=None))
    assert two.take_wanted() == ()
    assert two.verify(token(kid="a"), NOW) == EXPECTED


def test_two_kinds_of_keys_of_one_name() -> None:
    both = json.dumps({"keys": [{**key.as_dict(private=False), "kid": "same"} for key in (RSA, EC)]}).encode()
    who = identities(issuer(jwks=both))
    assert who.verify(token(kid="same"), NOW) == who.verify(token(RSA, "same", "RS256"), NOW) == EXPECTED


@pytest.mark.parametrize(
    "jwks",
    [b"", b"{}", b"[]", b"null", b"{", b'{"keys": null}', b'{"keys": {}}', b'{"keys": []}', b"\xff", b"[" * 100_000,
     b'{"keys": [' + b"[" * 5000 + b"]" * 5000 + b"]}"],
)  # fmt: skip
def test_a_set_without_keys(jwks: bytes) -> None:
    """Never fetched, or the issuer answered nonsense."""
    who = identities(issuer(jwks=jwks))
    assert "try again" in refused(who, token())
    assert who.take_wanted() == ("iss_1",)


def test_a_bad_key_does_not_spoil_the_others() -> None:
    good = {**EC.as_dict(private=False), "kid": "ec"}
    weak = {"kty": "RSA", "n": b64(b"\xff" * 128).decode(), "e": "AQAB", "kid": "weak"}
    bad: list[object] = [
        None,
        7,
        [],
        {},
        {"kty": "EC"},
        {"kty": ["EC"]},
        {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA", "kid": "ec"},
        {**good, "x": "AA"},
        {**good, "x": 7},
        {**good, "x": "!"},
        {**good, "y": good["x"]},
        {"kty": "AKP", "kid": "ec"},
        {"kty": "oct", "k": b64(b"s" * 32).decode(), "kid": "ec"},
        weak,
        {"kty": "RSA", "n": "", "e": "", "kid": "ec"},
        {"kty": "RSA", "n": b64(b"\xff" * 300).decode(), "e": "AA", "kid": "ec"},
        {"kty": "OKP", "crv": "X25519", "x": b64(bytes(32)).decode(), "kid": "ec"},
        EC.as_dict(private=True) | {"kid": "ec"},
    ]
    who = identities(issuer(jwks=json.dumps({"keys": [*bad, good]}).encode()))
    assert who.verify(token(), NOW) == EXPECTED
    only_bad = identities(issuer(jwks=json.dumps({"keys": bad}).encode()))
    refused(only_bad, token())
    refused(only_bad, signed({"alg": "HS256", "kid": "ec"}, json.dumps(claims()).encode(), hmac_key(b"s" * 32)))


@pytest.mark.parametrize(("modulus", "exponent"), [(256, 250), (384, 380), (512, 8), (256, 5), (1025, 3), (2048, 3)])
def test_I8_a_key_whose_signatures_take_long_to_check_is_none(modulus: int, exponent: int) -> None:
    """Bytes of each. Who may configure an issuer chooses its keys, and all tenants' calls wait while one is tried."""
    slow = {"kty": "RSA", "n": b64(b"\xff" * modulus).decode(), "e": b64(b"\xff" * exponent).decode(), "kid": "rsa"}
    who = identities(issuer(jwks=json.dumps({"keys": [slow]}).encode()))
    assert "(`kid`)" in refused(who, token(RSA, "rsa", "RS256"))


def test_I8_of_many_keys_with_one_name_few_are_tried() -> None:
    public = {**STRANGER.as_dict(private=False), "kid": "ec"}
    last = {**EC.as_dict(private=False), "kid": "ec"}
    assert identities(issuer(jwks=json.dumps({"keys": [public] * 3 + [last]}).encode())).verify(token(), NOW)
    crowd = identities(issuer(jwks=json.dumps({"keys": [public] * 4 + [last]}).encode()))
    assert "signature" in refused(crowd, token())


def test_a_large_set_is_read_in_part() -> None:
    keys: dict[str, Key] = {f"k{number}": EC for number in range(200)}
    who = identities(issuer(jwks=key_set(keys)))
    assert who.verify(token(kid="k63"), NOW) == EXPECTED
    refused(who, token(kid="k64"))


# -- time


@pytest.mark.parametrize(
    ("changes", "now", "good"),
    [
        ({"exp": 1000}, 1000 + LEEWAY - 1, True),
        ({"exp": 1000}, 1000 + LEEWAY, False),
        ({"exp": 1000.5}, 1000, True),
        ({"exp": 1000, "nbf": 900}, 900 - LEEWAY, True),
        ({"exp": 1000, "nbf": 900}, 900 - LEEWAY - 1, False),
        ({"exp": None}, 0, False),
        ({"exp": "1000"}, 0, False),
        ({"exp": True}, 0, False),
        ({"exp": [1000]}, 0, False),
        ({"exp": 10**400}, 0, False),
        ({"exp": 2**63}, 0, False),
        ({"exp": 1000, "nbf": "0"}, 900, False),
        ({"exp": -1}, 0, True),
        ({"exp": -LEEWAY}, 0, False),
    ],
)
def test_from_when_to_when(changes: dict[str, Any], now: float, good: bool) -> None:
    text = token(**changes)
    if good:
        assert identities().verify(text, now).expires == changes["exp"] + LEEWAY
    else:
        refused(identities(), text, now)


@pytest.mark.parametrize("exp", [b"NaN", b"Infinity", b"1e999", b"-Infinity"])
def test_a_date_that_is_no_number(exp: bytes) -> None:
    payload = json.dumps(claims(exp=0)).encode().replace(b'"exp": 0', b'"exp": ' + exp)
    refused(identities(), signed({"alg": "ES256", "kid": "ec"}, payload, EC))


# -- what is remembered


def test_a_verified_token_is_remembered_until_it_expires() -> None:
    who = identities()
    text = token(exp=2000)
    first = who.verify(text, 1500)
    assert who.verify(text, 2000 + LEEWAY - 1) is first
    assert "expired" in refused(who, text, 2000 + LEEWAY)
    assert "expired" in refused(who, text, 2000 + LEEWAY)


def test_a_new_snapshot_remembers_nothing_but_parsed_keys() -> None:
    """An issuer that is gone, or lost its key, vouches no more."""
    who = identities()
    text = token()
    who.verify(text, NOW)
    assert Identities({"iss_1": issuer()}, who).verify(text, NOW) == EXPECTED
    refused(Identities({}, who), text)
    refused(Identities({"iss_1": issuer(jwks=key_set({"ec": STRANGER}))}, who), text)
    refused(Identities({"iss_1": issuer(algorithms=("RS256",))}, who), text)
    moved = Identities({"iss_1": issuer(tenant="ten_2")}, who)
    assert moved.verify(text, NOW).tenant == "ten_2"


def test_what_is_remembered_is_of_the_whole_token_and_of_one_tenant() -> None:
    """FIELD: a cache keyed by a prefix handed out somebody else's session."""
    who = identities(issuer(), issuer(id="iss_2", tenant="ten_2", audience="other"))
    text = token()
    who.verify(text, NOW)
    refused(who, text[:-1] + (b"A" if text[-1:] != b"A" else b"B"))
    refused(who, text + b"A")
    refused(who, text[:-1])
    who.verify(text, NOW, "ten_1")
    assert "configured" in refused(who, text, tenant="ten_2")


def test_memory_is_bounded() -> None:
    """I9. Failures leave nothing at all."""
    who = identities()
    for number in range(REMEMBERED // 64):
        refused(who, token(STRANGER, sub=f"u{number}"))
    assert not who._remembered
    place = hashlib.sha256(b"").digest()
    who._remembered.update({(place, str(number)): EXPECTED for number in range(REMEMBERED)})
    who.verify(token(), NOW)
    assert len(who._remembered) == REMEMBERED


# -- whose a token is, before it is verified


def test_issued_tells_ours_from_a_providers() -> None:
    who = identities()
    assert who.issued(token()) and who.issued(token(STRANGER)) and who.issued(token(exp=1))
    for text in (
        token(iss="https://sts.windows.net/x/"),
        token(iss=None),
        b"",
        b"..",
        b"a.b.c",
        b"ya29.a.b",
        token() + b".x",
    ):
        assert not who.issued(text)
    assert not Identities({}).issued(token())


def test_a_platform_token_opens_nothing_here() -> None:
    """And it is ours, so it goes to no provider."""
    text = (
        PlatformTokens(b"s" * 32)
        .issue(PlatformToken("tok_1", "ten_1", "usr_1", (), int(NOW), int(NOW) + 60))
        .text.encode()
    )
    for who in (identities(), Identities({})):
        assert who.issued(text)
        assert "management API" in refused(who, text)
    pretending = identities(issuer(issuer="gatehouse-platform", audience="gatehouse-management"))
    assert "management API" in refused(pretending, text)


# -- anything at all


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b".",
        b"..",
        b"...",
        b"a.b",
        b"a.b.c.d",
        b"a.b.c.d.e",
        b"a..c",
        token() + b" ",
        b" " + token(),
        token() + b"\n",
        token().replace(b".", b"\xef\xbc\x8e"),
        b"\xff.\xff.\xff",
        token() + b"=",
        b"Bearer " + token(),
        token().replace(b".", b". "),
        b"e30." + token().partition(b".")[2],
        b"x" * (LONGEST + 1),
        token(pad="x" * LONGEST),
        token(header={"pad": "x" * 5000}),
        signed(b"[]", b"{}", EC),
        signed(b'["alg"]', b"{}", EC),
        signed(b'["alg","b64"]', b"{}", EC),
        signed(b'"alg"', b"{}", EC),
        signed(b"null", b"{}", EC),
        signed(b'{"alg":null}', b"{}", EC),
        signed(b'{"alg":["ES256"]}', b"{}", EC),
        signed(b'{"alg":"ES256","kid":"ec"}', b"[]", EC),
        signed(b'{"alg":"ES256","kid":"ec"}', b"null", EC),
        signed(b'{"alg":"ES256","kid":"ec"}', b'"x"', EC),
        signed(b'{"alg":"ES256","kid":"ec"}', b"\xff{}", EC),
        signed(b'{"alg":"ES256","kid":"ec","x":' + b"[" * 2000 + b"]" * 900 + b"}", b"{}", EC),
        signed(b'{"alg":"ES256","kid":"ec"}', b'{"iss":' + b"[" * 5000 + b"]" * 5000 + b"}", EC),
        signed(b'{"alg":"ES256","kid":"ec"}', b'{"x":' + b'{"x":' * 1500 + b"1" + b"}" * 1501, EC),
    ],
    ids=lambda value: "",  # a signature has another name every time
)
def test_what_is_no_token(text: bytes) -> None:
    who = identities()
    refused(who, text)
    who.issued(text)


def test_deep_claims_of_a_good_token_are_refused_and_no_bug() -> None:
    nested: Any = {"sub": "x"}
    for _ in range(300):
        nested = {"sub": "x", "act": nested}
    assert identities().verify(token(act=nested), NOW).actor == "x"
    payload = json.dumps(claims()).encode()[:-1] + b',"x":' + b"[" * 4000 + b"]" * 4000 + b"}"
    refused(identities(), signed({"alg": "ES256", "kid": "ec"}, payload, EC))


def test_repeated_members_are_read_once_and_the_same_way() -> None:
    """What picks the issuer is what was signed: no two decoders to disagree."""
    payload = json.dumps(claims()).encode()[:-1] + b',"iss":"https://other.example","sub":"root"}'
    text = signed({"alg": "ES256", "kid": "ec"}, payload, EC)
    assert "configured" in refused(identities(), text)
    assert not identities().issued(text)


@given(st.binary(max_size=200) | st.lists(st.binary(max_size=60).map(b64), min_size=3, max_size=3).map(b".".join))
def test_any_bytes(text: bytes) -> None:
    who = identities()
    refused(who, text)
    assert not who.issued(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_CLAIMS = st.sampled_from(
    ["iss", "aud", "sub", "exp", "nbf", "azp", "client_id", "groups", "act", "_claim_names", "iat"]
)


@given(
    st.dictionaries(_CLAIMS, _JSON, max_size=4),
    st.dictionaries(st.sampled_from(["kid", "typ", "crit", "jwk", "cty"]), _JSON),
)
def test_any_claims_of_a_signed_token(changes: dict[str, Any], header: dict[str, Any]) -> None:
    """Either an identity of that issuer's tenant, or 401."""
    text = token(header={"kid": "ec", **header}, **changes)
    try:
        found = identities().verify(text, NOW)
    except GatehouseError as error:
        assert error.kind is errors.UNAUTHORIZED
    else:
        assert (found.tenant, found.issuer) == ("ten_1", "iss_1")
        assert all([isinstance(group, str) and group for group in found.groups])


@given(st.data())
def test_no_changed_byte_is_accepted(data: st.DataObject) -> None:
    text = token()
    at = data.draw(st.integers(0, len(text) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != text[at]))
    refused(identities(), text[:at] + bytes([byte]) + text[at + 1 :])
