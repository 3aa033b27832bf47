"""The driver: observe, step, journal what is intended, perform it, journal what was done; until there is nothing left.

Rules:
1. The journal and the ledger are read and checked before anything is written. Then a newer fence is taken, and the
   run's first record goes into the journal: from there on an older driver's writes are refused.
2. No effect is performed before its intent is in the journal. A pass writes all its intents at once, and all its
   results at once.
3. The state is what replaying the journal gives; the driver has no other memory of a node.
4. Killed at any instant it resumes from the journal and the cluster alone: every decision is made from what is
   observed, and every effect can be performed twice.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sealwave.rollout.access import Fleet
from sealwave.rollout.effects import Effect
from sealwave.rollout.errors import ClusterUnreachable, Conflict, Fenced
from sealwave.rollout.journal import Entry, apply, changes, replay
from sealwave.rollout.journal_store import JournalStore, Loaded, ObjectJournal
from sealwave.rollout.ledger import Ledger
from sealwave.rollout.ledger_store import change_ledger, read_ledger
from sealwave.rollout.model import NodeState, Phase, Plan, PoolSpec
from sealwave.rollout.narrate import narrate
from sealwave.rollout.observation import Observation
from sealwave.rollout.observe import machine_statuses, observe
from sealwave.rollout.opening import opening
from sealwave.rollout.outcome import Outcome, Progress
from sealwave.rollout.perform import Performer
from sealwave.rollout.plan import members, plan
from sealwave.rollout.state import RolloutState
from sealwave.rollout.step import settled, step
from sealwave.rollout.summary import outcome

# Steps without an effect that one observation may lead to; a node has 13 states.
_SETTLE = 20
# Seconds that a pass may take: two tries of 10 s for each of 200 silent machines, 16 at once.
_LONGEST_PASS = 300.0
# Lost races for the journal's end in a row; each is followed by a look at the fence.
_RACES = 5


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How often the driver looks, in seconds."""

    poll: float = 2.0  # between two passes while something is in flight
    grace: float = 10.0  # from a stop request to the safe hold
    silence: float = 300.0  # how long the API server may be silent before the run ends in a hold


class Driver:
    """Rolls one pool to its wanted image; one instance is one run."""

    def __init__(
        self,
        pool: PoolSpec,
        fleet: Fleet,
        *,
        who: str = "",
        timing: Timing | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
        store: JournalStore | None = None,
    ) -> None:
        self._pool, self._fleet = pool, fleet
        self._who = who or f"{socket.gethostname()}:{os.getpid()}"
        self._timing = timing or Timing()
        self._clock, self._sleep = clock, sleep
        self._store = store or ObjectJournal(fleet.cluster, pool.name)
        self._report: Callable[[Progress], None] = lambda progress: None
        self._state = RolloutState(pool=pool.name)
        self._journal: Loaded | None = None
        self._previous: float | None = None
        self._staging: dict[str, float] = {}

    def run(self, stop: threading.Event, report: Callable[[Progress], None]) -> Outcome:
        """Roll until converged, halted or held.

        Setting `stop` reaches a safe hold within `Timing.grace` seconds. Raises RolloutError (one sentence) when it
        cannot even begin: bad selector, refused digest, broken journal, cluster unreachable; Fenced when another
        driver took over.
        """
        self._report = report
        if not self.open():
            return outcome(self._pool, self._fleet, self._state, self._loaded, touched=False)
        stopped: float | None = None
        silent: float | None = None
        while True:
            now = self._now()
            if stop.is_set() and stopped is None:
                stopped = now
            # A clock that is set back in between ends the patience.
            patient = stopped is None or 0 <= now - stopped < self._timing.grace
            try:
                ended, moved = self.turn(stopping=stopped is not None, patient=patient)
                silent = None
            except ClusterUnreachable as error:
                # An API server that restarts is no reason to end; the journal says where we are.
                silent = min(silent, now) if silent is not None else now
                if now - silent > self._timing.silence or not patient:
                    raise
                self._tell("note", str(error))
                ended, moved = False, False
            except Conflict:
                # Only a driver with a newer fence, or a person who released a digest, writes to our journal.
                read_ledger(self._fleet.cluster).check_fence(self._pool.name, self._state.fence)
                self._load()
                ended, moved = False, True
            if ended:
                return outcome(self._pool, self._fleet, self._state, self._loaded)
            if not moved:
                self._wait(stop, stopping=stopped is not None)

    def open(self) -> bool:
        """Plan, take the fence, write the run's first record; False when there is nothing to do and nothing written."""
        self._load()
        ledger = read_ledger(self._fleet.cluster)
        ledger.check_journal(self._pool.name, records=self._loaded.chain.count)
        unfinished = bool(self._state.in_flight or ledger.pool(self._pool.name).claims)
        wanted, seen_fence = self._plan(ledger, unfinished=unfinished and self._state.digest == self._pool.digest)
        unsaid = self._state.phase in (Phase.Running, Phase.Holding, Phase.Halted)
        if wanted is not None and wanted.empty and not unfinished and not unsaid:
            return False
        now = self._now()
        above = max(seen_fence, self._state.fence)
        taken = change_ledger(
            self._fleet.cluster,
            lambda book: book.with_fence(self._pool.name, holder=self._who, now=now, above=above),
        )
        fence = taken.pool(self._pool.name).fence
        for _ in range(_RACES):
            # Read again: until our first record is there, an older driver may still write.
            self._load()
            try:
                entry = opening(self._state, self._pool, wanted, fence=fence, now=now)
                self._write([entry], fence=fence)
                return True
            except Conflict:
                read_ledger(self._fleet.cluster).check_fence(self._pool.name, fence)
        raise Fenced(self._pool.name, ours=fence, current=fence, holder="a driver that keeps writing")

    def turn(self, *, stopping: bool, patient: bool) -> tuple[bool, bool]:
        """One pass: look, decide, journal, act, journal. Returns (the run has ended, something moved)."""
        now = self._now()
        seen = observe(self._fleet, self._pool, self._state, stopping=stopping, previous=self._previous)
        seen.ledger.check_fence(self._pool.name, self._state.fence)
        self._tell_staging(seen)
        after, effects = self._decide(seen, now)
        entries = changes(self._state, after)
        # A state that has just changed may want something yet: only what stays as it is has come to its end.
        ended = settled(after, effects, patient=patient) and not (entries and patient)
        intents = [Entry(kind="intent", node=effect.node, data=effect.to_json()) for effect in effects]
        first = self._loaded.chain.count + len(entries)
        if entries or intents:
            self._write([*entries, *([] if ended else intents)], fence=after.fence)
        if ended:
            return True, False
        moved = self._perform(effects, first, seen) or bool(entries)
        # The pass counts as looking, however long silent machines make it; a suspended driver did not look.
        end = self._now()
        self._previous = end if end - now < _LONGEST_PASS else None
        return False, moved

    def _decide(self, seen: Observation, now: float) -> tuple[RolloutState, tuple[Effect, ...]]:
        """Step until an effect is wanted or nothing changes; one observation stays true while nobody acts."""
        state = self._state
        effects: tuple[Effect, ...] = ()
        for _ in range(_SETTLE):
            before = state
            state, effects = step(state, seen, now)
            if effects or state == before:
                break
            seen = replace(seen, previous=now)
            # States are journaled one by one, so that the record tells the way and not only the end.
            if any(state.nodes[name].state is not node.state for name, node in before.nodes.items()):
                break
        return state, effects

    def _perform(self, effects: Sequence[Effect], first: int, seen: Observation) -> bool:
        if not effects:
            return False
        performer = Performer(fleet=self._fleet, pool=self._pool, fence=self._state.fence, who=self._who)
        results = performer.perform(list(enumerate(effects, start=first)), seen, now=self._now())
        done = [
            Entry(
                kind="done",
                node=effect.node,
                data={"intent": seq, "effect": effect.to_json(), "result": result.to_json()},
            )
            for seq, (effect, result) in enumerate(zip(effects, results, strict=True), start=first)
        ]
        self._write(done, fence=self._state.fence)
        return any(result.ok for result in results)

    def _write(self, entries: Sequence[Entry], *, fence: int) -> None:
        """Append, and let the state be what the records make of it."""
        loaded, at = self._loaded, self._now()
        self._journal = self._store.append(loaded, entries, at=at, fence=fence)
        _, records = loaded.chain.extend(entries, at=at, fence=fence)
        for record in records:
            before, self._state = self._state, apply(self._state, record)
            if progress := narrate(record, before, self._state):
                self._report(progress)

    def _load(self) -> None:
        self._journal = self._store.load()
        self._state = replay(self._pool.name, self._journal.records)

    def _plan(self, ledger: Ledger, *, unfinished: bool) -> tuple[Plan | None, int]:
        """The plan from the live fleet, and the highest fence that any node or machine has seen.

        No plan when the image was refused while nodes were in flight for it, and they are still there (`unfinished`).
        """
        nodes = self._fleet.cluster.nodes()
        ours = members(self._pool, nodes)
        machines, _ = machine_statuses(self._fleet, self._pool, ours)
        wanted: Plan | None = None
        if not unfinished or self._pool.digest not in ledger.refused:
            wanted = plan(self._pool, nodes, machines, ledger)
        fences = [node.fence for node in ours] + [status.fence for status in machines.values() if status]
        return wanted, max(fences)

    @property
    def _loaded(self) -> Loaded:
        assert self._journal is not None, "open() comes first"
        return self._journal

    def _now(self) -> float:
        """Milliseconds are enough, and a rounded number reads the same after it was written."""
        return round(self._clock(), 3)

    def _wait(self, stop: threading.Event, *, stopping: bool) -> None:
        if stopping:
            self._sleep(min(self._timing.poll, 0.5))
        else:
            stop.wait(self._timing.poll)

    def _tell(self, kind: str, text: str) -> None:
        self._report(Progress(at=self._now(), kind=kind, text=text))

    def _tell_staging(self, seen: Observation) -> None:
        for name, sight in seen.sights.items():
            if sight.operation is None or sight.operation.state != "running":
                continue
            if sight.operation.progress - self._staging.get(name, -1.0) >= 0.1:
                self._staging[name] = sight.operation.progress
                text = f"{name}: staging {sight.operation.progress:.0%}"
                fraction = sight.operation.progress
                self._report(
                    Progress(
                        at=self._now(), kind="note", text=text, node=name, state=NodeState.Claimed, fraction=fraction
                    )
                )
