"""What every `core.ports.Queue` must do. A subclass gives the fixture `queue`: an empty one."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from genpulse.core.ids import new_id
from genpulse.core.ports import Queue

FRONT, HIGH, NORMAL, LOW = range(4)


@dataclass(frozen=True)
class AHint:
    id: str = field(default_factory=new_id)
    tenant: str = "alice"
    pool: str = "local"
    rank: int = NORMAL


def hints(count: int, **fields: Any) -> list[AHint]:
    return [AHint(**fields) for _ in range(count)]


async def pop_all(queue: Queue, pool: str = "local") -> list[str]:
    popped: list[str] = []
    while (task_id := await queue.pop_task(pool, 0.01)) is not None:
        popped.append(task_id)
    return popped


class QueueContract:
    async def test_answers_a_ping(self, queue: Queue) -> None:
        assert await queue.ping() is True

    async def test_pops_in_order_of_age(self, queue: Queue) -> None:
        pushed = hints(20)
        assert await queue.push_task(*pushed) == 20
        assert await queue.depth("local") == 20
        assert await pop_all(queue) == [hint.id for hint in pushed]
        assert await queue.depth("local") == 0

    async def test_a_pop_waits_for_a_push(self, queue: Queue) -> None:
        waiting = asyncio.create_task(queue.pop_task("local", 10))
        await asyncio.sleep(0.05)  # no event tells that a pop has reached the server
        hint = AHint()
        await queue.push_task(hint)
        assert await asyncio.wait_for(waiting, 2) == hint.id

    async def test_a_pop_gives_up_after_its_timeout(self, queue: Queue) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        assert await queue.pop_task("local", 0.2) is None
        assert 0.1 < loop.time() - begin < 2

    async def test_a_pop_that_may_not_wait_finds_what_is_there(self, queue: Queue) -> None:
        hint = AHint()
        await queue.push_task(hint)
        assert await queue.pop_task("local", 0) == hint.id
        assert await queue.pop_task("local", 0) is None

    async def test_each_hint_is_popped_once_by_many(self, queue: Queue) -> None:
        pushed = hints(100)
        pops = [asyncio.create_task(queue.pop_task("local", 5)) for _ in range(20)]
        await queue.push_task(*pushed)
        popped = await asyncio.gather(*pops)
        assert sorted([*filter(None, popped), *await pop_all(queue)]) == sorted(hint.id for hint in pushed)

    async def test_pools_are_separate(self, queue: Queue) -> None:
        local, cloud = AHint(), AHint(pool="cloud")
        assert await queue.push_task(local, cloud) == 2
        assert await queue.depth("cloud") == 1
        assert await queue.pop_task("cloud", 1) == cloud.id
        assert await queue.pop_task("cloud", 0.01) is None
        assert await queue.pop_task("local", 1) == local.id

    async def test_a_queued_hint_keeps_its_place(self, queue: Queue) -> None:
        first, second = hints(2)
        await queue.push_task(first, second)
        assert await queue.push_task(AHint(first.id, rank=LOW), second, AHint(first.id)) == 0
        assert await pop_all(queue) == [first.id, second.id]

    async def test_pushing_nothing_is_allowed(self, queue: Queue) -> None:
        assert await queue.push_task() == 0

    async def test_priorities(self, queue: Queue) -> None:
        low, normal, high = (hints(3, rank=rank) for rank in (LOW, NORMAL, HIGH))
        await queue.push_task(*low, *normal, *high)
        assert await pop_all(queue) == [hint.id for hint in (*high, *normal, *low)]

    # Fairness ----------------------------------------------------------------------------------------------------

    async def test_a_flood_delays_others_by_one_slot(self, queue: Queue) -> None:
        flood = hints(10_000)
        await queue.push_task(*flood)
        bob = AHint(tenant="bob")
        await queue.push_task(bob)
        assert await queue.rank("local", bob.id) == 1

    async def test_a_flood_half_consumed_delays_others_by_one_slot(self, queue: Queue) -> None:
        flood = hints(400)
        await queue.push_task(*flood)
        for hint in flood[:200]:
            assert await queue.pop_task("local", 1) == hint.id
        bob = AHint(tenant="bob")
        await queue.push_task(bob)
        assert await queue.rank("local", bob.id) == 0

    async def test_newcomers_are_served_as_they_come(self, queue: Queue) -> None:
        await queue.push_task(*hints(100))
        await queue.pop_task("local", 1)
        newcomers = [AHint(tenant=f"tenant-{n}") for n in range(10)]
        for newcomer in newcomers:
            await queue.push_task(newcomer)
        assert [await queue.pop_task("local", 1) for _ in newcomers] == [hint.id for hint in newcomers]

    async def test_floods_take_turns(self, queue: Queue) -> None:
        alice, bob = hints(50), hints(50, tenant="bob")
        await queue.push_task(*alice)
        await queue.push_task(*bob)
        owners = ["alice" if task_id in {h.id for h in alice} else "bob" for task_id in await pop_all(queue)]
        assert all({owners[n], owners[n + 1]} == {"alice", "bob"} for n in range(0, 100, 2))

    async def test_who_comes_late_has_no_arrears_to_claim(self, queue: Queue) -> None:
        """Bob's flood comes when alice has been served for a while: they take turns from then on."""
        await queue.push_task(*hints(100))
        for _ in range(50):
            await queue.pop_task("local", 1)
        bob = hints(50, tenant="bob")
        await queue.push_task(*bob)
        first = [await queue.pop_task("local", 1) for _ in range(20)]
        assert 9 <= sum(hint.id in first for hint in bob) <= 11

    async def test_order_within_a_tenant_survives_fairness(self, queue: Queue) -> None:
        alice: list[AHint] = []
        for n in range(30):
            alice.append(AHint())
            await queue.push_task(alice[-1], AHint(tenant=f"t{n}"))
            if n % 3 == 0:
                await queue.pop_task("local", 1)
        left = await pop_all(queue)
        ids = [hint.id for hint in alice]
        assert [task_id for task_id in left if task_id in ids] == ids[-len([i for i in left if i in ids]) :]

    async def test_who_was_served_goes_behind_a_newcomer(self, queue: Queue) -> None:
        """Bob always has one task queued: he gets every second slot of a flood, not all of them."""
        await queue.push_task(*hints(100))
        bob = AHint(tenant="bob")
        await queue.push_task(bob)
        served_bob = 0
        for _ in range(40):
            if await queue.pop_task("local", 1) == bob.id:
                served_bob += 1
                bob = AHint(tenant="bob")
                await queue.push_task(bob)
        assert 19 <= served_bob <= 21

    async def test_fairness_emerges_again_after_a_rebuild(self, queue: Queue) -> None:
        """The reconciler pushes by class and age: a flood first, then the others'."""
        flood = hints(1000)
        others = [AHint(tenant=f"tenant-{n}") for n in range(5)]
        await queue.push_task(*flood, *others)
        ranks = [await queue.rank("local", hint.id) for hint in others]
        assert ranks == [1, 2, 3, 4, 5]

    async def test_a_class_that_was_empty_starts_afresh(self, queue: Queue) -> None:
        """Service that alice had while nobody waited is not held against her, and gives nobody an advantage."""
        await queue.push_task(*hints(50))
        await pop_all(queue)
        bob, alice = hints(10, tenant="bob"), hints(10)
        await queue.push_task(*bob)
        await queue.push_task(*alice)
        assert await queue.rank("local", alice[0].id) == 1

    # Moving ------------------------------------------------------------------------------------------------------

    async def test_remove(self, queue: Queue) -> None:
        first, second = hints(2)
        await queue.push_task(first, second)
        assert await queue.remove_task("local", first.id) is True
        assert await queue.remove_task("local", first.id) is False
        assert await pop_all(queue) == [second.id]

    async def test_the_front_goes_ahead_of_high_and_the_least_rank_is_the_first(self, queue: Queue) -> None:
        high, low = AHint(rank=HIGH), hints(4, rank=LOW)
        await queue.push_task(high, *low)
        assert await queue.requeue(AHint(low[1].id, rank=FRONT), AHint(low[2].id, rank=FRONT - 1)) == 2
        assert await queue.requeue(AHint(low[3].id, rank=FRONT)) == 1
        assert await queue.requeue(AHint(low[3].id, rank=FRONT - 2)) == 1, "it moves within the front"
        assert await pop_all(queue) == [low[3].id, low[2].id, low[1].id, high.id, low[0].id]

    async def test_requeue_moves_to_the_end_of_another_class(self, queue: Queue) -> None:
        low, normal, late = AHint(rank=LOW), hints(2), AHint(rank=LOW)
        await queue.push_task(low, *normal, late)
        assert await queue.requeue(AHint(late.id, rank=NORMAL)) == 1
        assert await queue.requeue(AHint(late.id, rank=NORMAL)) == 0, "it is there already"
        assert await queue.requeue(AHint()) == 0, "it is not queued"
        assert await queue.requeue() == 0
        assert await queue.depth("local") == 4
        assert await pop_all(queue) == [normal[0].id, normal[1].id, late.id, low.id]

    async def test_requeue_moves_to_the_front_and_away_from_it(self, queue: Queue) -> None:
        first, moved, last = hints(3)
        await queue.push_task(first, moved, last)
        assert await queue.requeue(AHint(last.id, rank=FRONT)) == 1
        assert await queue.requeue(AHint(moved.id, rank=FRONT - 1)) == 1
        assert await queue.requeue(AHint(last.id, rank=FRONT)) == 0, "it is there already"
        assert await queue.requeue(AHint(last.id, rank=LOW)) == 1
        assert await pop_all(queue) == [moved.id, first.id, last.id]

    async def test_a_push_to_the_front(self, queue: Queue) -> None:
        """After a wipe, say, tasks of the front are pushed again, in whatever order: they run by rank, then age."""
        waiting, older, younger = AHint(rank=HIGH), AHint(rank=FRONT), AHint(rank=FRONT)
        latest = AHint(rank=FRONT - 1)
        await queue.push_task(latest, younger)
        await queue.push_task(waiting, older)
        assert await pop_all(queue) == [latest.id, *sorted([older.id, younger.id]), waiting.id]

    async def test_rank(self, queue: Queue) -> None:
        first, second = hints(2)
        await queue.push_task(first, second)
        assert [await queue.rank("local", hint.id) for hint in (first, second, AHint())] == [0, 1, None]

    async def test_missing_keeps_the_order_asked_in(self, queue: Queue) -> None:
        queued, absent = hints(3), hints(3)
        await queue.push_task(*queued)
        asked = [hint.id for pair in zip(absent, queued, strict=True) for hint in pair]
        assert await queue.missing("local", asked) == [hint.id for hint in absent]
        assert await queue.missing("local", []) == []

    async def test_generation_is_kept_until_a_wipe(self, queue: Queue) -> None:
        assert await queue.generation() is None
        await queue.mark_generation()
        mark = await queue.generation()
        await queue.mark_generation()
        assert mark is not None
        assert await queue.generation() == mark

    # Cancelling --------------------------------------------------------------------------------------------------

    async def test_a_cancelled_pop_loses_nothing(self, queue: Queue) -> None:
        """Pops are cancelled at all stages while hints arrive; each hint is popped, or still queued."""
        pushed: list[str] = []
        popped: list[str] = []

        async def pop_for(seconds: float) -> None:
            try:
                async with asyncio.timeout(seconds):
                    task_id = await queue.pop_task("local", 5)
            except TimeoutError:
                return
            assert task_id is not None
            popped.append(task_id)

        for n in range(60):
            pop = asyncio.create_task(pop_for(0.0003 * (n % 12)))
            hint = AHint()
            await queue.push_task(hint)
            pushed.append(hint.id)
            await pop
        while await queue.depth("local") + len(popped) < len(pushed):
            await asyncio.sleep(0.01)
        assert sorted(popped + await pop_all(queue)) == sorted(pushed)

    async def test_a_hint_that_was_put_back_keeps_its_place(self, queue: Queue) -> None:
        first, second = hints(2)
        pop = asyncio.create_task(queue.pop_task("local", 5))
        await asyncio.sleep(0.05)  # no event tells that a pop has reached the server
        pop.cancel()
        await queue.push_task(first, second)
        with pytest.raises(asyncio.CancelledError):
            await pop
        while await queue.depth("local") < 2:
            await asyncio.sleep(0.01)
        assert await pop_all(queue) == [first.id, second.id]

    # Messages ----------------------------------------------------------------------------------------------------

    async def test_messages_arrive_once_and_in_order(self, queue: Queue) -> None:
        async with queue.subscribe("task_updates:1", "cancel") as subscription:
            await queue.publish(("task_updates:1", {"n": 1}), ("cancel", {"n": 2}), ("other", {}))
            await queue.publish(("task_updates:1", {"n": 3}))
            got = [await subscription.get(1) for _ in range(3)]
            assert got == [("task_updates:1", {"n": 1}), ("cancel", {"n": 2}), ("task_updates:1", {"n": 3})]
            assert await subscription.get(0.1) is None, "an echo"

    async def test_all_subscribers_of_a_channel_get_a_message(self, queue: Queue) -> None:
        async with queue.subscribe("a") as one, queue.subscribe("a", "b") as two:
            await queue.publish(("a", {"n": 1}))
            assert await one.get(1) == await two.get(1) == ("a", {"n": 1})
        async with queue.subscribe("a") as three:
            await queue.publish(("a", {"n": 2}))
            assert await three.get(1) == ("a", {"n": 2})

    async def test_a_slow_subscriber_loses_the_oldest(self, queue: Queue) -> None:
        async with queue.subscribe("a") as subscription:
            for n in range(2000):
                await queue.publish(("a", {"n": n}))
            got: list[int] = []
            while (message := await subscription.get(0.05)) is not None:
                got.append(message[1]["n"])
            assert got == list(range(2000 - len(got), 2000))
            assert 0 < len(got) < 2000

    async def test_progress_is_kept_and_published(self, queue: Queue) -> None:
        task_id, other = new_id(), new_id()
        async with queue.subscribe(f"task_updates:{task_id}") as subscription:
            await queue.set_progress(task_id, {"progress": 1.0}, {"task_id": task_id, "progress": 1.0})
            await queue.set_progress(task_id, {"progress": 2.0}, {"task_id": task_id, "progress": 2.0})
            assert await subscription.get(1) == (f"task_updates:{task_id}", {"task_id": task_id, "progress": 1.0})
            assert await subscription.get(1) == (f"task_updates:{task_id}", {"task_id": task_id, "progress": 2.0})
        assert await queue.get_progress([other, task_id]) == {task_id: {"progress": 2.0}}
        assert await queue.get_progress([]) == {}
