"""`python -m bench [--quick] [--only NAME]`: measure, print the tables, write bench/results/*.json.

Exit code 0: everything was measured (an aim may be missed: the table says so). 1: a measurement could not be taken.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from bench import calls, large, limits, machine, report, soak, starting, streaming
from bench.calls import Effort
from bench.processes import BenchError
from bench.report import Finding

WORKLOADS: Final[dict[str, Callable[[Effort, Path], Finding]]] = {
    "startup": starting.startup,
    "latency": calls.latency,
    "chat": calls.chat,
    "chat-sdk": calls.chat_sdk,
    "agent": calls.agent,
    "agent-2mb": large.agent,
    "images": large.images,
    "embeddings": large.embeddings,
    "limits": limits.limits,
    "streams": streaming.thousand,
    "streams-1500": streaming.fifteen_hundred,
    "sockets": streaming.sockets,
    "memory": soak.memory,
    "collector": soak.collector,
    "make-serve": starting.make_serve,
}
_QUICK: Final = ("startup", "latency", "chat", "streams")
_QUIET: Final = 0.05
"""Load of others above which a warning says that the numbers are worth little."""
_RESULTS: Final = Path(__file__).with_name("results")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"about a minute: {', '.join(_QUICK)}, short and once")
    parser.add_argument("--only", action="append", choices=WORKLOADS, metavar="NAME", help=", ".join(WORKLOADS))
    options = parser.parse_args()
    names = options.only or (_QUICK if options.quick else tuple(WORKLOADS))
    effort = Effort(1, 3.0, True) if options.quick else Effort(5, 8.0, False)
    signal.signal(signal.SIGTERM, _stop)
    try:
        machine.check()
        facts = machine.facts()
        others = machine.busy()
        facts["busy before"] = f"{others:.0%}"
        if others > _QUIET:
            print(f"bench: something else uses {others:.0%} of this machine: numbers will be off", file=sys.stderr)
        print(report.table(("machine", ""), facts.items()))
        findings, failed = _measure(names, effort)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted; everything it started has been ended", file=sys.stderr)
        return 130
    print("\n## Aims\n\n" + report.aims_table(findings))
    path = _RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    report.save(path, facts, "quick" if options.quick else "full", findings)
    print(f"\nwritten to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return 1 if failed else 0


def _measure(names: tuple[str, ...] | list[str], effort: Effort) -> tuple[list[Finding], bool]:
    """Each workload in a scratch directory of its own. One that fails does not stop the others."""
    findings: list[Finding] = []
    failed = False
    for name in names:
        print(f"\n… {name}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="gatehouse-bench-", ignore_cleanup_errors=True) as scratch:
            directory = Path(scratch)
            directory.chmod(0o755)  # nginx's worker may run as another user
            try:
                finding = WORKLOADS[name](effort, directory)
            except BenchError as error:
                print(f"bench: {name}: {error}", file=sys.stderr)
                failed = True
                continue
        print(report.text(finding))
        findings.append(finding)
    return findings, failed


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM ends us like Ctrl-C: through every `finally`."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
