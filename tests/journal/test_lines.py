"""Lines as written."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from gatehouse.journal.chain import LaneCheck, read_line
from gatehouse.journal.lines import ZERO, Chain, Entry, JournalError, lane_id

NOW = 1_795_000_000_123_456_789


def entry(body: bytes, tenant: str = "default", kind: bytes = b"decision", time: int = NOW) -> Entry:
    return Entry(kind, tenant, body, time)


def test_a_line_is_what_the_documentation_says() -> None:
    chain = Chain("lane")
    first, second, end = chain.extend([entry(b'{"a":1}'), entry(b'{"a":2}', kind=b"outcome")]).split(b"\n")
    assert end == b""
    line = json.loads(first)
    assert list(line) == ["header", "hash", "salt", "body"]
    header = line["header"]
    assert header == {
        "v": 1,
        "lane": "lane",
        "seq": 1,
        "prev": ZERO,
        "tenant": "default",
        "tenant_seq": 1,
        "tenant_prev": ZERO,
        "time": "2026-11-18T11:06:40.123456Z",
        "kind": "decision",
        "body_digest": sha256(line["salt"].encode() + b'{"a":1}').hexdigest(),
    }
    written = first[len(b'{"header":') : first.index(b',"hash":')]
    assert line["hash"] == sha256(written).hexdigest()
    following = json.loads(second)["header"]
    assert (following["seq"], following["prev"], following["tenant_prev"]) == (2, line["hash"], line["hash"])
    assert (chain.seq, chain.head) == (2, json.loads(second)["hash"])


def test_each_tenant_has_its_own_chain() -> None:
    chain = Chain("lane")
    names = ["a", "b", "", 'quote " and ,"hash":"', "a", "b", "ü"]
    lines = chain.extend([entry(b"{}", tenant) for tenant in names]).split(b"\n")[:-1]
    headers = [read_line(line).header for line in lines]
    assert [header.tenant for header in headers] == names
    assert [header.tenant_seq for header in headers] == [1, 1, 1, 1, 2, 2, 1]
    assert headers[4].tenant_prev == read_line(lines[0]).hash
    assert headers[5].tenant_prev == read_line(lines[1]).hash


def test_salts_differ_beyond_one_block() -> None:
    chain = Chain("lane")
    lines = chain.extend([entry(b"{}")] * 700).split(b"\n")[:-1]
    salts = {json.loads(line)["salt"] for line in lines}
    assert len(salts) == 700
    assert {len(salt) for salt in salts} == {32}


@pytest.mark.parametrize("kept", range(6))
def test_rollback_stands_behind_the_lines_kept(kept: int) -> None:
    chain = Chain("lane")
    check = LaneCheck("lane")
    before = chain.extend([entry(b"{}", "a"), entry(b"{}", "b")])
    lines = chain.extend([entry(b"{}", tenant) for tenant in ("a", "c", "b", "c", "a")]).split(b"\n")[:-1]
    stand = b"".join(line + b"\n" for line in lines[:kept])
    assert chain.rollback(stand) == kept
    after = chain.extend([entry(b"{}", tenant) for tenant in ("c", "b", "a")])
    for line in (before + stand + after).split(b"\n")[:-1]:
        check.accept(line)
    assert check.seq == 2 + kept + 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda line: line[1:], "not a journal line"),
        (lambda line: line.replace(b'"seq":1', b'"seq":3'), "does not match its hash"),
        (lambda line: line.replace(b'{"a":1}', b'{"a":7}'), "body does not match its digest"),
        (lambda line: line.replace(b'"body":', b'"Body":'), "do not stand where they must"),
        (lambda line: line + b" ", "do not stand where they must"),
        (lambda line: line[:-2], "do not stand where they must|digest"),
        (lambda line: line.upper(), "not a journal line"),
    ],
)
def test_a_changed_line_is_refused(change: object, says: str) -> None:
    assert callable(change)
    line = Chain("lane").extend([entry(b'{"a":1}')])[:-1]
    assert read_line(line).body == b'{"a":1}'
    with pytest.raises(JournalError, match=says):
        read_line(change(line))


def test_a_line_whose_body_was_erased_still_holds() -> None:
    line = Chain("lane").extend([entry(b'{"name":"Ada"}')])[:-1]
    erased = line[: line.index(b',"salt":')] + b"}"
    checked = read_line(erased)
    assert checked.body is None
    assert checked.hash == read_line(line).hash


def test_an_unknown_version_or_field_is_named() -> None:
    line = Chain("lane").extend([entry(b"{}")])[:-1]
    header = line[len(b'{"header":') : line.index(b',"hash":')]
    for old, new, says in ((b'{"v":1', b'{"v":2', "version 2"), (b'"kind":', b'"x":1,"kind":', "unknown field")):
        changed = header.replace(old, new)
        rest = line[line.index(b',"salt":') :]
        with pytest.raises(JournalError, match=says):
            read_line(b'{"header":' + changed + b',"hash":"' + sha256(changed).hexdigest().encode() + b'"' + rest)


def forge(line: bytes, old: bytes, new: bytes) -> bytes:
    """Change a header and make the line hold by itself again."""
    assert line.count(old) == 1
    start, end = len(b'{"header":'), line.index(b',"hash":')
    header = line[start:end].replace(old, new)
    return line[:start] + header + b',"hash":"' + sha256(header).hexdigest().encode() + line[end + 9 + 64 :]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'"seq":3', b'"seq":4', "line 4 of the lane stands where line 3 belongs"),
        (b'"prev":"%b"', b'"prev":"' + b"e" * 64 + b'"', "does not follow from the line before"),
        (b'"tenant_seq":2', b'"tenant_seq":3', "line 3 of the tenant stands where line 2 belongs"),
        (b'"tenant_prev":"%b"', b'"tenant_prev":"' + b"e" * 64 + b'"', "does not follow from the tenant's line before"),
        (b'"lane":"lane"', b'"lane":"other"', "a line of lane other"),
    ],
)
def test_a_line_that_holds_by_itself_but_not_in_its_place(old: bytes, new: bytes, says: str) -> None:
    lines = Chain("lane").extend([entry(b"{}", tenant) for tenant in ("a", "b", "a")]).split(b"\n")
    check = LaneCheck("lane")
    before = [check.accept(line).hash.encode() for line in lines[:2]]
    forged = forge(lines[2], old % before[0 if b"tenant" in old else 1] if b"%b" in old else old, new)
    with pytest.raises(JournalError, match=says):
        check.accept(forged)
    assert check.accept(lines[2]).header.seq == 3, "the check stands where it stood"


def test_the_first_line_follows_from_nothing() -> None:
    line = Chain("lane").extend([entry(b"{}")])[:-1]
    with pytest.raises(JournalError, match="follows from nothing"):
        LaneCheck("lane").accept(forge(line, b'"prev":"' + b"0" * 64 + b'"', b'"prev":"' + b"1" * 64 + b'"'))
    with pytest.raises(JournalError, match="line 2 of the tenant stands where line 1 belongs"):
        LaneCheck("lane").accept(forge(line, b'"tenant_seq":1', b'"tenant_seq":2'))


def test_lane_ids_are_uuid7_and_sort_by_time() -> None:
    from_one_run = [lane_id() for _ in range(50)]
    assert {name[14] for name in from_one_run} == {"7"}
    assert {name[19] for name in from_one_run} <= set("89ab")
    assert len(set(from_one_run)) == 50
    assert [name[:13] for name in from_one_run] == sorted(name[:13] for name in from_one_run)
