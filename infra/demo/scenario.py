"""The steps of the demonstration, in order; each is a method that does one thing and fails with one sentence."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from sealwave.infra.demo import checks
from sealwave.infra.demo.facts import Report, pool_status, read_rollout
from sealwave.infra.demo.stack import Run, Stack, last_line
from sealwave.infra.errors import NotReadyInTime, StepFailed
from sealwave.infra.lab import workload
from sealwave.infra.lab.config import POOL_LABEL, POOL_VALUE
from sealwave.infra.lab.imagehost import folder_of, publish
from sealwave.infra.lab.lab import Lab
from sealwave.infra.lab.machine import require_programs
from sealwave.infra.lab.pipeline import BuiltImage
from sealwave.infra.lab.up import LabPlan, build_images, make_lab
from sealwave.infra.progress import Progress
from sealwave.infra.tools import HostTools, ensure_plugin, ensure_tools

__all__ = ["NODES", "POOL", "Scenario"]

NODES = 3
POOL = "workers"
# Waves of one, then two.
WAVES = [1, 2]
# Seconds until all pods of the workload run, from the last node's Ready; images are in containerd already.
PODS_LIMIT = 240.0
# Seconds that a booted node has for its gates. Emulated beside much other load, a good one took 42.
VERIFY = {"tcg": 150.0, "kvm": 60.0}


@dataclass
class Scenario:
    """The demonstration's state between steps."""

    plan: LabPlan
    output: Path
    progress: Progress
    report: Report
    search: tuple[Path, ...] = ()
    lab: Lab | None = None
    stack: Stack | None = None

    @property
    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """Title and act of every step."""
        return [
            ("host tools: pulumi, etcd, kube-apiserver, controller manager, scheduler", self.get_tools),
            ("lock and build the images: v1, v2, and v3 whose kubelet cannot start", self.build),
            *self.opening,
            ("pulumi up rolls v2: one node, then two", self.roll),
            ("pulumi up with v3: the first node fails its gate and goes back", self.fail),
            ("v3 is refused until a person releases it", self.refuse),
            ("pulumi up with v2 heals the quarantined node", self.heal),
        ]

    @property
    def opening(self) -> list[tuple[str, Callable[[], None]]]:
        """The steps that every demonstration begins with, once it has tools and images."""
        return [
            ("control plane, image host, enrolment; three machines powered on", self.start_lab),
            ("three nodes boot from verified disks and join the cluster", self.wait_nodes),
            ("a Deployment with a disruption budget runs on them", self.run_workload),
            ("pulumi up with v1 makes its resources and touches no node", self.first_up),
            ("pulumi up again looks at every node and changes nothing", self.second_up),
            ("pulumi preview with v2 shows the waves", self.preview),
        ]

    def get_tools(self) -> None:
        """Find or build the host's tools, and check what machines need."""
        require_programs()
        tools: HostTools = ensure_tools(self.plan.settings, self.progress.note)
        plugin = ensure_plugin(self.plan.settings)
        self.search = (tools.folder, *([plugin] if plugin else []))
        self.plan.tools = tools.folder
        # Two owners of the same objects would get into each other's way at the first change of one.
        self.plan.addon = plugin is None
        by = "the lab: pulumi-kubernetes is not to be had" if self.plan.addon else "pulumi-kubernetes"
        self.report.notes.append(f"Definitions and rights of sealwave.dev were installed by {by}.")

    def build(self) -> None:
        """Lock and build every image."""
        self.report.images = build_images(self.plan, self.progress)

    def start_lab(self) -> None:
        """Begin with an empty cluster and new machines, on v1."""
        self.lab = make_lab(self.plan, self.images["v1"], fresh=True, progress=self.progress)
        for image in self.images.values():
            publish(image.folder, digest=image.digest, folder=self.lab.folder.images)
        self.report.accelerator = self.lab.state.accelerator
        self.lab.start(self.progress)

    def wait_nodes(self) -> None:
        """Wait for Ready."""
        self.running.wait_ready(self.progress)

    def run_workload(self) -> None:
        """Apply the workload and wait for its pods."""
        self.running.cluster.apply(workload.documents())
        path = f"/apis/apps/v1/namespaces/{workload.NAMESPACE}/deployments/{workload.NAME}"

        def ready() -> int:
            self.running.require_running()
            count = int(self.running.cluster.get(path).get("status", {}).get("readyReplicas", 0))
            self.progress.note(f"{count} of {workload.REPLICAS} pods run")
            return count

        waiting = Retrying(
            stop=stop_after_delay(PODS_LIMIT),
            wait=wait_fixed(1),
            retry=retry_if_result(lambda count: count < workload.REPLICAS),
        )
        try:
            waiting(ready)
        except RetryError as error:
            detail = f"{error.last_attempt.result()} of {workload.REPLICAS}"
            remedy = f"look with kubectl --kubeconfig {self.running.admin_kubeconfig}"
            raise NotReadyInTime("the pods of the workload", PODS_LIMIT, detail, remedy) from error

    def first_up(self) -> None:
        """Pulumi's resources are made; every node runs from the same boot as before."""
        self.stack = Stack(self.running.folder.pulumi, search=self.search, logs=self.output / "logs")
        self.stack.prepare()
        before = self._boots()
        self.want("v1")
        self.must(self.up(), "pulumi up with v1")
        after = self.status("v1")
        checks.all_right(after, self.images["v1"].digest, step="pulumi up with v1")
        if checks.boots_of(after) != before:
            raise StepFailed("pulumi up with v1", "a node was rebooted, although every node ran v1 already")

    def second_up(self) -> None:
        """No change, found by looking."""
        run = self.pulumi("up", "--yes", "--expect-no-changes")
        self.must(run, "the second pulumi up")
        if f"looked at {NODES} of the {NODES} nodes" not in run.output:
            raise StepFailed("the second pulumi up", "it does not say that it looked at every node", run.log)

    def preview(self) -> None:
        """Two waves, three names."""
        self.want("v2")
        run = self.pulumi("preview")
        self.must(run, "pulumi preview")
        checks.waves_shown(run.output, (f"node-{n}" for n in range(1, NODES + 1)))

    def roll(self) -> None:
        """v1 to v2."""
        boots = checks.boots_of(self.status("v1"))
        rollout = self.rollout("v2", "v1 to v2")
        checks.rolled(rollout, self.images["v2"].digest, boots, nodes=NODES)
        checks.all_right(self.status("v2"), self.images["v2"].digest, step="after v1 to v2")

    def fail(self) -> None:
        """v2 to v3 halts at the first node, which goes back."""
        boots = checks.boots_of(self.status("v2"))
        self.want("v3")
        rollout = self.rollout("v3", "v2 to the broken v3")
        node = checks.halted_at_one(rollout, runs=self.images["v2"].digest, boots=boots)
        self.report.notes.append(f"{node} refused v3 and went back to v2; the other nodes were never touched.")

    def refuse(self) -> None:
        """v3 again is refused before anything is touched; then a person releases it."""
        boots = checks.boots_of(self.status("v3"))
        run = self.up()
        if run.code == 0:
            raise StepFailed("pulumi up with the refused v3", "it ended with 0", run.log)
        if checks.boots_of(self.status("v3")) != boots:
            raise StepFailed("pulumi up with the refused v3", "a node was rebooted", run.log)
        digest = self.images["v3"].digest
        self.sealwave("rollout", "release-digest", digest, "--reason", "the demonstration ends with v2 anyway")
        self.report.notes.append(
            "The refused v3 was released by `sealwave rollout release-digest`, which is journaled."
        )

    def heal(self) -> None:
        """Back to v2: the quarantined node is found right and released."""
        self.want("v2")
        rollout = self.rollout("v2", "back to v2")
        if rollout.exit_status != 0:
            raise StepFailed(rollout.title, rollout.outcome.summary)
        self.report.final = self.status("v2")
        checks.all_right(self.report.final, self.images["v2"].digest, step="the end")

    def _boots(self) -> dict[str, str]:
        """Which boot each node runs from, as its kubelet says: the driver may not look before its rights are there."""
        nodes = self.running.cluster.items("/api/v1/nodes")
        return {node["metadata"]["name"]: node["status"]["nodeInfo"]["bootID"] for node in nodes}

    @property
    def images(self) -> dict[str, BuiltImage]:
        """The images by the name of their role here."""
        return self.report.images

    @property
    def running(self) -> Lab:
        """The lab, which an earlier step started."""
        assert self.lab is not None
        return self.lab

    def pool(self, name: str) -> dict[str, Any]:
        """The inputs of the pool with this image."""
        image = self.images[name]
        return self.pool_settings(image) | {"digest": image.digest}

    def pool_settings(self, image: BuiltImage) -> dict[str, Any]:
        """The pool as the stack's configuration has it; nodes see this host at another address than we do."""
        state = self.running.state
        return {
            "name": POOL,
            "selector": {POOL_LABEL: POOL_VALUE},
            "waves": WAVES,
            "machines": {machine.name: machine.url for machine in state.machines},
            "source": self.running.guest_images_url + "/" + folder_of(image.digest),
            "deadlines": {"verify": VERIFY[state.accelerator]},
        }

    def want(self, name: str) -> None:
        """Set the stack's configuration to this image."""
        assert self.stack is not None
        image = self.images[name]
        self.stack.configure(
            {
                "credentials": str(self.running.folder.credentials),
                "addonKubeconfig": str(self.running.admin_kubeconfig),
                "image": {"source": f"{self.running.images_url}/{folder_of(image.digest)}", "digest": image.digest},
                "pool": self.pool_settings(image),
            }
        )

    def status(self, name: str) -> Any:
        """How the pool stands, measured against this image."""
        return pool_status(self.pool(name), self.running.folder.credentials)

    def up(self) -> Run:
        """`pulumi up`, as in a pipeline: nobody is asked."""
        return self.pulumi("up", "--yes", "--skip-preview")

    def pulumi(self, *arguments: str) -> Run:
        """Call Pulumi and show what it says."""
        assert self.stack is not None
        self.running.require_running()
        return self.stack.run(*arguments, progress=self.progress)

    def must(self, run: Run, what: str) -> None:
        """Raise StepFailed unless it ended with 0."""
        if run.code != 0:
            raise StepFailed(what, last_line(run.output), run.log)

    def rollout(self, name: str, title: str) -> Any:
        """`pulumi up`, then what the journal and the nodes say of it; it goes into the report in any case."""
        begun = time.time()
        run = self.up()
        ended = time.time()
        credentials = self.running.folder.credentials
        rollout = read_rollout(
            self.pool(name), credentials, title=title, exit_status=run.code, begun=begun, ended=ended, log=run.log
        )
        self.report.rollouts.append(rollout)
        return rollout

    def sealwave(self, *arguments: str) -> None:
        """Call our own command line as a person does."""
        program = shutil.which("sealwave", path=str(Path(sys.executable).parent)) or "sealwave"
        folder = str(self.running.folder.credentials)
        done = subprocess.run(
            [program, *arguments, "--credentials", folder],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StepFailed(f"sealwave {' '.join(arguments[:2])}", last_line(done.stderr))
