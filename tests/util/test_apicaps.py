"""Capabilities. Ports caps_test.go by name."""

from __future__ import annotations

import pytest

from pybuildkit.client import llb
from pybuildkit.solver import pb
from pybuildkit.util.apicaps import CAP_STATUS_EXPERIMENTAL, Cap, CapError, CapList, set_exported_product
from pybuildkit.util.apicaps.pb import caps_pb2


def test_disabled_cap() -> None:
    known = CapList([Cap(id="cap1", name="a test cap", enabled=True, status=CAP_STATUS_EXPERIMENTAL)])
    for announced, text in (
        ([], "requested experimental feature cap1 (a test cap) is not supported by build server, please update "),
        ([caps_pb2.APICap(ID="cap1", Enabled=True)], None),
        (
            [caps_pb2.APICap(ID="cap1")],
            "requested experimental feature cap1 (a test cap) has been disabled on the build server",
        ),
        (
            [caps_pb2.APICap(ID="cap1", DisabledReasonMsg="why")],
            "requested experimental feature cap1 (a test cap) has been disabled on the build server: why",
        ),
    ):
        found = known.cap_set(announced)
        if text is None:
            found.supports("cap1")
        else:
            with pytest.raises(CapError) as caught:
                found.supports("cap1")
            assert str(caught.value) == text
    with pytest.raises(CapError, match="unknown API capability other"):
        known.cap_set([]).supports("other")
    assert known.cap_set([caps_pb2.APICap(ID="other")]).contains("other")


def test_hint_names_the_product() -> None:
    set_exported_product("docker")
    try:
        with pytest.raises(CapError, match=r"\(added in Docker v19.03\), please update docker"):
            pb.CAPS.cap_set([]).supports(pb.CAP_FILE_BASE)
    finally:
        set_exported_product("")


def test_llb_caps_decide_about_the_path() -> None:
    state = llb.image("a").run(llb.shlex("x")).root()
    old = pb.CAPS.cap_set([])
    new = pb.CAPS.cap_set(pb.CAPS.all())
    env = [list(op.exec.meta.env) for _, op in state.marshal_sync(llb.linux_amd64, llb.with_caps(old)).ops()]
    assert env[1] == ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    on_windows = state.marshal_sync(llb.windows, llb.with_caps(old))
    assert [list(op.exec.meta.env) for _, op in on_windows.ops()][1] == []
    definition = state.marshal_sync(llb.linux_amd64, llb.with_caps(new))
    metadata = definition.metadata[definition.head()]
    assert metadata.caps is not None
    assert metadata.caps[pb.CAP_EXEC_META_SETS_DEFAULT_PATH]
