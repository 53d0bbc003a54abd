"""A file system of which only a part is shown: include and exclude patterns, followed links, a map function.

Mirrors filter.go of tonistiigi/fsutil (6d9dc2e).

A directory that no include pattern matches is still walked where one could match something in it, and is then shown
just before the first such entry. Directories that cannot hold anything of interest are not entered.

Differs from Go: `follow_paths` are resolved at the first walk or open and not in `new_filter_fs`, which must not
wait for a disk; the map function is called with names as bytes.
"""

from __future__ import annotations

import enum
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pybuildkit.golang.errors import BuildkitError, with_op, wrap
from pybuildkit.third_party import patternmatcher
from pybuildkit.third_party.fsutil._followlinks import dedupe_paths, follow_links
from pybuildkit.third_party.fsutil._fs import FS, Entry, File, walking
from pybuildkit.third_party.fsutil._stat import FS_ENCODING, Stat
from pybuildkit.third_party.patternmatcher import MatchInfo, Pattern, PatternMatcher

_PATTERN_CHARS = frozenset("*[]?^\\")


class MapResult(enum.Enum):
    """What a map function says of an entry.

    SKIP_DIR leaves out a directory with all that is in it; for a file the rest of its directory.
    """

    KEEP = enum.auto()
    EXCLUDE = enum.auto()
    SKIP_DIR = enum.auto()


MapFunc = Callable[[bytes, Stat], MapResult]
"""Called with each entry that the patterns leave; it may change the Stat, the path included."""


@dataclass(frozen=True)
class FilterOpt:
    """What a filtered file system shows.

    Args:
        include_patterns: entries must match one of them, where there are any.
        exclude_patterns: entries must match none.
        follow_paths: paths that are included with everything their symbolic links lead to.
        map: called for each entry that is left.
    """

    include_patterns: Sequence[str] = ()
    exclude_patterns: Sequence[str] = ()
    follow_paths: Sequence[str] = ()
    map: MapFunc | None = None


class FilterFS:
    """Part of a file system; made by `new_filter_fs`."""

    def __init__(self, fs: FS, opt: FilterOpt) -> None:
        self._fs = fs
        self._opt = opt
        self._include = _matcher(opt.include_patterns, "includepatterns")
        self._exclude = _matcher(opt.exclude_patterns, "excludepatterns")
        self._follow = list(opt.follow_paths)

    def walk(self, target: bytes = b"") -> Iterator[Entry]:
        """See FS."""
        self._resolve()
        if self._include is None and self._exclude is None:
            if self._opt.map is None:
                return self._fs.walk(target)
            return _map_only(self._fs, target, self._opt.map)
        return _Filter(self._fs, self._include, self._exclude, self._opt.map).walk(target)

    def open(self, path: bytes) -> File:
        """See FS; what the patterns do not show does not exist."""
        self._resolve()
        name = path.decode(FS_ENCODING, "surrogateescape")
        for matcher, wanted in ((self._include, True), (self._exclude, False)):
            if matcher is not None and matcher.matches_or_parent_matches(name) != wanted:
                raise with_op(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path), "open")
        return self._fs.open(path)

    def _resolve(self) -> None:
        """Turn followed paths into include patterns, once."""
        if not self._follow:
            return
        targets = follow_links(self._fs, self._follow)
        if targets is not None:
            patterns = dedupe_paths([*self._opt.include_patterns, *targets])
            self._include = _matcher(patterns or (), "includepatterns")
        self._follow = []


def _matcher(patterns: Sequence[str], what: str) -> PatternMatcher | None:
    if not patterns:
        return None
    try:
        return patternmatcher.new(patterns)
    except BuildkitError as err:
        raise wrap(err, f"invalid {what}: [{' '.join(patterns)}]") from err


def new_filter_fs(fs: FS, opt: FilterOpt | None) -> FS:
    """The part of `fs` that the options leave; `fs` itself without options.

    Raises:
        BuildkitError: a pattern is malformed.
    """
    return fs if opt is None else FilterFS(fs, opt)


def _map_only(fs: FS, target: bytes, map_func: MapFunc) -> Iterator[Entry]:
    """A walk without patterns."""
    with walking(fs, target) as walk:
        for entry in walk:
            if entry.error is not None:
                yield entry
                continue
            shown = _mapped(fs, entry, map_func)
            if shown is not None:
                yield shown
                entry.skip = entry.skip or shown.skip


def _mapped(fs: FS, entry: Entry, map_func: MapFunc | None) -> Entry | None:
    """The entry as it is shown, None where it is not; the walk is told what to skip."""
    try:
        stat = entry.stat()
    except FileNotFoundError:
        entry.skip = entry.is_dir
        return None
    if map_func is None:
        return entry
    path = stat.path
    result = map_func(path, stat)
    if result is not MapResult.KEEP:
        entry.skip = result is MapResult.SKIP_DIR
        return None
    if stat.path is path:
        return entry
    if entry.source is None:
        entry.source, entry.source_path = fs, entry.path
    return Entry(stat.path, entry.is_dir, stat, entry.source, entry.source_path)


class _VisitedDir:
    """A directory on the way down."""

    __slots__ = ("entry", "exclude_info", "include_info", "prefix", "shown", "skipped")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.prefix = entry.path + b"/"
        self.include_info = MatchInfo()
        self.exclude_info = MatchInfo()
        self.shown = False
        self.skipped = False


_NO_INFO = MatchInfo()


class _Filter:
    """One walk with patterns."""

    def __init__(
        self, fs: FS, include: PatternMatcher | None, exclude: PatternMatcher | None, map_func: MapFunc | None
    ) -> None:
        self._fs = fs
        self._include = include
        self._exclude = exclude
        self._map = map_func
        self._dirs: list[_VisitedDir] = []
        self._include_prefixes = _plain_prefixes(include, exclusions=False)
        self._exception_prefixes = _plain_prefixes(exclude, exclusions=True)

    def walk(self, target: bytes) -> Iterator[Entry]:
        with walking(self._fs, target) as walk:
            for entry in walk:
                while self._dirs and not entry.path.startswith(self._dirs[-1].prefix):
                    self._dirs.pop()
                if entry.error is not None:
                    if self._wanted(entry, None) or not isinstance(entry.error, PermissionError):
                        yield entry
                    continue
                visited = _VisitedDir(entry) if entry.is_dir else None
                if self._wanted(entry, visited):
                    yield from self._show(entry, visited)
                if visited is not None and not entry.skip:
                    self._dirs.append(visited)

    def _wanted(self, entry: Entry, visited: _VisitedDir | None) -> bool:
        """Whether the patterns leave an entry; a directory that is of no interest at all is skipped."""
        name = entry.path.decode(FS_ENCODING, "surrogateescape")
        parent = self._dirs[-1] if self._dirs else None
        if self._include is not None:
            info = parent.include_info if parent is not None else _NO_INFO
            matched, info = _match(self._include, name, info, "includepatterns")
            if visited is not None:
                visited.include_info = info
            if not matched:
                if visited is not None and not _may_match_below(self._include_prefixes, name):
                    entry.skip = True
                    return False
                if self._exclude is None:
                    return False
            included = matched
        else:
            included = True
        if self._exclude is None:
            return included
        info = parent.exclude_info if parent is not None else _NO_INFO
        matched, info = _match(self._exclude, name, info, "excludepatterns")
        if visited is not None:
            visited.exclude_info = info
            if matched and not _may_match_below(self._exception_prefixes, name):
                entry.skip = True
        return included and not matched

    def _show(self, entry: Entry, visited: _VisitedDir | None) -> Iterator[Entry]:
        """The entry, after those of its directories that were not shown yet."""
        if visited is not None:
            visited.shown = True
        shown = _mapped(self._fs, entry, self._map)
        if shown is None:
            return
        for parent in self._dirs:
            if parent.skipped:
                entry.skip = True
                return
            if parent.shown:
                continue
            above = self._show_parent(parent)
            if above is not None:
                yield above
                parent.skipped = parent.skipped or above.skip
            if parent.skipped:
                entry.skip = True
                return
        yield shown
        entry.skip = entry.skip or shown.skip

    def _show_parent(self, parent: _VisitedDir) -> Entry | None:
        stat = parent.entry.stat()
        shown = Entry(parent.entry.path, True, stat.clone())
        if self._map is not None:
            stat = shown.stat()
            result = self._map(stat.path, stat)
            if result is not MapResult.KEEP:
                parent.skipped = result is MapResult.SKIP_DIR
                return None
            shown.path = stat.path
        parent.shown = True
        return shown


def _match(matcher: PatternMatcher, name: str, info: MatchInfo, what: str) -> tuple[bool, MatchInfo]:
    try:
        return matcher.matches_using_parent_results(name, info)
    except BuildkitError as err:
        raise wrap(err, f"failed to match {what}") from err


def _plain_prefixes(matcher: PatternMatcher | None, exclusions: bool) -> list[str] | None:
    """Patterns of one kind as prefixes of names, None where one of them has wildcards before its end.

    Args:
        exclusions: take the exceptions, and not the plain patterns.
    """
    if matcher is None:
        return []
    prefixes = []
    for pattern in matcher.patterns():
        if pattern.exclusion() != exclusions:
            continue
        text = pattern_without_trailing_glob(pattern)
        if not _PATTERN_CHARS.isdisjoint(text):
            return None
        prefixes.append(text + "/")
    return prefixes


def _may_match_below(prefixes: list[str] | None, directory: str) -> bool:
    """Whether something in the directory could match."""
    if prefixes is None:
        return True
    below = directory + "/"
    return any(prefix.startswith(below) for prefix in prefixes)


def pattern_without_trailing_glob(pattern: Pattern) -> str:
    """A pattern without the "/**" or "/*" that it ends with."""
    return str(pattern).removesuffix("/**").removesuffix("/*")


def walk(path: str | bytes, opt: FilterOpt | None = None) -> Iterator[Entry]:
    """The entries of a directory on disk that the options leave."""
    from pybuildkit.third_party.fsutil._fs import new_fs

    return new_filter_fs(new_fs(path), opt).walk(b"")
