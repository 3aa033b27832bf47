"""The demonstration of a killed rollout: CLI and provider end by SIGKILL between activation and reboot of a real node.

Their working files are deleted, and the next `pulumi up` resumes from the journal in the cluster. Afterwards the node
refuses a fence that is older than the one it saw before its own reboot, and an observer may not stage.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from sealwave.infra.demo import checks
from sealwave.infra.demo.answers import Answer, post, require_refusal
from sealwave.infra.demo.background import StartedRun
from sealwave.infra.demo.scenario import NODES, POOL, Scenario
from sealwave.infra.demo.stack import worth_showing
from sealwave.infra.errors import NotReadyInTime, StepFailed
from sealwave.infra.lab.up import build_images

__all__ = ["ResumeScenario", "activated"]

# Seconds until the first node is activated: 356 MiB are staged first, over TLS into an emulated machine.
ACTIVATE_LIMIT = 600.0
# Seconds between two looks at the journal; the reboot follows the activation within the driver's pass of 2.
LOOK = 0.05


class ResumeScenario(Scenario):
    """Rolls v1 to v2, killed half-way."""

    @property
    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """Title and act of every step; up to the kill they are those of the whole demonstration."""
        return [
            ("host tools", self.get_tools),
            ("lock and build the images: v1 and v2", self.build),
            *self.opening,
            ("pulumi up with v2, killed with its provider after the first activation", self.kill),
            ("working files deleted; pulumi cancel and pulumi up resume from the journal in the cluster", self.resume),
            ("a stale fence and an observer's stage are refused", self.refuse_others),
        ]

    def build(self) -> None:
        """Only the two good images."""
        self.plan.specs.pop("v3", None)
        self.report.images = build_images(self.plan, self.progress)

    def kill(self) -> None:
        """SIGKILL for Pulumi's CLI and every plugin as soon as the journal tells of an activation."""
        self.want("v2")
        assert self.stack is not None
        run = self.stack.start("up", "--yes", "--skip-preview")
        try:
            node = self._wait_activated(run)
        finally:
            run.kill_all()
        self.report.notes.append(f"CLI and provider were killed with SIGKILL when {node} was activated.")

    def resume(self) -> None:
        """As from another host: no cache, no half-written file of the killed run."""
        assert self.stack is not None
        before = checks.boots_of(self.status("v2"))
        self.stack.forget_working_files()
        self.stack.prepare()
        self.must(self.stack.run("cancel", "--yes", progress=self.progress), "pulumi cancel")
        rollout = self.rollout("v2", "resumed after SIGKILL")
        if rollout.exit_status != 0:
            raise StepFailed(rollout.title, rollout.outcome.summary)
        self.report.final = self.status("v2")
        checks.all_right(self.report.final, self.images["v2"].digest, step="after the resumed rollout")
        if len(before) != NODES:
            raise StepFailed("the killed rollout", "not every node answered after it")
        cordoned = [str(n["metadata"]["name"]) for n in self._nodes() if n["spec"].get("unschedulable")]
        if cordoned:
            raise StepFailed("after the resumed rollout", f"{', '.join(cordoned)} is still cordoned")

    def refuse_others(self) -> None:
        """What a node must refuse whoever asks."""
        assert self.report.final is not None
        machine = self.running.state.machines[0]
        boot = checks.boots_of(self.report.final)[machine.name]
        image = self.images["v1"]
        body = {"fence": 0, "bootId": boot, "digest": image.digest, "source": self.pool("v1")["source"]}
        for role, refusal in (("observer", Answer(403, "forbidden")), ("updater", Answer(409, "stale_fence"))):
            answer = post(
                "/v1/image/stage",
                body,
                machine=machine.name,
                port=machine.port,
                credentials=self.running.folder.credentials,
                role=role,
            )
            require_refusal(answer, refusal, what=f"stage with fence 0 and the certificate of {role}")
        self.report.notes.append(f"{machine.name} refused an older fence after its reboot, and an observer's stage.")

    def _wait_activated(self, run: StartedRun) -> str:
        """Watch the journal and not the machine: an emulated one answers more slowly than its reboot comes."""
        end = time.monotonic() + ACTIVATE_LIMIT
        while time.monotonic() < end:
            run.require_running()
            self.progress.note(worth_showing(run.newest()))
            journal = self.running.cluster.find(f"/apis/sealwave.dev/v1alpha1/journals/{POOL}")
            node = activated(journal["spec"]["records"]) if journal else None
            if node is not None:
                return node
            time.sleep(LOOK)
        raise NotReadyInTime("the first activation", ACTIVATE_LIMIT, run.newest(), f"look at {run.log}")

    def _nodes(self) -> list[dict[str, dict[str, object]]]:
        return self.running.cluster.items("/api/v1/nodes")


def activated(lines: Sequence[str]) -> str | None:
    """The node of the first activation that a journal tells of as done; lines are the journal's records."""
    for record in map(json.loads, lines):
        if record["kind"] == "done" and record["data"]["effect"]["kind"] == "Activate":
            return str(record["node"])
    return None
