"""`sealwave lab`: a cluster of virtual machines on this host, and the demonstration on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sealwave.infra.demo.resume import ResumeScenario
from sealwave.infra.demo.run import Options, demo
from sealwave.infra.demo.scenario import Scenario
from sealwave.infra.errors import ToolMissing
from sealwave.infra.lab import workload
from sealwave.infra.lab.imagehost import publish
from sealwave.infra.lab.lab import take_down
from sealwave.infra.lab.machine import require_programs
from sealwave.infra.lab.state import LabFolder
from sealwave.infra.lab.up import LabPlan, build_images, make_lab
from sealwave.infra.progress import Progress
from sealwave.infra.settings import Settings
from sealwave.infra.tools import ensure_tools, missing_packages, usable

_Command = Callable[..., Any]
FOLDER = Path("build/lab")
IMAGES = Path("build/images")
OUTPUT = Path("build/demo")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def _folder_option(command: _Command) -> _Command:
    return click.option(
        "--folder",
        type=click.Path(file_okay=False, path_type=Path),
        default=FOLDER,
        show_default=True,
        help="Where the lab keeps its keys, its cluster and its machines.",
    )(command)


@click.group()
def lab() -> None:
    """Run a cluster of virtual machines on this host: no cloud, no other host, nothing listens outside it."""


@lab.command()
@_folder_option
@click.option(
    "--spec",
    type=click.Path(dir_okay=False, path_type=Path),
    default=EXAMPLES / "node-image-v1.yaml",
    help="The image that the machines boot.  [default: the first of examples/]",
)
@click.option("--machines", type=click.IntRange(1, 9), default=3, show_default=True)
@click.option("--fresh", is_flag=True, help="Begin with an empty cluster and new machines.")
def up(folder: Path, spec: Path, machines: int, fresh: bool) -> None:
    """Build the image, start a control plane and the machines, and wait until they are Ready nodes.

    The lab stays until `sealwave lab down`. A lab that was down goes on where it was.
    """
    _require_host()
    progress, settings = Progress(), Settings.from_environment()
    plan = LabPlan(_lab_folder(folder), settings, IMAGES.absolute(), {"image": spec.absolute()}, machines=machines)
    require_programs()
    with progress.step("host tools"):
        plan.tools = ensure_tools(settings, progress.note).folder
    with progress.step(f"lock and build {spec.name}"):
        image = build_images(plan, progress)["image"]
    with progress.step("control plane, image host, enrolment; machines powered on"):
        running = make_lab(plan, image, fresh=fresh, progress=progress)
        publish(image.folder, digest=image.digest, folder=running.folder.images)
        running.start(progress)
    try:
        with progress.step("nodes boot and join the cluster"):
            running.wait_ready(progress)
        running.cluster.apply(workload.documents())
        running.let_stay()
    finally:
        running.close()
    click.echo(f"kubectl --kubeconfig {running.admin_kubeconfig} get nodes")
    click.echo(f"sealwave lab down{'' if folder == FOLDER else f' --folder {folder}'}")


@lab.command()
@_folder_option
def down(folder: Path) -> None:
    """End every process of the lab; its keys, its cluster's data and its machines' disks stay."""
    ended = take_down(_lab_folder(folder))
    click.echo("the lab is down" if ended else f"no lab runs in {folder}")


@lab.command("demo")
@_folder_option
@click.option("--keep", is_flag=True, help="Leave the lab up at the end, and say how to reach it.")
@click.option("--resume", is_flag=True, help="Show a rollout that is killed half-way, and resumed from the cluster.")
def demo_command(folder: Path, keep: bool, resume: bool) -> None:
    """Show the whole product: build three images, boot three machines, roll a good image and a broken one.

    Ends with a summary, and with build/demo/report.html and report.json.
    """
    _require_host()
    specs = {version: EXAMPLES / f"node-image-{version}.yaml" for version in ("v1", "v2", "v3")}
    for spec in specs.values():
        if not spec.is_file():
            raise ToolMissing(str(spec), "run the demonstration from a checkout of sealwave")
    options = Options(
        _lab_folder(folder).root,
        IMAGES.absolute(),
        OUTPUT.absolute(),
        specs,
        keep,
        ResumeScenario if resume else Scenario,
    )
    demo(options, Settings.from_environment(), Progress())


def _lab_folder(folder: Path) -> LabFolder:
    return LabFolder(folder.absolute())


def _require_host() -> None:
    """Root and programs are asked for before the first slow step; what is missing is installed by `make demo`."""
    usable(root=os.geteuid() == 0, missing=missing_packages(), installable=False)
