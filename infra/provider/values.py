"""Plain Python values for Pulumi's property values, and back.

Rules:
1. Pulumi knows one kind of number, a float; a whole number comes back as an int and is sent as a float.
2. A value that is not known before another resource exists arrives as a fixed marker string; it becomes `UNKNOWN`.
3. Secrets are never expected here: inputs of this provider are paths, digests and names.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import rpc


class _Unknown:
    """The type of `UNKNOWN`; one member, compared by identity."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()
"""A value that the engine learns only while it works."""


def to_plain(value: PropertyValue) -> Any:
    """Return the plain value (None, bool, int, float, str, list, dict or `UNKNOWN`) of one property value.

    Raises:
        TypeError: for assets, archives and resource references, which no input of this provider is.
    """
    inner = value.value
    if inner is None or isinstance(inner, bool):
        return inner
    if isinstance(inner, str):
        return UNKNOWN if inner == rpc.UNKNOWN else inner
    if isinstance(inner, float):
        return int(inner) if inner.is_integer() else inner
    if isinstance(inner, Mapping):
        return {key: to_plain(item) for key, item in inner.items()}
    if isinstance(inner, Sequence):
        return [to_plain(item) for item in inner if isinstance(item, PropertyValue)]
    raise TypeError(f"a value of type {type(inner).__name__} cannot be an input here; use text, numbers, lists or maps")


def to_plain_map(values: Mapping[str, PropertyValue]) -> dict[str, Any]:
    """Return plain values by name; names that Pulumi keeps for itself (leading `__`) are left out."""
    return {key: to_plain(item) for key, item in values.items() if not key.startswith("__")}


def from_plain(value: Any) -> PropertyValue:
    """Return the property value of a plain one.

    Raises:
        TypeError: for anything that is not JSON-like.
    """
    if value is UNKNOWN:
        return PropertyValue(rpc.UNKNOWN)
    if value is None or isinstance(value, bool | str | float):
        return PropertyValue(value)
    if isinstance(value, int):
        return PropertyValue(float(value))
    if isinstance(value, Mapping):
        return PropertyValue({str(key): from_plain(item) for key, item in value.items()})
    if isinstance(value, Sequence):
        return PropertyValue([from_plain(item) for item in value])
    raise TypeError(f"a value of type {type(value).__name__} cannot be a Pulumi property")


def from_plain_map(values: Mapping[str, Any]) -> dict[str, PropertyValue]:
    """Return property values by name."""
    return {key: from_plain(item) for key, item in values.items()}
