"""The root of the command line: finds commands, reads the global options, turns what went wrong into an exit code.

Commands are imported when they are called, so that `--help` stays fast. Exit codes: 0 ok, 1 failed, 2 usage,
3 gateway unreachable, 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Any

import click

from genpulse.cli.failure import CommandError, Exit
from genpulse.cli.session import Session, global_options
from genpulse.cli.terminal import clean, document, say

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run:run", "Submit a task, follow it and save its outputs."),
    "tasks": ("tasks:tasks", "List tasks, newest first."),
    "show": ("tasks:show", "Show one task with all it has."),
    "watch": ("watch:watch", "Follow a task until it has ended."),
    "cancel": ("tasks:cancel", "Cancel tasks: a waiting one at once, a running one as soon as it stops."),
    "retry": (
        "tasks:retry",
        "Run a failed or canceled task again: a new task with the same params and seed; prints its id.",
    ),
    "front": ("order:front", "Let waiting tasks run before all others of their pool."),
    "prioritise": ("order:prioritise", "Change the priority of a waiting task."),
    "pools": ("pools:pools", "List the pools, pause and resume them."),
    "models": ("models:models", "List the models that are served, or show the params of one."),
    "keys": ("keys:keys", "Make, list and revoke API keys."),
    "doctor": ("doctor:doctor", "Test each part and say what to do."),
    "settings": ("settings:settings", "Show the effective settings, where each comes from, and what follows from it."),
    "version": ("version:version", "Print the version, and the gateway's when one answers."),
    "demo": ("demo:demo", "Start everything, generate an image and speech, cancel a third task, stop everything."),
    "start-all": ("start:start_all", "Start the gateway and a worker in one process."),
    "start-api": ("start:start_api", "Start the gateway only."),
    "start-worker": ("start:start_worker", "Start a worker only."),
}
"""Name → where it is, and the line that `--help` shows: kept here so that help needs no import."""


class RootGroup(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        return getattr(importlib.import_module(f"genpulse.cli.{module}"), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        formatter.write_text("`genpulse COMMAND --help` shows options and examples of a command.")


root = RootGroup(
    "genpulse",
    help="One door to generative media: submit, watch and manage tasks of a GenPulse gateway.",
    params=list(global_options(environment=True)),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; the exit code."""
    session = Session()
    try:
        outcome: Any = root.main(arguments, prog_name="genpulse", obj=session, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.ctx.get_help() if error.ctx else "")
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        say("Interrupted.")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout has gone (`genpulse tasks | head`); closing it keeps the interpreter from complaining.
        sys.stderr.close()
        return Exit.FAILED
    except Exception as error:  # noqa: BLE001 - the last resort: people get a sentence, --debug gets the traceback
        return _failed(session, _as_command_error(error))
    return int(outcome or 0)


def _as_command_error(error: Exception) -> CommandError:
    match error:
        case CommandError():
            return error
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "genpulse"
            message = " ".join(error.format_message().split())  # Click lays lists of choices out with tabs
            return CommandError(message, f"See `{command} --help`.", exit_code=Exit.USAGE, code="usage")
        case click.ClickException():
            return CommandError(error.format_message(), "See `genpulse --help`.")
        case _:
            advice = "A bug? Run it again with --debug for the traceback."
            return CommandError(f"{type(error).__name__}: {error}", advice, code="bug")


def _failed(session: Session, error: CommandError) -> int:
    if session.debug:
        traceback.print_exc()
    if session.json:
        document(error.as_dict())
    say(f"Error: {clean(error.message)}")
    for line in error.excerpt.splitlines():
        say(f"  | {clean(line)}")
    for detail in error.details:
        say(f"  {clean(detail.field)}: {clean(detail.message)}")
    say(f"→ {clean(error.advice)}")
    return error.exit_code
