"""The same call for several tasks: what fails is told, the others still happen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from genpulse.cli.answers import Json
from genpulse.cli.failure import CommandError, Exit
from genpulse.cli.progress import situation
from genpulse.cli.session import Session
from genpulse.cli.terminal import clean, document, result, say


def for_each(
    session: Session, task_ids: Sequence[str], call: Callable[[str], Json], *, last_first: bool = False
) -> Exit:
    """Call for each id in turn and print the answers in the order of the ids: a line each, or one document.

    Args:
        last_first: call for the last id first.
    """
    answers: list[Json] = []
    failed = False
    for task_id in reversed(task_ids) if last_first else task_ids:
        try:
            answers.append(call(task_id))
        except CommandError as error:
            # A gateway that doesn't answer would not answer for the others either.
            if error.exit_code == Exit.UNREACHABLE or len(task_ids) == 1:
                raise
            failed = True
            answers.append({"task_id": task_id, **error.as_dict()})
            say(f"{clean(task_id)}: {clean(error.message)}")
    if last_first:
        answers.reverse()
    if session.json:
        document(answers[0] if len(task_ids) == 1 else {"tasks": answers})
    else:
        for answer in answers:
            if "status" in answer:
                result(f"{clean(answer.get('task_id'))} {situation(answer)}")
    return Exit.FAILED if failed else Exit.OK
