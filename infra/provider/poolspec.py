"""A pool's inputs as the engine's `PoolSpec`."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from sealwave.infra.provider import inputs as read
from sealwave.infra.provider.resource import Failure, Values
from sealwave.infra.provider.values import UNKNOWN
from sealwave.rollout.errors import BadInput
from sealwave.rollout.model import Budget, Deadlines, DrainPolicy, PoolSpec

INPUTS = ("name", "selector", "digest", "source", "waves", "budget", "machines", "deadlines", "drain", "controlPlane")
"""The inputs of a pool, by Pulumi's names."""

_DRAIN = {"naked": "naked", "emptyDir": "empty_dir"}
_DEADLINES = tuple(field.name for field in fields(Deadlines))


def failures_of(values: Values) -> Sequence[Failure]:
    """Return what is wrong with a pool's inputs, input by input; values that are not known yet are accepted."""
    found = [
        *read.unknown_keys(values, INPUTS),
        *read.text(values, "name", read.NAME, "a name of lower-case letters, digits and hyphens, 63 at most"),
        *read.text_map(values, "selector", required=True),
        *read.text(values, "digest", read.DIGEST, 'the image\'s digest, "sha256:" and 64 hex digits'),
        *read.text(values, "source", read.HTTPS, "the image folder's address, beginning with https://"),
        *read.counts(values, "waves"),
        *read.count(values, "budget"),
        *read.text_map(values, "machines", required=False),
        *read.seconds_map(values, "deadlines", _DEADLINES),
        *read.switches(values, "drain", tuple(_DRAIN)),
        *read.texts(values, "controlPlane"),
    ]
    if found or UNKNOWN in values.values():
        return found
    try:
        spec_of(values)
    except BadInput as error:
        return [Failure("", str(error))]
    return []


def spec_of(values: Mapping[str, Any]) -> PoolSpec:
    """Return the engine's view of checked inputs.

    Raises:
        BadInput: for what only the engine can refuse.
    """
    budget = values.get("budget")
    drain = {_DRAIN[key]: item for key, item in (values.get("drain") or {}).items()}
    deadlines: dict[str, Any] = {
        key: int(item) if key == "attempts" else float(item) for key, item in (values.get("deadlines") or {}).items()
    }
    return PoolSpec(
        name=values["name"],
        selector=dict(values["selector"]),
        digest=values["digest"],
        source=values["source"],
        waves=tuple(values["waves"]),
        budget=None if budget is None else Budget(nodes=budget),
        drain=DrainPolicy(**drain),
        deadlines=Deadlines(**deadlines),
        machines=dict(values.get("machines") or {}),
        control_plane=tuple(values.get("controlPlane") or ()),
    )
