"""`python -m benchmarks`: measure every case, print a table, write build/bench/report.json."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.cases import CASES, Case
from sealwave.signing.files import write_atomic

__all__ = ["main", "seconds"]

RUNS = 5
REPORT = Path("build/bench/report.json")


def seconds(case: Case, *, runs: int = RUNS) -> float:
    """The best time of one call: the others were disturbed by something that is not ours."""
    call = case.prepare()
    best = float("inf")
    for _ in range(runs):
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best


def main() -> int:
    """Measure everything; returns 0."""
    table = Table(
        "case",
        "seconds",
        "per second",
        title=f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.python_version()}",
    )
    figures = {}
    for case in CASES:
        best = seconds(case)
        figures[case.name] = {"seconds": best, "work": case.work, "unit": case.unit}
        table.add_row(case.name, f"{best:.4f}", f"{case.work / best:,.0f} {case.unit}")
    Console().print(table)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    host = {"machine": platform.machine(), "cpus": os.cpu_count(), "python": platform.python_version()}
    write_atomic(REPORT, json.dumps({"host": host, "figures": figures}, indent=2).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
