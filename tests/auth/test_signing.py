"""AWS Signature Version 4, against AWS's own vectors and the traps of its canonical form.

Vectors: awslabs/aws-c-auth at 495329c, `tests/aws-signing-test-suite/v4`, files `request.txt`, `context.json` and
`header-signature.txt`. All are of 2015-08-30T12:36:00Z, region `us-east-1`, service `service`, key id `AKIDEXAMPLE`.
Left out: those that are not to be normalised (only `s3` is not), and the header that is folded over lines, which no
HTTP reader of ours lets in.
"""

from __future__ import annotations

import calendar
import hashlib

import pytest

from gatehouse.auth.signing import Signer, canonical_headers, canonical_path, canonical_query

NO_BODY = hashlib.sha256(b"").hexdigest()
AT = calendar.timegm((2015, 8, 30, 12, 36, 0))
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HOST = (b"Host", b"example.amazonaws.com")
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SHORT_TOKEN = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
LONG_TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthA"
    "x7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY"
    "9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)


def signature(
    method: str = "GET",
    path: str = "/",
    query: str = "",
    headers: tuple[tuple[bytes, bytes], ...] = (HOST,),
    body: bytes = b"",
    token: str = "",
) -> str:
    signer = Signer("AKIDEXAMPLE", SECRET, token, region="us-east-1", service="service")
    added = dict(signer.sign(method, path, query, headers, hashlib.sha256(body).hexdigest(), AT))
    assert added[b"x-amz-date"] == b"20150830T123600Z"
    assert added.get(b"x-amz-security-token", b"").decode() == token
    assert added[b"authorization"].startswith(
        b"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders="
    )
    return added[b"authorization"].rpartition(b"Signature=")[2].decode()


VANILLA = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", VANILLA),
        ("/example/..", VANILLA),
        ("/example1/example2/../..", VANILLA),
        ("/./", VANILLA),
        ("//", VANILLA),
        ("/./example", "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"),
        ("//example//", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
        ("/example space/", "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
        (f"/{UNRESERVED}", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
        ("/ሴ", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    ],
)
def test_vectors_of_paths(path: str, expected: str) -> None:
    assert signature(path=path) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Param1=value1", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"),
        ("Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
         "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"),
        ("Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        (f"{UNRESERVED}={UNRESERVED}", "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"),
        ("ሴ=bar", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
    ],
)  # fmt: skip
def test_vectors_of_queries(query: str, expected: str) -> None:
    assert signature(query=query) == expected


def my(value: bytes, number: int = 1) -> tuple[bytes, bytes]:
    return b"My-Header%d" % number, value


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        (
            "GET",
            (HOST, my(b"value2"), my(b"value2"), my(b"value1")),
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ),
        (
            "GET",
            (HOST, my(b"value4"), my(b"value1"), my(b"value3"), my(b"value2")),
            "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        ),
        (
            "GET",
            (HOST, my(b" value1"), my(b' "a   b   c"', 2)),
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        ("POST", (HOST,), "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("POST", (HOST, my(b"value1")), "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"),
        ("POST", (HOST, my(b"VALUE1")), "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"),
    ],
)
def test_vectors_of_headers(method: str, headers: tuple[tuple[bytes, bytes], ...], expected: str) -> None:
    assert signature(method, headers=headers) == expected


@pytest.mark.parametrize(
    ("method", "token", "expected"),
    [
        ("GET", SHORT_TOKEN, "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"),
        ("POST", LONG_TOKEN, "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"),
    ],
)
def test_vectors_of_session_tokens(method: str, token: str, expected: str) -> None:
    assert signature(method, token=token) == expected


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"application/x-www-form-urlencoded", "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"),
        (
            b"application/x-www-form-urlencoded; charset=utf-8",
            "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
        ),
    ],
)
def test_vectors_of_bodies(content_type: bytes, expected: str) -> None:
    """Their files say `sign_body`, which adds the body's hash as a header."""
    body = b"Param1=value1"
    headers = (
        (b"Content-Type", content_type),
        HOST,
        (b"Content-Length", b"13"),
        (b"x-amz-content-sha256", hashlib.sha256(body).hexdigest().encode()),
    )
    assert signature("POST", headers=headers, body=body) == expected


def test_a_path_is_encoded_twice() -> None:
    """As Bedrock's model ids need it: `…-v2:0` in a path is `…-v2%3A0` when it is signed."""
    assert canonical_path("/model/anthropic.claude-v2:1/invoke") == "/model/anthropic.claude-v2%3A1/invoke"
    assert canonical_path("/documents%20and%20settings/") == "/documents%2520and%2520settings/"
    assert canonical_path("") == "/"
    assert canonical_path("/a/b/..") == "/a/"
    assert canonical_path("/../../a") == "/a"


def test_queries() -> None:
    assert canonical_query("") == ""
    assert canonical_query("acl") == canonical_query("acl=") == "acl="
    assert canonical_query("b=2&&a=1&") == "a=1&b=2"
    assert canonical_query("a=2&a=1") == "a=1&a=2", "by value where names are the same"
    assert canonical_query("a=b=c") == "a=b%3Dc"
    assert canonical_query("a=1+1&b=x%20y&c=%7e%2f") == "a=1%2B1&b=x%20y&c=~%2F"
    assert canonical_query("Z=1&a=2&%61b=3") == "Z=1&a=2&ab=3", "capitals before small letters"


def test_headers() -> None:
    lines, names = canonical_headers([(b"X-B", b" 1 \t 2 "), (b"a", b""), (b"x-b", b"\xfc")])
    assert names == "a;x-b"
    assert lines == "a:\nx-b:1 2,\xfc\n"


def test_a_key_is_of_its_day() -> None:
    signer = Signer("AKIDEXAMPLE", SECRET, "", region="us-east-1", service="bedrock")

    def signed(at: int) -> bytes:
        return dict(signer.sign("POST", "/", "", [HOST], NO_BODY, at))[b"authorization"]

    first, tomorrow = signed(AT), signed(AT + 86_400)
    assert b"/20150830/us-east-1/bedrock/" in first
    assert b"/20150831/us-east-1/bedrock/" in tomorrow
    assert signed(AT) == first
