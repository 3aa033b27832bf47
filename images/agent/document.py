"""The machine API's own document: which endpoints there are, who may call them, and what a body looks like.

The agent reads its table of roles and its request schemas from `openapi.yaml`, so that the published document cannot
say something else than the code does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator

from sealwave.images.agent.errors import Code, Refused

__all__ = ["BODY_LIMIT", "Endpoint", "endpoints", "load_document", "parse_body"]

# Bytes of a request body; the largest is a list of 512 pod UIDs, about 20 KiB.
BODY_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Endpoint:
    """One operation of the document."""

    method: str
    path: str
    operation: str
    roles: frozenset[str]
    body: str | None  # Name of the request body's schema.
    needs_key: bool  # Whether an Idempotency-Key is required.


def load_document() -> dict[str, Any]:
    """The OpenAPI document as plain data."""
    folder = files("sealwave.images.agent")
    document: dict[str, Any]
    packed = folder.joinpath("openapi.json")
    if packed.is_file():
        # In the node's archive: the same document, parsed when the archive was made.
        document = json.loads(packed.read_bytes())
        return document
    from ruamel.yaml import YAML

    document = YAML(typ="safe", pure=True).load(folder.joinpath("openapi.yaml").read_text())
    return document


def endpoints(document: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    """Every operation of the document; one without `x-roles` may be called by nobody."""
    found = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            reference = schema.get("$ref")
            keys = [str(parameter.get("$ref", "")) for parameter in operation.get("parameters", ())]
            found.append(
                Endpoint(
                    method=method.upper(),
                    path=path,
                    operation=operation["operationId"],
                    roles=frozenset(operation.get("x-roles", ())),
                    body=None if reference is None else reference.rsplit("/", 1)[1],
                    needs_key=any(key.endswith("/IdempotencyKey") for key in keys),
                )
            )
    return tuple(found)


def parse_body(raw: bytes, schema: str) -> dict[str, Any]:
    """The request body as the document's schema describes it.

    Raises Refused: `digest_required` when only the digest is missing or malformed, `bad_request` for anything else.
    """
    try:
        body: Any = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refused(Code.BAD_REQUEST, "the body is not JSON; send what openapi.yaml describes") from error
    problems = list(_validator(schema).iter_errors(body))
    if not problems:
        parsed: dict[str, Any] = body
        return parsed
    if all(_is_about_digest(problem) for problem in problems):
        raise Refused(
            Code.DIGEST_REQUIRED, "`digest` must be sha256: and 64 hex digits; tags and versions do not count"
        )
    first = problems[0]
    place = "/".join(str(part) for part in first.absolute_path) or "the body"
    raise Refused(Code.BAD_REQUEST, f"{place}: {first.message[:200]}; send what openapi.yaml describes")


def _is_about_digest(problem: Any) -> bool:
    missing = problem.validator == "required" and "'digest'" in problem.message
    return missing or list(problem.absolute_path)[:1] == ["digest"]


@cache
def _schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = load_document()["components"]["schemas"]
    return schemas


@cache
def _validator(schema: str) -> Draft202012Validator:
    wrapped = {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": _schemas()}}
    return Draft202012Validator(wrapped)
