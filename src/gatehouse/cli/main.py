"""The entry point: which commands there are, and how whatever they raise becomes an exit code and a sentence.

Imports click and nothing else of weight; a command's module is imported by name when it is called. No traceback for a
failure that was foreseen; one that was not is a bug and shows its traceback.
"""

from __future__ import annotations

import codecs
import errno
import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

import click

from gatehouse import __version__
from gatehouse.config.printable import clean
from gatehouse.errors import ConfigError

INTERRUPTED: Final = 130

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""How writing to a file fails."""

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "serve": ("gatehouse.cli.serve", "Run the gateway."),
    "init": ("gatehouse.cli.init", "Make the first owner, and turn on accounts and keys."),
    "login": ("gatehouse.cli.login", "Sign in at a gateway, for a platform token."),
    "user": ("gatehouse.cli.user", "People: who they are, and what they may."),
    "tenant": ("gatehouse.cli.tenant", "Organizations."),
    "project": ("gatehouse.cli.project", "What gateway keys belong to, and the providers they use."),
    "credential": ("gatehouse.cli.credential", "Secrets of providers."),
    "key": ("gatehouse.cli.key", "Gateway keys."),
    "limit": ("gatehouse.cli.limit", "Caps on requests, tokens, calls at a time and spend."),
    "issuer": ("gatehouse.cli.issuer", "Whose JWTs say who a caller is."),
    "apply": ("gatehouse.cli.apply", "Make projects, credentials, keys and limits as a file says."),
    "export": ("gatehouse.cli.export", "Print them as such a file, without secrets."),
    "audit": ("gatehouse.cli.audit", "Who changed what, and who signed in."),
    "events": ("gatehouse.cli.events", "Thresholds of limits, and other warnings."),
    "webhook": ("gatehouse.cli.webhook", "Where events are posted to."),
    "secrets": ("gatehouse.cli.secrets", "The master keys that seal provider secrets."),
    "token": ("gatehouse.cli.token", "Platform tokens, for programs that administer."),
    "shell-init": ("gatehouse.cli.shell_init", "Print the variables that point SDKs and tools at the gateway."),
    "wrap": ("gatehouse.cli.wrap", "Run a command with these variables set."),
    "report": ("gatehouse.cli.report", "Calls, tokens, latency and cost by provider and model."),
    "explain": ("gatehouse.cli.explain", "What changed when spend, latency or errors did."),
    "debug": ("gatehouse.cli.debug", "Everything that is known about one call."),
    "replay": ("gatehouse.cli.replay", "Send a captured call again and show what differs."),
    "verify": ("gatehouse.cli.verify", "Check that the journal is complete and unaltered."),
    "store": ("gatehouse.cli.store", "Build the store anew from the journal."),
    "doctor": ("gatehouse.cli.doctor", "Find out what is wrong, here or at a gateway's URL."),
    "config": ("gatehouse.cli.config", "Check, show and import configuration."),
    "version": ("gatehouse.cli.version", "Print the version."),
}
"""Name → the module whose `command` it is, and its line in the help."""


class _LazyGroup(click.Group):
    """Lists its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.command(name="gatehouse", cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """A self-hosted AI gateway. Start it with `gatehouse serve`; it needs no configuration."""


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command line in an environment; returns the exit code. Writes to stdout and stderr."""
    odd = next((each for each in arguments if not _is_text(each)), None)
    if odd is not None and arguments[0] != "wrap":
        click.echo(f"Error: the argument {clean(odd)} is not UTF-8", err=True)
        return 2
    try:
        code = cli.main(list(arguments), prog_name="gatehouse", standalone_mode=False, obj=environ)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConfigError as error:
        for line in str(error).splitlines():
            click.echo(f"Error: {clean(line)}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return 1
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            raise
        _silence_stdout()
        click.echo(f"Error: what there is to say cannot be written: {error.strerror}; what was done is done", err=True)
        return 1
    return code if isinstance(code, int) else 0


def main() -> NoReturn:
    """`gatehouse` on the command line."""
    _print_anything()
    sys.exit(run(sys.argv[1:], os.environ))


def _is_text(argument: str) -> bool:
    """Whether it can be stored, sent and printed; what `wrap` runs gets its own as they are."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _print_anything() -> None:
    """Where the locale's encoding lacks characters, files and pipes get UTF-8, and a terminal `?` for those."""
    if sys.stdout is None:
        # Closed: the next file that is opened must not become what is printed to.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and codecs.lookup(out.encoding).name != "utf-8":
        if out.isatty():
            out.reconfigure(errors="replace")
        else:
            out.reconfigure(encoding="utf-8", errors="strict")


def _silence_stdout() -> None:
    """Whoever read our output has left; the interpreter must not complain about the rest of it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
