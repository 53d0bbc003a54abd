"""Values of build options: platforms, hosts, limits, networks, and what to import.

Mirrors frontend/dockerui/attr.go and util/cpuset of v0.32.2, with ParseUlimit of github.com/docker/go-units.

Differs on purpose: what only RUN would need is judged and not kept, since this daemon runs no processes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

from pybuildkit.frontend.gateway.pb import gateway_pb2
from pybuildkit.golang import json
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import atoi, parse_int, parse_uint, quote
from pybuildkit.third_party import csvvalue, platforms
from pybuildkit.third_party.platforms import Platform

_ULIMITS = frozenset({"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"})
_ULIMITS |= {"rss", "rtprio", "rttime", "sigpending", "stack"}
_MAX_CPU = 8192


class OptionError(BuildkitError):
    """A build option that cannot be read."""


def check_removed(opts: Mapping[str, str]) -> None:
    """Refuse what old versions of BuildKit had.

    Raises:
        OptionError: names the option.
    """
    if opts.get("override-copy-image"):
        raise OptionError('support for "override-copy-image" was removed in BuildKit 0.11')
    if opts.get("build-arg:BUILDKIT_DISABLE_FILEOP", "") in ("1", "t", "T", "TRUE", "true", "True"):
        raise OptionError('support for "BUILDKIT_DISABLE_FILEOP" build-arg was removed in BuildKit 0.11')


def parse_platforms(text: str) -> list[Platform]:
    """The target platforms, none for an empty text; an empty one among others is a mistake.

    Raises:
        BuildkitError: "failed to parse target platform …".
    """
    found: list[Platform] = []
    for each in text.split(",") if text else ():
        try:
            found.append(platforms.normalize(platforms.parse(each)))
        except BuildkitError as err:
            raise wrap(err, f"failed to parse target platform {each}") from err
    return found


def check_run_options(opts: Mapping[str, str]) -> None:
    """Judge the options that images and processes are governed by, in the frontend's order.

    Raises:
        BuildkitError: the first that cannot be read.
    """
    mode = opts.get("image-resolve-mode", "")
    if mode not in ("", "default", "pull", "local"):
        raise OptionError(f"invalid image-resolve-mode: {mode}")
    _judge(_check_hosts, opts.get("add-hosts", ""), "failed to parse additional hosts")
    _judge(_check_number, opts.get("shm-size", ""), "failed to parse shm size")
    _judge(_check_ulimits, opts.get("ulimit", ""), "failed to parse ulimit")
    try:
        for key, check in _RESOURCES.items():
            if opts.get(key):
                check(key, opts[key])
    except BuildkitError as err:
        raise wrap(err, "failed to parse resource limits") from err
    network = opts.get("force-network-mode", "")
    if network not in ("", "none", "host", "sandbox"):
        raise OptionError(f"invalid netmode {network}")


def _judge(check: Callable[[str], object], text: str, what: str) -> None:
    if not text:
        return
    try:
        check(text)
    except BuildkitError as err:
        raise wrap(err, what) from err


def _check_number(text: str) -> None:
    parse_int(text, 10, 64)


def _check_hosts(text: str) -> None:
    for field in csvvalue.fields(text):
        _, equals, address = field.lower().partition("=")
        if not equals:
            raise OptionError(f"invalid key-value pair {field}")
        try:
            ipaddress.ip_address(address)
        except ValueError as err:
            raise OptionError(f"failed to parse IP {address}") from err
        if "%" in address:
            raise OptionError(f"failed to parse IP {address}")


def _check_ulimits(text: str) -> None:
    for field in csvvalue.fields(text):
        name, equals, limits = field.partition("=")
        if not equals:
            raise OptionError(f"invalid ulimit argument: {field}")
        if name not in _ULIMITS:
            raise OptionError(f"invalid ulimit type: {name}")
        first, *others = limits.split(":")
        if len(others) > 1:
            raise OptionError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
        hard = parse_int(others[0], 10, 64) if others else None
        soft = parse_int(first, 10, 64)
        if hard is None or hard == -1:
            continue
        unordered = "ulimit soft limit must be less than or equal to hard limit: "
        if soft == -1:
            raise OptionError(f"{unordered}soft: -1 (unlimited), hard: {hard}")
        if soft > hard:
            raise OptionError(f"{unordered}{soft} > {hard}")


def _limit(parse: Callable[[str, int, int], int], allowed: Callable[[int], bool], rule: str) -> _Check:
    def check(key: str, text: str) -> None:
        what = f"invalid {key} value: {text}"
        try:
            value = parse(text, 10, 64)
        except BuildkitError as err:
            raise wrap(err, what) from err
        if not allowed(value):
            raise OptionError(f"{what}: must be {rule}")

    return check


def _check_cpus(key: str, text: str) -> None:
    for part in filter(None, (each.strip() for each in text.split(","))):
        what = f"invalid {key} value: {text}: "
        first, dash, last = part.partition("-")
        kind = "range" if dash else "element"
        numbers = [_number(each.strip()) for each in ([first, last] if dash else [part])]
        if min(numbers) < 0 or numbers[-1] < numbers[0]:
            raise OptionError(f"{what}invalid cpuset {kind} {quote(part)}")
        if numbers[-1] > _MAX_CPU:
            raise OptionError(f"{what}cpuset {kind} {quote(part)} exceeds maximum {_MAX_CPU}")


def _number(text: str) -> int:
    """A number, -1 where the text is none."""
    try:
        return atoi(text)
    except BuildkitError:
        return -1


_Check = Callable[[str, str], None]

_RESOURCES: dict[str, _Check] = {
    "memory": _limit(parse_int, lambda value: value > 0, "> 0"),
    "memswap": _limit(parse_int, lambda value: value == -1 or value > 0, "-1 (unlimited) or > 0"),
    "cpushares": _limit(parse_uint, lambda value: value > 0, "> 0"),
    "cpuperiod": _limit(parse_uint, lambda value: value > 0, "> 0"),
    "cpuquota": _limit(parse_int, lambda value: value > 0, "> 0"),
    "cpusetcpus": _check_cpus,
    "cpusetmems": _check_cpus,
}


def cache_imports(opts: Mapping[str, str]) -> list[gateway_pb2.CacheOptionsEntry]:
    """The caches to import: a list in JSON, and names of images, separated by commas, as older clients give them.

    Raises:
        BuildkitError: it is no list of caches.
    """
    entries = _listed_imports(opts.get("cache-imports", ""))
    old = opts.get("cache-from", "")
    named = old.split(",") if old else []
    return entries + [gateway_pb2.CacheOptionsEntry(Type="registry", Attrs={"ref": ref}) for ref in named]


def _listed_imports(text: str) -> list[gateway_pb2.CacheOptionsEntry]:
    if not text:
        return []
    what = f"failed to unmarshal cache-imports ({quote(text)})"
    try:
        value = json.unmarshal(text)
    except BuildkitError as err:
        raise wrap(err, what) from err
    if value is None:
        return []
    kind = "[]*moby_buildkit_v1.CacheOptionsEntry"
    if not isinstance(value, list):
        raise OptionError(f"{what}: json: cannot unmarshal {_json_kind(value)} into Go value of type {kind}")
    refused = f"{what}: json: cannot unmarshal "
    return [_cache_entry(entry, refused, kind.removeprefix("[]*")) for entry in value if entry is not None]


def _cache_entry(entry: object, refused: str, kind: str) -> gateway_pb2.CacheOptionsEntry:
    read = gateway_pb2.CacheOptionsEntry()
    if not isinstance(entry, dict):
        raise OptionError(f"{refused}{_json_kind(entry)} into Go value of type {kind}")
    for key, value in entry.items():
        wanted = {"type": ("Type", "string"), "attrs": ("Attrs", "map[string]string")}.get(key.lower())
        if wanted is None or value is None:
            continue
        if isinstance(value, str) and wanted[0] == "Type":
            read.Type = value
        elif isinstance(value, dict) and wanted[0] == "Attrs":
            read.Attrs.update(_texts(value, f"{refused}%s into Go struct field CacheOptionsEntry.Attrs of type string"))
        else:
            field = f"CacheOptionsEntry.{wanted[0]} of type {wanted[1]}"
            raise OptionError(f"{refused}{_json_kind(value)} into Go struct field {field}")
    return read


def _texts(value: Mapping[str, object], refused: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, text in value.items():
        if text is not None and not isinstance(text, str):
            raise OptionError(refused % _json_kind(text))
        found[key] = text or ""
    return found


def _json_kind(value: object) -> str:
    """What JSON calls the kind of a value."""
    for kind, name in ((bool, "bool"), (str, "string"), (dict, "object"), (list, "array")):
        if isinstance(value, kind):
            return name
    return "number"
