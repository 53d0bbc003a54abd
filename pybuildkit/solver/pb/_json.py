"""LLB messages in JSON, as BuildKit's tools print and read them.

A message is an object with its fields in the order of their declaration under their names in the .proto file;
what is zero or empty is left out, bytes are in base64, enumerations are numbers. Three messages have a form of
their own: an op keeps its kind under "Op", a file action under "Action", a user under "User".

Mirrors solver/pb/json.go, v0.32.2, and what encoding/json makes of the generated types. As there, a symlink action
has no form and is lost.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pybuildkit.golang.protofields import is_repeated
from pybuildkit.solver.pb import ops_pb2

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]

_OP_KINDS: Final = ("exec", "source", "file", "build", "merge", "diff", "passthrough")
_ACTION_KINDS: Final = ("copy", "mkfile", "mkdir", "rm")


def to_json(message: Message) -> dict[str, Json]:
    """The message as plain values in the order in which BuildKit encodes them (`golang.json.marshal` prints it)."""
    special = _SPECIAL.get(type(message))
    return special(message) if special is not None else _plain(message)


def _plain(message: Message) -> dict[str, Json]:
    return {
        field.name: _value(field, getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if _is_set(message, field)
    }


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    if is_repeated(field):
        return len(getattr(message, field.name)) > 0
    if field.message_type is not None:
        return message.HasField(field.name)
    return bool(getattr(message, field.name))


def _value(field: FieldDescriptor, value: object) -> Json:
    if not is_repeated(field):
        return _single(value)
    if isinstance(value, Mapping):
        return {key: _single(value[key]) for key in sorted(value)}
    return [_single(item) for item in cast(Sequence[object], value)]


def _single(value: object) -> Json:
    if isinstance(value, Message):
        return to_json(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    assert isinstance(value, bool | int | str)
    return value


def _op(message: Message) -> dict[str, Json]:
    assert isinstance(message, ops_pb2.Op)
    result: dict[str, Json] = {}
    if message.inputs:
        result["inputs"] = [to_json(item) for item in message.inputs]
    kind = message.WhichOneof("op")
    result["Op"] = {kind: to_json(getattr(message, kind))} if kind else {}
    if message.HasField("platform"):
        result["platform"] = to_json(message.platform)
    if message.HasField("constraints"):
        result["constraints"] = to_json(message.constraints)
    return result


def _action(message: Message) -> dict[str, Json]:
    assert isinstance(message, ops_pb2.FileAction)
    kind = message.WhichOneof("action")
    return {
        "input": message.input,
        "secondaryInput": message.secondaryInput,
        "output": message.output,
        "Action": {kind: to_json(getattr(message, kind))} if kind in _ACTION_KINDS else {},
    }


def _user(message: Message) -> dict[str, Json]:
    assert isinstance(message, ops_pb2.UserOpt)
    user: dict[str, Json] = {}
    if message.HasField("byName"):
        user["byName"] = to_json(message.byName)
    elif message.byID:
        user["byId"] = message.byID
    return {"User": user}


_SPECIAL: Final[dict[type[Message], Callable[[Message], dict[str, Json]]]] = {
    ops_pb2.Op: _op,
    ops_pb2.FileAction: _action,
    ops_pb2.UserOpt: _user,
}


def from_json(message: Message, value: Mapping[str, Json]) -> None:
    """Fill a message from what `to_json` gave; unknown names are passed over.

    Raises:
        TypeError: for a value that does not fit its field.
    """
    if isinstance(message, ops_pb2.Op):
        _fill_kind(message, value.get("Op"), _OP_KINDS)
    elif isinstance(message, ops_pb2.FileAction):
        _fill_kind(message, value.get("Action"), _ACTION_KINDS)
    elif isinstance(message, ops_pb2.UserOpt):
        _fill_user(message, value.get("User"))
        return
    for field in message.DESCRIPTOR.fields:
        item = value.get(field.name)
        if item is not None and field.containing_oneof is None:
            _fill(message, field, item)


def _fill_kind(message: Message, value: Json, kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        body = value.get(kind) if isinstance(value, dict) else None
        if isinstance(body, dict):
            target = getattr(message, kind)
            target.SetInParent()
            from_json(target, body)
            return


def _fill_user(message: ops_pb2.UserOpt, value: Json) -> None:
    body = value if isinstance(value, dict) else {}
    by_name, by_id = body.get("byName"), body.get("byId", 0)
    if isinstance(by_name, dict):
        message.byName.SetInParent()
        from_json(message.byName, by_name)
    elif isinstance(by_id, int):
        message.byID = by_id


def _fill(message: Message, field: FieldDescriptor, value: Json) -> None:
    current = getattr(message, field.name)
    if isinstance(value, dict) and is_repeated(field):
        for key, item in value.items():
            if isinstance(item, dict):
                current[key].SetInParent()
                from_json(current[key], item)
            else:
                current[key] = item
    elif isinstance(value, dict):
        current.SetInParent()
        from_json(current, value)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                from_json(current.add(), item)
            else:
                current.append(_scalar(field, item))
    else:
        setattr(message, field.name, _scalar(field, value))


def _scalar(field: FieldDescriptor, value: Json) -> object:
    if field.type == FieldDescriptor.TYPE_BYTES and isinstance(value, str):
        return base64.b64decode(value)
    return value
