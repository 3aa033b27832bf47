"""The users' checks: testinfra on the finished tree, seen through a layer that lends it a shell."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from sealwave.images.configure import lay_out
from sealwave.images.errors import CheckFailed, ToolFailed
from sealwave.images.hoststage import VIEW, check_line, run_stage
from sealwave.images.lock import Lock
from sealwave.images.spec import NodeImage
from sealwave.images.store import Store

_FAILED = re.compile(r"^(FAILED|ERROR) (\S+)(?: - (.*))?$", re.MULTILINE)


def check_tree(spec: NodeImage, lock: Lock, *, tree: Path, store: Store, tools: Path) -> None:
    """Run the spec's checks against `tree`, which stays as it is. Raises `CheckFailed` naming the check that failed."""
    if not spec.checks:
        return
    with tempfile.TemporaryDirectory(prefix="sealwave-check-") as name:
        folder = Path(name, "spec").resolve()
        folder.mkdir()
        lay_out(lock, store=store, folder=folder)
        layer = folder.parent / "layer"
        (layer / "usr/bin").mkdir(parents=True)
        shutil.copy2(tools / "usr/bin/dash", layer / "usr/bin/sh")
        arguments = ["-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", "-c", "/dev/null", f"--rootdir={folder}"]
        arguments += ["--connection=chroot", f"--hosts={VIEW}", *spec.checks]
        try:
            run_stage(check_line(tree, folder, arguments, layer=layer), named=["testinfra", *spec.checks])
        except ToolFailed as error:
            raise CheckFailed(f"the built tree fails {failure(error.output)}; correct the spec or the check") from error


def failure(output: str) -> str:
    """The first failed check in pytest's output and its reason; pure."""
    found = _FAILED.search(output)
    if found is None:
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        return f"its checks: {lines[-1] if lines else 'they said nothing'}"
    reason = f" ({found.group(3)})" if found.group(3) else ""
    return f"{found.group(2)}{reason}"
