"""A small client for the lab's own API server: read, delete, server-side apply.

The rollout has a client of its own, for any cluster.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from ruamel.yaml import YAML

from sealwave.infra.errors import ClusterRefused, ClusterUnreachable

__all__ = ["Cluster", "Document", "load_documents"]

Document = dict[str, Any]
# Who owns the fields that the lab applies.
FIELD_MANAGER = "sealwave-lab"
# Seconds for one answer; the API server under emulation's load has been seen to take 5.
TIMEOUT = 30.0


def load_documents(folder: Path) -> list[Document]:
    """Every YAML document in the files of this folder, in the order of the file names."""
    yaml = YAML(typ="safe")
    found: list[Document] = []
    for path in sorted(folder.glob("*.yaml")):
        found += [document for document in yaml.load_all(path.read_text(encoding="utf-8")) if document]
    return found


@dataclass(frozen=True)
class Cluster:
    """The API server at `url`, called with a client certificate."""

    url: str
    authority: Path
    certificate: Path
    key: Path

    def get(self, path: str) -> Document:
        """The object or list at this path; raises ClusterRefused (also for 404) or ClusterUnreachable."""
        return self._call("GET", path)

    def find(self, path: str) -> Document | None:
        """The object at this path, None when there is none."""
        try:
            return self.get(path)
        except ClusterRefused as error:
            if error.status == requests.codes.not_found:
                return None
            raise

    def items(self, path: str) -> list[Document]:
        """The items of the list at this path."""
        return list(self.get(path)["items"])

    def delete(self, path: str) -> None:
        """Delete the object at this path, if it is there."""
        try:
            self._call("DELETE", path)
        except ClusterRefused as error:
            if error.status != requests.codes.not_found:
                raise

    def apply(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Server-side apply of each document, in order; equal documents change nothing."""
        for document in documents:
            self._call(
                "PATCH",
                f"{self._path_of(document)}?fieldManager={FIELD_MANAGER}&force=true",
                body=json.dumps(document),
                content_type="application/apply-patch+yaml",
            )

    def healthy(self) -> str | None:
        """None once the API server says that it is ready, else what is missing."""
        try:
            answer = self._request("GET", "/readyz", None, "application/json")
        except ClusterUnreachable as error:
            return error.reason
        return None if answer.ok else answer.text.strip()[-200:]

    def _path_of(self, document: Mapping[str, Any]) -> str:
        version, kind = document["apiVersion"], document["kind"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        for resource in self.get(root)["resources"]:
            if resource["kind"] == kind and "/" not in resource["name"]:
                meta = document["metadata"]
                space = f"/namespaces/{meta.get('namespace', 'default')}" if resource["namespaced"] else ""
                return f"{root}{space}/{resource['name']}/{quote(meta['name'], safe='')}"
        raise ClusterRefused("GET", root, requests.codes.not_found, f"it serves no kind {kind}")

    def _call(
        self, method: str, path: str, *, body: str | None = None, content_type: str = "application/json"
    ) -> Document:
        answer = self._request(method, path, body, content_type)
        if not answer.ok:
            try:
                message = str(answer.json().get("message", answer.reason))
            except ValueError:
                message = answer.text.strip()[:300]
            raise ClusterRefused(method, path, answer.status_code, message)
        return dict(answer.json())

    def _request(self, method: str, path: str, body: str | None, content_type: str) -> requests.Response:
        try:
            return requests.request(
                method,
                self.url + path,
                data=body,
                headers={"Content-Type": content_type},
                cert=(str(self.certificate), str(self.key)),
                verify=str(self.authority),
                timeout=TIMEOUT,
            )
        except requests.RequestException as error:
            raise ClusterUnreachable(self.url, type(error).__name__) from error
