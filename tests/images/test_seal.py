from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sealwave.images import disk, manifest, seal
from sealwave.images.build import RootTree
from sealwave.images.erofs import RootTooLarge
from sealwave.images.errors import LockMismatch
from sealwave.images.lock import Trust
from sealwave.images.sandbox import Sandbox
from sealwave.images.spec import load_spec
from sealwave.images.store import hash_file
from sealwave.signing.keys import LabKeys
from tests.images import samples


@pytest.fixture
def tree(tmp_path: Path, lab_keys: LabKeys) -> RootTree:
    trust = Trust(
        release=hash_file(lab_keys.public_path("release")),
        config=hash_file(lab_keys.public_path("config")),
        secure_boot=hash_file(lab_keys.certificate_path("db")),
    )
    spec = load_spec(samples.EXAMPLES / "node-image-v1.yaml")
    return RootTree(tmp_path, "key", spec, samples.lock(trust=trust), Sandbox(tmp_path))


def test_the_keys_of_the_lock_are_accepted(tree: RootTree, lab_keys: LabKeys) -> None:
    seal.check_keys(tree, lab_keys)


@pytest.mark.parametrize(
    ("role", "named"), [("release", "release"), ("config", "config"), ("secure_boot", "Secure Boot")]
)
def test_a_lock_of_other_keys_is_refused(tree: RootTree, lab_keys: LabKeys, role: str, named: str) -> None:
    other = replace(tree, lock=replace(tree.lock, trust=replace(tree.lock.trust, **{role: "0" * 64})))
    with pytest.raises(LockMismatch, match=f"trusts another {named} key"):
        seal.check_keys(other, lab_keys)


def test_the_manifest_says_what_spec_and_lock_say(tree: RootTree, tmp_path: Path) -> None:
    for name in seal.RELEASED:
        (tmp_path / name).write_bytes(name.encode())
    shape = manifest.Verity("f2b8e1d4-6a53-4c0e-9d71-5ea1a4e00002", 10, 2)
    image = seal.image_of(tree, root_hash="ab" * 32, shape=shape, folder=tmp_path)
    assert manifest.parse(manifest.encode(image)) == image
    assert (image.name, image.version, image.release_number) == ("worker", tree.spec.version, tree.spec.release_number)
    assert image.lock == f"sha256:{tree.lock.sha256}"
    assert [entry.path for entry in image.files] == list(seal.RELEASED)


def test_sizes_of_the_disk_come_from_the_spec(tree: RootTree) -> None:
    sizes = tree.spec.disk
    assert seal.layout_of(tree) == disk.Layout(
        sizes.esp_mib << 20, sizes.root_mib << 20, sizes.verity_mib << 20, sizes.data_mib << 20
    )


def test_a_root_that_does_not_fit_says_what_to_do() -> None:
    error = RootTooLarge(size=449 * 1024 * 1024 + 1, slot=448 * 1024 * 1024)
    assert str(error) == (
        "the root needs 450 MiB and its slot has 448 MiB; raise disk.rootMiB in the spec or remove packages"
    )
