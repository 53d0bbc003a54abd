"""A base image that cannot be found, where a stage or a well-known image was probably meant."""

from __future__ import annotations

import pytest

from fake_buildkitd.frontend.dockerfile import ConvertOpt, convert
from pybuildkit.client import llb
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.third_party.platforms import Platform


class _NoImage(BuildkitError):
    """Says that there is no such image."""


def _resolve(ref: str, platform: Platform, log_name: str) -> tuple[str, bytes]:
    raise _NoImage(f"no {ref}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "FROM scratch AS builder\nFROM bulder\n",
            "bulder: no docker.io/library/bulder:latest (did you mean builder?)",
        ),
        (
            "FROM scratch AS builder\nFROM scratch\nCOPY --from=bulder / /\n",
            "bulder: no docker.io/library/bulder:latest (did you mean builder?)",
        ),
        ("FROM alpin\n", "alpin: no docker.io/library/alpin:latest (did you mean alpine?)"),
        ("FROM something.else/entirely\n", "something.else/entirely: no something.else/entirely:latest"),
    ],
)
def test_base_image(text: str, said: str) -> None:
    opt = ConvertOpt(main_context=lambda ignored, paths: llb.local("context"), resolve_image=_resolve)
    with pytest.raises(BuildkitError) as caught:
        convert(text, opt)
    assert error_text(caught.value) == said
