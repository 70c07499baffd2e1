"""docs/journal.md says what is so: every field of every kind, every outcome, and a verifier that works (habit 11)."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from gatehouse.journal.records import BODIES, Header, OpenCall
from gatehouse.journal.retention import compress
from gatehouse.model.call import OutcomeName
from gatehouse.model.limits import Reserved, Settled
from gatehouse.model.record import RECORD_VERSION, Candidate, Lineage
from gatehouse.model.usage import ToolUses, Usage
from tests.journal.samples import read_all
from tests.journal.test_recovery import control, dead_worker

DOCS = Path(__file__).parents[2] / "docs" / "journal.md"
TEXT = DOCS.read_text()
PARTS: dict[str, type[msgspec.Struct]] = {
    "candidate": Candidate,
    "lineage": Lineage,
    "usage": Usage,
    "tools": ToolUses,
    "open call": OpenCall,
    "reserved": Reserved,
    "settled": Settled,
}
ALL: dict[str, type[msgspec.Struct]] = {"Header": Header, **BODIES, **PARTS}
ROW = re.compile(r"^\| `(\w+)`" + 4 * r" \|\s*([^|]*?)\s*" + r"\|$", re.M)


def section(title: str) -> str:
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", TEXT, re.M | re.S)
    assert found, f"docs/journal.md has no section {title}"
    return found[1]


def described(kind: Any) -> str:
    """A field's type in the words of the documentation."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (inner,) = [arg for arg in args if arg is not type(None)]
        return described(inner)
    if origin is tuple:
        return f"list of {described(args[0])}"
    if origin is Literal:
        return "string"
    for name, part in PARTS.items():
        if kind is part:
            return f"[{name}](#{name.replace(' ', '-')})"
    if origin is dict:
        return "object"
    return {str: "string", int: "integer", bool: "boolean", float: "number"}[kind]


@pytest.mark.parametrize("title", ALL)
def test_every_field_is_documented_with_its_type(title: str) -> None:
    struct = ALL[title]
    rows = ROW.findall(section(title))
    hints = get_type_hints(struct)
    assert [row[0] for row in rows] == list(struct.__struct_fields__)
    for name, kind, _, meaning, source in rows:
        assert kind == described(hints[name]), name
        assert meaning.strip(), name
        assert source.strip(), name


def test_literal_values_and_outcomes_are_listed() -> None:
    assert re.findall(r"^\| `(\w+)` \|", section("Outcomes"), re.M) == list(get_args(OutcomeName))
    for title, struct in ALL.items():
        meanings = {row[0]: row[3] for row in ROW.findall(section(title))}
        for name, hint in get_type_hints(struct).items():
            if name == "outcome" and title == "outcome":
                continue
            values = [value for arg in (hint, *get_args(hint)) if get_origin(arg) is Literal for value in get_args(arg)]
            for value in values:
                assert f"`{value}`" in meanings[name], f"{title}.{name}: {value}"
    assert f"| `v` | integer | | Version of the format of headers and bodies: {RECORD_VERSION}." in TEXT


def verifier(tmp_path: Path) -> Path:
    (code,) = re.findall(r"```python\n(.*?)```", section("A stranger's verifier"), re.S)
    assert max(map(len, code.splitlines())) <= 130
    path = tmp_path / "verify.py"
    path.write_text(code)
    return path


def run(script: Path, directory: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", str(script), str(directory)], capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def test_a_stranger_can_verify(tmp_path: Path) -> None:
    """A good journal passes: rotated, compressed, torn, recovered, partly deleted, with an erased body."""
    script, directory = verifier(tmp_path), tmp_path / "journal"
    lane = dead_worker(directory, 40, ended=30, segment_bytes=10_000)
    control(directory)
    lines = len(read_all(directory))
    assert run(script, directory) == (0, f"{lines} lines")
    first, second, third, *_ = sorted((directory / lane).glob("0*"))
    compress(second)
    third.write_bytes(
        b"".join(
            line[: line.index(b',"salt":')] + b"}\n" if index == 3 else line
            for index, line in enumerate(third.read_bytes().splitlines(keepends=True))
        )
    )
    assert run(script, directory) == (0, f"{lines} lines")
    gone = first.read_bytes().count(b"\n")
    first.unlink()
    assert run(script, directory) == (0, f"{lines - gone} lines")


def test_a_stranger_sees_any_flipped_byte(tmp_path: Path) -> None:
    """In one process, since starting Python a thousand times would take minutes."""
    code = compile(verifier(tmp_path).read_text(), "verify.py", "exec")
    directory = tmp_path / "journal"
    dead_worker(directory, 5, ended=3)
    control(directory)

    def verdict() -> object:
        old, sys.argv = sys.argv, ["verify.py", str(directory)]
        try:
            exec(code, {"print": lambda *_: None})  # noqa: S102 - the documented script itself
        except SystemExit as end:
            return end.code
        finally:
            sys.argv = old
        return 0

    assert verdict() == 0
    rng = random.Random(3)
    for path in sorted(directory.glob("*/*.jsonl")):
        data = path.read_bytes()
        for at in rng.sample([index for index, byte in enumerate(data) if byte != 10], 250):
            path.write_bytes(data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :])
            line = data.count(b"\n", 0, at) + 1
            said = verdict()
            assert isinstance(said, str), (path, at)
            assert said.startswith(f"{path}:{line}: "), (said, at)
        path.write_bytes(data)
    assert verdict() == 0


def test_a_flipped_byte_ends_the_script_with_1(tmp_path: Path) -> None:
    script, directory = verifier(tmp_path), tmp_path / "journal"
    lane = dead_worker(directory, 5, ended=3)
    path = directory / lane / "000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"outcome":"ok"', b'"outcome":"oK"', 1))
    code, text = run(script, directory)
    assert code == 1
    assert re.fullmatch(rf"{re.escape(str(path))}:\d+: the body is not what it was", text)
