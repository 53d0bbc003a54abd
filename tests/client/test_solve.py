"""What a solve refuses before it asks the daemon for anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from pybuildkit.client import SolveOpt, llb, new
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party.fsutil import new_fs


async def refusal(state: llb.State, opt: SolveOpt) -> str:
    """The error of a solve on a daemon that does not exist."""
    ctx = context.background()
    definition = await state.marshal(ctx)
    async with await new(ctx, "unix:///nonexistent/sock") as client:
        with pytest.raises(BuildkitError) as caught:
            await client.solve(ctx, definition, opt, None)
    return str(caught.value)


@pytest.mark.parametrize("key", ["a\nb", "a\rb", "a\tb", "\x00", "\x7f", "é"])
async def test_shared_key_that_no_header_can_carry(key: str) -> None:
    text = await refusal(llb.scratch(), SolveOpt(shared_key=key))
    assert text.startswith("invalid shared key ")
    assert text.endswith(": it may hold printable ASCII only")
    assert "\n" not in text


async def test_shared_key_of_printable_text() -> None:
    assert "connection error" in await refusal(llb.scratch(), SolveOpt(shared_key="a key: ~1/2"))


@pytest.mark.parametrize("name", ["a\nb", "a\r", "\x00"])
async def test_local_name_that_no_header_can_carry(tmp_path: Path, name: str) -> None:
    text = await refusal(llb.local(name), SolveOpt(local_mounts={name: new_fs(str(tmp_path))}))
    assert text.startswith('local directory "')
    assert text.endswith('" cannot be sent: no daemon can ask for such a name')


async def test_local_name_of_other_letters(tmp_path: Path) -> None:
    assert "connection error" in await refusal(llb.local("é"), SolveOpt(local_mounts={"é": new_fs(str(tmp_path))}))
