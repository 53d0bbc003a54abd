"""What the checks say of a Dockerfile, as the answer to a question.

Mirrors DockerfileLint of frontend/dockerfile/dockerfile2llb/convert.go, frontend/subrequests/lint/lint.go, and the
JSON of solver/pb that is in its answer, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fake_buildkitd.frontend.dockerfile._linter import Rule
from fake_buildkitd.frontend.dockerfile._location import LocationError, Range
from fake_buildkitd.frontend.dockerfile._outline import location_json
from pybuildkit.golang.errors import BuildkitError, error_text, find
from pybuildkit.solver.errdefs import errdefs_pb2, print_source
from pybuildkit.solver.pb import ops_pb2 as pb

Json = dict[str, object]


@dataclass
class LintResult:
    """The violations of one Dockerfile's checks, and why it cannot be built, if so."""

    source: pb.SourceInfo
    found: list[tuple[Rule, str, list[Range]]] = field(default_factory=list)
    error: BuildkitError | None = None

    def add(self, rule: Rule, message: str, location: Sequence[Range]) -> None:
        """Note a violation."""
        self.found.append((rule, message, list(location)))

    def status(self) -> str:
        """The exit status that a command ends with for it."""
        return "1" if self.found or self.error is not None else "0"

    def to_json(self) -> Json:
        """The answer as JSON's value; the violations in the order in which they were found."""
        warnings = [self._warning(*each) for each in self.found]
        value: Json = {"warnings": warnings or None, "sources": [_source_info(self.source)]}
        if self.error is not None:
            located = find(self.error, LocationError)
            lines = _merged(located.locations) if located is not None else []
            value["buildError"] = {"message": error_text(self.error), "location": {}} | location_json(lines)
        return value

    @staticmethod
    def _warning(rule: Rule, message: str, location: list[Range]) -> Json:
        fields: Json = {"ruleName": rule.name}
        fields |= {
            key: text
            for key, text in (("description", rule.description), ("url", rule.url), ("detail", message))
            if text
        }
        return fields | {"location": {}} | location_json(location)

    def to_text(self) -> str:
        """The violations by their lines, each with its lines marked."""
        ordered = sorted(self.found, key=lambda each: (each[2][0].start, "") if each[2] else (-1, each[0].name))
        return "".join(self._shown(*each) for each in ordered)

    def _shown(self, rule: Rule, message: str, location: list[Range]) -> str:
        ranges = [pb.Range(start=pb.Position(line=line.start), end=pb.Position(line=line.end)) for line in location]
        url = f" - {rule.url}" if rule.url else ""
        marked = print_source(errdefs_pb2.Source(info=self.source, ranges=ranges))
        return f"\nWARNING: {rule.name}{url}\n{message}\n{marked}"


def _merged(locations: Sequence[Sequence[Range]]) -> list[Range]:
    """All places in order, those that overlap as one."""
    merged: list[Range] = []
    for line in sorted((line for location in locations for line in location), key=lambda line: line.start):
        if merged and line.start <= merged[-1].end:
            merged[-1] = Range(merged[-1].start, max(merged[-1].end, line.end))
        else:
            merged.append(line)
    return merged


def _present(fields: Mapping[str, object]) -> Json:
    return {key: value for key, value in fields.items() if value}


def _source_info(info: pb.SourceInfo) -> Json:
    fields = _present({"filename": info.filename, "data": info.data})
    if info.HasField("definition"):
        fields["definition"] = _definition(info.definition)
    return fields | _present({"language": info.language})


def _definition(definition: pb.Definition) -> Json:
    metadata = {key: _op_metadata(definition.metadata[key]) for key in sorted(definition.metadata)}
    fields = _present({"def": list(getattr(definition, "def")), "metadata": metadata})
    if definition.HasField("Source"):
        source = definition.Source
        places = {key: _locations(source.locations[key]) for key in sorted(source.locations)}
        fields["Source"] = _present({"locations": places, "infos": [_source_info(info) for info in source.infos]})
    return fields


def _op_metadata(metadata: pb.OpMetadata) -> Json:
    fields = _present({"ignore_cache": metadata.ignore_cache, "description": _sorted(metadata.description)})
    if metadata.HasField("export_cache"):
        fields["export_cache"] = _present({"Value": metadata.export_cache.Value})
    fields |= _present({"caps": _sorted(metadata.caps)})
    if metadata.HasField("progress_group"):
        group = metadata.progress_group
        fields["progress_group"] = _present({"id": group.id, "name": group.name, "weak": group.weak})
    return fields


def _sorted(values: Mapping[str, object]) -> Json:
    return {key: values[key] for key in sorted(values)}


def _locations(locations: pb.Locations) -> Json:
    listed: list[Json] = []
    for location in locations.locations:
        ranges = [Range(line.start.line, line.end.line) for line in location.ranges]
        inner = location_json(ranges).get("location", {})
        assert isinstance(inner, dict)
        listed.append(_present({"sourceIndex": location.sourceIndex}) | inner)
    return _present({"locations": listed})
