"""Whether a frontend's result is for the platforms that were asked for.

Mirrors exporter/verifier of v0.32.2.

Differs on purpose: only results that name their platforms themselves are looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.golang.strconv import quote
from pybuildkit.third_party import platforms
from pybuildkit.third_party.platforms import Platform

_PLATFORMS = "refs.platforms"


def check_platforms(opts: Mapping[str, str], metadata: Mapping[str, bytes], is_map: bool) -> list[str]:
    """What a user should be warned of.

    Args:
        opts: the frontend's options, of which `platform` counts.
        metadata: the result's.
        is_map: whether the result has a tree for each platform.
    """
    data = metadata.get(_PLATFORMS)
    if data is None:
        return []
    made = [_normal(_platform(entry["Platform"])) for entry in json.loads(data)["Platforms"]]
    asked: dict[str, None] = {}
    warnings: list[str] = []
    texts = opts["platform"].split(",") if "platform" in opts else [platforms.format(platforms.default_spec())]
    for text in texts:
        try:
            name = _normal(platforms.parse(text))
        except BuildkitError as err:
            warnings.append(f"Invalid platform result requested {quote(text)}: {error_text(err)}")
            name = ""
        if name in asked:
            warnings.append(f"Duplicate platform result requested {quote(text)}")
        asked[name] = None
    return warnings or _compared(texts, list(asked), made, is_map)


def _compared(texts: list[str], asked: list[str], made: list[str], is_map: bool) -> list[str]:
    if len(asked) == len(made) == 1:
        if made == asked:
            return []
        return [f"Requested platform {quote(texts[0])} does not match result platform {quote(made[0])}"]
    if not is_map and len(asked) > 1:
        return ["Multiple platforms requested but result is not multi-platform"]
    if sorted(asked) == sorted(made):
        return []
    names = [",".join(sorted(each)) for each in (asked, made)]
    return [f"Requested platforms {names[0]} do not match result platforms {names[1]}"]


def _platform(value: Mapping[str, str]) -> Platform:
    return Platform(os=value["os"], architecture=value["architecture"], variant=value.get("variant", ""))


def _normal(platform: Platform) -> str:
    return platforms.format_all(platforms.normalize(platform))
