"""Each measurement still measures something."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import seconds
from benchmarks.cases import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_each_case_runs(case: Case) -> None:
    assert seconds(case, runs=1) > 0
