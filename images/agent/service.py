"""The machine API's calls, without HTTP: each takes a parsed body and gives a status with a JSON body.

The order of checks on a changing call, which `serve.py` starts with the caller's role and the body's schema:

1. The fence. A higher one is on disk before anything else is looked at; a lower one ends the call.
2. The idempotency key. A retried call is answered as before, also when a reboot lies between.
3. The boot id. A call that was planned for another boot ends here.
4. Whether another operation is in progress.
5. The decision (slots.py), then its intent on disk, then its effect.

Reads are answered at any time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from sealwave.images.agent import fence, slots
from sealwave.images.agent.boots import recognise
from sealwave.images.agent.errors import AgentError, Code, PlatformFailed, Problem, Refused
from sealwave.images.agent.fetch import Source
from sealwave.images.agent.memory import Answer, Change, Memory, MemoryFile, Operation, OperationState
from sealwave.images.agent.observe import observe, pods_json, slots_json, status_json
from sealwave.images.agent.platform import Platform
from sealwave.images.agent.staging import Stager
from sealwave.images.agent.window import Activation, Leaving, expired

__all__ = ["Agent", "Reply"]

_log = logging.getLogger(__name__)

Body = Mapping[str, Any]
Reply = tuple[int, dict[str, Any]]
# What a call does once its record is on disk; an effect whose record could not be written is forgotten.
_Effect = Callable[[], None]
_Action = Callable[[Change, Body], tuple[Reply, _Effect | None]]

# Seconds between the answer to a call and the reboot that it asked for, so that the answer still leaves the machine.
_ANSWER_FIRST = 0.3


class Agent:
    """One machine's agent; its methods may be called from several threads."""

    def __init__(
        self,
        platform: Platform,
        *,
        machine: str,
        window: int,
        open_source: Callable[[str], Source],
        answer_first: float = _ANSWER_FIRST,
    ) -> None:
        self._platform = platform
        self._machine = machine
        self._window = window
        self._memory = MemoryFile(platform.data / "agent")
        self._stager = Stager(platform, self._memory, open_source)
        self._answer_first = answer_first
        self._stopping = threading.Event()
        self._operations: dict[str, _Action] = {
            "postStage": self._stage,
            "postActivate": self._activate,
            "postCommit": self._commit,
            "postRollback": self._rollback,
            "postPower": self._power,
        }

    def start(self) -> None:
        """Recognise the boot, and end the records of operations that the last stop of the agent cut.

        With a memory that is spoiled the machine is still shown; each change is refused, because its fence is unknown.
        """
        platform = self._platform
        try:
            self._memory.read()
        except PlatformFailed as error:
            _log.error("no change can be made on this machine: %s", error)
            return
        with self._memory.change() as change:
            recognise(change, platform)
            running = change.memory.running_operation
            if running is not None:
                ended = _ended(
                    running, boot_id=platform.boot_id(), committed=observe(platform, change.memory).committed
                )
                change.memory = change.memory.with_operation(ended)

    def stop(self) -> None:
        """Stop a staging at its next piece, and wait for it; its record is ended at the next start."""
        self._stopping.set()
        self._stager.stop()

    # Reads

    def _remembered(self) -> Memory:
        try:
            return self._memory.read()
        except PlatformFailed:
            return Memory()

    def get_version(self) -> Reply:
        """The API's version, and the name and version of the running image."""
        image = observe(self._platform, self._remembered()).image
        shown = "" if image is None else f"{image.name} {image.version}"
        return 200, {"api": "v1", "machine": self._machine, "image": shown}

    def get_status(self) -> Reply:
        """What runs now."""
        return 200, status_json(self._platform, self._remembered(), machine=self._machine, window=self._window)

    def get_slots(self) -> Reply:
        """Both slots."""
        return 200, slots_json(observe(self._platform, self._remembered()))

    def get_drift(self) -> Reply:
        """Differences to the manifest."""
        found = self._platform.drift(observe(self._platform, self._remembered()).image)
        return 200, {"drift": [{"path": item.path, "detail": item.detail} for item in found]}

    def get_checks(self) -> Reply:
        """The machine's own checks, made now."""
        checks = self._platform.checks()
        shown = [{"name": item.name, "passed": item.passed, "detail": item.detail} for item in checks]
        return 200, {"passed": all(item.passed for item in checks), "checks": shown}

    def get_operation(self, identity: str) -> Reply:
        """A long call's record, with live progress."""
        found = self._remembered().operations.get(identity)
        if found is None:
            raise Refused(Code.NOT_FOUND, f"operation {identity!r} is not known here; it may be too old")
        return 200, self._stager.live(found).to_json()

    # Changes

    def post_fence(self, body: Body) -> Reply:
        """Raise the fence and do nothing else."""
        with self._memory.change() as change:
            change.memory = replace(change.memory, fence=fence.advance(change.memory.fence, body["fence"]))
        return self.get_status()

    def change(self, operation: str, body: Body, *, key: str) -> Reply:
        """One changing call, checked in the order above."""
        request = hashlib.sha256(json.dumps([operation, body], sort_keys=True).encode()).hexdigest()
        with self._memory.change() as change:
            change.memory = replace(change.memory, fence=fence.advance(change.memory.fence, body["fence"]))
            change.save()
            known = change.memory.answers.get(key)
            if known is not None:
                if known.request != request:
                    raise Refused(Code.IDEMPOTENCY_CONFLICT, "the Idempotency-Key was used for another request")
                return known.status, dict(known.body)
            boot_id = self._platform.boot_id()
            if body["bootId"] != boot_id:
                raise Refused(
                    Code.BOOT_ID_MISMATCH, f"the call is for boot {body['bootId']}, and this is {boot_id}; plan again"
                )
            busy = change.memory.running_operation
            if busy is not None:
                raise Refused(
                    Code.OPERATION_IN_PROGRESS, f"{busy.kind} {busy.id} is in progress; wait for it", operation=busy.id
                )
            (status, answer), effect = self._operations[operation](change, body)
            change.memory = change.memory.with_answer(key, Answer(request, status, answer))
        if effect is not None:
            effect()
        return status, answer

    def _stage(self, change: Change, body: Body) -> tuple[Reply, _Effect]:
        slot = slots.plan_stage(observe(self._platform, change.memory), body["digest"])
        operation = self._new_operation(change, "stage", body["digest"])
        begin = partial(self._stager.begin, operation, slot=slot, source=body["source"])
        return (202, operation.to_json()), begin

    def _activate(self, change: Change, body: Body) -> tuple[Reply, None]:
        slot = slots.plan_activate(observe(self._platform, change.memory), body["digest"])
        activation = Activation(body["digest"], slot, armed=False, booted=None)
        change.memory = replace(change.memory, history=replace(change.memory.history, activation=activation))
        change.save()
        self._platform.set_one_shot(slot)
        history = replace(change.memory.history, activation=replace(activation, armed=True))
        change.memory = replace(change.memory, history=history)
        return (200, self._status(change)), None

    def _commit(self, change: Change, body: Body) -> tuple[Reply, None]:
        view = observe(self._platform, change.memory)
        late = expired(committed=view.committed, uptime=self._platform.uptime(), window=self._window)
        if slots.plan_commit(view, body["digest"], expired=late):
            self._platform.set_default(view.running)
        activation = change.memory.history.activation
        if activation is not None and activation.slot is view.running:
            # Also when it was committed before: a cut may have left the record of an activation that has ended.
            change.memory = replace(change.memory, history=replace(change.memory.history, activation=None))
        return (200, self._status(change)), None

    def _rollback(self, change: Change, body: Body) -> tuple[Reply, _Effect | None]:
        way = slots.plan_rollback(observe(self._platform, change.memory))
        if way is slots.WayBack.CLEAR:
            # After a cut from here on, a boot of the default is no sign that the image did not come up.
            change.memory = change.memory.with_disarmed()
            change.save()
            self._platform.set_one_shot(None)
            change.memory = replace(change.memory, history=replace(change.memory.history, activation=None))
            return (200, self._status(change)), None
        change.memory = replace(change.memory, history=replace(change.memory.history, leaving=Leaving.ROLLBACK))
        return self._leave(change, "rollback")

    def _power(self, change: Change, body: Body) -> tuple[Reply, _Effect]:
        expected = set(body["remainingPods"])
        left = [pod for pod in self._platform.pods() if pod.uid not in expected]
        if left:
            names = ", ".join(f"{pod.namespace}/{pod.name}" for pod in left[:5])
            raise Refused(
                Code.DRAIN_PROOF_REQUIRED,
                f"{len(left)} pods still run here ({names}); drain them",
                pods=pods_json(left),
            )
        return self._leave(change, "reboot")

    def _leave(self, change: Change, kind: str) -> tuple[Reply, _Effect]:
        operation = self._new_operation(change, kind, None)
        return (202, operation.to_json()), self._reboot_soon

    def _reboot_soon(self) -> None:
        timer = threading.Timer(self._answer_first, self._reboot)
        timer.daemon = True
        timer.start()

    def _reboot(self) -> None:
        try:
            self._platform.reboot()
        except AgentError as error:
            # Without this the record would say `running` for ever, and no other operation could begin.
            detail = str(error)

            def fail(memory: Memory) -> Memory:
                busy = memory.running_operation
                return memory if busy is None else memory.with_operation(_failed(busy, detail))

            self._memory.change_at_last(fail, stopping=self._stopping)

    def _status(self, change: Change) -> dict[str, Any]:
        return status_json(self._platform, change.memory, machine=self._machine, window=self._window)

    def _new_operation(self, change: Change, kind: str, digest: str | None) -> Operation:
        operation = Operation(secrets.token_hex(8), kind, self._platform.boot_id(), digest)
        change.memory = change.memory.with_operation(operation)
        return operation


def _ended(operation: Operation, *, boot_id: str, committed: bool) -> Operation:
    """The end of an operation that no process works on any more."""
    rebooted = operation.boot_id != boot_id
    if operation.kind == "reboot" and rebooted:
        return replace(operation, state=OperationState.SUCCEEDED, progress=1.0)
    if operation.kind == "rollback" and rebooted and committed:
        return replace(operation, state=OperationState.SUCCEEDED, progress=1.0)
    cut = "the machine rebooted" if rebooted else "the agent was restarted"
    return _failed(operation, f"{cut} before the {operation.kind} had ended; ask for it again")


def _failed(operation: Operation, detail: str) -> Operation:
    return replace(operation, state=OperationState.FAILED, problem=Problem(Code.INTERNAL, detail).to_json())
