"""Single lines, byte for byte: from plain and compressed segments, wherever they stand; what does not hold is said."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from gatehouse.journal.excerpt import excerpt
from gatehouse.journal.lines import Chain, Entry, JournalError

LANE = "01890000-0000-7000-8000-000000000001"


@pytest.fixture
def written(tmp_path: Path) -> list[bytes]:
    """Nine lines in three segments; the first one compressed, the second of more than one read."""
    chain = Chain(LANE)
    lines = []
    for number in range(9):
        body = b'{"n":%d,"pad":"%b"}' % (number, b"x" * (200_000 if 3 <= number < 6 else 10))
        lines.append(chain.extend([Entry(b"outcome", "default", body, 10**18)]))
    (tmp_path / LANE).mkdir()
    for segment in range(3):
        content = b"".join(lines[3 * segment : 3 * segment + 3])
        path = tmp_path / LANE / f"{segment + 1:06d}.jsonl"
        if segment == 0:
            path.with_suffix(".jsonl.gz").write_bytes(gzip.compress(content))
        else:
            path.write_bytes(content)
    return lines


def test_every_line_is_found_as_written(tmp_path: Path, written: list[bytes]) -> None:
    for seq, line in enumerate(written, 1):
        found = excerpt(tmp_path, LANE, seq)
        assert found.line + b"\n" == line
        assert (found.seq, found.lane, found.kind, found.line_no) == (seq, LANE, "outcome", (seq - 1) % 3 + 1)
        assert found.file.startswith(f"{LANE}/{(seq - 1) // 3 + 1:06d}.jsonl")


def test_what_is_gone_says_so(tmp_path: Path, written: list[bytes]) -> None:
    (tmp_path / LANE / "000001.jsonl.gz").unlink()
    for lane, seq in ((LANE, 2), (LANE, 10), ("nolane", 1)):
        with pytest.raises(JournalError, match=f"line {seq} is not there"):
            excerpt(tmp_path, lane, seq)


def test_an_altered_line_is_not_given_out(tmp_path: Path, written: list[bytes]) -> None:
    path = tmp_path / LANE / "000003.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"n":7', b'"n":1'))
    assert excerpt(tmp_path, LANE, 7).seq == 7
    with pytest.raises(JournalError, match="000003.jsonl:2: the body does not match its digest"):
        excerpt(tmp_path, LANE, 8)
