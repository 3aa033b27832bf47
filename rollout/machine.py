"""A machine, as the driver speaks with it: the machine API of ``images/agent/openapi.yaml`` as a Protocol.

`MachineStatus` and its siblings are what the answers mean; unknown keys in an answer are ignored, missing ones refuse.
Every changing call carries the driver's fence and the boot it was planned for. Implementations: `HttpsMachine`
(production) and the tests' simulated machine. Both raise MachineUnreachable and MachineRefused and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sealwave.rollout.model import Json


@dataclass(frozen=True, kw_only=True)
class MachineStatus:
    """What a machine says of itself: what runs, in which boot, committed or not."""

    machine: str
    boot_id: str
    digest: str | None  # None: the manifest of the running image cannot be verified.
    root_hash: str = ""
    slot: str = "a"
    committed: bool = True
    activated: str | None = None  # Digest that the next boot tries once.
    staged: str | None = None  # Digest that is complete and verified in the other slot.
    secure_boot: bool = True
    fence: int = 0
    kubelet_active: bool = True
    kubelet_detail: str = ""
    pods: tuple[str, ...] = ()  # "namespace/name" of pods with a running sandbox.
    pod_uids: tuple[str, ...] = ()
    boot_reason: str = "normal"  # normal, first-boot, activated, rolled-back, window-expired

    @classmethod
    def from_json(cls, body: Json) -> MachineStatus:
        """Read a Status document; KeyError or TypeError when it is not one."""
        kubelet = body["kubelet"]
        pods = body["pods"]
        return cls(
            machine=body["machine"],
            boot_id=body["bootId"],
            digest=body["digest"],
            root_hash=body["rootHash"],
            slot=body["slot"],
            committed=body["committed"],
            activated=body["activated"],
            staged=body["staged"],
            secure_boot=body["secureBoot"],
            fence=body["fence"],
            kubelet_active=kubelet["active"],
            kubelet_detail=kubelet["detail"],
            pods=tuple(f"{pod['namespace']}/{pod['name']}" for pod in pods),
            pod_uids=tuple(pod["uid"] for pod in pods),
            boot_reason=body["bootReason"],
        )


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A long call's progress; it survives a reboot of the machine."""

    id: str
    kind: str  # stage, reboot, rollback
    state: str  # running, succeeded, failed
    progress: float = 0.0
    digest: str | None = None
    code: str = ""  # of the problem, when it failed
    detail: str = ""

    @classmethod
    def from_json(cls, body: Json) -> Operation:
        """Read an Operation document; KeyError or TypeError when it is not one."""
        problem = body.get("problem") or {}
        return cls(
            id=body["id"],
            kind=body["kind"],
            state=body["state"],
            progress=float(body["progress"]),
            digest=body.get("digest"),
            code=problem.get("code", ""),
            detail=problem.get("detail", ""),
        )


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The node's own checks: all passed, and the sentences of those that did not."""

    passed: bool
    failures: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, body: Json) -> CheckResult:
        """Read a Checks document; KeyError or TypeError when it is not one. No check at all is no evidence."""
        checks = body["checks"]
        failures = tuple(f"{check['name']}: {check['detail']}" for check in checks if not check["passed"])
        return cls(passed=body["passed"] is True and bool(checks), failures=failures if checks else ("none was made",))


@dataclass(frozen=True, kw_only=True)
class Call:
    """What every changing call carries: the driver's fence, the boot it was planned for, and the key of its intent."""

    fence: int
    boot_id: str
    key: str  # Idempotency-Key: one per journaled intent, so that a retry of the call is the same call


class Machine(Protocol):
    """One machine; every method raises MachineUnreachable or MachineRefused."""

    def status(self) -> MachineStatus:
        """What runs now."""

    def operation(self, operation_id: str) -> Operation:
        """How far a long call came."""

    def checks(self) -> CheckResult:
        """What the node's own checks say."""

    def drift(self) -> tuple[str, ...]:
        """What differs from the image, one sentence each."""

    def raise_fence(self, fence: int) -> MachineStatus:
        """Shut out every driver with a lower fence."""

    def stage(self, call: Call, *, digest: str, source: str) -> Operation:
        """Start to fetch and verify an image into the other slot."""

    def activate(self, call: Call, *, digest: str) -> MachineStatus:
        """Boot the staged slot once, at the next reboot."""

    def commit(self, call: Call, *, digest: str) -> MachineStatus:
        """Make the running image the default of every later boot."""

    def rollback(self, call: Call, *, reason: str) -> None:
        """Take back an activation; reboots when the image already runs and is not committed."""

    def reboot(self, call: Call, *, remaining_pods: tuple[str, ...]) -> Operation:
        """Reboot; `remaining_pods` are UIDs of pods that may still run."""


class Machines(Protocol):
    """Finds the machine behind a node."""

    def of(self, node: str, url: str) -> Machine:
        """The machine named `node`, reached at `url`; nothing is connected yet."""
