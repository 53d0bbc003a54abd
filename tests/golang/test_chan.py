"""Channels and select."""

from __future__ import annotations

import asyncio

import pytest

from pybuildkit.golang import chan, context
from tests import virtual_clock


def test_buffered_values_keep_their_order() -> None:
    async def scenario() -> None:
        ch = chan.Chan[int](3)
        for number in range(3):
            await ch.send(number)
        assert (len(ch), ch.capacity) == (3, 3)
        assert [await ch.recv() for _ in range(3)] == [(0, True), (1, True), (2, True)]

    virtual_clock.run(scenario())


def test_unbuffered_send_waits_for_a_receiver() -> None:
    async def scenario() -> None:
        ch = chan.Chan[str]()
        sent_at: list[float] = []

        async def sender() -> None:
            await ch.send("x")
            sent_at.append(asyncio.get_running_loop().time())

        task = asyncio.create_task(sender())
        await asyncio.sleep(5)
        assert sent_at == []
        assert await ch.recv() == ("x", True)
        await task
        assert sent_at == [virtual_clock.START + 5]

    virtual_clock.run(scenario())


def test_full_buffer_blocks_and_is_refilled_in_order() -> None:
    async def scenario() -> None:
        ch = chan.Chan[int](2)
        senders = [asyncio.create_task(ch.send(number)) for number in range(5)]
        await asyncio.sleep(1)
        assert [task.done() for task in senders] == [True, True, False, False, False]
        assert [(await ch.recv())[0] for _ in range(5)] == [0, 1, 2, 3, 4]
        await asyncio.gather(*senders)

    virtual_clock.run(scenario())


def test_close_lets_what_was_sent_arrive() -> None:
    async def scenario() -> None:
        ch = chan.Chan[int](2)
        await ch.send(1)
        ch.close()
        assert [await ch.recv() for _ in range(3)] == [(1, True), (None, False), (None, False)]
        assert ch.try_recv() == (None, False)

    virtual_clock.run(scenario())


def test_close_wakes_receivers_and_fails_senders() -> None:
    async def scenario() -> None:
        empty, full = chan.Chan[int](), chan.Chan[int]()
        receivers = [asyncio.create_task(empty.recv()) for _ in range(3)]
        sender = asyncio.create_task(full.send(1))
        await asyncio.sleep(1)
        empty.close()
        full.close()
        assert await asyncio.gather(*receivers) == [(None, False)] * 3
        with pytest.raises(chan.ChanError, match="send on closed channel"):
            await sender
        with pytest.raises(chan.ChanError, match="send on closed channel"):
            await full.send(2)
        with pytest.raises(chan.ChanError, match="close of closed channel"):
            full.close()

    virtual_clock.run(scenario())


def test_iteration_ends_at_close() -> None:
    async def scenario() -> None:
        ch = chan.Chan[int]()

        async def produce() -> None:
            for number in range(4):
                await ch.send(number)
            ch.close()

        task = asyncio.create_task(produce())
        assert [value async for value in ch] == [0, 1, 2, 3]
        await task

    virtual_clock.run(scenario())


def test_try_send_and_try_recv() -> None:
    async def scenario() -> None:
        ch = chan.Chan[int]()
        assert not ch.try_send(1)
        assert ch.try_recv() is None
        receiver = asyncio.create_task(ch.recv())
        await asyncio.sleep(0)
        assert ch.try_send(2)
        assert await receiver == (2, True)
        sender = asyncio.create_task(ch.send(3))
        await asyncio.sleep(0)
        assert ch.try_recv() == (3, True)
        await sender

    virtual_clock.run(scenario())


def test_none_is_a_value() -> None:
    async def scenario() -> None:
        ch = chan.Chan[None](1)
        await ch.send(None)
        assert await ch.recv() == (None, True)

    virtual_clock.run(scenario())


def test_cancelled_recv_loses_no_value() -> None:
    """The value has been handed to the receiver, which is cancelled before it runs again."""

    async def scenario() -> None:
        ch = chan.Chan[int]()
        receiver = asyncio.create_task(ch.recv())
        await asyncio.sleep(0)
        assert ch.try_send(7)
        receiver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiver
        assert ch.try_recv() == (7, True)

    virtual_clock.run(scenario())


def test_value_given_back_goes_to_the_next_receiver() -> None:
    async def scenario() -> None:
        ch = chan.Chan[int]()
        first = asyncio.create_task(ch.recv())
        second = asyncio.create_task(ch.recv())
        await asyncio.sleep(0)
        assert ch.try_send(7)
        first.cancel()
        assert await second == (7, True)

    virtual_clock.run(scenario())


def test_cancelled_send_takes_its_value_back() -> None:
    async def scenario() -> None:
        ch = chan.Chan[int]()
        sender = asyncio.create_task(ch.send(1))
        await asyncio.sleep(0)
        sender.cancel()
        await asyncio.wait({sender})
        assert ch.try_recv() is None

    virtual_clock.run(scenario())


class TestSelect:
    """Waiting for the first of several cases."""

    def test_takes_one_case_alone(self) -> None:
        async def scenario() -> None:
            a, b = chan.Chan[int](1), chan.Chan[int](1)
            await a.send(1)
            await b.send(2)
            from_b, from_a = b.recv_case(), a.recv_case()
            assert await chan.select(from_b, from_a) is from_b
            assert (from_b.value, from_b.ok, len(a), len(b)) == (2, True, 1, 0)

        virtual_clock.run(scenario())

    def test_waits_and_leaves_no_trace(self) -> None:
        async def scenario() -> None:
            a, b = chan.Chan[int](), chan.Chan[str]()
            got_a, got_b = a.recv_case(), b.recv_case()
            task = asyncio.create_task(chan.select(got_a, got_b))
            await asyncio.sleep(1)
            await b.send("x")
            assert await task is got_b
            assert (got_b.value, got_a.ok) == ("x", False)
            assert not a.try_send(5), "nobody receives from the other channel"

        virtual_clock.run(scenario())

    def test_sends(self) -> None:
        async def scenario() -> None:
            full, free = chan.Chan[int](), chan.Chan[int](1)
            into_full, into_free = full.send_case(1), free.send_case(2)
            assert await chan.select(into_full, into_free) is into_free
            assert (free.try_recv(), full.try_recv()) == ((2, True), None)

        virtual_clock.run(scenario())

    def test_end_of_a_context(self) -> None:
        async def scenario() -> None:
            ch = chan.Chan[int]()
            ctx, _ = context.with_timeout(context.background(), 4)
            over, got = chan.done(ctx), ch.recv_case()
            assert await chan.select(got, over) is over
            assert asyncio.get_running_loop().time() == virtual_clock.START + 4
            assert not ch.try_send(1)
            assert await chan.select(chan.done(ctx)) is not None

        virtual_clock.run(scenario())

    def test_default(self) -> None:
        ch = chan.Chan[int](1)
        got = ch.recv_case()
        assert chan.select_now(got) is None
        assert ch.try_send(3)
        assert chan.select_now(got) is got
        assert got.value == 3

    def test_close_is_a_receive_without_a_value(self) -> None:
        async def scenario() -> None:
            ch = chan.Chan[int]()
            got = ch.recv_case()
            task = asyncio.create_task(chan.select(got))
            await asyncio.sleep(0)
            ch.close()
            assert await task is got
            assert (got.value, got.ok) == (None, False)

        virtual_clock.run(scenario())

    def test_send_to_a_channel_that_gets_closed(self) -> None:
        async def scenario() -> None:
            ch = chan.Chan[int]()
            task = asyncio.create_task(chan.select(ch.send_case(1)))
            await asyncio.sleep(0)
            ch.close()
            with pytest.raises(chan.ChanError, match="send on closed channel"):
                await task

        virtual_clock.run(scenario())

    def test_cancelled_after_it_was_served(self) -> None:
        async def scenario() -> None:
            a, b = chan.Chan[int](), chan.Chan[int]()
            task = asyncio.create_task(chan.select(a.recv_case(), b.recv_case()))
            await asyncio.sleep(0)
            assert b.try_send(9)
            task.cancel()
            await asyncio.wait({task})
            assert (a.try_recv(), b.try_recv()) == (None, (9, True))

        virtual_clock.run(scenario())


def test_negative_capacity() -> None:
    with pytest.raises(ValueError, match="size out of range"):
        chan.Chan[int](-1)


def test_deadlock_is_seen() -> None:
    async def scenario() -> None:
        await chan.Chan[int]().recv()

    with pytest.raises(virtual_clock.DeadlockError):
        virtual_clock.run(scenario())
