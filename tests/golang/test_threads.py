"""Blocking calls in threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pybuildkit.golang import context, threads


async def test_result_and_error_are_those_of_the_function() -> None:
    def fail() -> None:
        raise KeyError("gone")

    assert await threads.call(context.background(), lambda: 7) == 7
    with pytest.raises(KeyError):
        await threads.call(context.background(), fail)


async def test_runs_off_the_loop_thread_and_not_at_exit_joined() -> None:
    thread = await threads.call(context.background(), threading.current_thread)
    assert thread is not threading.main_thread()
    assert thread.daemon


async def test_context_frees_the_waiter_and_interrupts() -> None:
    ctx, cancel = context.with_cancel(context.background())
    entered, release = threading.Event(), threading.Event()

    def block() -> None:
        entered.set()
        release.wait()

    waiting = asyncio.ensure_future(threads.call(ctx, block, interrupt=release.set))
    await asyncio.to_thread(entered.wait)
    cancel()
    with pytest.raises(context.CanceledError):
        await waiting
    assert release.is_set()


async def test_no_interrupt_after_the_end() -> None:
    called: list[int] = []
    assert await threads.call(context.background(), lambda: 1, interrupt=lambda: called.append(1)) == 1
    assert called == []
