"""The house's own rules, as tests: style, types, arrows, sizes, surfaces, words.

What a linter or a type checker says is shown whole, so that a failure here needs no second run.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("images", "infra", "rollout", "signing")
# Lines. From here on a module has more than one subject.
LONGEST = 300

# Run by a path, by Pulumi and by pyinfra: nobody imports them.
SCRIPTS = {"infra/program/__main__.py", "images/basedeploy.py"}

# Hosts that the sources may name: of standards and documentation, and those that stand for "somebody's own".
HOSTS = {
    "127.0.0.1",
    "10.0.2.2",
    "10.0.2.15",
    "github.com",
    "go.dev",
    "json-schema.org",
    "kubernetes.default.svc",
    "kubernetes.io",
    "uapi-group.org",
    "www.apache.org",
    "www.w3.org",
    "spdx.org",
    "www.rfc-editor.org",
    "in-toto.io",
    "systemd.io",
    "www.freedesktop.org",
    "sealwave.dev",
}
RESERVED = re.compile(r"(^|\.)(example|invalid|test|local|localhost)(\.(com|net|org))?$")


def _tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    files = (ROOT / name for name in listed.split("\0") if name)
    return [path for path in files if path.is_file() and not path.is_symlink()]


def _modules() -> list[Path]:
    return [path for path in _tracked("*.py") if path.relative_to(ROOT).parts[0] in ROOMS]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _succeeds(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_style() -> None:
    _succeeds("ruff", "check", "--quiet")


def test_format() -> None:
    _succeeds("ruff", "format", "--check", "--quiet")


@pytest.mark.timeout(300)
def test_types() -> None:
    _succeeds("mypy")


def test_arrows() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_have_one_subject() -> None:
    lengths = {_name(path): len(path.read_text().splitlines()) for path in _tracked("*.py")}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def _defined(path: Path) -> set[str]:
    """The public functions and classes that a module defines itself."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = {statement.name for statement in ast.parse(path.read_text()).body if isinstance(statement, kinds)}
    return {name for name in names if not name.startswith("_")}


def _imported(path: Path) -> ModuleType:
    parts = [part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__"]
    return importlib.import_module(".".join(("sealwave", *parts)))


def test_modules_list_their_public_names() -> None:
    wrong: dict[str, set[str]] = {}
    for path in _modules():
        if _name(path) in SCRIPTS or path.name == "__init__.py":
            continue
        module = _imported(path)
        listed = set(getattr(module, "__all__", ()))
        missing = _defined(path) - listed if hasattr(module, "__all__") else set()
        absent = {name for name in listed if not hasattr(module, name)}
        if missing or absent:
            wrong[_name(path)] = missing | absent
    assert wrong == {}, "list these in __all__, hide them with _, or take them out of it"


def test_packages_export_what_they_list_and_nothing_else() -> None:
    wrong: dict[str, set[str]] = {}
    for path in _modules():
        if path.name != "__init__.py":
            continue
        package = _imported(path)
        # Submodules become attributes when somebody imports them; they are no part of the surface.
        exported = {name for name, value in vars(package).items() if not name.startswith("_")} - {
            name for name, value in vars(package).items() if isinstance(value, ModuleType)
        }
        listed = set(getattr(package, "__all__", ()))
        importable = {name for name in listed if hasattr(package, name) or (path.parent / f"{name}.py").exists()}
        difference = (exported - listed) | (listed - importable)
        if difference:
            wrong[_name(path)] = difference
    assert wrong == {}, "an __init__.py that imports a name lists it in __all__, and the reverse"


def test_every_room_states_its_law() -> None:
    without = [room for room in ROOMS if "Law: " not in (ROOT / room / "__init__.py").read_text()]
    assert without == []


def _texts() -> Iterator[tuple[str, str]]:
    for path in _tracked():
        if path.name in ("go.sum", "go.mod", "requirements.lock", "LICENSE"):
            continue
        try:
            yield _name(path), path.read_text()
        except UnicodeDecodeError:
            continue


def test_no_source_names_a_host_that_is_not_everybodys() -> None:
    found = {
        f"{name}: {host}"
        for name, text in _texts()
        for host in re.findall(r"https?://(?:\w+@)?([a-z0-9][a-z0-9.-]*[a-z0-9])", text)
        if "." in host and host not in HOSTS and not RESERVED.search(host)
    }
    assert found == set(), "say where to look in words, or take the host from the machine's own settings"


def test_no_source_names_a_path_of_one_machine() -> None:
    place = re.compile(r"(?<![\w.~])/(?:work|home|root|tmp)/\w[\w.-]*/")
    assert [f"{name}: {found}" for name, text in _texts() for found in place.findall(text)] == []


def test_nothing_is_left_for_later() -> None:
    words = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
    assert [name for name, text in _texts() if words.search(text)] == []
