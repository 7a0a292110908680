import anyio
import pytest

from adsyncd.errors import Stopping
from adsyncd.tenants.turns import Turn, Turns


class Line:
    """Runs that take turns, two at a time; `begun` names those whose turn came, in order."""

    def __init__(self, tasks: anyio.abc.TaskGroup) -> None:
        self.turns = Turns(at_once=2)
        self.begun = list[str]()
        self.turned_away = list[str]()
        self._tasks = tasks

    async def enter(self, name: str) -> tuple[Turn, anyio.CancelScope]:
        turn, scope = self.turns.turn(), anyio.CancelScope()

        async def take() -> None:
            with scope:
                try:
                    await turn.take()
                except Stopping:
                    self.turned_away.append(name)
                else:
                    self.begun.append(name)

        self._tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        return turn, scope


async def test_few_begin_at_a_time_and_the_others_in_the_order_in_which_they_came() -> None:
    async with anyio.create_task_group() as tasks:
        line = Line(tasks)
        turns = [(await line.enter(name))[0] for name in "abcde"]
        assert line.begun == ["a", "b"]
        assert [turn.ahead for turn in turns] == [None, None, 0, 1, 2]
        turns[1].end()
        turns[1].end()  # it has none any more
        await anyio.wait_all_tasks_blocked()
        assert line.begun == ["a", "b", "c"]
        assert [turn.ahead for turn in turns[3:]] == [0, 1]
        for turn in turns:
            turn.end()
            await anyio.wait_all_tasks_blocked()
        assert line.begun == ["a", "b", "c", "d", "e"]
        turns[3].end()
        turns[4].end()
        assert [(await line.enter(name))[0].ahead for name in "fgh"] == [None, None, 0]
        line.turns.stop()


async def test_a_run_that_leaves_the_line_takes_no_turn_and_holds_nobody_up() -> None:
    async with anyio.create_task_group() as tasks:
        line = Line(tasks)
        (first, _), _, (third, leaves), (fourth, _) = [await line.enter(name) for name in "abcd"]
        leaves.cancel()
        await anyio.wait_all_tasks_blocked()
        assert (third.ahead, fourth.ahead) == (None, 0)
        first.end()
        await anyio.wait_all_tasks_blocked()
        assert line.begun == ["a", "b", "d"]


async def test_a_turn_that_came_at_the_instant_of_a_cancellation_goes_to_the_next() -> None:
    async with anyio.create_task_group() as tasks:
        line = Line(tasks)
        (first, _), _, (_, leaves), _ = [await line.enter(name) for name in "abcd"]
        leaves.cancel()
        first.end()
        await anyio.wait_all_tasks_blocked()
        assert line.begun == ["a", "b", "d"]


async def test_a_run_takes_its_turn_again_at_the_end_of_the_line() -> None:
    async with anyio.create_task_group() as tasks:
        line = Line(tasks)
        (first, _), (second, _), (third, _) = [await line.enter(name) for name in "abc"]
        first.end()
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(first.take)
        await anyio.wait_all_tasks_blocked()
        assert first.ahead == 0
        second.end()
        third.end()
        await anyio.wait_all_tasks_blocked()
        assert first.ahead is None


async def test_a_stop_turns_all_away_at_once() -> None:
    async with anyio.create_task_group() as tasks:
        line = Line(tasks)
        for name in "abcd":
            await line.enter(name)
        line.turns.stop()
        await anyio.wait_all_tasks_blocked()
        assert (line.begun, line.turned_away) == (["a", "b"], ["c", "d"])
        with pytest.raises(Stopping):
            await line.turns.turn().take()


async def test_those_that_have_begun_let_those_in_line_begin_first_and_then_go_on_in_order() -> None:
    async with anyio.create_task_group() as tasks:
        line, gone_on = Line(tasks), list[str]()

        async def go_on(name: str, turn: Turn) -> None:
            await turn.go_on()
            gone_on.append(name)

        turns = {name: (await line.enter(name))[0] for name in "abcde"}
        for name in "abcde":
            turns[name].end()
            tasks.start_soon(go_on, name, turns[name])
            await anyio.wait_all_tasks_blocked()
            assert gone_on == {"a": [], "b": []}.get(name, list("abcde"[: "abcde".index(name) + 1]))
        alone = (await line.enter("f"))[0]
        alone.end()
        await alone.go_on()  # at once


async def test_few_go_on_while_many_are_in_line() -> None:
    async with anyio.create_task_group() as tasks:
        line, gone_on = Line(tasks), list[int]()

        async def run(number: int) -> None:
            turn = line.turns.turn()
            await turn.take()
            turn.end()
            line.begun.append(str(number))
            await turn.go_on()
            gone_on.append(len(line.begun))

        blocking = [(await line.enter(name))[0] for name in "ab"]
        for number in range(256):
            tasks.start_soon(run, number)
        await anyio.wait_all_tasks_blocked()
        for turn in blocking:
            turn.end()
        await anyio.wait_all_tasks_blocked()
        assert len(gone_on) == 256
        early = [begun for begun in gone_on if begun < 2 + 256]
        assert 1 <= len(early) <= 256 // 64


async def test_a_run_that_is_cancelled_or_stopped_while_it_lets_others_begin_holds_nobody_up() -> None:
    async with anyio.create_task_group() as tasks:
        line = Line(tasks)
        (first, _), _, (third, _) = [await line.enter(name) for name in "abc"]
        first.end()
        await anyio.wait_all_tasks_blocked()
        await line.enter("d")
        with anyio.move_on_after(0.01) as scope:
            await first.go_on()
        assert scope.cancelled_caught
        assert third.ahead is None
        tasks.start_soon(first.go_on)
        await anyio.wait_all_tasks_blocked()
        line.turns.stop()
