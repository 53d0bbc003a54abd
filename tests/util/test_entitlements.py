"""Extra privileges."""

from __future__ import annotations

import pytest

from pybuildkit.util import entitlements
from pybuildkit.util.entitlements import DevicesConfig, EntitlementError


def test_white_list_merges_devices() -> None:
    allowed = ["network.host", "device=a", "device=b,alias=x", "network.host"]
    assert entitlements.white_list(allowed) == {
        "network.host": None,
        "device": DevicesConfig(devices={"a": "", "x": "b"}),
    }
    assert entitlements.white_list(["device=a", "device"])["device"] == DevicesConfig(devices={"a": ""}, all=True)


def test_white_list_refuses_what_is_not_supported() -> None:
    assert entitlements.white_list(["network.host"], ["network.host"]) == {"network.host": None}
    with pytest.raises(EntitlementError) as caught:
        entitlements.white_list(["security.insecure"], ["network.host"])
    assert str(caught.value) == ("granting entitlement security.insecure is not allowed by build daemon configuration")


def test_a_malformed_device() -> None:
    with pytest.raises(EntitlementError, match=r'^invalid device config "x"$'):
        entitlements.parse("device=a,x")
