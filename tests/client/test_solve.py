"""What a solve refuses before it asks the daemon for anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pybuildkit.client import CacheOptionsEntry, ExportEntry, SolveOpt, llb, new
from pybuildkit.client._exports import plan_exports
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


@pytest.mark.parametrize("mount", ["/tmp", Path("/tmp"), None])
async def test_local_directory_that_is_no_file_system(mount: object) -> None:
    mounts: Any = {"a": mount}
    text = f"local directory a is of type {type(mount).__name__}, not a file system such as fsutil.new_fs makes"
    assert await refusal(llb.local("a"), SolveOpt(local_mounts=mounts)) == text


@pytest.mark.parametrize(
    ("opt", "text"),
    [
        ({"frontend_attrs": {"build-arg:N": 1}}, 'frontend attribute "build-arg:N" is of type int, not str'),
        (
            {"exports": [ExportEntry(type="image", attrs={"push": True})]},  # type: ignore[dict-item]  # what is refused
            'attribute of the image export "push" is of type bool, not str',
        ),
        (
            {"cache_imports": [CacheOptionsEntry(type="registry", attrs={"ref": None})]},  # type: ignore[dict-item]  # so
            'attribute of the registry cache "ref" is of type NoneType, not str',
        ),
    ],
)
async def test_attribute_that_is_no_text(opt: dict[str, Any], text: str) -> None:
    assert await refusal(llb.scratch(), SolveOpt(**opt)) == text


async def test_directories_may_be_paths(tmp_path: Path) -> None:
    files = new_fs(tmp_path)
    opt = SolveOpt(local_mounts={"a": files}, exports=[ExportEntry(type="local", output_dir=tmp_path / "out")])
    target = plan_exports(opt, {}).sync_target
    assert target is not None
    assert [missing.outdir for missing in target.missing()] == [str(tmp_path / "out")]
