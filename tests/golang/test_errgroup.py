"""Error groups; the names of x/sync's own tests (errgroup_test.go) are kept where one is ported."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from pybuildkit.golang import context, errgroup
from pybuildkit.golang.context import CanceledError
from tests import virtual_clock

FIRST = ValueError("errgroup_test: 1")
SECOND = ValueError("errgroup_test: 2")


def _returning(err: Exception | None, seconds: float = 0) -> errgroup.Func:
    async def func() -> None:
        await asyncio.sleep(seconds)
        if err is not None:
            raise err

    return func


async def _wait(group: errgroup.Group) -> BaseException | None:
    try:
        await group.wait()
    except Exception as err:
        return err
    return None


TABLES: list[list[Exception | None]] = [
    [],
    [None],
    [FIRST],
    [FIRST, None],
    [FIRST, None, SECOND],
    [None, FIRST, SECOND],
]


def test_zero_group() -> None:
    async def scenario() -> None:
        for errs in TABLES:
            group = errgroup.Group()
            first: Exception | None = None
            for err in errs:
                await group.go(_returning(err))
                first = first or err
                assert await _wait(group) is first, errs

    virtual_clock.run(scenario())


@pytest.mark.parametrize("errs", TABLES, ids=str)
def test_with_context(errs: list[Exception | None]) -> None:
    async def scenario() -> None:
        group, ctx = errgroup.with_context(context.background())
        for err in errs:
            await group.go(_returning(err))
        want = next((err for err in errs if err is not None), None)
        assert await _wait(group) is want
        assert isinstance(ctx.err(), CanceledError)
        assert ctx.cause() is want if want is not None else isinstance(ctx.cause(), CanceledError)

    virtual_clock.run(scenario())


def test_try_go() -> None:
    async def scenario() -> None:
        group = errgroup.Group()
        group.set_limit(42)
        release = asyncio.Event()

        async def func() -> None:
            await release.wait()

        for number in range(42):
            assert group.try_go(func), number
        assert not group.try_go(func)
        release.set()
        await group.wait()
        assert group.try_go(func)
        await group.wait()
        group.set_limit(1)
        assert group.try_go(func)
        assert not group.try_go(func)
        await group.wait()
        group.set_limit(-1)
        assert all(group.try_go(func) for _ in range(100))
        await group.wait()
        group.set_limit(0)
        assert not group.try_go(func)

    virtual_clock.run(scenario())


def test_go_limit() -> None:
    async def scenario() -> None:
        group = errgroup.Group()
        group.set_limit(10)
        active = highest = 0

        async def func() -> None:
            nonlocal active, highest
            active += 1
            highest = max(highest, active)
            await asyncio.sleep(1)
            active -= 1

        for _ in range(105):
            await group.go(func)
        await group.wait()
        assert highest == 10
        assert asyncio.get_running_loop().time() == virtual_clock.START + 11

    virtual_clock.run(scenario())


def test_cancel_cause() -> None:
    async def scenario() -> None:
        group, ctx = errgroup.with_context(context.background())
        await group.go(_returning(SECOND, 2))
        await group.go(_returning(FIRST, 1))
        seen_at: list[float] = []
        context.after_func(ctx, lambda: seen_at.append(asyncio.get_running_loop().time()))
        assert await _wait(group) is FIRST
        assert ctx.cause() is FIRST
        assert seen_at == [virtual_clock.START + 1]
        assert asyncio.get_running_loop().time() == virtual_clock.START + 2, "all functions are waited for"

    virtual_clock.run(scenario())


def test_set_limit_while_active() -> None:
    async def scenario() -> None:
        group = errgroup.Group()
        group.set_limit(2)
        await group.go(_returning(None, 1))
        with pytest.raises(RuntimeError, match="modify limit while 1 goroutines in the group are still active"):
            group.set_limit(3)
        await group.wait()

    virtual_clock.run(scenario())


def test_a_function_may_start_others() -> None:
    async def scenario() -> None:
        group = errgroup.Group()
        order: list[str] = []

        async def inner() -> None:
            await asyncio.sleep(5)
            order.append("inner")

        async def outer() -> None:
            await group.go(inner)
            order.append("outer")

        await group.go(outer)
        await group.wait()
        assert order == ["outer", "inner"]

    virtual_clock.run(scenario())


def test_cancelled_go_does_not_start() -> None:
    async def scenario() -> None:
        group = errgroup.Group()
        group.set_limit(1)
        await group.go(_returning(None, 10))
        started: list[int] = []

        async def func() -> None:
            started.append(1)

        waiting = asyncio.create_task(group.go(func))
        patient = asyncio.create_task(group.go(func))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.wait({waiting})
        await patient
        await group.wait()
        assert (waiting.cancelled(), started) == (True, [1])

    virtual_clock.run(scenario())


def test_cancelling_a_promised_slot_passes_it_on() -> None:
    async def scenario() -> None:
        group = errgroup.Group()
        group.set_limit(1)
        release = asyncio.Event()
        started: list[str] = []

        async def blocker() -> None:
            await release.wait()

        async def start(name: str) -> None:
            async def func() -> None:
                started.append(name)

            await group.go(func)

        await group.go(blocker)
        first = asyncio.create_task(start("first"))
        second = asyncio.create_task(start("second"))
        await asyncio.sleep(0)
        release.set()
        for _ in range(10):
            if group._promised:
                break
            await asyncio.sleep(0)
        assert group._promised == 1, "the first has been promised the slot and has not run yet"
        first.cancel()
        await asyncio.wait({first, second})
        await group.wait()
        assert (first.cancelled(), started) == (True, ["second"])

    virtual_clock.run(scenario())


def test_cancelling_wait_cancels_and_waits_for_all() -> None:
    async def scenario() -> None:
        group, ctx = errgroup.with_context(context.background())
        ended: list[float] = []

        async def func() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(3)
                ended.append(asyncio.get_running_loop().time())

        await group.go(func)
        await group.go(func)
        task = asyncio.create_task(group.wait())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [virtual_clock.START + 4] * 2
        assert isinstance(ctx.err(), CanceledError)

    virtual_clock.run(scenario())


def test_a_function_that_was_cancelled_counts_as_an_error() -> None:
    async def scenario() -> None:
        group, ctx = errgroup.with_context(context.background())

        async def func() -> None:
            raise asyncio.CancelledError

        await group.go(func)
        err = await _wait(group)
        assert isinstance(err, CanceledError)
        assert ctx.cause() is err

    virtual_clock.run(scenario())


def test_plain_group_cancels_nothing() -> None:
    async def scenario() -> None:
        group = errgroup.Group()
        ran: list[int] = []

        async def func() -> None:
            await asyncio.sleep(5)
            ran.append(1)

        await group.go(_returning(FIRST, 1))
        await group.go(func)
        assert await _wait(group) is FIRST
        assert ran == [1]

    virtual_clock.run(scenario())


async def test_cancelling_wait_ends_the_context_at_once() -> None:
    """A function that is cleaning up, and looks at the context alone, must not keep `wait` for ever."""
    group, ctx = errgroup.with_context(context.background())
    started = asyncio.Event()
    ended_by = []

    async def obeys_the_context_alone() -> None:
        started.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await ctx.done()
        ended_by.append(ctx.err())

    await group.go(obeys_the_context_alone)
    waiting = asyncio.create_task(group.wait())
    await started.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 30)
    assert [type(err) for err in ended_by] == [context.CanceledError]
