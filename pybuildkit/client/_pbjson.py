"""Generated messages as Go's encoding/json (not protojson) writes and reads them inside a status.

Mirrors what encoding/json does with the structs of solver/pb, v0.32.2: fields in the order of the .proto file
under their own names, empty ones left out, bytes as base64, enumerations as numbers, maps sorted by key.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from pybuildkit.client._graph import StatusError, bytes_from_json, bytes_to_json, clean_text, quote_json
from pybuildkit.golang.protofields import is_repeated

M = TypeVar("M", bound=Message)

_MAX_DEPTH = 32


def message_to_json(message: Message) -> str:
    """The JSON object of a message."""
    parts = []
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if _is_map(field):
            if value:
                of = field.message_type.fields_by_name["value"]
                pairs = (f"{quote_json(str(key))}:{_scalar_json(of, value[key])}" for key in sorted(value))
                parts.append(f"{quote_json(field.name)}:{{{','.join(pairs)}}}")
        elif _is_repeated(field):
            if value:
                parts.append(f"{quote_json(field.name)}:[{','.join(_scalar_json(field, item) for item in value)}]")
        elif message.HasField(field.name) if field.has_presence else value:
            parts.append(f"{quote_json(field.name)}:{_scalar_json(field, value)}")
    return "{" + ",".join(parts) + "}"


def message_from_json(value: object, message_type: type[M]) -> M:
    """The message that a parsed JSON object stands for; names that it has no field for are passed over.

    Raises:
        StatusError: a value is of the wrong kind, or objects are nested too deep.
    """
    message = message_type()
    _fill(message, value, 0)
    return message


def _is_repeated(field: FieldDescriptor) -> bool:
    return is_repeated(field)


def _is_map(field: FieldDescriptor) -> bool:
    of: Descriptor | None = field.message_type
    return of is not None and bool(of.GetOptions().map_entry)


def _scalar_json(field: FieldDescriptor, value: object) -> str:
    if isinstance(value, Message):
        return message_to_json(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return bytes_to_json(value)
    if isinstance(value, str):
        return quote_json(value)
    return str(value)


def _wrong(field: FieldDescriptor, value: object) -> StatusError:
    return StatusError(f"invalid status: {field.name} cannot be {type(value).__name__}")


def _fill(message: Message, value: object, depth: int) -> None:
    if value is None:
        return
    if not isinstance(value, dict) or depth > _MAX_DEPTH:
        raise StatusError(f"invalid status: {message.DESCRIPTOR.name} cannot be {type(value).__name__}")
    for field in message.DESCRIPTOR.fields:
        item = value.get(field.name)
        if item is None:
            continue
        if _is_map(field):
            _fill_map(message, field, item, depth)
        elif _is_repeated(field):
            _fill_list(message, field, item, depth)
        elif field.message_type is not None:
            child = getattr(message, field.name)
            child.SetInParent()
            _fill(child, item, depth + 1)
        else:
            _set(message, field, item)


def _set(message: Message, field: FieldDescriptor, item: object) -> None:
    value = _scalar_from(field, item)
    try:
        setattr(message, field.name, value)
    except (TypeError, ValueError) as err:
        raise _wrong(field, item) from err


def _fill_list(message: Message, field: FieldDescriptor, items: object, depth: int) -> None:
    if not isinstance(items, list):
        raise _wrong(field, items)
    target = getattr(message, field.name)
    for item in items:
        if field.message_type is not None:
            _fill(target.add(), item, depth + 1)
        else:
            target.append(_scalar_from(field, item))


def _fill_map(message: Message, field: FieldDescriptor, items: object, depth: int) -> None:
    if not isinstance(items, dict):
        raise _wrong(field, items)
    target = getattr(message, field.name)
    of = field.message_type.fields_by_name["value"]
    for key, item in items.items():
        if of.message_type is not None:
            _fill(target[clean_text(key)], item, depth + 1)
        else:
            target[clean_text(key)] = _scalar_from(of, item)


def _scalar_from(field: FieldDescriptor, item: object) -> object:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes_from_json(item, field.name)
    kinds: dict[int, type] = {FieldDescriptor.TYPE_STRING: str, FieldDescriptor.TYPE_BOOL: bool}
    expected = kinds.get(field.type, int)
    if type(item) is not expected:
        raise _wrong(field, item)
    return clean_text(item) if isinstance(item, str) else item
