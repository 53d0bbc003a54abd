"""Ports filter_test.go and fs_test.go of tonistiigi/fsutil."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.third_party import fsutil
from pybuildkit.third_party.fsutil import Dir, FilterOpt, MapResult, Stat, SubDirFS, new_filter_fs, new_fs
from tests.third_party.fsutil.changes import make, shown

_WALKER_INCLUDE = ["ADD bar dir", "ADD bar/foo file", "ADD foo2 file"]
_BAR_FOO = ["dir bar", "file bar/foo"]
_DOUBLESTAR = [
    "ADD a dir",
    "ADD a/b dir",
    "ADD a/b/baz dir",
    "ADD a/b/bar dir",
    "ADD a/b/bar/foo file",
    "ADD a/b/bar/fop file",
    "ADD bar dir",
    "ADD bar/foo file",
    "ADD baz dir",
    "ADD foo2 file",
    "ADD foo dir",
    "ADD foo/bar dir",
    "ADD foo/bar/bee file",
]
_AB = ["dir a", "dir a/b"]
_AB_BAR = [*_AB, "dir a/b/bar", "file a/b/bar/foo", "file a/b/bar/fop"]
_FOO_BAR = ["dir foo", "dir foo/bar", "file foo/bar/bee"]

INCLUDE: list[tuple[str, list[str], str, list[str]]] = [
    *[
        ("TestWalkerInclude", _WALKER_INCLUDE, pattern, wanted)
        for pattern, wanted in (
            ("bar", _BAR_FOO),
            ("bar/foo", _BAR_FOO),
            ("b*", _BAR_FOO),
            ("bar/f*", _BAR_FOO),
            ("bar/g*", []),
            ("f*", ["file foo2"]),
            ("b*/f*", _BAR_FOO),
            ("b*/foo", _BAR_FOO),
            ("b*/", _BAR_FOO),
        )
    ],
    *[
        ("TestWalkerDoublestarInclude", _DOUBLESTAR, pattern, wanted)
        for pattern, wanted in (
            ("**", [*_AB_BAR, "dir a/b/baz", *_BAR_FOO, "dir baz", *_FOO_BAR, "file foo2"]),
            ("**/bar", [*_AB_BAR, *_BAR_FOO, *_FOO_BAR]),
            ("**/bar/foo", [*_AB, "dir a/b/bar", "file a/b/bar/foo", *_BAR_FOO]),
            ("**/b*", [*_AB_BAR, "dir a/b/baz", *_BAR_FOO, "dir baz", *_FOO_BAR]),
            ("**/bar/f*", [*_AB_BAR, *_BAR_FOO]),
            ("**/bar/g*", []),
            ("**/f*", [*_AB_BAR, *_BAR_FOO, *_FOO_BAR, "file foo2"]),
            ("**/b*/f*", [*_AB_BAR, *_BAR_FOO]),
            ("**/b*/foo", [*_AB, "dir a/b/bar", "file a/b/bar/foo", *_BAR_FOO]),
            ("**/foo/**", _FOO_BAR),
            ("**/baz", [*_AB, "dir a/b/baz", "dir baz"]),
        )
    ],
]


@pytest.mark.parametrize(("name", "tree", "pattern", "wanted"), INCLUDE)
def test_include(tmp_path: Path, name: str, tree: list[str], pattern: str, wanted: list[str]) -> None:
    root = make(tmp_path / "d", tree)
    assert shown(fsutil.walk(str(root), FilterOpt(include_patterns=[pattern]))) == wanted


def test_walker_simple(tmp_path: Path) -> None:
    root = make(tmp_path / "d", ["ADD foo file", "ADD foo2 file"])
    assert shown(fsutil.walk(str(root))) == ["file foo", "file foo2"]


def test_invalid_exclude_patterns(tmp_path: Path) -> None:
    with pytest.raises(BuildkitError, match=r'^invalid excludepatterns: \[!\]: illegal exclusion pattern: "!"$'):
        new_filter_fs(new_fs(str(tmp_path)), FilterOpt(exclude_patterns=["!"]))


def test_walker_include_return_skip_dir(tmp_path: Path) -> None:
    root = make(
        tmp_path / "d",
        ["ADD foo dir", "ADD foo/x dir", "ADD foo/y dir", "ADD foo/x/a.txt file", "ADD foo/y/b.txt file"],
    )
    found = []
    for entry in fsutil.walk(str(root), FilterOpt(include_patterns=["**/*.txt"])):
        found.append(entry.path)
        entry.skip = True
    assert found == [b"foo"]


def test_skip_on_a_file_leaves_its_directory(tmp_path: Path) -> None:
    root = make(tmp_path / "d", ["ADD a dir", "ADD a/1 file", "ADD a/2 file", "ADD b file"])
    found = []
    for entry in fsutil.walk(str(root)):
        found.append(entry.path)
        entry.skip = entry.path == b"a/1"
    assert found == [b"a", b"a/1", b"b"]


def test_walker_exclude(tmp_path: Path) -> None:
    root = make(tmp_path / "d", ["ADD bar file", "ADD foo dir", "ADD foo2 file", "ADD foo/bar2 file"])
    entries = fsutil.walk(str(root), FilterOpt(exclude_patterns=["foo*", "!foo/bar2"]))
    assert shown(entries) == ["file bar", "dir foo", "file foo/bar2"]


def test_walker_follow_links(tmp_path: Path) -> None:
    root = make(
        tmp_path / "d",
        [
            "ADD bar file",
            "ADD foo dir",
            "ADD foo/l1 symlink /baz/one",
            "ADD foo/l2 symlink /baz/two",
            "ADD baz dir",
            "ADD baz/one file",
            "ADD baz/two symlink ../bax",
            "ADD bax file",
            "ADD bay file",
        ],
    )
    assert shown(fsutil.walk(str(root), FilterOpt(follow_paths=["foo/l*", "bar"]))) == [
        "file bar",
        "file bax",
        "dir baz",
        "file baz/one",
        "symlink:../bax baz/two",
        "dir foo",
        "symlink:/baz/one foo/l1",
        "symlink:/baz/two foo/l2",
    ]


def test_walker_follow_links_to_root(tmp_path: Path) -> None:
    root = make(
        tmp_path / "d", ["ADD foo symlink .", "ADD bar file", "ADD bax file", "ADD bay dir", "ADD bay/baz file"]
    )
    entries = fsutil.walk(str(root), FilterOpt(follow_paths=["foo"]))
    assert shown(entries) == ["file bar", "file bax", "dir bay", "file bay/baz", "symlink:. foo"]


def test_walker_map(tmp_path: Path) -> None:
    root = make(tmp_path / "d", ["ADD bar file", "ADD foo dir", "ADD foo2 file", "ADD foo/bar2 file x"])

    def underscore(path: bytes, stat: Stat) -> MapResult:
        if not path.startswith(b"foo"):
            return MapResult.EXCLUDE
        stat.path = b"_" + stat.path
        return MapResult.KEEP

    entries = list(fsutil.walk(str(root), FilterOpt(map=underscore)))
    assert shown(entries) == ["dir _foo", "file _foo/bar2", "file _foo2"]
    assert (entries[1].source_path, entries[1].stat().size) == (b"foo/bar2", 1)


def test_walker_map_skip_dir(tmp_path: Path) -> None:
    root = make(
        tmp_path / "d",
        ["ADD excludeDir dir", "ADD excludeDir/a.txt file", "ADD includeDir dir", "ADD includeDir/a.txt file"],
    )
    walked = []

    def skip(path: bytes, stat: Stat) -> MapResult:
        walked.append(path)
        if path.startswith(b"excludeDir"):
            return MapResult.SKIP_DIR
        return MapResult.KEEP if path.startswith(b"includeDir") else MapResult.EXCLUDE

    assert shown(fsutil.walk(str(root), FilterOpt(map=skip))) == ["dir includeDir", "file includeDir/a.txt"]
    assert walked == [b"excludeDir", b"includeDir", b"includeDir/a.txt"]


def test_walker_map_skip_dir_with_pattern(tmp_path: Path) -> None:
    root = make(tmp_path / "d", ["ADD x dir", "ADD x/a.txt file", "ADD y dir", "ADD y/b.txt file"])

    def skip(path: bytes, stat: Stat) -> MapResult:
        return MapResult.SKIP_DIR if os.path.basename(path) == b"x" else MapResult.KEEP

    entries = fsutil.walk(str(root), FilterOpt(include_patterns=["**/*.txt"], map=skip))
    assert shown(entries) == ["dir y", "file y/b.txt"]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (FilterOpt(), None),
        (FilterOpt(exclude_patterns=["**/bar"]), ["dir foo"]),
        (FilterOpt(exclude_patterns=["**/bar", "!foo/bar/baz"]), ["dir foo"]),
        (FilterOpt(exclude_patterns=["**/bar", "!foo/bar"]), None),
        (FilterOpt(include_patterns=["foo", "!**/bar"]), ["dir foo"]),
    ],
)
def test_walker_permission_denied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: FilterOpt, wanted: list[str] | None
) -> None:
    """The directory refuses to be listed; by a hook, for root may list everything."""
    root = make(tmp_path / "d", ["ADD foo dir", "ADD foo/bar dir"])
    bar = (root / "foo/bar").stat().st_ino
    scandir = os.scandir

    def refuse(fd: int) -> object:
        if os.fstat(fd).st_ino == bar:
            raise PermissionError(13, "Permission denied", fd)
        return scandir(fd)

    monkeypatch.setattr(os, "scandir", refuse)
    if wanted is not None:
        assert shown(fsutil.walk(str(root), options)) == wanted
        return
    with pytest.raises(PermissionError) as err:
        shown(fsutil.walk(str(root), options))
    assert error_text(err.value) == f"open {root}/foo/bar: permission denied"


def test_unreadable_root_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int) -> object:
        raise PermissionError(13, "Permission denied", fd)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        list(new_fs(str(tmp_path)).walk())


def _then(scandir: Callable[[int], object], action: Callable[[], None]) -> Callable[[int], object]:
    """A scandir after whose first call something happens."""
    waiting = [action]

    class Listing(list[object]):
        def __enter__(self) -> list[object]:
            return self

        def __exit__(self, *args: object) -> None:
            return

    def call(fd: int) -> object:
        with scandir(fd) as entries:  # type: ignore[attr-defined]  # os.scandir's result
            listing = Listing(entries)
        for entry in listing:
            entry.is_dir(follow_symlinks=False)  # type: ignore[attr-defined]  # a DirEntry
        if waiting:
            waiting.pop()()
        return listing

    return call


class Noting:
    """A file system that notes what is walked."""

    def __init__(self, fs: fsutil.FS) -> None:
        self.walked: list[bytes] = []
        self._fs = fs

    def walk(self, target: bytes = b"") -> Iterator[fsutil.Entry]:
        """See FS."""
        for entry in self._fs.walk(target):
            self.walked.append(entry.path)
            yield entry

    def open(self, path: bytes) -> fsutil.File:
        """See FS."""
        return self._fs.open(path)


@pytest.mark.parametrize(
    ("opt", "wanted"),
    [
        (FilterOpt(include_patterns=["a/b"]), [b"a", b"a/b", b"a/b/x", b"a/c", b"d"]),
        (FilterOpt(include_patterns=["a/b/*", "!a/b/x"]), [b"a", b"a/b", b"a/b/x", b"a/c", b"d"]),
        (FilterOpt(include_patterns=["*/c"]), [b"a", b"a/b", b"a/b/x", b"a/c", b"a/c/x", b"d", b"d/x"]),
        (FilterOpt(exclude_patterns=["a/b", "d"]), [b"a", b"a/b", b"a/c", b"a/c/x", b"d"]),
        (FilterOpt(exclude_patterns=["a", "!a/c"]), [b"a", b"a/b", b"a/c", b"a/c/x", b"d", b"d/x"]),
        (FilterOpt(exclude_patterns=["a", "!*/c"]), [b"a", b"a/b", b"a/b/x", b"a/c", b"a/c/x", b"d", b"d/x"]),
    ],
)
def test_directories_of_no_interest_are_not_entered(tmp_path: Path, opt: FilterOpt, wanted: list[bytes]) -> None:
    dirs = [f"ADD {name} dir" for name in ("a", "a/b", "a/c", "d")]
    fs = Noting(new_fs(str(make(tmp_path / "d", [*dirs, *(f"ADD {name}/x file" for name in ("a/b", "a/c", "d"))]))))
    list(new_filter_fs(fs, opt).walk())
    assert fs.walked == wanted


@pytest.mark.parametrize("devices", [(1, 1), (1, 2)])
def test_numbers_of_files_are_of_their_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: tuple[int, int]
) -> None:
    """Two files with more names each, on two file systems that gave them the same number, are no hard links."""
    root = make(tmp_path / "d", ["ADD a file 1", "ADD b file 2"])
    for name in ("a", "b"):
        os.link(root / name, tmp_path / name)
    lstat = os.stat

    def same_number(path: bytes, **kwargs: Any) -> os.stat_result:
        info = lstat(path, **kwargs)
        if path not in (b"a", b"b"):
            return info
        fields = {name: getattr(info, name) for name in dir(info) if name.startswith("st_")}
        return os.stat_result((info.st_mode, 7, devices[path == b"b"], *info[3:]), fields)

    monkeypatch.setattr(os, "stat", same_number)
    links = [entry.stat().linkname for entry in new_fs(str(root)).walk()]
    assert links == [b"", b"a" if devices == (1, 1) else b""]


def test_root_fs_walk_skips_concurrently_removed_entry(tmp_path: Path) -> None:
    """TestRootFSWalkSkipsConcurrentlyRemovedEntry; what comes after it is not lost."""
    root = make(tmp_path / "d", ["ADD foo dir", "ADD foo/bar file", "ADD foo/baz file", "ADD foo/d dir", "ADD z file"])
    found = []
    for entry in fsutil.with_hardlink_reset(new_fs(str(root))).walk():
        found.append(entry.path)
        if entry.path == b"foo":
            (root / "foo/bar").unlink(missing_ok=True)
        if entry.path == b"foo/d":
            (root / "foo/d").rmdir()
    assert found == [b"foo", b"foo/baz", b"foo/d", b"z"]

    (root / "a").mkdir()
    listed = []
    for entry in new_fs(str(root)).walk():
        listed.append(entry.path)
        if entry.path == b"a":
            (root / "a").rmdir()
            with pytest.raises(FileNotFoundError):
                entry.stat()
    assert listed == [b"a", b"foo", b"foo/baz", b"z"]
    (root / "a").mkdir()
    gone = fsutil.FilterOpt(map=lambda path, stat: MapResult.KEEP)
    for fs in (fsutil.with_hardlink_reset(new_fs(str(root))), new_filter_fs(new_fs(str(root)), gone)):
        (root / "a").mkdir(exist_ok=True)
        walk = fs.walk()
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(os, "scandir", _then(os.scandir, lambda: (root / "a").rmdir()))
            assert next(walk).path == b"foo"
        assert [entry.path for entry in walk] == [b"foo/baz", b"z"]

    found = []
    for entry in new_fs(str(root)).walk():
        found.append(entry.path)
        if entry.path == b"foo/baz":
            (root / "foo/baz").unlink()
            with pytest.raises(FileNotFoundError):
                entry.stat()
    assert found == [b"foo", b"foo/baz", b"z"]


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        (b"", ["dir bar", "file bar/foo2", "file foo"]),
        (b"/", ["dir bar", "file bar/foo2", "file foo"]),
        (b"foo", ["file foo"]),
        (b"bar", ["dir bar", "file bar/foo2"]),
        (b"bar/foo2", ["file bar/foo2"]),
        (b"none", []),
        (b"foo/none", []),
    ],
)
def test_fs_walk(tmp_path: Path, target: bytes, wanted: list[str]) -> None:
    root = make(tmp_path / "d", ["ADD foo file", "ADD bar dir", "ADD bar/foo2 file"])
    assert shown(new_fs(str(root)).walk(target)) == wanted


@pytest.mark.parametrize(
    ("inner", "outer", "wanted"),
    [
        (["foo", "!foo/bar"], [], ["dir foo", "file foo/bar"]),
        (["!foo/bar"], ["foo"], []),
        (["foo"], ["!foo/bar"], []),
    ],
)
def test_fs_walk_nested(tmp_path: Path, inner: Sequence[str], outer: Sequence[str], wanted: list[str]) -> None:
    root = make(tmp_path / "d", ["ADD foo dir", "ADD foo/bar file"])
    fs = new_filter_fs(new_fs(str(root)), FilterOpt(exclude_patterns=inner))
    fs = new_filter_fs(fs, FilterOpt(exclude_patterns=outer))
    assert shown(fs.walk()) == wanted


@pytest.mark.parametrize(
    ("name", "tree", "options", "opens", "missing"),
    [
        ("TestFilteredOpen", ["ADD foo file", "ADD bar file"], FilterOpt(exclude_patterns=["bar"]), ["foo"], ["bar"]),
        (
            "TestFilteredOpenWildcard",
            ["ADD baz file", "ADD bar dir", "ADD bar2 file", "ADD bar/foo file"],
            FilterOpt(include_patterns=["bar*"]),
            ["bar2", "bar/foo"],
            ["baz"],
        ),
        (
            "TestFilteredOpenInvert",
            [
                "ADD foo dir",
                "ADD foo/bar dir",
                "ADD foo/bar/baz dir",
                "ADD foo/bar/baz/x file",
                "ADD foo/bar/baz/y file",
            ],
            FilterOpt(exclude_patterns=["foo", "!foo/bar", "foo/bar/baz", "!foo/bar/baz/x"]),
            ["foo/bar/baz/x"],
            ["foo/bar/baz/y", "none"],
        ),
    ],
)
def test_filtered_open(
    tmp_path: Path, name: str, tree: list[str], options: FilterOpt, opens: list[str], missing: list[str]
) -> None:
    fs = new_filter_fs(new_fs(str(make(tmp_path / "d", tree))), options)
    for path in opens:
        file = fs.open(path.encode())
        assert file.read(10) == b""
        file.close()
    for path in missing:
        with pytest.raises(FileNotFoundError):
            fs.open(path.encode())


def test_walk(tmp_path: Path) -> None:
    root = make(tmp_path / "d", ["ADD dir dir", "ADD dir/foo file contents"])
    entries = list(new_fs(str(root)).walk())
    assert [(entry.path, entry.is_dir) for entry in entries] == [(b"dir", True), (b"dir/foo", False)]


def test_walk_dir(tmp_path: Path) -> None:
    one = make(tmp_path / "1", ["ADD dir dir", "ADD dir/foo file contents", "ADD l symlink /x", "ADD h file >dir/foo"])
    two = make(tmp_path / "2", ["ADD dir dir", "ADD dir/bar file contents2"])
    mode = fsutil.MODE_DIR | 0o755
    fs = SubDirFS([Dir(Stat(b"2", mode), new_fs(str(two))), Dir(Stat(b"1", mode), new_fs(str(one)))])
    wanted = ["dir 1", "dir 1/dir", "file 1/dir/foo", "file 1/h >1/dir/foo", "symlink:/1/x 1/l"]
    assert shown(fs.walk()) == [*wanted, "dir 2", "dir 2/dir", "file 2/dir/bar"]
    assert shown(fs.walk(b"2/dir")) == ["dir 2/dir", "file 2/dir/bar"]
    file = fs.open(b"2/dir/bar")
    assert file.read(100) == b"contents2"
    file.close()
    with pytest.raises(FileNotFoundError):
        fs.open(b"3/x")


@pytest.mark.parametrize(
    ("paths", "text"),
    [([b"a/b"], "invalid path a/b: is a directory"), ([b"a", b"a"], "duplicate path a: file exists")],
)
def test_sub_dir_fs_refuses(tmp_path: Path, paths: list[bytes], text: str) -> None:
    fs = new_fs(str(tmp_path))
    with pytest.raises(OSError) as err:  # noqa: PT011  # the text is compared
        SubDirFS([Dir(Stat(path, fsutil.MODE_DIR), fs) for path in paths])
    assert error_text(err.value) == text


def test_sub_dir_of_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        list(SubDirFS([Dir(Stat(b"a", 0o644), new_fs(str(tmp_path)))]).walk())


def test_new_fs_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(NotADirectoryError) as err:
        new_fs(str(tmp_path / "f"))
    assert error_text(err.value) == f"stat {tmp_path}/f: not a directory"


def test_new_fs_of_links_that_lead_to_one_another(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(fsutil.ResolveError) as err:
        new_fs(str(tmp_path / "a"))
    assert error_text(err.value) == "resolve : EvalSymlinks: too many links"


def test_names_of_any_bytes(tmp_path: Path) -> None:
    names = [b"\xff\xfe", b"new\nline", b"b\\s", b"x" * 255, "ü".encode()]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    assert [entry.path for entry in new_fs(str(tmp_path)).walk()] == sorted(names)
    exclude = FilterOpt(exclude_patterns=[os.fsdecode(b"\xff*"), "*\n*"])
    assert [e.path for e in fsutil.walk(str(tmp_path), exclude)] == sorted(names[2:])


def test_deep_tree_with_few_descriptors(tmp_path: Path) -> None:
    """Descriptors are bounded however deep the tree is."""
    deep = tmp_path
    for level in range(60):
        (deep / "z").touch()
        deep = deep / f"d{level}"
        deep.mkdir()
    most = 0
    count = 0
    for entry in new_fs(str(tmp_path)).walk():
        entry.stat()
        count += 1
        most = max(most, len(os.listdir("/proc/self/fd")))
    assert count == 120
    assert most < len(os.listdir("/proc/self/fd")) + 20


def test_a_link_to_a_directory_is_no_directory(tmp_path: Path) -> None:
    root = make(tmp_path / "d", ["ADD a dir", "ADD a/x file", "ADD l symlink a"])
    assert [(entry.path, entry.is_dir) for entry in new_fs(str(root)).walk()] == [
        (b"a", True),
        (b"a/x", False),
        (b"l", False),
    ]


def test_directory_swapped_for_a_link_is_not_entered(tmp_path: Path) -> None:
    root = make(tmp_path / "d", ["ADD a dir", "ADD a/x file", "ADD b file"])
    outside = make(tmp_path / "out", ["ADD secret file"])
    found = []
    for entry in new_fs(str(root)).walk():
        found.append(entry.path)
        if entry.path == b"a":
            (root / "a").rename(root / "moved")
            (root / "a").symlink_to(outside)
    assert found == [b"a", b"b"]
