"""`--secret`. Mirrors cmd/buildctl/build/secret.go, v0.32.2."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pybuildkit.cmd.buildctl.build._build import FlagValueError, csv_fields
from pybuildkit.golang.errors import wrap
from pybuildkit.golang.strconv import quote
from pybuildkit.session.secrets.secretsprovider import Source, new_secret_provider, new_store
from pybuildkit.third_party import csvvalue

if TYPE_CHECKING:
    from pybuildkit.session import Attachable


def parse_secret(values: Iterable[str]) -> Attachable:
    """The service that answers for the secrets.

    Raises:
        FlagValueError: a malformed value.
        BuildkitError: a secret's file that is missing or too large.
    """
    store = new_store([_source(value) for value in values])
    return new_secret_provider(store)


def _source(value: str) -> Source:
    kind = name = path = env = ""
    try:
        fields = csv_fields(value, "invalid field '{}' must be a key=value pair")
    except (csvvalue.ParseError, csvvalue.EmptyLineError) as err:
        raise wrap(err, "failed to parse csv secret") from err
    for key, text, field in fields:
        match key:
            case "type":
                if text not in ("file", "env"):
                    raise FlagValueError(f"unsupported secret type {quote(text)}")
                kind = text
            case "id":
                name = text
            case "source" | "src":
                path = text
            case "env":
                env = text
            case _:
                raise FlagValueError(f"unexpected key '{key}' in '{field}'")
    if kind == "env" and not env:
        env, path = path, ""
    return Source(id=name, file_path=path, env=env)
