"""What a target can be given: build arguments, secrets and SSH agents, gathered while a Dockerfile is converted.

Mirrors frontend/dockerfile/dockerfile2llb/outline.go and frontend/subrequests/outline, v0.32.2.

Differs on purpose: what stands in one line keeps the order of the text, where BuildKit's is by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fake_buildkitd.frontend.dockerfile._location import Range

if TYPE_CHECKING:
    from fake_buildkitd.frontend.dockerfile._state import StageState


@dataclass(frozen=True)
class Known:
    """A build argument: its value, what is said of it, the arguments its value comes from, and where it stands."""

    name: str
    value: str
    description: str
    location: Sequence[Range]
    deps: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Service:
    """Something that the session is to serve, a secret or an agent."""

    name: str
    required: bool
    location: Sequence[Range]


@dataclass
class Capture:
    """What a stage knows and uses."""

    args: dict[str, Known] = field(default_factory=dict)
    used: dict[str, None] = field(default_factory=dict)
    services: dict[str, dict[str, Service]] = field(default_factory=lambda: {"secret": {}, "ssh": {}})

    def clone(self) -> Capture:
        """A copy to go on with."""
        return Capture(dict(self.args), dict(self.used), {kind: dict(each) for kind, each in self.services.items()})

    def add_arg(self, name: str, value: str, description: str, location: Sequence[Range], deps: Iterable[str]) -> None:
        """Note an argument of before the first FROM; one whose value comes from an older self takes over its origin."""
        found = set(deps)
        if name in found:
            old = self.args.get(name)
            found = (found - {name}) | (old.deps if old is not None else frozenset())
        self.args[name] = Known(name, value, description, location, frozenset(found))

    def use(self, names: Iterable[str]) -> None:
        """Note that arguments are used."""
        self.used.update(dict.fromkeys(names))

    def add_service(self, kind: str, service: Service) -> None:
        """Note a mount that the session serves; the first of a name counts."""
        self.services[kind].setdefault(service.name, service)

    def used_args(self) -> Iterator[Known]:
        """The arguments that are used, and those that their values come from."""
        pending, seen = list(self.used), set(self.used)
        for name in pending:
            known = self.args.get(name)
            if known is None:
                continue
            yield known
            more = [dep for dep in known.deps if dep not in seen]
            seen.update(more)
            pending += more


def _captures(stage: StageState) -> Iterator[Capture]:
    """Those of a stage, of what it builds on and of what it copies from."""
    yield stage.capture
    for other in [*([stage.base] if stage.base is not None else []), *stage.deps]:
        yield from _captures(other)


def _line(item: Known | Service) -> int:
    return item.location[0].start if item.location else 0


def outline_of(stage: StageState, source: bytes) -> tuple[dict[str, object], str]:
    """The outline of a target: as JSON's value, and as a text."""
    args: dict[str, Known] = {}
    services: dict[str, dict[str, Service]] = {"secret": {}, "ssh": {}}
    for capture in _captures(stage):
        for known in capture.used_args():
            args.setdefault(known.name, known)
        for kind, found in capture.services.items():
            services[kind] = {**found, **services[kind]}
    listed = sorted(args.values(), key=_line)
    kinds = {kind: sorted(found.values(), key=_line) for kind, found in services.items()}
    name, description = stage.stage.name, stage.stage.doc_comment
    value: dict[str, object] = {
        "name": name,
        "description": description,
        "args": [_filled(n=arg.name, d=arg.description, v=arg.value, at=arg.location) for arg in listed],
        "secrets": [_service(each) for each in kinds["secret"]],
        "ssh": [_service(each) for each in kinds["ssh"]],
        "sources": [source],
    }
    text = ""
    if name or description:
        rows = [["TARGET:", name or "(default)"], *([["DESCRIPTION:", description]] if description else [])]
        text += table(rows, 1) + "\n"
    if listed:
        rows = [["BUILD ARG", "VALUE", "DESCRIPTION"], *([arg.name, arg.value, arg.description] for arg in listed)]
        text += table(rows, 3) + "\n"
    for kind, head in (("secret", "SECRET"), ("ssh", "SSH")):
        if kinds[kind]:
            rows = [[each.name, "true" if each.required else ""] for each in kinds[kind]]
            text += table([[head, "REQUIRED"], *rows], 3) + "\n"
    return {key: each for key, each in value.items() if each}, text


def _filled(n: str, d: str, v: str, at: Sequence[Range]) -> dict[str, object]:
    fields: dict[str, object] = {"name": n}
    fields |= {key: text for key, text in (("description", d), ("value", v)) if text}
    return fields | location_json(at)


def _service(service: Service) -> dict[str, object]:
    fields: dict[str, object] = {"name": service.name}
    if service.required:
        fields["required"] = True
    return fields | location_json(service.location)


def location_json(lines: Sequence[Range]) -> dict[str, object]:
    """The member `location`, none where there are no lines."""
    ranges = [{"start": _position(line.start), "end": _position(line.end)} for line in lines]
    return {"location": {"ranges": ranges}} if ranges else {}


def _position(line: int) -> dict[str, object]:
    return {"line": line} if line else {}


def table(rows: Sequence[Sequence[str]], padding: int) -> str:
    """Rows in columns, the last of which is not padded."""
    widths = [max(len(row[column]) for row in rows) + padding for column in range(len(rows[0]) - 1)]
    lines = ["".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[-1] for row in rows]
    return "".join(f"{line}\n" for line in lines)
