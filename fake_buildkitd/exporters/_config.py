"""An image's configuration as it is exported: the frontend's, with layers, history and times.

Mirrors patchImageConfig, normalizeLayersAndHistory and defaultImageConfig of exporter/containerimage/writer.go,
v0.32.2.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from fake_buildkitd.exporters._source import ExportError
from fake_buildkitd.image import ImageError, Layer
from fake_buildkitd.image._spec import Json, objects, platform_json, read_object
from pybuildkit.golang import json
from pybuildkit.golang import time as gotime
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.third_party import platforms

_SECOND = 1_000_000_000
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INLINE_KEY = "moby.buildkit.cache.v0"
_HISTORY = ("created", "created_by", "author", "comment", "empty_layer")


def default_config() -> bytes:
    """The configuration of a result that has none."""
    platform = platforms.normalize(platforms.default_spec())
    config: Json = {"Env": [f"PATH={_PATH}"], "WorkingDir": "/"}
    value = {**platform_json(platform), "config": config, "rootfs": {"type": "layers", "diff_ids": None}}
    return json.marshal(value).encode()


def history_of(config: bytes) -> list[Json]:
    """The history of a configuration, its members in the specification's order.

    Raises:
        BuildkitError: "failed to unmarshal history from config: …", "invalid null image config for export".
    """
    if config.strip() == b"null":
        raise ImageError("invalid null image config for export")
    try:
        value = read_object(config, "image config")
    except ImageError as err:
        raise wrap(err, "failed to unmarshal history from config") from err
    return [{key: entry[key] for key in _HISTORY if entry.get(key)} for entry in objects(value.get("history"))]


def normalize_history(history: Sequence[Json], layers: Sequence[Layer]) -> list[Json]:
    """The history with an entry for each layer, and a time for each entry."""
    out = [dict(entry) for entry in history]
    left = len(layers)
    for entry in out:
        if entry.get("empty_layer"):
            continue
        if left == 0:
            entry["empty_layer"] = True
        else:
            left -= 1
    out += [
        {
            "created": _time(layer.created_at),
            "created_by": layer.description or "created by buildkit",
            "comment": "buildkit.exporter.image.v0",
        }
        for layer in layers[len(layers) - left :]
    ]
    remaining = list(layers)
    for entry in out:
        if not entry.get("empty_layer"):
            layer = remaining.pop(0)
            entry.setdefault("created", _time(layer.created_at))
    _fill_times(out)
    return [{key: entry[key] for key in _HISTORY if key in entry} for entry in out]


def _fill_times(history: list[Json]) -> None:
    """Give entries without a time that of the layer before, those at the start that of the first new layer."""
    created: object = None
    missing = False
    for entry in history:
        if "created" not in entry:
            missing = True
            continue
        created = entry["created"]
        if missing:
            break
    missing = False
    for entry in history:
        if "created" in entry:
            if missing:
                created = entry["created"]
            continue
        missing = True
        if created is not None:
            entry["created"] = created


def _time(ns: int) -> str:
    return gotime.rfc3339_nano(ns, 0)


def _later(text: object, epoch: int) -> bool:
    """Whether a time is missing or after the epoch (in seconds)."""
    if not isinstance(text, str):
        return True
    moment = gotime.parse(text)
    return moment.ns > epoch * _SECOND


def patch_config(
    text: bytes,
    layers: Sequence[Layer],
    history: list[Json],
    base_history: Sequence[Json],
    epoch: int | None,
    inline: bytes | None,
) -> bytes:
    """The configuration for an image of these layers.

    Args:
        base_history: of the image that this one began with; its times stay.
        epoch: seconds; later times become this one.
        inline: the build cache that the image carries.

    Raises:
        BuildkitError: the configuration is none.
    """
    try:
        value = read_object(text, "image config for patch")
    except ImageError as err:
        raise wrap(err, "invalid image config for export") from err
    for key, name in (("os", "os"), ("architecture", "architecture")):
        if not value.get(key):
            raise ExportError(f"invalid image config for export: missing {name}")
    value["rootfs"] = {"type": "layers", "diff_ids": [layer.diff_id for layer in layers] or None}
    try:
        if epoch is not None:
            _clamp(value, history, base_history, epoch)
    except BuildkitError as err:
        raise wrap(err, "failed to unmarshal creation time") from err
    value["history"] = history or None
    if "created" not in value:
        times = [entry["created"] for entry in history if "created" in entry]
        value["created"] = times[-1] if times else None
    if inline is not None:
        value[_INLINE_KEY] = base64.b64encode(inline).decode()
    return json.marshal(json.sorted_map(value)).encode("utf-8", "surrogateescape")


def _clamp(value: Json, history: list[Json], base_history: Sequence[Json], epoch: int) -> None:
    limit = _time(epoch * _SECOND)
    diverged = False
    for position, entry in enumerate(history):
        if not diverged and position < len(base_history) and entry == base_history[position]:
            continue
        diverged = True
        if _later(entry.get("created"), epoch):
            history[position] = {"created": limit, **{key: entry[key] for key in _HISTORY[1:] if key in entry}}
    if "created" in value and _later(value["created"], epoch):
        value["created"] = limit
