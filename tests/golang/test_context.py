"""Contexts; the names of Go's own tests (context/x_test.go, afterfunc_test.go) are kept where one is ported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pybuildkit.golang import context
from pybuildkit.golang.context import CanceledError, Context, DeadlineExceededError
from tests import virtual_clock


class Cause(Exception):
    """A cause of a cancellation."""


PARENT = Cause("parentCause")
CHILD = Cause("childCause")
TOO_SLOW = Cause("tooSlow")
FINISHED_EARLY = Cause("finishedEarly")


def test_background() -> None:
    ctx = context.background()
    assert (ctx.err(), ctx.cause(), ctx.deadline(), ctx.is_done()) == (None, None, None, False)
    assert context.background() is ctx


def test_with_cancel() -> None:
    c1, cancel = context.with_cancel(context.background())
    c2, _ = context.with_cancel(context.with_value(c1, "k", 1))
    assert [c.is_done() for c in (c1, c2)] == [False, False]
    cancel()
    assert [str(c.err()) for c in (c1, c2)] == ["context canceled"] * 2


def test_parent_finishes_child() -> None:
    parent, cancel = context.with_cancel(context.background())
    child, _ = context.with_cancel(parent)
    value = context.with_value(parent, "k", "v")
    grandchild, _ = context.with_cancel(value)
    cancel()
    for ctx in (parent, child, value, grandchild):
        assert isinstance(ctx.err(), CanceledError)
    late, _ = context.with_cancel(parent)
    assert isinstance(late.err(), CanceledError)


def test_child_finishes_first() -> None:
    parent, stop = context.with_cancel(context.background())
    child, cancel = context.with_cancel(parent)
    cancel()
    assert (parent.err(), type(child.err())) == (None, CanceledError)
    stop()


def test_cancel_removes() -> None:
    parent, _ = context.with_cancel(context.background())
    _, cancel = context.with_cancel(parent)
    assert len(parent._callbacks) == 1
    cancel()
    assert len(parent._callbacks) == 0


def test_deadline() -> None:
    async def scenario() -> None:
        near, _ = context.with_timeout(context.background(), 1)
        under_near, _ = context.with_timeout(context.with_value(near, "k", 1), 100)
        past, _ = context.with_timeout(context.background(), -1)
        now, _ = context.with_timeout(context.background(), 0)
        assert [type(c.err()) for c in (past, now)] == [DeadlineExceededError] * 2
        assert under_near.deadline() == near.deadline() == virtual_clock.START + 1
        assert context.remaining(under_near) == 1
        await under_near.done()
        assert asyncio.get_running_loop().time() == virtual_clock.START + 1
        assert [str(c.err()) for c in (near, under_near)] == ["context deadline exceeded"] * 2
        assert context.remaining(near) == 0

    virtual_clock.run(scenario())


def test_canceled_timeout() -> None:
    async def scenario() -> None:
        outer, _ = context.with_timeout(context.background(), 1)
        ctx, cancel = context.with_timeout(outer, 100)
        cancel()
        assert isinstance(ctx.err(), CanceledError)
        await outer.done()
        assert isinstance(ctx.err(), CanceledError), "the first end counts"

    virtual_clock.run(scenario())


def test_values() -> None:
    c0 = context.background()
    c1 = context.with_value(c0, "k1", "c1")
    c2 = context.with_value(c1, "k2", "c2")
    c3 = context.with_value(c2, "k1", "c3")
    cancellable, cancel = context.with_cancel(c3)
    cancel()
    table = [(c0, None, None), (c1, "c1", None), (c2, "c1", "c2"), (c3, "c3", "c2"), (cancellable, "c3", "c2")]
    for ctx, k1, k2 in table:
        assert (ctx.value("k1"), ctx.value("k2"), ctx.value("k3")) == (k1, k2, None)


def test_with_cancel_canceled_parent() -> None:
    parent, cancel = context.with_cancel_cause(context.background())
    cause = Cause("because")
    cancel(cause)
    child, _ = context.with_cancel(parent)
    assert isinstance(child.err(), CanceledError)
    assert child.cause() is cause


def test_without_cancel() -> None:
    parent, cancel = context.with_cancel(context.with_value(context.background(), "k", "v"))
    ctx = context.without_cancel(parent)
    cancel()
    assert (ctx.err(), ctx.cause(), ctx.deadline(), ctx.value("k")) == (None, None, None, "v")


def _nested_cancels(*order: tuple[str, Cause | None]) -> Context:
    """A child below a parent, cancelled in that order; the child."""
    parent, cancel_parent = context.with_cancel_cause(context.background())
    child, cancel_child = context.with_cancel_cause(parent)
    for who, cause in order:
        (cancel_parent if who == "parent" else cancel_child)(cause)
    return child


def _with_timeout_cause(cancelled: bool) -> Context:
    ctx, cancel = context.with_timeout_cause(context.background(), 0 if not cancelled else 60, TOO_SLOW)
    cancel()
    return ctx


def _stacked(cancelled: bool) -> Context:
    outer, cancel_outer = context.with_cancel_cause(context.background())
    ctx, _ = context.with_timeout_cause(outer, 60 if cancelled else 0, TOO_SLOW)
    cancel_outer(FINISHED_EARLY)
    return ctx


def _plain_timeout(cancelled: bool) -> Context:
    ctx, cancel = context.with_timeout(context.background(), 60 if cancelled else 0)
    cancel()
    return ctx


def _without_cancel_of_done() -> Context:
    parent, cancel = context.with_cancel_cause(context.background())
    ctx = context.without_cancel(parent)
    cancel(PARENT)
    return ctx


CAUSES: dict[str, tuple[Callable[[], Context], type | None, object]] = {
    "Background": (context.background, None, None),
    "WithCancel": (lambda: _nested_cancels(("child", None)), CanceledError, CanceledError),
    "WithCancelCause": (lambda: _nested_cancels(("child", PARENT)), CanceledError, PARENT),
    "WithCancelCause: parent cause before child": (
        lambda: _nested_cancels(("parent", PARENT), ("child", CHILD)),
        CanceledError,
        PARENT,
    ),
    "WithCancelCause: parent cause after child": (
        lambda: _nested_cancels(("child", CHILD), ("parent", PARENT)),
        CanceledError,
        CHILD,
    ),
    "WithCancelCause: parent cause before nil": (
        lambda: _nested_cancels(("parent", PARENT), ("child", None)),
        CanceledError,
        PARENT,
    ),
    "WithCancelCause: parent cause after nil": (
        lambda: _nested_cancels(("child", None), ("parent", PARENT)),
        CanceledError,
        CanceledError,
    ),
    "WithCancelCause: child cause after nil": (
        lambda: _nested_cancels(("parent", None), ("child", CHILD)),
        CanceledError,
        CanceledError,
    ),
    "WithCancelCause: child cause before nil": (
        lambda: _nested_cancels(("child", CHILD), ("parent", None)),
        CanceledError,
        CHILD,
    ),
    "WithTimeout": (lambda: _plain_timeout(False), DeadlineExceededError, DeadlineExceededError),
    "WithTimeout canceled": (lambda: _plain_timeout(True), CanceledError, CanceledError),
    "WithTimeoutCause": (lambda: _with_timeout_cause(False), DeadlineExceededError, TOO_SLOW),
    "WithTimeoutCause canceled": (lambda: _with_timeout_cause(True), CanceledError, CanceledError),
    "WithTimeoutCause stacked": (lambda: _stacked(False), DeadlineExceededError, TOO_SLOW),
    "WithTimeoutCause stacked canceled": (lambda: _stacked(True), CanceledError, FINISHED_EARLY),
    "WithoutCancel": (lambda: context.without_cancel(context.background()), None, None),
    "WithoutCancel canceled": (_without_cancel_of_done, None, None),
}


@pytest.mark.parametrize("name", CAUSES)
def test_cause(name: str) -> None:
    make, err, cause = CAUSES[name]

    async def scenario() -> None:
        ctx = make()
        assert (type(ctx.err()) if ctx.err() else None) == err
        if isinstance(cause, type):
            assert type(context.cause(ctx)) is cause
        else:
            assert context.cause(ctx) is cause

    virtual_clock.run(scenario())


def test_after_func_called_after_cancel() -> None:
    ctx, cancel = context.with_cancel(context.background())
    calls: list[int] = []
    stop = context.after_func(ctx, lambda: calls.append(1))
    assert calls == []
    cancel()
    assert calls == [1]
    cancel()
    assert (calls, stop()) == ([1], False)


def test_after_func_called_after_timeout() -> None:
    async def scenario() -> None:
        ctx, _ = context.with_timeout(context.background(), 5)
        called_at: list[float] = []
        context.after_func(ctx, lambda: called_at.append(asyncio.get_running_loop().time()))
        await ctx.done()
        assert called_at == [virtual_clock.START + 5]

    virtual_clock.run(scenario())


def test_after_func_called_immediately() -> None:
    ctx, cancel = context.with_cancel(context.background())
    cancel()
    calls: list[int] = []
    stop = context.after_func(ctx, lambda: calls.append(1))
    assert (calls, stop()) == ([1], False)


def test_after_func_not_called_after_stop() -> None:
    ctx, cancel = context.with_cancel(context.background())
    calls: list[int] = []
    stop = context.after_func(ctx, lambda: calls.append(1))
    assert stop()
    cancel()
    assert (calls, stop()) == ([], False)


def test_after_func_runs_in_order_of_registration() -> None:
    ctx, cancel = context.with_cancel(context.background())
    calls: list[int] = []
    for number in range(5):
        context.after_func(ctx, lambda number=number: calls.append(number))  # type: ignore[misc]  # a default argument
    cancel()
    assert calls == [0, 1, 2, 3, 4]


def test_done_leaves_nothing_behind_when_cancelled() -> None:
    async def scenario() -> None:
        ctx, _ = context.with_cancel(context.background())
        task = asyncio.create_task(ctx.done())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(ctx._callbacks) == 0

    virtual_clock.run(scenario())


class TestRun:
    """The bridge between the contexts and asyncio."""

    def test_gives_the_result(self) -> None:
        async def scenario() -> None:
            ctx, _ = context.with_cancel(context.background())
            assert await context.run(ctx, asyncio.sleep(1, "value")) == "value"
            assert len(ctx._callbacks) == 0

        virtual_clock.run(scenario())

    def test_raises_the_cause_when_the_context_ends(self) -> None:
        async def scenario() -> None:
            ctx, _ = context.with_timeout_cause(context.background(), 3, TOO_SLOW)
            with pytest.raises(Cause, match="tooSlow"):
                await context.run(ctx, asyncio.sleep(100))
            assert asyncio.get_running_loop().time() == virtual_clock.START + 3

        virtual_clock.run(scenario())

    def test_waits_for_the_awaitable_to_end(self) -> None:
        async def scenario() -> None:
            ended: list[float] = []

            async def slow_to_end() -> None:
                try:
                    await asyncio.sleep(100)
                finally:
                    await asyncio.sleep(7)
                    ended.append(asyncio.get_running_loop().time())

            ctx, _ = context.with_timeout(context.background(), 3)
            with pytest.raises(DeadlineExceededError):
                await context.run(ctx, slow_to_end())
            assert ended == [virtual_clock.START + 10]

        virtual_clock.run(scenario())

    def test_a_result_in_spite_of_the_end_counts(self) -> None:
        async def scenario() -> None:
            async def stubborn() -> str:
                try:
                    await asyncio.sleep(100)
                except asyncio.CancelledError:
                    return "all the same"
                return "never"

            ctx, _ = context.with_timeout(context.background(), 3)
            assert await context.run(ctx, stubborn()) == "all the same"

        virtual_clock.run(scenario())

    def test_a_done_context_starts_nothing(self) -> None:
        async def scenario() -> None:
            started: list[int] = []

            async def work() -> None:
                started.append(1)

            ctx, cancel = context.with_cancel_cause(context.background())
            cancel(PARENT)
            with pytest.raises(Cause):
                await context.run(ctx, work())
            assert started == []

        virtual_clock.run(scenario())

    def test_cancelling_the_task_is_not_the_contexts_end(self) -> None:
        async def scenario() -> None:
            ctx, _ = context.with_cancel(context.background())
            task = asyncio.create_task(context.run(ctx, asyncio.sleep(100)))
            await asyncio.sleep(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not ctx.is_done()

        virtual_clock.run(scenario())

    def test_a_done_context_cancels_a_future(self) -> None:
        async def scenario() -> None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            ctx, cancel = context.with_cancel_cause(context.background())
            cancel(PARENT)
            with pytest.raises(Cause):
                await context.run(ctx, future)
            assert future.cancelled()

        virtual_clock.run(scenario())
