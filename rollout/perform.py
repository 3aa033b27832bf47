"""Performing effects: the only place where the driver changes anything. Every effect ends in a `Result`.

Rules:
1. The ledger's effects of a pass are one compare-and-swap that checks the fence.
2. After a lost race or a stale fence the newest fence is read before anything else is done: if it is not ours, the
   driver ends here.
3. A machine call carries the fence, the boot it was planned for, and a key that its journaled intent alone has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sealwave.rollout.access import Fleet
from sealwave.rollout.cluster import NodePatch
from sealwave.rollout.effects import (
    Activate,
    ClaimNode,
    Commit,
    Cordon,
    Effect,
    Evict,
    LiftQuarantine,
    QuarantineNode,
    RaiseFence,
    Reboot,
    RefuseDigest,
    Result,
    Rollback,
    Stage,
    Touch,
    UnclaimNode,
    Uncordon,
)
from sealwave.rollout.errors import ClusterError, Conflict, MachineRefused, MachineUnreachable
from sealwave.rollout.ledger import Ledger, Quarantine, Refusal
from sealwave.rollout.ledger_store import change_ledger, read_ledger
from sealwave.rollout.machine import Call, Machine
from sealwave.rollout.model import FENCE_ANNOTATION, OWNER_ANNOTATION, PoolSpec, cut
from sealwave.rollout.observation import Observation
from sealwave.rollout.observe import in_parallel

Intent = tuple[int, Effect]  # the number of the journal's intent record, and the effect


@dataclass(frozen=True, kw_only=True)
class Performer:
    """Performs effects for one driver, which holds one fence."""

    fleet: Fleet
    pool: PoolSpec
    fence: int
    who: str

    def perform(self, intents: Sequence[Intent], seen: Observation, *, now: float) -> tuple[Result, ...]:
        """Every intent's result, in order. Raises Fenced, or ClusterUnreachable from the ledger."""
        results: dict[int, Result] = {}
        ledger = [(seq, effect) for seq, effect in intents if effect.target == "ledger"]
        if ledger:
            change_ledger(self.fleet.cluster, lambda book: self._book(book, ledger, now))
            results.update({seq: Result() for seq, _ in ledger})
        others = [(seq, effect) for seq, effect in intents if effect.target != "ledger"]
        done = in_parallel(lambda intent: self.one(intent, seen), others)
        results.update({seq: result for (seq, _), result in zip(others, done, strict=True)})
        if any(result.code in ("conflict", "stale_fence") for result in done):
            read_ledger(self.fleet.cluster).check_fence(self.pool.name, self.fence)
        return tuple(results[seq] for seq, _ in intents)

    def one(self, intent: Intent, seen: Observation) -> Result:
        """Perform one effect on the cluster or on a machine."""
        result = self._one(intent, seen)
        return replace(result, detail=cut(result.detail))

    def _one(self, intent: Intent, seen: Observation) -> Result:
        seq, effect = intent
        try:
            return self._cluster(effect) if effect.target == "cluster" else self._machine(seq, effect, seen)
        except Conflict as error:
            return Result(code="conflict", detail=str(error))
        except MachineRefused as error:
            return Result(code=error.code, detail=error.detail)
        except MachineUnreachable as error:
            return Result(code="unreachable", detail=str(error))
        except ClusterError as error:
            return Result(code="cluster", detail=str(error))

    def _book(self, ledger: Ledger, intents: Sequence[Intent], now: float) -> Ledger:
        ledger.check_fence(self.pool.name, self.fence)
        for _, effect in intents:
            ledger = self._entry(ledger, effect, now)
        return ledger

    def _entry(self, ledger: Ledger, effect: Effect, now: float) -> Ledger:
        name, node = self.pool.name, effect.node
        match effect:
            case ClaimNode():
                return ledger.with_claim(name, node)
            case UnclaimNode():
                return ledger.without_claim(name, node)
            case QuarantineNode(digest=digest, reason=reason):
                entry = Quarantine(node=node, pool=name, digest=digest, reason=reason, when=now)
                return ledger.with_quarantine(entry)
            case LiftQuarantine():
                return ledger.without_quarantine(node)
            case RefuseDigest(digest=digest, reason=reason):
                refusal = Refusal(digest=digest, reason=reason, when=now, who=self.who, pool=name, node=node)
                return ledger.with_refusal(refusal)
        raise AssertionError(f"not an effect on the ledger: {effect}")

    def _cluster(self, effect: Effect) -> Result:
        cluster = self.fleet.cluster
        match effect:
            case Cordon(node=node, resource_version=version):
                marks = {OWNER_ANNOTATION: self.pool.owner, FENCE_ANNOTATION: str(self.fence)}
                cluster.patch_node(node, NodePatch(resource_version=version, unschedulable=True, annotations=marks))
                return Result()
            case Touch(node=node, resource_version=version):
                mark = {FENCE_ANNOTATION: str(self.fence)}
                cluster.patch_node(node, NodePatch(resource_version=version, unschedulable=False, annotations=mark))
                return Result()
            case Uncordon(node=node, resource_version=version):
                gone = {OWNER_ANNOTATION: None, FENCE_ANNOTATION: None}
                cluster.patch_node(node, NodePatch(resource_version=version, unschedulable=False, annotations=gone))
                return Result()
            case Evict(namespace=namespace, pod=pod, uid=uid):
                eviction = cluster.evict(namespace=namespace, pod=pod, uid=uid)
                code = "" if eviction.answer == "granted" else eviction.answer
                return Result(code=code, detail=eviction.detail)
        raise AssertionError(f"not an effect on the cluster: {effect}")

    def _machine(self, seq: int, effect: Effect, seen: Observation) -> Result:
        node = seen.sight(effect.node).node
        url = self.pool.machine_url(node) if node else self.pool.machines.get(effect.node, "")
        if not url:
            return Result(code="unreachable", detail=f"{effect.node} has no address")
        machine = self.fleet.machines.of(effect.node, url)
        return self._call(machine, seq, effect)

    def _call(self, machine: Machine, seq: int, effect: Effect) -> Result:
        def call(boot: str) -> Call:
            return Call(fence=self.fence, boot_id=boot, key=f"{self.pool.name[:40]}-{self.fence}-{seq}-{effect.kind}")

        match effect:
            case RaiseFence():
                machine.raise_fence(self.fence)
                return Result()
            case Stage(boot_id=boot, digest=digest, source=source):
                return Result(data=machine.stage(call(boot), digest=digest, source=source).id)
            case Activate(boot_id=boot, digest=digest):
                machine.activate(call(boot), digest=digest)
                return Result()
            case Reboot(boot_id=boot, remaining=remaining):
                return Result(data=machine.reboot(call(boot), remaining_pods=remaining).id)
            case Commit(boot_id=boot, digest=digest):
                machine.commit(call(boot), digest=digest)
                return Result()
            case Rollback(boot_id=boot, reason=reason):
                machine.rollback(call(boot), reason=reason)
                return Result()
        raise AssertionError(f"not an effect on a machine: {effect}")
