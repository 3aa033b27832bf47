"""The one staging that may be in progress: its thread, its live progress, and its end on disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

from sealwave.images.agent import esp
from sealwave.images.agent.errors import AgentError, Code, Problem, Refused
from sealwave.images.agent.fetch import Source
from sealwave.images.agent.memory import Memory, MemoryFile, Operation, OperationState
from sealwave.images.agent.platform import Platform
from sealwave.images.agent.slots import Slot
from sealwave.images.agent.stage import disk_errors, fetch_release, write_slot

__all__ = ["Stager"]

_log = logging.getLogger(__name__)


class _Stopped(Exception):
    """The agent is told to end: the work stops without a word on disk, as it would in a power cut."""


@dataclass(frozen=True)
class _Task:
    operation: Operation
    slot: Slot
    source: str


class Stager:
    """Runs a staging in a thread of its own."""

    def __init__(self, platform: Platform, memory: MemoryFile, open_source: Callable[[str], Source]) -> None:
        self._platform = platform
        self._memory = memory
        self._open_source = open_source
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._live: Operation | None = None

    def begin(self, operation: Operation, *, slot: Slot, source: str) -> None:
        """Start the staging; the caller has written the operation's record to disk."""
        self._live = operation
        self._thread = threading.Thread(
            target=self._run, args=(_Task(operation, slot, source),), name="stage", daemon=True
        )
        self._thread.start()

    def live(self, operation: Operation) -> Operation:
        """The record with the progress of this moment, which is not written to disk."""
        live = self._live
        running = operation.state is OperationState.RUNNING
        return live if running and live is not None and live.id == operation.id else operation

    def stop(self) -> None:
        """Stop at the next piece and wait for that."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, task: _Task) -> None:
        try:
            self._work(task)
        except _Stopped:
            return
        except Refused as refusal:
            self._end(task, refusal.problem)
        except AgentError as error:
            self._end(task, Problem(Code.INTERNAL, str(error)))
        except Exception:
            # Without this the record would say `running` for ever, and no other operation could begin.
            _log.exception("staging %s failed in a way that was not foreseen", task.operation.digest)
            self._end(task, Problem(Code.INTERNAL, "the agent failed while staging; its log on the console says more"))
        else:
            self._end(task, None)

    def _work(self, task: _Task) -> None:
        platform, digest = self._platform, task.operation.digest
        assert digest is not None
        with closing(self._open_source(task.source)) as source:
            release = fetch_release(source, digest=digest, key=platform.release_key, platform=platform, slot=task.slot)
            with self._memory.change() as change, disk_errors():
                # The firmware must not be told to boot a slot that is about to lose its content.
                if platform.boot_choice().one_shot is not None:
                    change.memory = change.memory.with_disarmed()
                    change.save()
                    platform.set_one_shot(None)
                esp.remove_slot(platform.esp, task.slot)
                history = replace(change.memory.history, activation=None)
                change.memory = replace(change.memory, writing=task.slot, history=history)
            write_slot(source, release, platform=platform, slot=task.slot, progress=self._progress)

    def _progress(self, done: int, total: int) -> None:
        if self._stopping.is_set():
            raise _Stopped
        assert self._live is not None
        self._live = replace(self._live, bytes=done, progress=done / max(total, 1))

    def _end(self, task: _Task, problem: Problem | None) -> None:
        state = OperationState.SUCCEEDED if problem is None else OperationState.FAILED
        assert self._live is not None
        ended = replace(
            self._live,
            state=state,
            progress=1.0 if problem is None else self._live.progress,
            problem=None if problem is None else problem.to_json(),
        )

        def end(memory: Memory) -> Memory:
            memory = memory.with_operation(ended)
            return memory if problem is not None else replace(memory, writing=None)

        # Until the end is on disk every other change is refused, so a full disk must not keep it from there.
        self._memory.change_at_last(end, stopping=self._stopping)
