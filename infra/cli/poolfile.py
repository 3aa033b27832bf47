"""A pool's settings from a YAML file: the inputs of the resource `NodePool`, or a stack of the reference program.

name: workers
selector: {example.com/pool: workers}
digest: sha256:...
source: https://images.example.com/node-2
waves: [1, 2]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sealwave.infra.provider.poolspec import failures_of, spec_of
from sealwave.rollout.errors import BadInput
from sealwave.rollout.model import PoolSpec

__all__ = ["read_pool"]


def read_pool(path: Path) -> PoolSpec:
    """The pool that the file describes; raises BadInput with the file's name and everything that is wrong with it."""
    values = _values(path)
    failures = failures_of(values)
    if failures:
        raise BadInput(f"{path}: " + "; ".join(failure.reason for failure in failures))
    return spec_of(values)


def _values(path: Path) -> dict[str, Any]:
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): give a YAML file that describes a pool") from error
    except (YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = path if line is None else f"{path}, line {line + 1}"
        raise BadInput(f"{where} is no YAML: correct it there") from error
    if not isinstance(document, dict):
        raise BadInput(f"{path} has no settings: write name, selector, digest, source and waves")
    config = document.get("config")
    if not isinstance(config, dict):
        return document
    try:
        pool, image = config["sealwave:pool"], config["sealwave:image"]
        # As in the program, the pool may name a source of its own.
        return {**image, **pool}
    except (KeyError, TypeError) as error:
        raise BadInput(f"{path} is a Pulumi stack without {error}: give a stack of the reference program") from error
