"""The vectors `refs`: small pure functions, each by its table."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pybuildkit.client import ociindex
from pybuildkit.golang import duration, json, time
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.golang.strconv import format_float
from pybuildkit.third_party import csvvalue, platforms, shlex, units
from pybuildkit.third_party.containerd import filters
from pybuildkit.third_party.distribution import reference
from pybuildkit.util import gitutil

Case = dict[str, Any]


def _verb(spec: str) -> tuple[str, int | None, bool]:
    """A printf verb such as `%#.2f`: its letter, its precision, whether it has a `#`."""
    body = spec[1:-1]
    _, dot, precision = body.partition(".")
    return spec[-1], int(precision or "0") if dot else None, "#" in body


def _units(case: Case) -> object:
    return {
        spec: units.format(int(case["input"]), v, p, sharp=s) for spec in case["result"] for v, p, s in [_verb(spec)]
    }


def _float_seconds(case: Case) -> object:
    ns = int(case["input"])
    out = {"string": duration.string(ns)}
    for spec in case["result"]:
        if spec != "string":
            width = spec[1:].partition(".")[0]
            precision = _verb(spec)[1]
            text = format_float(duration.seconds(ns), "f", 6 if precision is None else precision)
            out[spec] = text.rjust(int(width or "0"))
    return out


def _parse_duration(case: Case) -> object:
    ns = duration.parse(case["input"])
    return {"ns": str(ns), "string": duration.string(ns)}


def _time_string(case: Case) -> object:
    at = time.parse(case["input"])
    return {
        "json": json.marshal(time.rfc3339_nano(*at)),
        "rfc3339": time.rfc3339(*at),
        "string": time.string(*at),
    }


def _image_ref(case: Case) -> object:
    ref = reference.parse_normalized_named(case["input"])
    return {
        "domain": ref.domain,
        "familiar": str(ref.familiar()),
        "name": ref.name(),
        "path": ref.path,
        "string": str(ref),
        "tag_name_only": str(reference.tag_name_only(ref)),
    }


def _git_url(case: Case) -> object:
    url = gitutil.parse_url(case["input"])
    out = {"host": url.host, "path": url.path, "remote": url.remote, "scheme": url.scheme}
    if url.user:
        out["user"] = url.user
    if url.opts is not None:
        out |= {"ref": url.opts.ref, "subdir": url.opts.subdir}
    return out


def _platform(case: Case) -> object:
    parsed = platforms.parse(case["input"], platforms.Platform(os="linux", architecture="amd64"))
    return {
        "architecture": parsed.architecture,
        "format": platforms.format(parsed),
        "format_all": platforms.format_all(parsed),
        "normalized": platforms.format(platforms.normalize(parsed)),
        "os": parsed.os,
        "os_features": list(parsed.os_features) or None,
        "os_version": parsed.os_version,
        "variant": parsed.variant,
    }


def _filters(case: Case) -> object:
    passes = filters.parse_all(case.get("filters") or [])

    def adaptor(fields: dict[str, str]) -> filters.Adaptor:
        def field(path: Sequence[str]) -> str | None:
            return fields.get(".".join(path))

        return field

    return [passes.match(adaptor(fields)) for fields in case["objects"]]


_FUNCTIONS: dict[str, Callable[[Case], object]] = {
    "units": _units,
    "float-seconds": _float_seconds,
    "parse-duration": _parse_duration,
    "time-string": _time_string,
    "image-ref": _image_ref,
    "git-url": _git_url,
    "platform": _platform,
    "csv": lambda case: csvvalue.fields(case["input"]),
    "shlex": lambda case: shlex.split(case["input"]),
    "filters": _filters,
}


def _check(case: Case) -> str | None:
    try:
        got, error = _FUNCTIONS[case["group"]](case), None
    except BuildkitError as err:
        got, error = None, error_text(err)
    if error != case["error"]:
        return f"error {error!r}, expected {case['error']!r}"
    if error is None and got != case["result"]:
        return f"got {got!r}, expected {case['result']!r}"
    return None


def _apply(store: ociindex.StoreIndex, op: Case) -> object:
    if op["op"] == "put":
        names = [ociindex.tag(n["tag"]) if "tag" in n else ociindex.name(n["name"]) for n in op.get("names") or ()]
        store.put(op["desc"], *names)
        return None
    if op["op"] == "get":
        return store.get(op.get("arg", ""))
    return store.get_single() if op["op"] == "getsingle" else store.read()


def _check_ociindex(case: Case, work: Path) -> str | None:
    folder = work / "oci"
    shutil.rmtree(folder, ignore_errors=True)
    if not case.get("no_dir"):
        folder.mkdir()
    index = folder / "index.json"
    if "initial_index" in case:
        index.write_bytes(case["initial_index"].encode("utf-8", "surrogateescape"))
    store = ociindex.new_store_index(str(folder))
    for number, op in enumerate(case["ops"], 1):
        try:
            result, error = _apply(store, op), None
        except BuildkitError as err:
            result, error = None, error_text(err).replace(str(work), "/tmp/w")
        plain = None if result is None else json.unmarshal(json.marshal(result))
        after = index.read_text() if index.exists() else None
        got = (plain, error, after)
        expected = (op.get("result"), op.get("error"), op.get("index_after"))
        if got != expected:
            return f"operation {number}: got {got!r}, expected {expected!r}"
    layout = folder / "oci-layout"
    files = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    end = (files, layout.read_text() if layout.exists() else None)
    if end != (case.get("files_after") or [], case.get("layout_after")):
        return f"left {end!r}"
    return None


def run(cases: list[Case], work: Path) -> Iterator[tuple[str, str | None]]:
    """The name of each case, and None or what is wrong."""
    for case in cases:
        is_index = case["group"] == "ociindex"
        yield case["name"], _check_ociindex(case, work) if is_index else _check(case)
