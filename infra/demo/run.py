"""Runs the demonstration: the steps with their progress, the report whatever happens, and the end of every process."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path

from sealwave.infra.demo.facts import Report
from sealwave.infra.demo.scenario import Scenario
from sealwave.infra.lab.lab import Lab
from sealwave.infra.lab.state import LabFolder
from sealwave.infra.lab.up import LabPlan
from sealwave.infra.progress import Progress
from sealwave.infra.report import summary_table, write_report
from sealwave.infra.settings import Settings

__all__ = ["Options", "demo"]


@dataclass(frozen=True)
class Options:
    """What a person may choose. Folders of the lab, of built images and of the report; specs by their role."""

    lab: Path
    images: Path
    output: Path
    specs: dict[str, Path]
    keep: bool = False
    scenario: type[Scenario] = Scenario


def demo(options: Options, settings: Settings, progress: Progress) -> Report:
    """Run every step and return the facts; raises what the first failing step raises, after report and clean-up."""
    report = Report(started=time.time(), steps=progress.times)
    plan = LabPlan(LabFolder(options.lab), settings, options.images, options.specs)
    scenario = options.scenario(plan, options.output, progress, report)
    kept = options.keep
    try:
        for title, act in scenario.steps:
            with progress.step(title):
                act()
    except BaseException as error:
        # A step that failed is looked at in the lab; who pressed Ctrl-C wants it gone.
        kept = kept and isinstance(error, Exception)
        report.failed = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__
        raise
    finally:
        _end(scenario, keep=kept)
        _tell(options, report, progress)
        if kept and scenario.lab is not None:
            _say_how_to_reach(scenario, scenario.lab, progress)
    return report


def _end(scenario: Scenario, *, keep: bool) -> None:
    if scenario.lab is None:
        return
    if keep:
        scenario.lab.let_stay()
    scenario.lab.close()


def _tell(options: Options, report: Report, progress: Progress) -> None:
    """The table for the terminal and both files, also of a run that failed."""
    page = write_report(report.to_json(), options.output)
    progress.console.print(summary_table(report.to_json()))
    progress.say(f"report: {page} and report.json beside it")


def _say_how_to_reach(scenario: Scenario, lab: Lab, progress: Progress) -> None:
    folder = lab.folder
    progress.say("The lab stays up:")
    progress.say(f"  kubectl --kubeconfig {lab.admin_kubeconfig} get nodes")
    machine = lab.state.machines[0]
    progress.say(f"  sealwave node status {machine.name} --url {machine.url} --credentials {folder.credentials}")
    if scenario.stack is not None:
        settings = " ".join(
            f"{name}={shlex.quote(value)}"
            for name, value in scenario.stack.environment.items()
            if name.startswith("PULUMI_") or name == "PATH"
        )
        progress.say(f"  cd {scenario.stack.project} && {settings} pulumi preview")
    progress.say(f"  sealwave lab down --folder {folder.root}")
