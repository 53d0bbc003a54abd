"""What a field of a protobuf message is like, whichever release of protobuf is installed.

Has no counterpart in Go. Releases up to 6 tell of repeated fields by `label`, which 7 has not; older ones than 6.31
have no `is_repeated`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor

_LABEL_REPEATED = 3  # FieldDescriptorProto.Label


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether a field is a list or a map."""
    known: bool | None = getattr(field, "is_repeated", None)
    return field.label == _LABEL_REPEATED if known is None else known
