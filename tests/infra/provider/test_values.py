from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import rpc

from sealwave.infra.provider.values import UNKNOWN, from_plain, from_plain_map, to_plain, to_plain_map

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**53), max_value=2**53)
    | st.text().filter(lambda text: text != rpc.UNKNOWN),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(PLAIN)
def test_plain_values_survive_the_way_to_pulumi_and_back(value: Any) -> None:
    assert to_plain(PropertyValue.unmarshal(from_plain(value).marshal())) == value


def test_a_fraction_stays_a_fraction_and_a_whole_number_becomes_an_int() -> None:
    assert to_plain(from_plain(1.5)) == 1.5
    assert isinstance(to_plain(from_plain(2)), int)


def test_an_unknown_value_is_known_by_identity() -> None:
    assert to_plain(PropertyValue(rpc.UNKNOWN)) is UNKNOWN
    assert from_plain(UNKNOWN).value == rpc.UNKNOWN
    assert repr(UNKNOWN) == "UNKNOWN"


def test_names_that_pulumi_keeps_for_itself_are_left_out() -> None:
    assert to_plain_map({**from_plain_map({"a": 1}), "__defaults": PropertyValue("x")}) == {"a": 1}


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        from_plain({1, 2})
