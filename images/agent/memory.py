"""What the agent remembers on the data partition: fence, history of boots, operations, and answers to retried calls.

Rules:
1. One file, replaced whole and flushed before a call is answered: a power cut leaves the old or the new state.
2. `serve` and the backstop are two processes: each change is made under a lock on a file beside it, on fresh content.
3. A file that cannot be read is an error and never an empty memory, because an empty one would accept any fence.
4. `fence` keeps its name and meaning in every version. All else may have been written by a newer agent, before the way
   back: what is not understood is left out, and no image is lost by that.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from sealwave.images.agent.errors import PlatformFailed
from sealwave.images.agent.slots import Slot
from sealwave.images.agent.window import Activation, Boot, BootReason, History, Leaving
from sealwave.signing.files import PRIVATE_FILE, make_private_folder, write_atomic

__all__ = ["Answer", "Change", "Memory", "MemoryFile", "Operation", "OperationState"]

_log = logging.getLogger(__name__)

# Records kept of each kind; a rollout makes three operations and five answers per machine.
OPERATIONS_KEPT = 32
ANSWERS_KEPT = 64
# Seconds between attempts at a change that must be made.
TRY_AGAIN = 5.0
# Seconds between looks at a lock that another process holds.
_LOOK_AGAIN = 0.1


class OperationState(Enum):
    """What is true of a long call."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Operation:
    """A long call; `progress` is a share from 0 to 1, `problem` a problem document of one that failed."""

    id: str
    kind: str
    boot_id: str
    digest: str | None
    state: OperationState = OperationState.RUNNING
    progress: float = 0.0
    bytes: int = 0
    problem: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The operation as the machine API shows it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state.value,
            "progress": self.progress,
            "digest": self.digest,
            "bytes": self.bytes,
            "problem": None if self.problem is None else dict(self.problem),
        }


@dataclass(frozen=True)
class Answer:
    """What a call with an idempotency key was answered; `request` is the SHA-256 of method, path and body."""

    request: str
    status: int
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Memory:
    """The whole content of the file. `writing` is the slot whose content is not to be believed."""

    fence: int = 0
    history: History = field(default_factory=History)
    writing: Slot | None = None
    operations: Mapping[str, Operation] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)

    def with_operation(self, operation: Operation) -> Memory:
        """The memory with this record added or replaced; the oldest that have ended are forgotten."""
        return replace(self, operations=_capped({**self.operations, operation.id: operation}, OPERATIONS_KEPT))

    def with_answer(self, key: str, answer: Answer) -> Memory:
        """The memory with this answer; the oldest are forgotten."""
        return replace(self, answers=_capped({**self.answers, key: answer}, ANSWERS_KEPT))

    def with_disarmed(self) -> Memory:
        """The memory in which an activation is being taken back; the firmware may hold it still."""
        activation = self.history.activation
        if activation is None:
            return self
        return replace(self, history=replace(self.history, activation=replace(activation, armed=False)))

    @property
    def running_operation(self) -> Operation | None:
        """The operation that has not ended, of which there is one at most."""
        live = (item for item in self.operations.values() if item.state is OperationState.RUNNING)
        return next(live, None)


_Record = TypeVar("_Record")


def _capped(records: dict[str, _Record], limit: int) -> dict[str, _Record]:
    return dict(list(records.items())[-limit:])


class MemoryFile:
    """The file on the data partition."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "state.json"

    def read(self) -> Memory:
        """What is remembered; raises PlatformFailed when the file is spoiled (rule 3)."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return Memory()
        except OSError as error:
            raise PlatformFailed(f"reading {self._path}", str(error)) from error
        try:
            return _decode(json.loads(content))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PlatformFailed(f"reading {self._path}", "its content is spoiled") from error

    @contextmanager
    def change(self, *, patience: float | None = None) -> Iterator[Change]:
        """Read under the lock; what is assigned to `.memory` is on disk when the block is left without an error.

        Raises PlatformFailed when the lock is not free within `patience` (seconds; None waits for ever).
        """
        make_private_folder(self._folder)
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            self._lock(descriptor, patience)
            change = Change(self)
            yield change
            change.save()
        finally:
            os.close(descriptor)

    def change_at_last(self, change: Callable[[Memory], Memory], *, stopping: Event) -> None:
        """Make a change as soon as the disk takes it; gives up only when `stopping` is set."""
        while True:
            try:
                with self.change() as opened:
                    opened.memory = change(opened.memory)
                return
            except (PlatformFailed, OSError) as error:
                _log.error("%s; it is tried again", error)
            if stopping.wait(TRY_AGAIN):
                return

    def _lock(self, descriptor: int, patience: float | None) -> None:
        if patience is None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            return
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    reason = f"another process has held it for {patience:g} s"
                    raise PlatformFailed(f"locking {self._path}", reason) from error
            time.sleep(_LOOK_AGAIN)

    def _write(self, memory: Memory) -> None:
        try:
            write_atomic(self._path, json.dumps(_encode(memory)).encode(), mode=PRIVATE_FILE)
        except OSError as error:
            raise PlatformFailed(f"writing {self._path}", str(error)) from error


class Change:
    """One change under the lock."""

    def __init__(self, file: MemoryFile) -> None:
        self._file = file
        self._saved = self.memory = file.read()

    def save(self) -> None:
        """Write now, before an effect that must find its intent on disk."""
        if self.memory != self._saved:
            self._file._write(self.memory)
            self._saved = self.memory


def _encode(memory: Memory) -> dict[str, Any]:
    boot, activation, leaving = memory.history.boot, memory.history.activation, memory.history.leaving
    return {
        "version": 1,
        "fence": memory.fence,
        "boot": None if boot is None else {"bootId": boot.boot_id, "reason": boot.reason.value},
        "activation": None
        if activation is None
        else {
            "digest": activation.digest,
            "slot": activation.slot.value,
            "armed": activation.armed,
            "booted": activation.booted,
        },
        "leaving": None if leaving is None else leaving.value,
        "writing": None if memory.writing is None else memory.writing.value,
        "operations": [{**item.to_json(), "bootId": item.boot_id} for item in memory.operations.values()],
        "answers": [
            {"key": key, "request": answer.request, "status": answer.status, "body": dict(answer.body)}
            for key, answer in memory.answers.items()
        ],
    }


def _decode(document: dict[str, Any]) -> Memory:
    history = History(
        boot=_understood(lambda: Boot(document["boot"]["bootId"], BootReason(document["boot"]["reason"]))),
        activation=_understood(lambda: _decode_activation(document["activation"])),
        leaving=_understood(lambda: Leaving(document["leaving"])),
    )
    operations = [_understood(partial(_decode_operation, item)) for item in _listed(document, "operations")]
    answers = [_understood(partial(_decode_answer, item)) for item in _listed(document, "answers")]
    return Memory(
        fence=int(document["fence"]),
        history=history,
        writing=_understood(lambda: Slot(document["writing"])),
        operations={item.id: item for item in operations if item is not None},
        answers=dict(item for item in answers if item is not None),
    )


def _understood(decode: Callable[[], _Record]) -> _Record | None:
    """The record; None when it is absent or in a form that this version does not know (rule 4)."""
    try:
        return decode()
    except (ValueError, KeyError, TypeError):
        return None


def _listed(document: dict[str, Any], name: str) -> list[Any]:
    found = document.get(name)
    return found if isinstance(found, list) else []


def _decode_activation(item: dict[str, Any]) -> Activation:
    return Activation(item["digest"], Slot(item["slot"]), item["armed"], item["booted"])


def _decode_answer(item: dict[str, Any]) -> tuple[str, Answer]:
    return item["key"], Answer(item["request"], item["status"], item["body"])


def _decode_operation(item: dict[str, Any]) -> Operation:
    return Operation(
        id=item["id"],
        kind=item["kind"],
        boot_id=item["bootId"],
        digest=item["digest"],
        state=OperationState(item["state"]),
        progress=item["progress"],
        bytes=item["bytes"],
        problem=item["problem"],
    )
