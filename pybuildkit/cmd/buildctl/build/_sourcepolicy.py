"""`--source-policy-file`: rules for the build's sources, read from JSON.

Mirrors how cmd/buildctl/build.go, v0.32.2, reads the file: encoding/json into the policy's struct, so keys match
whatever their case, unknown keys are passed over, null changes nothing, and enums are names or numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from pybuildkit.golang import json
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.os import read_file
from pybuildkit.golang.protofields import is_repeated
from pybuildkit.golang.strconv import quote
from pybuildkit.sourcepolicy.pb.policy_pb2 import Policy

_GO_PACKAGE = "moby_buildkit_v1_sourcepolicy"
_INT64 = range(-(1 << 63), 1 << 63)


class SourcePolicyError(BuildkitError):
    """The file is JSON, but no policy."""


def read_source_policy(filename: str) -> Policy:
    """The policy in a file.

    Raises:
        OSError: the file cannot be read.
        WrappedError: it holds no policy.
    """
    data = read_file(filename)
    policy = Policy()
    try:
        _fill(policy, json.unmarshal(data), "")
    except BuildkitError as err:
        raise wrap(err, f"failed to unmarshal source-policy-file {quote(filename)}") from err
    return policy


def _fill(message: Message, value: object, path: str) -> None:
    """Set a message's fields from a JSON object; `path` leads to it, names and positions with dots between them."""
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise _mismatch(value, path, f"{_GO_PACKAGE}.{message.DESCRIPTOR.name}")
    fields = {field.name.lower(): field for field in message.DESCRIPTOR.fields}
    for key, item in value.items():
        field = fields.get(str(key).lower())
        if field is not None and item is not None:
            _set(message, field, item, f"{path}.{key}" if path else str(key))


def _set(message: Message, field: FieldDescriptor, value: object, path: str) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _set_map(message, field, value, path)
    elif field.message_type is None:
        setattr(message, field.name, _scalar(field, value, path))
    elif is_repeated(field):
        if not isinstance(value, list):
            raise _mismatch(value, path, f"[]*{_GO_PACKAGE}.{field.message_type.name}")
        for position, item in enumerate(value):
            _fill(getattr(message, field.name).add(), item, f"{path}.{position}")
    else:
        child = getattr(message, field.name)
        child.SetInParent()
        _fill(child, value, path)


def _set_map(message: Message, field: FieldDescriptor, value: object, path: str) -> None:
    if not isinstance(value, Mapping):
        raise _mismatch(value, path, "map[string]string")
    for key, item in value.items():
        if item is not None and not isinstance(item, str):
            raise _mismatch(item, f"{path}.{key}", "string")
        getattr(message, field.name)[str(key)] = item or ""


def _scalar(field: FieldDescriptor, value: object, path: str) -> str | int:
    if field.enum_type is not None:
        return _enum(field.enum_type, value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if not isinstance(value, str):
            raise _mismatch(value, path, "string")
        return value
    if isinstance(value, bool) or not isinstance(value, int) or value not in _INT64:
        raise _mismatch(value, path, "int64")
    return value


def _enum(enum: EnumDescriptor, value: object) -> int:
    if isinstance(value, str):
        named = enum.values_by_name.get(value)
        if named is None:
            raise SourcePolicyError(f"unrecognized enum {enum.values[0].name} value {quote(value)}")
        return int(named.number)
    if isinstance(value, bool) or not isinstance(value, int):
        raise SourcePolicyError(f"cannot unmarshal `{json.marshal(value)}` into enum {enum.values[0].name}")
    if value not in enum.values_by_number:
        raise SourcePolicyError(f"invalid {enum.name} value: {value}")
    return value


def _mismatch(value: object, path: str, go_type: str) -> SourcePolicyError:
    """The error of a value of the wrong type."""
    kind = "object"
    if isinstance(value, bool):
        kind = "bool"
    elif isinstance(value, str):
        kind = "string"
    elif isinstance(value, list):
        kind = "array"
    elif isinstance(value, int | float):
        kind = f"number {getattr(value, 'text', value)}" if go_type == "int64" else "number"
    where = "Go value"
    if path:
        is_member = path.rpartition(".")[2].isdecimal()
        where = f"{'' if is_member else 'Go struct field '}{Policy.DESCRIPTOR.name}.{path}"
    return SourcePolicyError(f"json: cannot unmarshal {kind} into {where} of type {go_type}")
