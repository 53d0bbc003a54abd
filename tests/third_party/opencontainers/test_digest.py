"""Digests."""

import pytest

from pybuildkit.third_party.opencontainers import digest


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("sha256:" + "0" * 64, None),
        ("sha512:" + "f" * 128, None),
        ("", "invalid checksum digest format"),
        ("sha256", "invalid checksum digest format"),
        ("sha256:", "invalid checksum digest format"),
        (":" + "0" * 64, "invalid checksum digest format"),
        ("sha256:" + "0" * 63, "invalid checksum digest length"),
        ("sha256:" + "A" * 64, "invalid checksum digest format"),
        ("md5:" + "0" * 32, "unsupported digest algorithm"),
        ("md5:!", "invalid checksum digest format"),
    ],
)
def test_parse_digest(text: str, error: str | None) -> None:
    if error is None:
        assert digest.parse(text) == text
        return
    with pytest.raises(digest.DigestError) as caught:
        digest.parse(text)
    assert str(caught.value) == error


def test_from_bytes() -> None:
    assert digest.from_bytes(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
