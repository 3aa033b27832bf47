from __future__ import annotations

import hashlib

import pytest

from sealwave.images import deb
from sealwave.images.errors import LockError
from tests.images.samples import deb as make_deb
from tests.images.samples import package

CONTROL = "Package: zlib1g\nVersion: 1:1.3-1\nEssential: yes\n"


def test_the_control_paragraph_comes_out() -> None:
    assert deb.control(make_deb(CONTROL), "zlib1g") == CONTROL


@pytest.mark.parametrize("data", [b"", b"!<arch>\n", b"not a package", make_deb(CONTROL)[:150]])
def test_a_file_that_is_no_package_is_refused(data: bytes) -> None:
    with pytest.raises(LockError, match="zlib1g is not a package that can be read"):
        deb.control(data, "zlib1g")


def test_the_index_names_file_size_and_hash() -> None:
    zlib = package("zlib1g", content=b"z", version="1:1.3-1")
    index = deb.packages_index([(zlib, CONTROL), (package("a"), "Package: a\n")]).decode()
    first, second = index.split("\n\n")
    assert first.startswith("Package: a\n")
    assert f"Filename: ./zlib1g_1%3a1.3-1_amd64.deb\nSize: 1\nSHA256: {zlib.sha256}\n" in second


def test_the_release_file_names_the_suite_and_the_index() -> None:
    release = deb.release_file(b"index", suite="trixie", architecture="amd64", date=0).decode()
    assert "Suite: trixie\n" in release
    assert f" {hashlib.sha256(b'index').hexdigest()} 5 Packages\n" in release
