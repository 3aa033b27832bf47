"""Reads inputs of resources and says which one is wrong.

An input that is not known yet (`UNKNOWN`) is accepted: Pulumi checks again once it is.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sealwave.infra.provider.resource import Failure, Values
from sealwave.infra.provider.values import UNKNOWN

DIGEST = re.compile(r"^sha256:[0-9a-f]{64}\Z")
"""How the digest of an image is written: the SHA-256 of its `image.json`."""

HTTPS = re.compile(r"^https://[^\s]+\Z")
"""How the address of an image folder begins."""

NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
"""A DNS label, because a pool's name is also the name of its journal."""


def unknown_keys(inputs: Values, known: Iterable[str]) -> list[Failure]:
    """Return a failure for each input that the resource does not have."""
    names = sorted(known)
    return [
        Failure(key, f"there is no input {key}; the inputs are {', '.join(names)}")
        for key in inputs
        if key not in names
    ]


def text(inputs: Values, key: str, pattern: re.Pattern[str], form: str) -> list[Failure]:
    """Return a failure when the input is missing or not of the given form, such as "an address that begins https://"."""
    value = inputs.get(key)
    right = value is UNKNOWN or (isinstance(value, str) and pattern.match(value))
    return [] if right else [Failure(key, f"{key} must be {form}, not {shown(value)}")]


def text_map(inputs: Values, key: str, *, required: bool) -> list[Failure]:
    """Return a failure when the input is not a map of texts, or is empty although it is required."""
    value = inputs.get(key)
    if value is UNKNOWN or (value is None and not required):
        return []
    if not isinstance(value, Mapping) or (required and not value):
        return [Failure(key, f"{key} must be a map of texts with at least one entry, not {shown(value)}")]
    wrong = [name for name, item in value.items() if not isinstance(item, str) and item is not UNKNOWN]
    return [Failure(f"{key}.{name}", f"{key}.{name} must be text, not {shown(value[name])}") for name in wrong]


def texts(inputs: Values, key: str) -> list[Failure]:
    """Return a failure when the optional input is not a list of texts."""
    value = inputs.get(key)
    right = value is None or value is UNKNOWN or (isinstance(value, list) and all(isinstance(x, str) for x in value))
    return [] if right else [Failure(key, f"{key} must be a list of texts, not {shown(value)}")]


def counts(inputs: Values, key: str) -> list[Failure]:
    """Return a failure when the input is not a list of node counts."""
    value = inputs.get(key)
    right = value is UNKNOWN or (isinstance(value, list) and value and all(_is_count(item) for item in value))
    return [] if right else [Failure(key, f"{key} must be a list of node counts such as [1, 2], not {shown(value)}")]


def count(inputs: Values, key: str) -> list[Failure]:
    """Return a failure when the optional input is not a node count."""
    value = inputs.get(key)
    right = value is None or _is_count(value)
    return [] if right else [Failure(key, f"{key} must be a number of nodes, 1 or more, not {shown(value)}")]


def seconds_map(inputs: Values, key: str, names: Sequence[str]) -> list[Failure]:
    """Return a failure for each entry of the optional map that is not known, or not a number above 0."""
    return _entries(inputs, key, names, lambda item: _is_number(item) and item > 0, "a number above 0")


def switches(inputs: Values, key: str, names: Sequence[str]) -> list[Failure]:
    """Return a failure for each entry of the optional map that is not known, or neither true nor false."""
    return _entries(inputs, key, names, lambda item: isinstance(item, bool), "true or false")


def shown(value: Any) -> str:
    """Return a value as a person may see it: short, and never a whole document."""
    line = "nothing" if value is None else repr(value)
    return line if len(line) <= 60 else line[:57] + "..."


def _entries(inputs: Values, key: str, names: Sequence[str], right: Any, form: str) -> list[Failure]:
    value = inputs.get(key)
    if value is None or value is UNKNOWN:
        return []
    if not isinstance(value, Mapping):
        return [Failure(key, f"{key} must be a map with entries of {', '.join(names)}, not {shown(value)}")]
    found = []
    for name, item in value.items():
        if name not in names:
            found.append(Failure(f"{key}.{name}", f"{key} has no entry {name}; its entries are {', '.join(names)}"))
        elif item is not UNKNOWN and not right(item):
            found.append(Failure(f"{key}.{name}", f"{key}.{name} must be {form}, not {shown(item)}"))
    return found


def _is_number(item: Any) -> bool:
    return isinstance(item, int | float) and not isinstance(item, bool)


def _is_count(item: Any) -> bool:
    return item is UNKNOWN or (isinstance(item, int) and not isinstance(item, bool) and item >= 1)
