"""What is done before a lab starts: images, accelerator, and the state that the supervisor reads."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sealwave.infra.lab.accelerator import choose
from sealwave.infra.lab.lab import Lab
from sealwave.infra.lab.pipeline import BuiltImage, Pipeline
from sealwave.infra.lab.state import LabFolder, LabState, new_state, read_state, write_state
from sealwave.infra.lab.supervisor import hold_lock
from sealwave.infra.progress import Progress
from sealwave.infra.settings import Settings
from sealwave.signing.files import make_private_folder
from sealwave.signing.keys import LabKeys

__all__ = ["LabPlan", "build_images", "make_lab"]


@dataclass
class LabPlan:
    """What a person wants of a lab."""

    folder: LabFolder
    settings: Settings
    build: Path  # Where images are built.
    specs: dict[str, Path]  # By the name that steps call them.
    tools: Path = Path()
    machines: int = 3
    addon: bool = True  # See LabState.


def build_images(plan: LabPlan, progress: Progress) -> dict[str, BuiltImage]:
    """Lock what is not locked, and build each spec; what did not change comes from the cache."""
    keys = LabKeys.ensure(plan.folder.keys, now=datetime.now(UTC))
    pipeline = Pipeline(plan.build, keys=keys, settings=plan.settings, report=progress.note)
    return {name: pipeline.build(spec) for name, spec in plan.specs.items()}


def make_lab(plan: LabPlan, image: BuiltImage, *, fresh: bool, progress: Progress) -> Lab:
    """The lab on this image. `fresh` begins with an empty cluster and new machines; keys and certificates are kept.

    Without it a lab that was there goes on with its machines, on their disks. Raises LabBusy when it runs already.
    """
    make_private_folder(plan.folder.root)
    with hold_lock(plan.folder):
        progress.note("does KVM run a kernel here?")
        accelerator = choose(image.uki, plan.folder.root / "accelerator.json")
        found = None if fresh else read_state(plan.folder.state)
        if found is None or len(found.machines) != plan.machines:
            _empty(plan.folder)
            found = new_state(
                plan.folder.root,
                tools=plan.tools,
                count=plan.machines,
                digest=image.digest,
                disk=image.disk,
                accelerator=accelerator.name,
            )
        state: LabState = replace(found, tools=plan.tools, accelerator=accelerator.name, addon=plan.addon)
        write_state(plan.folder.state, state)
    return Lab(plan.folder, state)


def _empty(folder: LabFolder) -> None:
    """Forget cluster, machines and stack; what images on disk trust, and the lab's own authorities, stay."""
    doomed = (folder.root / "machines", folder.bases, folder.images, folder.control_plane / "etcd")
    for path in (*doomed, folder.pulumi, folder.credentials):
        shutil.rmtree(path, ignore_errors=True)
    folder.enrolments.unlink(missing_ok=True)
    for log in (*folder.control_plane.glob("*.log"), folder.supervisor_log):
        log.unlink(missing_ok=True)
