"""What a driver can do to the world, as data: effects compare equal, go into the journal, and are performed elsewhere.

Every effect may be performed twice with the same end: a driver that was killed between an effect and its *done*
record performs it again, or sees that it is no longer needed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from sealwave.rollout.model import Json

Target = Literal["ledger", "cluster", "machine"]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One thing to do about one node."""

    target: ClassVar[Target]
    node: str

    @property
    def kind(self) -> str:
        """Its name in the journal."""
        return type(self).__name__

    @property
    def key(self) -> str:
        """What a pause after a failure is counted for."""
        return self.kind

    def to_json(self) -> Json:
        """As an intent record stores it."""
        return {"kind": self.kind, **{name: _plain(value) for name, value in asdict(self).items()}}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, kw_only=True)
class ClaimNode(Effect):
    """Enter the node into the ledger."""

    target = "ledger"


@dataclass(frozen=True, kw_only=True)
class UnclaimNode(Effect):
    """Take the node out of the ledger."""

    target = "ledger"


@dataclass(frozen=True, kw_only=True)
class QuarantineNode(Effect):
    """List the node as out of service."""

    target = "ledger"
    digest: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class LiftQuarantine(Effect):
    """Take the node off the list of those out of service."""

    target = "ledger"


@dataclass(frozen=True, kw_only=True)
class RefuseDigest(Effect):
    """Refuse an image until a person releases it."""

    target = "ledger"
    digest: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Cordon(Effect):
    """Cordon, owner and fence in one patch, guarded by the version that was seen. Also touches and re-cordons."""

    target = "cluster"
    resource_version: str


@dataclass(frozen=True, kw_only=True)
class Touch(Effect):
    """Put the fence on a node that is not cordoned, so that an older driver's patch finds another version."""

    target = "cluster"
    resource_version: str


@dataclass(frozen=True, kw_only=True)
class Uncordon(Effect):
    """Lift the cordon with owner and fence in one patch, guarded by the version that was seen."""

    target = "cluster"
    resource_version: str


@dataclass(frozen=True, kw_only=True)
class Evict(Effect):
    """Ask for one pod to leave, by its UID; a disruption budget may say not now."""

    target = "cluster"
    namespace: str
    pod: str
    uid: str

    @property
    def key(self) -> str:
        """Each pod has its own pause."""
        return f"Evict:{self.uid}"


@dataclass(frozen=True, kw_only=True)
class RaiseFence(Effect):
    """Shut older drivers out of the machine."""

    target = "machine"


@dataclass(frozen=True, kw_only=True)
class Stage(Effect):
    """Fetch and verify the image into the slot that does not run."""

    target = "machine"
    boot_id: str
    digest: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Activate(Effect):
    """Boot the staged slot once, at the next reboot."""

    target = "machine"
    boot_id: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Reboot(Effect):
    """Reboot; names the pods that may still run."""

    target = "machine"
    boot_id: str
    remaining: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Commit(Effect):
    """Make the running image the default of every later boot."""

    target = "machine"
    boot_id: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Rollback(Effect):
    """Take back an activation, or leave an uncommitted image."""

    target = "machine"
    boot_id: str
    reason: str


_KINDS: dict[str, type[Effect]] = {
    cls.__name__: cls
    for cls in (
        ClaimNode,
        UnclaimNode,
        QuarantineNode,
        LiftQuarantine,
        RefuseDigest,
        Cordon,
        Touch,
        Uncordon,
        Evict,
        RaiseFence,
        Stage,
        Activate,
        Reboot,
        Commit,
        Rollback,
    )
}


def effect_from_json(body: Json) -> Effect:
    """The inverse of `Effect.to_json`; KeyError for a kind that this version does not know."""
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in body.items()}
    kind: str = fields.pop("kind")
    return _KINDS[kind](**fields)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of an effect. ``code`` is empty when it was done, else a stable word for why not.

    Codes of our own: ``refused`` (429, the budget's reason in ``detail``), ``conflict``, ``unreachable``, ``gone``;
    all others are the machine API's. ``data`` is the operation's id where there is one.
    """

    code: str = ""
    detail: str = ""
    data: str = ""

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return not self.code

    def to_json(self) -> Json:
        """As a done record stores it."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, body: Json) -> Result:
        """The inverse of `to_json`."""
        return cls(code=body.get("code", ""), detail=body.get("detail", ""), data=body.get("data", ""))
