"""The pages of docs/ say what the code says.

Parts between `<!-- made: NAME -->` and `<!-- end -->` are made from the code: `python -m tests.test_docs` writes them
anew. Everything else is written by people, and what can be checked of it is checked here.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import click
import jsonschema
import pytest
from ruamel.yaml import YAML

import sealwave.infra.settings
from sealwave.infra.cli.__main__ import sealwave as program
from sealwave.infra.cli.poolfile import read_pool
from sealwave.infra.demo.resume import ResumeScenario
from sealwave.infra.demo.scenario import Scenario
from sealwave.infra.tools.host import PACKAGES
from sealwave.rollout import effects, model
from sealwave.rollout.journal import canonical, line_hash

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "examples/README.md", *sorted((ROOT / "docs").glob("*.md")))
JOURNAL = "rollout/schema/journal-record.schema.json"
# Characters in a line of `--help`, whatever the terminal is.
HELP_WIDTH = 100

MADE = re.compile(r"(<!-- made: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
FENCED = re.compile(r"(?:<!-- ([a-z]+):? ?(\S*) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    return "\n".join([_row(*head), _row(*["---"] * len(head)), *(_row(*row) for row in rows)])


def _commands(command: click.Command, parent: click.Context | None, name: str) -> Iterator[click.Context]:
    width = {"terminal_width": HELP_WIDTH, "max_content_width": HELP_WIDTH}
    context = click.Context(command, parent, name, **{**command.context_settings, **cast(Any, width)})
    yield context
    if isinstance(command, click.Group):
        for member in command.list_commands(context):
            found = command.get_command(context, member)
            assert found is not None
            yield from _commands(found, context, member)


def _help() -> str:
    found = _commands(program, None, "sealwave")
    return "\n\n".join(f"### `{one.command_path}`\n\n```text\n{one.command.get_help(one)}\n```" for one in found)


def _members(module: str, name: str) -> Iterator[tuple[str, str]]:
    """Members of an enumeration with their docstrings, which only the source has."""
    path = importlib.import_module(module).__file__
    assert path is not None
    (body,) = (
        node.body
        for node in ast.parse(Path(path).read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    for assigned, following in zip(body, [*body[1:], ast.Pass()], strict=True):
        if not isinstance(assigned, ast.Assign) or not isinstance(assigned.targets[0], ast.Name):
            continue
        said = following.value if isinstance(following, ast.Expr) else None
        text = said.value if isinstance(said, ast.Constant) and isinstance(said.value, str) else ""
        value = assigned.value.value if isinstance(assigned.value, ast.Constant) else None
        number = f"{value} " if isinstance(value, int) else ""
        label = f"{number}`{assigned.targets[0].id}`"
        yield label, " ".join(text.split()) or "It is done."


def _effects() -> Iterator[tuple[str, str, str]]:
    kinds = [kind for kind in vars(effects).values() if isinstance(kind, type) and issubclass(kind, effects.Effect)]
    for kind in kinds:
        if kind is not effects.Effect:
            yield f"`{kind.__name__}`", kind.target, " ".join((kind.__doc__ or "").split())


def _environment() -> str:
    text = sealwave.infra.settings.__doc__ or ""
    return "\n".join(line for line in text.splitlines() if line.startswith("|"))


def _endpoints() -> Iterator[tuple[str, str, str]]:
    for path, methods in _yaml("images/agent/openapi.yaml")["paths"].items():
        for method, operation in methods.items():
            roles = ", ".join(operation["x-roles"])
            yield f"`{method.upper()} {path}`", roles, " ".join(operation["summary"].split())


def _resource(name: str) -> Callable[[], str]:
    def made() -> str:
        resource = json.loads((ROOT / "infra/provider/schema.json").read_text())["resources"][f"sealwave:index:{name}"]
        inputs, needed = resource["inputProperties"], resource["requiredInputs"]
        rows = [(f"`{key}`", "yes" if key in needed else "", one["description"]) for key, one in inputs.items()]
        given = [(f"`{key}`", one["description"]) for key, one in resource["properties"].items() if key not in inputs]
        return f"{_table(('input', 'required', 'meaning'), iter(rows))}\n\n{_table(('output', 'meaning'), iter(given))}"

    return made


def _targets() -> str:
    rows = re.findall(r"^([a-z-]+):.*?## (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return _table(("target", "what it does"), ((f"`make {name}`", text) for name, text in rows))


def _deadlines() -> str:
    rows = ((f"`{one.name}`", f"{cast(float, one.default):g}") for one in fields(model.Deadlines))
    return _table(("deadline", "default"), rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "commands": _help,
    "statuses": lambda: _table(("status", "meaning"), _members("sealwave.infra.cli.status", "Status")),
    "environment": _environment,
    "packages": lambda: _table(("package", "why"), ((f"`{one.name}`", one.why) for one in PACKAGES)),
    "states": lambda: _table(("state", "what is true of a node in it"), _members(model.__name__, "NodeState")),
    "phases": lambda: _table(("phase", "what is true of the rollout"), _members(model.__name__, "Phase")),
    "effects": lambda: _table(("effect", "on", "what it does"), _effects()),
    "deadlines": _deadlines,
    "endpoints": lambda: _table(("call", "roles", "what it does"), _endpoints()),
    "image-release": _resource("ImageRelease"),
    "node-pool": _resource("NodePool"),
    "targets": _targets,
}


def _remade(text: str) -> str:
    return MADE.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[4]}", text)


def _yaml(path: str) -> Any:
    return YAML(typ="safe", pure=True).load((ROOT / path).read_text())


def _keys(schema: Mapping[str, Any], part: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every key below `part` of a schema: its path, whether it is required, its default."""
    for name, value in part.get("properties", {}).items():
        inner = value
        while "$ref" in inner:
            inner = schema["$defs"][inner["$ref"].rsplit("/", 1)[1]]
        required = "yes" if name in part.get("required", ()) else ""
        yield f"`{prefix}{name}`", required, f"`{json.dumps(value['default'])}`" if "default" in value else ""
        if inner.get("type") == "array":
            inner, name = inner["items"], f"{name}[]"
        yield from _keys(schema, inner, f"{prefix}{name}.")


def _page(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=_page)
def test_what_is_made_from_the_code_is_what_the_code_says(page: Path) -> None:
    assert page.read_text() == _remade(page.read_text()), "run `python -m tests.test_docs` and look at the difference"


def test_every_part_has_its_place() -> None:
    assert {name for page in PAGES for _, name, *_ in MADE.findall(page.read_text())} == set(PARTS)


@pytest.mark.parametrize("page", PAGES, ids=_page)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        if "://" in name:
            continue
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{_page(page)}: {link}"
        assert not anchor or anchor in _anchors(target), f"{_page(page)}: {link}"


def test_every_page_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    queue = [ROOT / "README.md"]
    while queue:
        page = queue.pop()
        if page in reached:
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text())
        queue += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert set(PAGES) - reached == set()


@pytest.mark.parametrize("page", PAGES, ids=_page)
def test_examples_are_valid(page: Path, tmp_path: Path) -> None:
    for kind, path, language, text in FENCED.findall(page.read_text()):
        if language not in ("yaml", "json"):
            continue
        document = YAML(typ="safe", pure=True).load(text) if language == "yaml" else json.loads(text)
        if kind == "schema":
            jsonschema.Draft202012Validator(json.loads((ROOT / path).read_text())).validate(document)
        elif kind == "pool":
            (tmp_path / "pool.yaml").write_text(text)
            assert read_pool(tmp_path / "pool.yaml").name
        else:
            pytest.fail(f"{_page(page)}: say above the block beginning {text[:30]!r} what it has to fit")


def test_the_example_of_the_journal_is_a_chain() -> None:
    blocks = FENCED.findall((ROOT / "docs/files.md").read_text())
    records = [json.loads(text) for _, path, _, text in blocks if path == JOURNAL]
    assert len(records) > 1
    for before, after in itertools.pairwise(records):
        assert (after["prev"], after["seq"]) == (line_hash(canonical(before)), before["seq"] + 1)


@pytest.mark.parametrize(
    "schema",
    ["images/schema/node-image", "images/schema/node-image-lock", "images/schema/image", "images/agent/config"],
)
def test_tables_of_keys_are_whole(schema: str) -> None:
    path = f"{schema}.schema.json"
    text = (ROOT / "docs/files.md").read_text()
    table = text.partition(f"<!-- keys: {path} -->\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]
    document = json.loads((ROOT / path).read_text())
    defaults = any("default" in json.dumps(row) for row in document["properties"].values())
    wanted = [(key, required, *([default] if defaults else [])) for key, required, default in _keys(document, document)]
    assert [tuple(row[:-1]) for row in rows] == wanted
    assert all(row[-1] for row in rows)


def test_python_examples_import_what_exists() -> None:
    for page in PAGES:
        for _, _, language, text in FENCED.findall(page.read_text()):
            for node in ast.walk(ast.parse(text)) if language == "python" else ():
                if isinstance(node, ast.ImportFrom) and node.module is not None:
                    module = importlib.import_module(node.module)
                    assert [name.name for name in node.names if not hasattr(module, name.name)] == []


def test_commands_in_the_text_exist() -> None:
    known = {context.command_path: context.command for context in _commands(program, None, "sealwave")}
    for page in PAGES:
        consoles = "\n".join(text for _, _, language, text in FENCED.findall(page.read_text()) if language == "console")
        inline = re.findall(r"`(sealwave [a-z][^`\n]*)`", page.read_text())
        for line in [*inline, *re.findall(r"^sealwave .*", consoles, re.MULTILINE)]:
            words = shlex.split(line)
            path = max((p for p in known if words[: len(p.split())] == p.split()), key=len)
            options = {name for one in known[path].params for name in one.opts} | {"--help"}
            assert path != "sealwave", f"{_page(page)}: {line}"
            assert {word for word in words if word.startswith("--")} <= options, f"{_page(page)}: {line}"


def test_calls_in_the_text_exist() -> None:
    known = {call.strip("`") for call, _, _ in _endpoints()}
    named = {call for page in PAGES for call in re.findall(r"\b(?:GET|POST|PUT) /v1/[\w/{}]+", page.read_text())}
    assert named - known == set()


def test_the_steps_of_the_demo_are_told_in_order() -> None:
    scenarios = [kind(cast(Any, None), Path(), cast(Any, None), cast(Any, None)) for kind in (Scenario, ResumeScenario)]
    told = re.findall(r"^\d+\. \*\*(.+?)\.\*\*", (ROOT / "docs/demo.md").read_text(), re.MULTILINE | re.DOTALL)
    assert [" ".join(title.split()) for title in told] == [title for one in scenarios for title, _ in one.steps]


def test_the_drawing_shows_every_state() -> None:
    drawn = set(re.findall(r'class="t"[^>]*>(\w+)<', (ROOT / "docs/states.svg").read_text()))
    assert drawn == {str(state) for state in model.NodeState}


def test_every_variable_in_the_text_is_read() -> None:
    known = set(re.findall(r"`(\w+)`", _environment()))
    assert {name for page in PAGES for name in re.findall(r"SEALWAVE_\w+", page.read_text())} <= known


if __name__ == "__main__":
    for one in PAGES:
        one.write_text(_remade(one.read_text()))
