"""The agent's archive: `signing`, the image manifest and `images.agent`, as one file that Python runs.

Rules:
1. What is in it is listed here and nowhere else, so that a change to any other module leaves the image as it is.
2. It holds sources and their compiled form for the image's own Python, which under emulation starts seconds earlier.
3. Names are sorted and times fixed: the same sources give the same bytes.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path

from ruamel.yaml import YAML

from sealwave.images.sandbox import Sandbox

_MAIN = '''"""Starts the agent."""

from sealwave.images.agent.__main__ import main

raise SystemExit(main())
'''

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can say."""

_DATA = frozenset({".py", ".json", ".yaml"})


def agent_sources(house: Path) -> dict[str, bytes]:
    """Every file of the archive by its name; `house` is the folder of the package `sealwave`."""
    files = {"__main__.py": _MAIN.encode()}
    single = ["__init__.py", "images/__init__.py", "images/errors.py", "images/manifest.py"]
    single += ["images/schema/image.schema.json"]
    for name in single:
        if (house / name).is_file():
            files[f"sealwave/{name}"] = (house / name).read_bytes()
    for room in ("signing", "images/agent"):
        for path in sorted((house / room).resolve().rglob("*")):
            inside = path.relative_to((house / room).resolve())
            if (
                path.is_file()
                and path.suffix in _DATA
                and "__pycache__" not in inside.parts
                and inside.parts[0] != "units"
            ):
                files[f"sealwave/{room}/{inside}"] = path.read_bytes()
    # The node reads the machine API's document as JSON: a YAML parser costs an emulated machine seconds.
    document = YAML(typ="safe", pure=True).load(files.pop("sealwave/images/agent/openapi.yaml"))
    files["sealwave/images/agent/openapi.json"] = json.dumps(document, sort_keys=True).encode()
    return files


def build_agent(files: dict[str, bytes], *, tools: Sandbox) -> bytes:
    """The archive's bytes; the tools tree's Python, which is the image's, compiles it."""
    with tempfile.TemporaryDirectory(prefix="sealwave-agent-") as name:
        folder = Path(name)
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        compile_tree(folder, [folder], tools=tools, beside=True)
        compiled = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.pyc"))}
    return zip_files({**files, **compiled})


def compile_tree(root: Path, folders: list[Path], *, tools: Sandbox, beside: bool = False) -> None:
    """Compile Python files below `folders` so that the result holds no time stamp and no path of this machine.

    One process and a fixed order, because what is in memory already shows in compiled files. A compiled file is taken
    by Python without a look at its source (PEP 552, unchecked): a sealed tree cannot have the two differ, and a
    file system that gives every file one time would make a checked one look outdated for ever.
    """
    line = ["python3", "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    line += ["-s", str(root), "-p", "/", *(["-b"] if beside else []), *(str(folder) for folder in folders)]
    tools.run(line, write=[root], environment={"PYTHONHASHSEED": "0"})


def zip_files(files: dict[str, bytes]) -> bytes:
    """A zip archive with sorted names, fixed times and no compression (EROFS and the delta see the contents)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, files[name])
    return buffer.getvalue()
