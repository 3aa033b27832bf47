"""Pulumi's output, reduced to what a person watches."""

import pytest

from sealwave.infra.demo.stack import last_line, worth_showing


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        pytest.param("@ updating....", "", id="dots"),
        pytest.param("warning: using pulumi-language-python from $PATH at /x/y", "", id="a plugin's place"),
        pytest.param(
            " ~  sealwave:index:NodePool nodes updating (24s) [diff: ~digest,source]; node-1: staging 15%",
            "node-1: staging 15%",
            id="the provider's own words",
        ),
        pytest.param(
            " +  sealwave:index:NodePool nodes creating (0s); nothing; was touched",
            "nothing; was touched",
            id="two of ;",
        ),
        pytest.param(" ~  sealwave:index:ImageRelease image updated (0.02s)", None, id="a resource"),
        pytest.param("", "", id="empty"),
    ],
)
def test_worth_showing(line: str, shown: str | None) -> None:
    assert worth_showing(line) == (line.strip(" ~") if shown is None else shown)


def test_the_last_line_is_the_last_that_says_something() -> None:
    assert last_line("error: no\n\n   \n") == "error: no"
