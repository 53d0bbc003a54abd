"""Base64 as Go's encoding/base64 reads it."""

from __future__ import annotations

import pytest

from pybuildkit.golang.jsontypes import Base64Error, decode_base64


@pytest.mark.parametrize(
    ("text", "data"),
    [("", b""), ("dTpw", b"u:p"), ("dTpwcA==", b"u:pp"), ("dT\r\npw", b"u:p"), ("dTpxcR==\n", b"u:qq"), ("\n", b"")],
)
def test_good(text: str, data: bytes) -> None:
    assert decode_base64(text) == data


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("!", 0),
        ("dTpwQ", 4),
        ("dTpw====", 4),
        ("dTpwcA=", 7),
        ("DUJQ=", 4),
        ("+Q\nRU=", 5),
        ("Q\rQU\nD=", 6),
        ("D/RQQ\nQ++\n\r==", 11),
        ("dTpwcA=x", 6),
        ("dTpwcA==dTpw", 8),
        ("dTpwP-8_", 5),
        (" dTpw", 0),
        ("dTé", 2),
    ],
)
def test_bad(text: str, position: int) -> None:
    with pytest.raises(Base64Error) as caught:
        decode_base64(text)
    assert str(caught.value) == f"illegal base64 data at input byte {position}"
