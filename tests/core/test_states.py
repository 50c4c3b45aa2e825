"""The state machine as a table: what is legal, what is absorbing, what a change writes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpulse.core import states
from genpulse.core.models import (
    ACTIVE,
    FRONT_RANK,
    LEAST_RANK,
    SECOND,
    TERMINAL,
    NewTask,
    Priority,
    State,
    StoredFile,
    Submission,
    Suspicion,
    Task,
)

NOW = 1_000 * SECOND


def task_in(state: State, **changes: Any) -> Task:
    new = NewTask("t", "default", "echo", "local/echo", "handlers", Priority.NORMAL, {}, {}, {}, 7)
    task, _ = states.accepted(new, NOW)
    task.state = state
    if state in ACTIVE:
        task.fence, task.worker_id = 1, "w"
    for name, value in changes.items():
        setattr(task, name, value)
    return task


INTENT = Submission("t", 1, "token", "intent", 1, None, {}, None, NOW)
WORKER_STEPS = {
    "begin_submit": states.begin_submit(1, INTENT),
    "resend": states.resend(1, INTENT),
    "resume": states.resume(1),
    "ingest": states.ingest(1),
    "succeed": states.succeed(1, {"outputs": []}),
    "fail": states.fail(1, {"code": "internal"}),
    "cancelled": states.cancelled(1),
    "retry_later": states.retry_later(1, SECOND),
    "hand_back": states.hand_back(1),
    "crashed_alone": states.crashed_alone(1, 3),
    "log": states.log(1, "line"),
}
ALL_STEPS = {
    **WORKER_STEPS,
    "claim": states.claim("w2"),
    "request_cancel": states.request_cancel,
    "rescue": states.rescue("w", suspect=True),
    "expire": states.expire,
    "age": states.age,
    "move_to_front": states.move_to_front(0),
    "reprioritise": states.reprioritise("high"),
}


@pytest.mark.parametrize("state", sorted(TERMINAL))
@pytest.mark.parametrize("step", ALL_STEPS.values(), ids=ALL_STEPS)
def test_terminal_states_are_absorbing(state: State, step: states.Step) -> None:
    assert step(task_in(state, fence=1), NOW) is None


@pytest.mark.parametrize("step", WORKER_STEPS.values(), ids=WORKER_STEPS)
@pytest.mark.parametrize("state", [State.QUEUED, *sorted(ACTIVE)])
def test_a_worker_without_the_fence_changes_nothing(state: State, step: states.Step) -> None:
    assert step(task_in(state, fence=2), NOW) is None


@given(st.sampled_from(list(State)), st.lists(st.sampled_from(sorted(ALL_STEPS)), max_size=12))
def test_no_sequence_of_steps_leaves_the_machine(state: State, names: list[str]) -> None:
    task, ended, fence = task_in(state), 0, 0
    for name in names:
        was_terminal = task.terminal
        change = ALL_STEPS[name](task, NOW)
        if change is None:
            continue
        after, events = states.apply(task, change, NOW)  # raises when the transition is illegal
        assert not was_terminal
        assert after.last_seq == task.last_seq + len(events)
        assert (after.worker_id is not None) == (after.state in ACTIVE)
        fence, ended = max(fence, after.fence), ended + after.terminal
        assert after.fence == fence
        task = after
    assert ended <= 1


def test_an_illegal_transition_is_a_loud_bug() -> None:
    with pytest.raises(states.IllegalTransitionError, match="queued -> succeeded"):
        states.apply(task_in(State.QUEUED), states.Change({"state": State.SUCCEEDED}), NOW)


def test_every_change_of_owner_raises_the_fence() -> None:
    running = task_in(State.RUNNING)
    for step in (states.hand_back(1), states.rescue("w", suspect=False), states.retry_later(1, 0)):
        change = step(running, NOW)
        assert change is not None and change.sets["fence"] == 2
    claimed = states.claim("w2")(task_in(State.QUEUED), NOW)
    assert claimed is not None and claimed.sets["fence"] == 1


def test_a_cancel_is_refused_once_the_result_is_there_and_asked_for_before() -> None:
    waiting = states.request_cancel(task_in(State.QUEUED), NOW)
    assert waiting is not None and waiting.sets["state"] == State.CANCELLED
    running = states.request_cancel(task_in(State.RUNNING), NOW)
    assert running is not None and running.sets == {"cancel_requested_at": NOW}
    assert states.request_cancel(task_in(State.RUNNING, cancel_requested_at=NOW), NOW) is None
    # Nothing may be spent on a task whose cancel was requested; a result in hand still counts.
    asked = task_in(State.RUNNING, cancel_requested_at=NOW)
    assert states.begin_submit(1, INTENT)(asked, NOW) is None
    assert states.succeed(1, {"outputs": []})(asked, NOW) is not None


def test_only_crashes_while_alone_end_a_task() -> None:
    task = task_in(State.RUNNING)
    for _ in range(5):  # crashes of its worker, whatever ran in it
        rescued = states.rescue("w", suspect=True)(task, NOW)
        assert rescued is not None
        after, _ = states.apply(task, rescued, NOW)
        assert (after.state, after.crashes, after.suspicion) == (State.QUEUED, 0, Suspicion.SUSPECT)
    assert states.rescue("another", suspect=True)(task, NOW) is None
    alone = task_in(State.RUNNING, suspicion=Suspicion.SUSPECT)
    harmless = states.rescue("w", suspect=False)(alone, NOW)  # what ran alone stays suspected until it ends
    assert harmless is not None and "suspicion" not in harmless.sets
    again = states.crashed_alone(1, 3, 5 * SECOND)(alone, NOW)
    assert again is not None and again.sets["fence"] == 2
    assert (again.sets["crashes"], again.sets["available_at"]) == (1, NOW + 5 * SECOND)
    after, _ = states.apply(alone, again, NOW)
    assert (after.state, after.suspicion, after.attempt) == (State.QUEUED, Suspicion.SUSPECT, 1)
    fatal = states.crashed_alone(1, 3)(task_in(State.RUNNING, suspicion=Suspicion.SUSPECT, crashes=2), NOW)
    assert fatal is not None and fatal.sets["error"]["code"] == "worker_crash_loop" and fatal.sets["crashes"] == 3


def test_attempts_count_retries_only() -> None:
    task = task_in(State.RUNNING)
    assert task.attempt == 1
    retried = states.retry_later(1, 5 * SECOND)(task, NOW)
    assert retried is not None
    assert (retried.sets["attempt"], retried.sets["available_at"]) == (2, NOW + 5 * SECOND)
    handed = states.hand_back(1)(task, NOW)
    assert handed is not None and "attempt" not in handed.sets


def test_the_front_is_ahead_of_all_others_and_of_the_front() -> None:
    low = task_in(State.QUEUED, priority="low", rank=3)
    first = states.move_to_front(1)(low, NOW)
    assert first is not None and first.sets == {"rank": FRONT_RANK}
    second = states.move_to_front(FRONT_RANK)(low, NOW)
    assert second is not None and second.sets == {"rank": FRONT_RANK - 1}
    assert states.move_to_front(FRONT_RANK)(task_in(State.QUEUED, rank=FRONT_RANK - 1), NOW) is None, "it is the first"
    least = states.move_to_front(LEAST_RANK)(low, NOW)
    assert least is not None and least.sets == {"rank": LEAST_RANK}


@pytest.mark.parametrize("rank", [FRONT_RANK, FRONT_RANK - 5, 2])
def test_a_place_is_kept_by_whatever_brings_a_task_back(rank: int) -> None:
    """Rank 2 of a `low` task: it has aged."""
    running = task_in(State.RUNNING, priority="low", rank=rank)
    for step in (
        states.rescue("w", suspect=False),
        states.rescue("w", suspect=True),
        states.hand_back(1),
        states.retry_later(1, SECOND),
    ):
        change = step(running, NOW)
        assert change is not None
        after, _ = states.apply(running, change, NOW)
        assert (after.state, after.rank) == (State.QUEUED, rank)


def test_a_priority_takes_the_front_back_and_leaves_an_aged_task_aged() -> None:
    front = states.reprioritise("low")(task_in(State.QUEUED, priority="low", rank=FRONT_RANK), NOW)
    assert front is not None and front.sets == {"priority": "low", "rank": 3}
    aged = task_in(State.QUEUED, priority="low", rank=2)
    assert states.reprioritise("low")(aged, NOW) is None
    higher = states.reprioritise("high")(aged, NOW)
    assert higher is not None and higher.sets == {"priority": "high", "rank": 1}
    assert states.reprioritise("normal")(task_in(State.QUEUED), NOW) is None


def test_the_end_tells_each_output_before_the_state() -> None:
    file = StoredFile("f", "default", "t", "a.png", "image", "image/png", 1, "00", 1, 1, None, "k", NOW)
    change = states.succeed(1, {"outputs": [{"file_id": "f"}]}, files=[file])(task_in(State.RUNNING), NOW)
    assert change is not None
    _, events = states.apply(task_in(State.RUNNING), change, NOW)
    assert [(event.seq, event.type) for event in events] == [(2, "output"), (3, "state")]
    assert events[0].data == {"file_id": "f"}
