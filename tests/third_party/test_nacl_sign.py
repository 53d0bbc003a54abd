"""Signed messages: the plain arithmetic against the package cryptography."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybuildkit.third_party import nacl_sign

pytest.importorskip("cryptography")


@settings(max_examples=15, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=100))
def test_same_as_cryptography(seed: bytes, message: bytes) -> None:
    signed = nacl_sign.sign(message, seed)
    key = nacl_sign.public_key(seed)
    assert nacl_sign.sign_plain(message, seed) == signed
    assert nacl_sign.open_plain(signed, key) == nacl_sign.open_signed(signed, key) == message


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_changed_bytes_are_refused(data: st.DataObject) -> None:
    seed = bytes(range(32))
    signed = bytearray(nacl_sign.sign(b"message", seed))
    signed[data.draw(st.integers(0, len(signed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    key = nacl_sign.public_key(seed)
    assert nacl_sign.open_signed(bytes(signed), key) is None
    assert nacl_sign.open_plain(bytes(signed), key) is None


def test_short_input_and_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = bytes(32)
    key, signed = nacl_sign.public_key(seed), nacl_sign.sign(b"x", seed)
    assert nacl_sign.open_signed(signed[:63], key) is None
    assert nacl_sign.open_signed(signed, key[:31]) is None
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    assert nacl_sign.public_key(seed) == key
    assert nacl_sign.sign(b"x", seed) == signed
    assert nacl_sign.open_signed(signed, key) == b"x"
