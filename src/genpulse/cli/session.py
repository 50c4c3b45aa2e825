"""The global options of one invocation; accepted before and after the command's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click


@dataclass(slots=True)
class Session:
    """What the global options said. Only data: `connect.py` makes a client of it."""

    url: str | None = None
    key: str | None = None
    json: bool = False
    debug: bool = False


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    # Given nowhere means: leave what the group's own option or the environment said.
    if value:
        setattr(ctx.ensure_object(Session), str(param.name), value)
    return value


def global_options(*, environment: bool) -> list[click.Option]:
    """The four options. Only the group reads the environment, or it would overrule `--url` before the command."""
    return [
        click.Option(
            ["--url"],
            envvar="GENPULSE_URL" if environment else None,
            show_envvar=environment,
            metavar="URL",
            help="The gateway. Default: the one of the data directory, else http://127.0.0.1:8000.",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--key"],
            envvar="GENPULSE_API_KEY" if environment else None,
            show_envvar=environment,
            metavar="KEY",
            help="API key (gp_…).",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            help="One JSON document on stdout, everything else on stderr.",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(["--debug"], is_flag=True, help="Show tracebacks.", expose_value=False, callback=_keep),
    ]


class Command(click.Command):
    """A command that takes the global options too, hidden from its own help, and shows its examples as written."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        for option in global_options(environment=False):
            option.hidden = True
            self.params.append(option)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"{' ' * formatter.current_indent}{line.strip()}\n")
        formatter.write_paragraph()
        formatter.write_text("--url, --key, --json and --debug work here too; see `genpulse --help`.")


class Group(Command, click.Group):
    """A command with subcommands that takes the global options and shows examples as well."""


def command(name: str, *, examples: str) -> Callable[[Callable[..., int | None]], Command]:
    """Declare a command; its function returns the exit code (None = 0)."""
    return click.command(name, cls=Command, examples=examples)


pass_session: Callable[..., Any] = click.make_pass_decorator(Session, ensure=True)
