"""Source maps: which lines of which file an op comes from.

A daemon that fails in an op shows those lines. Equal maps are sent once, however many values stand for them.

Mirrors client/llb/sourcemap.go, v0.32.2. Differs: finding an equal map takes the same time however many there are,
and the locations are in the order of the ops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pybuildkit.client.llb._constraints import Constraints, constraints_option
from pybuildkit.solver.pb import ops_pb2

if TYPE_CHECKING:
    from pybuildkit.client.llb._constraints import ConstraintsOpt
    from pybuildkit.client.llb._definition import Definition
    from pybuildkit.client.llb._state import State


class SourceMap:
    """A source file that ops come from.

    Attributes:
        state: where the file can be found in a build, or None.
        definition: the state's definition, once it is marshalled.
        filename: the file's name in that tree.
        language: its language, by the name that github-linguist gives it.
        data: the file's contents.
    """

    def __init__(self, state: State | None, filename: str, language: str, data: bytes) -> None:
        self.state = state
        self.definition: Definition | None = None
        self.filename = filename
        self.language = language
        self.data = data

    def __repr__(self) -> str:
        return f"SourceMap({self.filename!r}, {self.language!r}, {len(self.data)} bytes)"

    def location(self: SourceMap | None, ranges: Sequence[ops_pb2.Range] | None) -> ConstraintsOpt:
        """An option that says that an op comes from these ranges (no source map at all: it says nothing)."""
        return _location(self, list(ranges or ()))


@constraints_option
def _location(source_map: SourceMap | None, ranges: list[ops_pb2.Range]) -> Callable[[Constraints], None]:
    def change(constraints: Constraints) -> None:
        if source_map is not None:
            constraints.source_locations.append(SourceLocation(source_map, ranges))

    return change


def new_source_map(state: State | None, filename: str, language: str, data: bytes) -> SourceMap:
    """A source file; see SourceMap for the arguments."""
    return SourceMap(state, filename, language, data)


class SourceLocation:
    """Ranges of lines in a source file; line numbers begin at 1."""

    __slots__ = ("ranges", "source_map")

    def __init__(self, source_map: SourceMap, ranges: list[ops_pb2.Range]) -> None:
        self.source_map = source_map
        self.ranges = ranges


def _equal_definitions(one: SourceMap, other: SourceMap) -> bool:
    """Whether two maps with equal files agree in their definitions, as far as both have one."""
    if one.definition is None or other.definition is None:
        return True
    ours, theirs = one.definition.def_, other.definition.def_
    if len(ours) != len(theirs) and ours:
        return False
    return ours[-1:] == theirs[-1:]


class SourceMapCollector:
    """The source maps of one `marshal`, without repetition, and the locations of each op."""

    def __init__(self) -> None:
        self.maps: list[SourceMap] = []
        self._index: dict[int, int] = {}
        self._alike: dict[tuple[str, str, bytes], list[int]] = {}
        self._locations: dict[str, list[SourceLocation]] = {}

    def add(self, digest: str, locations: list[SourceLocation]) -> None:
        """Note the locations of the op with that digest."""
        for location in locations:
            key = id(location.source_map)
            if key not in self._index:
                self._index[key] = self._find(location.source_map)
        if locations:
            self._locations.setdefault(digest, []).extend(locations)
        else:
            self._locations.setdefault(digest, [])

    def _find(self, source_map: SourceMap) -> int:
        alike = self._alike.setdefault((source_map.filename, source_map.language, source_map.data), [])
        for index in alike:
            if _equal_definitions(self.maps[index], source_map):
                return index
        alike.append(len(self.maps))
        self.maps.append(source_map)
        return alike[-1]

    def to_pb(self) -> ops_pb2.Source:
        """The message; the states of the maps must be marshalled."""
        source = ops_pb2.Source()
        for source_map in self.maps:
            info = source.infos.add(data=source_map.data, filename=source_map.filename, language=source_map.language)
            if source_map.definition is not None:
                info.definition.CopyFrom(source_map.definition.to_pb())
        for digest, locations in self._locations.items():
            entry = source.locations[digest]
            for location in locations:
                entry.locations.add(sourceIndex=self._index[id(location.source_map)], ranges=location.ranges)
        return source
