"""Ports validator_test.go and hardlinks_test.go of tonistiigi/fsutil."""

from __future__ import annotations

import pytest

from pybuildkit.golang.errors import error_text
from pybuildkit.third_party.fsutil import Hardlinks, LinkError, OrderError, Stat, Validator, compare_path
from pybuildkit.third_party.fsutil._stat import MODE_DIR
from pybuildkit.third_party.fsutil._validator import ChangeKind
from tests.third_party.fsutil.changes import parse

GOOD = {
    "TestValidatorSimpleFiles": ["ADD foo file", "ADD foo2 file"],
    "TestValidatorSimpleDir": ["ADD foo dir", "ADD foo/bar file"],
    "TestValidatorSimpleDir2": [
        "ADD foo dir",
        "ADD foo/bar file",
        "ADD foo/bay dir",
        "ADD foo/bay/aa file",
        "ADD foo/bay/ab dir",
        "ADD foo/bay/abb dir",
        "ADD foo/bay/abb/a dir",
        "ADD foo/bay/ba file",
        "ADD foo/baz file",
    ],
    "TestValidatorDot": ["ADD foo dir", "ADD foo/a dir", "ADD foo.2 dir"],
    "several levels up at once": ["ADD a dir", "ADD a/b dir", "ADD a/b/c dir", "ADD a/b/c/d file", "ADD b file"],
}

BAD = {
    "TestValidatorFilesNotInOrder": ["ADD foo file", "ADD foo2 file", "ADD bar file"],
    "TestValidatorFilesNotInOrder2": ["ADD foo file", "ADD foo2 file", "ADD foo2 file"],
    "TestValidatorDirIsFile": ["ADD foo file", "ADD foo2 file", "ADD foo2 dir"],
    "TestValidatorDirIsFile2": ["ADD foo file", "ADD foo2 dir", "ADD foo2 file"],
    "TestValidatorNoParentDir": ["ADD bar file", "ADD foo/baz file"],
    "TestValidatorParentFile": ["ADD bar file", "ADD bar/baz file"],
    "TestValidatorParentFile2": ["ADD foo/bar file"],
    "TestValidatorBackToParent": [
        "ADD foo dir",
        "ADD foo/bar file",
        "ADD foo/bay dir",
        "ADD foo/bay/aa file",
        "ADD foo/bay/ab dir",
        "ADD foo/bay/ba file",
        "ADD foo/bay dir",
    ],
    "TestValidatorParentOrder": [
        "ADD foo dir",
        "ADD foo/bar file",
        "ADD foo/bay dir",
        "ADD foo/bay/aa file",
        "ADD foo/bay/ab dir",
        "ADD foo/bar file",
    ],
    "TestValidatorBigJump": ["ADD foo dir", "ADD foo/a dir", "ADD foo/a/foo dir", "ADD foo/a/b/foo dir"],
    "TestValidatorDot2 a": ["ADD foo.a dir", "ADD foo/a/a dir"],
    "TestValidatorDot2 b": ["ADD foo dir", "ADD foo. dir", "ADD foo dir"],
    "TestValidatorSkipDir": ["ADD bar dir", "ADD bar/foo/a dir"],
}

NAMES = {
    b"../a": "escape check ../a: invalid argument",
    b"..": "escape check ..: invalid argument",
    b"/a": "absolute path /a: invalid argument",
    b"a/../b": "unclean path a/../b: invalid argument",
    b"a//b": "unclean path a//b: invalid argument",
    b"./a": "unclean path ./a: invalid argument",
    b"a/": "unclean path a/: invalid argument",
    b"a/.": "unclean path a/.: invalid argument",
    b".": "unclean path .: invalid argument",
    b"": "unclean path : invalid argument",
    b"a\0b": "invalid path a\0b: invalid argument",
}


def check(lines: list[str]) -> None:
    validator = Validator()
    for change in parse(lines):
        validator.handle_change(change.kind, change.stat.path, change.stat)


@pytest.mark.parametrize("name", GOOD)
def test_validator_accepts(name: str) -> None:
    check(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_validator_refuses(name: str) -> None:
    check(BAD[name][:-1])
    with pytest.raises(OrderError):
        check(BAD[name])


def test_validator_error_names_both_entries() -> None:
    with pytest.raises(OrderError, match=r'^changes out of order: "d/a" "d/b"$'):
        check(["ADD d dir", "ADD d/b file", "ADD d/a file"])


@pytest.mark.parametrize("path", NAMES)
def test_validator_refuses_name(path: bytes) -> None:
    validator = Validator()
    validator.handle_change(ChangeKind.ADD, b"!", Stat(b"!", MODE_DIR))
    with pytest.raises(OSError) as err:  # noqa: PT011  # the text is compared
        validator.handle_change(ChangeKind.ADD, path, Stat(path))
    assert error_text(err.value) == NAMES[path]


HARDLINKS: dict[str, tuple[list[str], bool]] = {
    "TestValidHardlinks": (["ADD foo file", "ADD foo2 file >foo"], True),
    "TestInvalideHardlinks": (["ADD foo file >foo2", "ADD foo2 file"], False),
    "TestInvalideHardlinks2": (["ADD foo file", "ADD foo2 file >bar"], False),
    "TestHardlinkToDir": (["ADD foo dir", "ADD foo2 file >foo"], False),
    "TestHardlinkToSymlink": (["ADD foo symlink /", "ADD foo2 file >foo"], False),
    "link to a link": (["ADD a file", "ADD b file >a", "ADD c file >b"], False),
}


@pytest.mark.parametrize("name", HARDLINKS)
def test_hardlinks(name: str) -> None:
    lines, good = HARDLINKS[name]
    hardlinks = Hardlinks()

    def check_all() -> None:
        for change in parse(lines):
            hardlinks.handle_change(change.kind, change.stat.path, change.stat)

    if good:
        check_all()
    else:
        with pytest.raises(LinkError, match=r"^invalid link .* to unknown path: "):
            check_all()


@pytest.mark.parametrize(
    ("first", "second"), [(b"a", b"b"), (b"a", b"a/b"), (b"a/b", b"a.b"), (b"a/z", b"a!"), (b"", b"a")]
)
def test_compare_path(first: bytes, second: bytes) -> None:
    assert compare_path(first, second) < 0 < compare_path(second, first)
    assert compare_path(first, first) == 0
