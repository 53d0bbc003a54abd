"""Attestations: what a frontend says of its result, and where the result comes from (SLSA provenance).

Mirrors frontend/attestations, exporter/attestation, solver/llbsolver/proc/provenance.go and provenance.go, v0.32.2.

Differs on purpose: `attest:sbom` is refused, since this daemon runs no scanner, as is provenance in version v0.2; the
provenance names what was asked, the images that were used and, with `mode=max`, the operations, but no layers and no
sources.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote as url_quote

from fake_buildkitd.errors import UnsupportedError
from pybuildkit.frontend.gateway.pb import gateway_pb2
from pybuildkit.golang import time as gotime
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import parse_bool, quote
from pybuildkit.solver.pb import ops_pb2 as pb
from pybuildkit.third_party import csvvalue, platforms
from pybuildkit.third_party.distribution import reference
from pybuildkit.third_party.platforms import Platform

Json = dict[str, object]

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
_MAX_BYTES = 40 << 20
_OF_THE_SESSION = ("local.session", "local.unique", "oci.session")
_PREFIXES = ("attest:", "build-arg:BUILDKIT_ATTEST_")


class AttestationError(BuildkitError):
    """An attestation that cannot be made or read."""


@dataclass(frozen=True)
class Subject:
    """What an attestation is about: the thing it is attached to (`own`), or anything else by its digests."""

    own: bool = True
    name: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Attestation:
    """A predicate about a result, and the name of its file."""

    predicate_type: str
    path: str
    content: bytes
    subjects: tuple[Subject, ...] = (Subject(),)

    def statement(self, defaults: Sequence[Json]) -> Json:
        """The in-toto statement; `defaults` are the subjects that the attestation's own stand for.

        Raises:
            AttestationError: the predicate is no JSON.
        """
        subjects: list[Json] = []
        for subject in self.subjects:
            if not subject.own:
                subjects.append({"name": subject.name or "_", "digest": dict(subject.digests)})
                continue
            for default in defaults:
                names = [default["name"], *([subject.name] if subject.name else [])]
                subjects += [{"name": name, "digest": default["digest"]} for name in names]
        try:
            predicate = json.loads(self.content or b"null")
        except ValueError as err:
            raise AttestationError(f"failed to marshal attestation: {self.path} is no JSON: {err}") from err
        return {
            "_type": STATEMENT,
            "predicateType": self.predicate_type,
            "subject": subjects,
            "predicate": predicate,
        }


def parse(attrs: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The attestations that a build's options ask for, each with its own options.

    Raises:
        AttestationError: one of another kind. UnsupportedError: one that this daemon cannot make.
    """
    found: dict[str, dict[str, str]] = {}
    for key, value in attrs.items():
        kind = next((key.removeprefix(prefix) for prefix in _PREFIXES if key.startswith(prefix)), None)
        if kind is None:
            continue
        options = found.setdefault(kind.lower(), {})
        try:
            words = csvvalue.fields(value) if value else []
        except BuildkitError as err:
            raise wrap(err, f"failed to parse {kind.lower()}") from err
        for word in words:
            name, _, text = word.partition("=")
            options[name] = text
    for kind in found:
        if kind not in ("sbom", "provenance"):
            raise AttestationError(f"unknown attestation type {quote(kind)}")
    if "sbom" in found:
        raise UnsupportedError("attestation sbom is not supported by this daemon: it runs no scanner")
    version = found.get("provenance", {}).get("version", "v1")
    if version != "v1":
        raise UnsupportedError(f"provenance in version {version} is not supported by this daemon, use v1")
    return found


def check_provenance(options: Mapping[str, str]) -> None:
    """Judge the options of a provenance, which BuildKit looks at only once everything is built.

    Raises:
        AttestationError: they cannot be followed.
    """
    _boolean(options, "reproducible")
    if options.get("mode", "max") not in ("min", "max", "full"):
        raise AttestationError(f"invalid mode {quote(options['mode'])}")
    _boolean(options, "complete-materials")


def _boolean(options: Mapping[str, str], name: str) -> None:
    if name not in options:
        return
    try:
        parse_bool(options[name])
    except BuildkitError as err:
        raise wrap(err, f"failed to parse {name} flag {quote(options[name])}") from err


ReadFile = Callable[[str], Awaitable[bytes]]
ReadDir = Callable[[str], Awaitable[list[str]]]


async def read(message: gateway_pb2.Attestation, read_file: ReadFile, read_dir: ReadDir) -> list[Attestation]:
    """What a client's frontend attests; a bundle is a directory of statements.

    Args:
        read_file, read_dir: read from the attestation's tree.

    Raises:
        BuildkitError: it cannot be read.
    """
    if message.kind == gateway_pb2.Bundle:
        names = await read_dir(message.path)
        return [await _bundled(posixpath.join(message.path, name), read_file) for name in names]
    content = await _limited(message.path, read_file)
    subjects = tuple(
        Subject(each.kind == gateway_pb2.Self, each.name, digest_map(each.digest)) for each in message.inTotoSubjects
    )
    return [Attestation(message.inTotoPredicateType, message.path, content, subjects or (Subject(),))]


async def _limited(path: str, read_file: ReadFile) -> bytes:
    content = await read_file(path)
    if len(content) > _MAX_BYTES:
        raise AttestationError(f"{path} exceeds {_MAX_BYTES} bytes")
    return content


async def _bundled(path: str, read_file: ReadFile) -> Attestation:
    try:
        statement = json.loads(await _limited(path, read_file))
        kind, predicate = str(statement["predicateType"]), json.dumps(statement.get("predicate")).encode()
        subjects = tuple(
            Subject(False, str(each.get("name", "")), dict(each.get("digest") or {}))
            for each in statement.get("subject") or []
        )
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise AttestationError(f"cannot decode in-toto statement {path}") from err
    return Attestation(kind, path, predicate, subjects or (Subject(),))


def digest_map(digests: Sequence[str]) -> dict[str, str]:
    """Digests by their algorithm."""
    return {algorithm: digits for algorithm, _, digits in (each.partition(":") for each in digests)}


@dataclass(frozen=True)
class BuildInfo:
    """What provenance tells of a build; times in nanoseconds since the epoch."""

    id: str
    frontend: str
    attrs: Mapping[str, str]
    started: int
    finished: int


def provenance(info: BuildInfo, definition: pb.Definition | None, options: Mapping[str, str]) -> Attestation:
    """Where a result comes from.

    Args:
        definition: made the result; None for an empty one.
        options: as `parse` gives them.
    """
    ops = [pb.Op.FromString(data) for data in getattr(definition, "def")] if definition is not None else []
    everything = options.get("mode", "max") != "min"
    internal: Json = {"builderPlatform": platforms.format_all(platforms.normalize(platforms.default_spec()))}
    if everything and definition is not None:
        internal = {"buildConfig": _build_config(definition, ops), **internal}
    request: Json = {"frontend": info.frontend} if info.frontend else {}
    args = {key: value for key, value in sorted(info.attrs.items()) if not key.startswith(_PREFIXES)}
    if everything and args:
        request["args"] = args
    names = sorted({op.source.identifier.partition("://")[2] for op in ops if _scheme(op) == "local"})
    if names:
        request["locals"] = [{"name": name} for name in names]
    definition_json: Json = {
        "buildType": BUILD_TYPE,
        "externalParameters": {"configSource": {}, "request": request},
        "internalParameters": internal,
    }
    used = _materials(ops)
    if used:
        definition_json["resolvedDependencies"] = used
    metadata: Json = {
        "invocationId": info.id,
        "startedOn": gotime.rfc3339_nano(info.started, 0),
        "finishedOn": gotime.rfc3339_nano(info.finished, 0),
        "buildkit_metadata": {},
        "buildkit_hermetic": not used and not any(op.HasField("exec") for op in ops),
        "buildkit_completeness": {"request": everything and "local" not in map(_scheme, ops)},
    }
    if parse_bool(options.get("reproducible", "false")):
        metadata["buildkit_reproducible"] = True
    predicate: Json = {
        "buildDefinition": definition_json,
        "runDetails": {"builder": {"id": options.get("builder-id", "")}, "metadata": metadata},
    }
    return Attestation(PROVENANCE, "provenance.json", json.dumps(predicate).encode())


def _scheme(op: pb.Op) -> str:
    return op.source.identifier.partition("://")[0] if op.HasField("source") else ""


def _build_config(definition: pb.Definition, ops: Sequence[pb.Op]) -> Json:
    from google.protobuf import json_format

    from fake_buildkitd.solver import digest_of

    steps = {digest_of(data): f"step{index}" for index, data in enumerate(getattr(definition, "def"))}
    described: list[Json] = []
    for index, given in enumerate(ops):
        op = pb.Op()
        op.CopyFrom(given)
        for key in _OF_THE_SESSION if op.HasField("source") else ():
            op.source.attrs.pop(key, None)
        kind = op.WhichOneof("op")
        body = json_format.MessageToDict(op, preserving_proto_field_name=True)
        body.pop("inputs", None)
        rest = {key: value for key, value in body.items() if key != kind}
        shown: Json = {"id": f"step{index}", "op": {"Op": {kind: body[kind]} if kind else {}, **rest}}
        if op.inputs:
            shown["inputs"] = [f"{steps[each.digest]}:{each.index}" for each in op.inputs if each.digest in steps]
        described.append(shown)
    return {"digestMapping": dict(sorted(steps.items())), "llbDefinition": described}


def _materials(ops: Sequence[pb.Op]) -> list[Json]:
    found: list[Json] = []
    for op in ops:
        scheme, _, name = op.source.identifier.partition("://") if op.HasField("source") else ("", "", "")
        if scheme not in ("docker-image", "oci-layout"):
            continue
        digest = reference.parse_normalized_named(name).digest
        platform = op.platform
        wanted = Platform(os=platform.OS, architecture=platform.Architecture, variant=platform.Variant)
        entry: Json = {"uri": package_url(name, wanted if wanted.os else None, with_digest=True)}
        if digest:
            entry["digest"] = digest_map([digest])
        found.append(entry)
    return found


def package_url(name: str, platform: Platform | None, *, with_digest: bool = False) -> str:
    """The package URL of an image, `pkg:docker/NAME@TAG?platform=…`."""
    parsed = reference.tag_name_only(reference.parse_normalized_named(name))
    short = parsed.familiar()
    url = f"pkg:docker/{url_quote(short.name(), safe='/')}"
    if parsed.tag:
        url += f"@{parsed.tag}"
    values = []
    if parsed.digest and with_digest:
        values.append(f"digest={url_quote(parsed.digest, safe=':')}")
    if platform is not None:
        values.append(f"platform={url_quote(platforms.format_all(platforms.normalize(platform)), safe='')}")
    return url + ("?" + "&".join(values) if values else "")
