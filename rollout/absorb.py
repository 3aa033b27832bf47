"""What the result of an effect means for a node's record. Pure; the journal's replay uses the same function."""

from __future__ import annotations

from dataclasses import replace

from sealwave.rollout.effects import Cordon, Effect, Evict, Reboot, Result, Rollback, Stage, Uncordon
from sealwave.rollout.state import Backoff, NodeRecord

# The machine says that the thing asked for is already so.
_ALREADY = frozenset({"already_staged"})


# Names of evicted pods and words of budgets that a record keeps; the counts go on.
KEPT = 20


def absorb(record: NodeRecord, effect: Effect, result: Result, now: float) -> NodeRecord:
    """`record` after `effect` ended with `result` at `now`."""
    if isinstance(effect, Evict):
        return _eviction(record, effect, result, now)
    if not result.ok and result.code not in _ALREADY:
        return _failed(record, effect, result, now)
    record = replace(record, backoff={key: pause for key, pause in record.backoff.items() if key != effect.key})
    match effect:
        case Stage():
            return replace(record, operation=result.data)
        case Cordon():
            return replace(record, cordoned=True)
        case Uncordon():
            return replace(record, cordoned=False)
        case Reboot():
            return replace(record, told=True)
        case Rollback():
            # The machine reboots or clears an entry: look again before asking a second time.
            return replace(record, backoff={**record.backoff, effect.key: Backoff.after(None, now)})
    return record


def _failed(record: NodeRecord, effect: Effect, result: Result, now: float) -> NodeRecord:
    if result.code == "conflict":
        # Somebody wrote to the node first; the next pass decides again from what is there then.
        return record
    pause = Backoff.after(record.backoff.get(effect.key), now)
    problem = f"{effect.kind} ({result.code}): {result.detail}"
    return replace(record, backoff={**record.backoff, effect.key: pause}, problem=problem)


def _eviction(record: NodeRecord, effect: Evict, result: Result, now: float) -> NodeRecord:
    pod = f"{effect.namespace}/{effect.pod}"
    if result.ok:
        return replace(record, granted=record.granted + 1, evicted=_more(record.evicted, pod))
    if result.code == "gone":
        return record
    if result.code == "refused":
        said = f"{pod}: {result.detail}"
        record = replace(record, refused=record.refused + 1, refusals=_more(record.refusals, said))
    return _failed(record, effect, result, now)


def _more(known: tuple[str, ...], new: str) -> tuple[str, ...]:
    return known if new in known or len(known) >= KEPT else (*known, new)
