"""Whether a frontend's result is for the platforms that were asked for.

Mirrors exporter/verifier of v0.32.2.

Differs on purpose: only results that name their platforms themselves are looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from fake_buildkitd.image._spec import read_platform
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
    made = [platforms.normalize(read_platform(entry["Platform"])) for entry in json.loads(data)["Platforms"]]
    asked: dict[str, Platform] = {}
    warnings: list[str] = []
    texts = opts["platform"].split(",") if "platform" in opts else [platforms.format(platforms.default_spec())]
    for text in texts:
        try:
            platform = platforms.normalize(platforms.parse(text))
        except BuildkitError as err:
            warnings.append(f"Invalid platform result requested {quote(text)}: {error_text(err)}")
            platform = Platform()
        name = platforms.format_all(platform)
        if name in asked:
            warnings.append(f"Duplicate platform result requested {quote(text)}")
        asked[name] = platform
    return warnings or _compared(texts, asked, made, is_map)


def _compared(texts: list[str], asked: Mapping[str, Platform], made: list[Platform], is_map: bool) -> list[str]:
    if len(asked) == len(made) == 1:
        result = made[0]
        if platforms.format_all(result) not in asked and not next(iter(asked.values())).os_version:
            result = Platform(result.os, result.architecture, result.variant, os_features=result.os_features)
        name = platforms.format_all(result)
        if name in asked:
            return []
        return [f"Requested platform {quote(texts[0])} does not match result platform {quote(name)}"]
    if not is_map and len(asked) > 1:
        return ["Multiple platforms requested but result is not multi-platform"]
    names = [platforms.format_all(each) for each in made]
    if sorted(asked) == sorted(names):
        return []
    shown = [",".join(sorted(each)) for each in (asked, names)]
    return [f"Requested platforms {shown[0]} do not match result platforms {shown[1]}"]
