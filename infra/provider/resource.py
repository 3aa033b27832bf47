"""The seam between Pulumi's calls and what each kind of resource does with them."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

Values = Mapping[str, Any]
"""Inputs or outputs of a resource as plain values."""


class Change(Enum):
    """What a difference makes Pulumi do."""

    UPDATE = "the resource is updated in place"
    REPLACE = "a new resource is made and the old one deleted"


@dataclass(frozen=True)
class Failure:
    """An input that cannot be accepted."""

    input: str
    """The name of the input."""
    reason: str
    """One sentence: what is wrong and what to do."""


@dataclass(frozen=True)
class Difference:
    """One property that is not as wanted."""

    path: str
    """The property's path as Pulumi prints it, such as `digest` or `nodes.node-1`."""
    change: Change = Change.UPDATE
    of_input: bool = True
    """False where the inputs are equal and the live fleet is what differs."""


@dataclass(frozen=True)
class Session:
    """What a resource may use while it works on one call."""

    urn: str
    """Pulumi's name of the resource, for lines in its log."""
    say: Callable[[str], None]
    """Shows one line of progress."""
    pass_by: Callable[[str], None]
    """Shows a line that the next one replaces."""
    warn: Callable[[str], None]
    """Shows one warning."""
    stop: threading.Event
    """Set when a person pressed Ctrl-C or the CLI is gone: reach a safe hold and return."""


class Resource(Protocol):
    """One kind of resource. Every method may block, and raises `InfraError` or `RolloutError` for what can go wrong."""

    def check(self, inputs: Values) -> tuple[Values, Sequence[Failure]]:
        """Return the inputs with defaults filled in, and what is wrong with them."""

    def diff(self, session: Session, *, old: Values, new: Values) -> Sequence[Difference]:
        """Return what is not as wanted; empty when nothing needs to be done."""

    def preview(self, session: Session, *, new: Values) -> Values:
        """Return the outputs as far as they are known, and touch nothing."""

    def apply(self, session: Session, *, new: Values) -> tuple[str, Values]:
        """Make it so; return the resource's id and outputs."""

    def read(self, session: Session, *, old: Values) -> Values:
        """Return the outputs as they are now."""

    def delete(self, session: Session, *, old: Values) -> None:
        """Forget the resource."""
