"""The small makers of parts: OCI archive, agent archive, units, Go programs."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from sealwave.images import gobuild
from sealwave.images.agentzip import agent_sources, zip_files
from sealwave.images.confine import OutsideFolder
from sealwave.images.errors import LockError, SpecError
from sealwave.images.gobuild import build_part, part_key
from sealwave.images.gosource import source_digest
from sealwave.images.ociarchive import oci_archive
from sealwave.images.payload import HOUSE, _write, copy_units, own_units
from sealwave.images.spec import GoPart, parse_spec
from sealwave.images.store import Store
from tests.images.samples import SPEC


def test_an_oci_archive_is_whole_and_always_the_same() -> None:
    archive = oci_archive(b"program", path="/pause", name="sealwave.local/pause:1")
    assert archive == oci_archive(b"program", path="/pause", name="sealwave.local/pause:1")
    files = _tar(archive)
    index = json.loads(files["index.json"])
    (entry,) = index["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "sealwave.local/pause:1"
    manifest = json.loads(_blob(files, entry))
    config = json.loads(_blob(files, manifest["config"]))
    layer = _blob(files, manifest["layers"][0])
    assert config["config"] == {"User": "65535:65535", "Entrypoint": ["/pause"]}
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert _tar(layer) == {"pause": b"program"}


def _blob(files: dict[str, bytes], descriptor: dict[str, object]) -> bytes:
    digest = str(descriptor["digest"]).removeprefix("sha256:")
    content = files[f"blobs/sha256/{digest}"]
    assert len(content) == descriptor["size"]
    assert hashlib.sha256(content).hexdigest() == digest
    return content


def _tar(data: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for entry in archive:
            stream = archive.extractfile(entry)
            assert stream is not None
            assert (entry.mtime, entry.uid, entry.gid) == (0, 0, 0)
            found[entry.name] = stream.read()
    return found


def test_the_agent_ships_with_what_it_needs_and_no_more() -> None:
    names = set(agent_sources(HOUSE))
    assert {
        "__main__.py",
        "sealwave/__init__.py",
        "sealwave/images/manifest.py",
        "sealwave/images/agent/__init__.py",
    } <= names
    rooms = {name.split("/")[1] for name in names if name.count("/") > 1}
    assert rooms == {"signing", "images"}
    images = {name.split("/")[2] for name in names if name.startswith("sealwave/images/")}
    assert images <= {"__init__.py", "errors.py", "manifest.py", "agent", "schema"}
    assert not any("units" in name or "__pycache__" in name for name in names)


@pytest.mark.parametrize("path", ["/../../etc/x", "/usr/../../x", "/..", "/var/run/x"])
def test_a_destination_outside_the_tree(tmp_path: Path, path: str) -> None:
    tree = tmp_path / "tree"
    (tree / "var").mkdir(parents=True)
    (tree / "var/run").symlink_to(tmp_path / "host")
    with pytest.raises(OutsideFolder, match="leads out of the folder"):
        _write(tree, path, b"")
    if ".." in path:
        text = SPEC + (
            "goParts:\n- {name: pause, source: go, package: example.org/pause,"
            f" toolchain: go1.26.8, destination: {path}}}\n"
        )
        with pytest.raises(SpecError, match=r"goParts\.0\.destination"):
            parse_spec(text.encode(), Path("node.yaml"))
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_a_part_is_written_into_the_tree(tmp_path: Path) -> None:
    (tmp_path / "bin").symlink_to("usr/bin")
    _write(tmp_path, "/bin/..data/x", b"1", mode=0o755)
    assert (tmp_path / "usr/bin/..data/x").read_bytes() == b"1"


def test_an_archive_does_not_depend_on_order_or_time() -> None:
    one = zip_files({"b.py": b"2", "a.py": b"1"})
    assert one == zip_files({"a.py": b"1", "b.py": b"2"})
    with zipfile.ZipFile(io.BytesIO(one)) as archive:
        assert archive.namelist() == ["a.py", "b.py"]


def test_units_and_their_drop_ins_are_copied_and_the_wanted_ones_named(tmp_path: Path) -> None:
    units, tree = tmp_path / "units", tmp_path / "tree"
    (units / "containerd.service.d").mkdir(parents=True)
    (units / "root/etc").mkdir(parents=True)
    (units / "a.service").write_text("[Service]\n[Install]\nWantedBy=multi-user.target\n")
    (units / "b.timer").write_text("[Timer]\n")
    (units / "notes.txt").write_text("[Install]\n")
    (units / "containerd.service.d/10-own.conf").write_text("[Service]\n")
    (units / "root/etc/fstab").write_text("")
    copy_units(tree, units)
    system = tree / "usr/lib/systemd/system"
    assert {str(path.relative_to(system)) for path in system.rglob("*") if path.is_file()} == {
        "a.service",
        "b.timer",
        "containerd.service.d/10-own.conf",
    }
    assert own_units(units) == ("a.service",)


PART = GoPart(
    name="pause",
    source=Path("/none"),
    module="",
    version="",
    package="example.org/pause",
    toolchain="go1.26.8",
    flags=("-ldflags=-s",),
    destination="/usr/bin/pause",
    image="",
)


@pytest.fixture
def part(tmp_path: Path) -> GoPart:
    source = tmp_path / "source"
    source.mkdir()
    (source / "go.mod").write_text(
        "module example.org/pause\n\ngo 1.26.0\n\nrequire example.org/lib v1.2.3 // indirect\n"
    )
    (source / "main.go").write_text("package main\n")
    return replace(PART, source=source)


def test_a_go_program_is_built_once_for_its_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: GoPart
) -> None:
    built: list[str] = []

    def compile_fake(part: GoPart, output: Path) -> None:
        built.append(part.name)
        output.write_bytes(b"program")

    monkeypatch.setattr(gobuild, "_compile", compile_fake)
    store = Store(tmp_path / "store")
    one = build_part(part, store=store, cache=tmp_path / "cache")
    assert build_part(part, store=store, cache=tmp_path / "cache") == one
    assert built == ["pause"]
    assert (one.sha256, one.size) == (hashlib.sha256(b"program").hexdigest(), 7)
    (part.source / "main.go").write_text("package main // changed\n")
    assert build_part(part, store=store, cache=tmp_path / "cache").sources != one.sources
    assert len(built) == 2
    store.place(one.sha256).unlink()
    build_part(part, store=store, cache=tmp_path / "cache")
    assert len(built) == 3


def test_everything_that_decides_a_program_is_in_its_key(part: GoPart) -> None:
    sources = source_digest(part.source)
    keys = {
        part_key(part, sources),
        part_key(replace(part, flags=()), sources),
        part_key(replace(part, toolchain="go1.26.9"), sources),
        part_key(replace(part, package="example.org/other"), sources),
        part_key(part, "sha256:other"),
    }
    assert len(keys) == 5


@pytest.mark.parametrize(("version", "has"), [("v1.2.4", r"has v1\.2\.3"), ("v1.2.3", "")])
def test_the_spec_and_go_mod_must_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: GoPart, version: str, has: str
) -> None:
    monkeypatch.setattr(gobuild, "_compile", lambda part, output: output.write_bytes(b"x"))
    wanted = replace(part, module="example.org/lib", version=version)
    if not has:
        build_part(wanted, store=Store(tmp_path / "store"), cache=tmp_path / "cache")
        return
    with pytest.raises(LockError, match=has):
        build_part(wanted, store=Store(tmp_path / "store"), cache=tmp_path / "cache")


def test_a_module_that_go_mod_lacks_is_named(tmp_path: Path, part: GoPart) -> None:
    with pytest.raises(LockError, match="does not require it"):
        build_part(
            replace(part, module="example.org/none", version="v1.0.0"), store=Store(tmp_path), cache=tmp_path / "cache"
        )


def test_a_source_folder_without_go_mod_is_named(tmp_path: Path) -> None:
    with pytest.raises(LockError, match=r"holds no go\.mod"):
        source_digest(tmp_path)
