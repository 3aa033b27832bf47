"""The `NodeImage` spec: YAML that people write, checked and turned into frozen values.

Rules:
1. A spec is checked whole against its schema before anything is taken from it.
2. A wrong line is named: file, line, what was found, what is allowed, and for an unknown key the nearest known one.
3. Relative paths in a spec start at the folder of the spec, whatever the working folder is.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from sealwave.images.errors import SpecError


@dataclass(frozen=True)
class GoPart:
    """A static program built from a Go module; `source` is the folder that pins its modules."""

    name: str
    source: Path
    module: str
    version: str
    package: str
    toolchain: str
    flags: tuple[str, ...]
    destination: str
    image: str


@dataclass(frozen=True)
class Disk:
    """Sizes of the partitions of a node's disk, in MiB."""

    esp_mib: int
    root_mib: int
    verity_mib: int
    data_mib: int


@dataclass(frozen=True)
class NodeImage:
    """One spec. `source` is its file, `sha256` the hash of its bytes: a lock names it."""

    source: Path
    sha256: str
    name: str
    version: str
    release_number: int
    floor: int
    arch: str
    suite: str
    keyring: Path
    packages: tuple[str, ...]
    go_parts: tuple[GoPart, ...]
    kernel_package: str
    kernel_modules: tuple[str, ...]
    kernel_load: tuple[str, ...]
    enable: tuple[str, ...]
    mask: tuple[str, ...]
    sysctls: Mapping[str, str]
    kubelet_settings: Mapping[str, Any]
    deploys: tuple[str, ...]
    files: tuple[str, ...]
    checks: tuple[str, ...]
    compat_class: str
    keep: tuple[str, ...]
    disk: Disk

    @property
    def suites(self) -> tuple[str, ...]:
        """The suite and the one with its security updates."""
        return (self.suite, f"{self.suite}-security")

    @property
    def own_files(self) -> tuple[str, ...]:
        """Every file of the user's that a build reads, by its path relative to the spec."""
        return tuple(sorted({*self.deploys, *self.files, *self.checks}))

    @property
    def wanted(self) -> tuple[str, ...]:
        """Every package that the spec asks for, the kernel's included."""
        return tuple(sorted({*self.packages, self.kernel_package}))


def load_schema(name: str) -> dict[str, Any]:
    """One of the published schemas of this folder, by file name."""
    text = resources.files("sealwave.images").joinpath("schema", name).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def load_spec(path: Path) -> NodeImage:
    """Read and check a spec file. Raises `SpecError`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SpecError(path, 1, f"the spec cannot be read ({error.strerror}); name an existing file") from error
    return parse_spec(data, path)


def parse_spec(data: bytes, path: Path) -> NodeImage:
    """Check the bytes of a spec; `path` is where they came from. Raises `SpecError`."""
    document = _parse_yaml(data, path)
    validator = jsonschema.Draft202012Validator(load_schema("node-image.schema.json"))
    errors = list(validator.iter_errors(document))
    # A misspelt key is also a missing one: of the two, the misspelling is what a person wants to hear of.
    errors.sort(key=lambda found: (found.validator != "additionalProperties", _line(document, found.absolute_path)))
    if errors:
        first = errors[0]
        if first.validator == "additionalProperties" and isinstance(first.instance, dict):
            raise _unknown_key(first, path)
        raise SpecError(path, _line(document, first.absolute_path), _explain(first))
    return _spec(document, path, hashlib.sha256(data).hexdigest())


def _parse_yaml(data: bytes, path: Path) -> CommentedMap:
    try:
        document = YAML(typ="rt", pure=True).load(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise SpecError(path, data[: error.start].count(b"\n") + 1, "this is not UTF-8 text") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = " ".join(str(error.problem or "it cannot be parsed").split())
        raise SpecError(path, line, f"this is not YAML: {problem}") from error
    except YAMLError as error:
        raise SpecError(path, 1, f"this is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, CommentedMap):
        raise SpecError(path, 1, "a NodeImage spec is a mapping of keys to values, and this is not one")
    return document


def _line(document: CommentedMap, place: Sequence[str | int]) -> int:
    """The line, from 1, of the last step of a path into the document that has one."""
    node: Any = document
    line = 1
    for step in place:
        if isinstance(node, CommentedMap) and step in node:
            line = node.lc.key(step)[0] + 1
        elif isinstance(node, CommentedSeq) and isinstance(step, int):
            line = node.lc.item(step)[0] + 1
        else:
            break
        node = node[step]
    return int(line)


def _unknown_key(error: jsonschema.ValidationError, path: Path) -> SpecError:
    schema: Any = error.schema
    found: Any = error.instance
    known = sorted(schema.get("properties", {}))
    key = next(str(name) for name in found if name not in known)
    place = ".".join(str(step) for step in error.absolute_path)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    advice = f"did you mean `{near[0]}`?" if near else f"known keys here: {', '.join(known)}"
    line = found.lc.key(key)[0] + 1 if isinstance(found, CommentedMap) else 1
    return SpecError(path, line, f"unknown key `{key}`{f' in `{place}`' if place else ''}; {advice}")


_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "object": "a mapping",
    "array": "a list",
    "boolean": "true or false",
}


def _explain(error: jsonschema.ValidationError) -> str:
    place = ".".join(str(step) for step in error.absolute_path) or "the spec"
    shown = json.dumps(error.instance, default=str)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    wanted: Any = error.validator_value
    match error.validator:
        case "type":
            kinds = [wanted] if isinstance(wanted, str) else list(wanted)
            return f"`{place}` should be {' or '.join(_TYPES.get(kind, kind) for kind in kinds)}, but is {shown}"
        case "required":
            found: Any = error.instance
            missing = [key for key in wanted if key not in found]
            return f"`{place}` lacks the key `{missing[0]}`"
        case "enum" | "const":
            allowed = [wanted] if error.validator == "const" else wanted
            return f"`{place}` should be {' or '.join(map(str, allowed))}, but is {shown}"
        case "pattern":
            return f"`{place}` is {shown}, which does not match {wanted}"
        case "minimum":
            return f"`{place}` should be at least {wanted}, but is {shown}"
        case "uniqueItems":
            return f"`{place}` names something twice"
        case "minItems":
            return f"`{place}` should not be empty"
        case _:
            return f"`{place}`: {error.message}"


def _spec(document: Mapping[str, Any], path: Path, sha256: str) -> NodeImage:
    folder = path.absolute().parent
    base, kernel = document["base"], document["kernel"]
    services, disk = document.get("services", {}), document.get("disk", {})
    return NodeImage(
        source=path,
        sha256=sha256,
        name=str(document["name"]),
        version=str(document["version"]),
        release_number=int(document["releaseNumber"]),
        floor=int(document.get("floor", 0)),
        arch=str(document.get("arch", "amd64")),
        suite=str(base["suite"]),
        keyring=_path(folder, base.get("keyring", "/usr/share/keyrings/debian-archive-keyring.gpg")),
        packages=_texts(document["packages"]),
        go_parts=tuple(_go_part(folder, part) for part in document.get("goParts", [])),
        kernel_package=str(kernel["package"]),
        kernel_modules=_texts(kernel.get("modules", [])),
        kernel_load=_texts(kernel.get("load", [])),
        enable=_texts(services.get("enable", [])),
        mask=_texts(services.get("mask", [])),
        sysctls={str(key): str(value) for key, value in sorted(document.get("sysctls", {}).items())},
        kubelet_settings=json.loads(json.dumps(document.get("kubelet", {}).get("settings", {}))),
        deploys=_texts(document.get("deploys", [])),
        files=_texts(document.get("files", [])),
        checks=_texts(document.get("checks", [])),
        compat_class=str(document.get("compatClass", "none")),
        keep=_texts(document.get("keep", ["identity", "agent"])),
        disk=Disk(
            esp_mib=int(disk.get("espMiB", 160)),
            root_mib=int(disk.get("rootMiB", 512)),
            verity_mib=int(disk.get("verityMiB", 8)),
            data_mib=int(disk.get("dataMiB", 2048)),
        ),
    )


def _go_part(folder: Path, part: Mapping[str, Any]) -> GoPart:
    return GoPart(
        name=str(part["name"]),
        source=_path(folder, part["source"]),
        module=str(part.get("module", "")),
        version=str(part.get("version", "")),
        package=str(part["package"]),
        toolchain=str(part["toolchain"]),
        flags=_texts(part.get("flags", [])),
        destination=str(part["destination"]),
        image=str(part.get("image", "")),
    )


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def _path(folder: Path, name: str) -> Path:
    return Path(folder, name).resolve()
