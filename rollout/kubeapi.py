"""The transport to an API server: kubeconfig, TLS and credentials by the `kubernetes` package, JSON in and out.

Rules:
1. Every call has a time limit. Only reads are tried again, and only when the server did not answer or said "later".
2. Every failure leaves as one of this folder's errors, with one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException, new_client_from_config
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from sealwave.rollout.errors import (
    ClusterError,
    ClusterForbidden,
    ClusterUnreachable,
    Conflict,
    CredentialsMissing,
)
from sealwave.rollout.model import Json

_READS = 3
_PAGE = 500
_MERGE_PATCH = "application/merge-patch+json"


class NotFound(ClusterError):
    """404; ``name`` is empty when not the object but its kind is unknown to the server."""

    def __init__(self, path: str, name: str) -> None:
        self.path, self.name = path, name
        super().__init__(f"the API server has no {path}: it was deleted meanwhile, or its add-on is not installed")


class TooManyRequests(ClusterUnreachable):
    """429: of an eviction a disruption budget's no, of anything else a busy server, which is waited for."""

    def __init__(self, server: str, detail: str) -> None:
        self.detail = detail
        super().__init__(server, f"it says not now: {detail}")


class KubeApi:
    """One connection pool to one API server; safe to use from several threads."""

    def __init__(self, client: ApiClient, *, timeout: float) -> None:
        self._client, self._timeout = client, timeout
        self.server = str(client.configuration.host)

    @classmethod
    def from_kubeconfig(cls, path: Path, *, context: str | None = None, timeout: float) -> KubeApi:
        """Read a kubeconfig (certificates, tokens, exec plugins, proxies). Nothing is connected yet."""
        if not path.is_file():
            raise CredentialsMissing(str(path), "is no file")
        configuration = Configuration()
        # The package would try again on its own and hide for how long.
        configuration.retries = False
        try:
            client = new_client_from_config(
                config_file=str(path), context=context, persist_config=False, client_configuration=configuration
            )
        except Exception as error:
            # The package lets the YAML parser's, the exec plugin's and its own errors through.
            why = " ".join(str(error).split())
            raise CredentialsMissing(str(path), f"is no kubeconfig that can be used ({why})") from error
        return cls(client, timeout=timeout)

    def get(self, path: str, **query: str) -> Json:
        """One object. Raises NotFound and the errors of every call."""
        for attempt in Retrying(
            retry=retry_if_exception_type(ClusterUnreachable),
            stop=stop_after_attempt(_READS),
            wait=wait_random_exponential(multiplier=0.2, max=2),
            reraise=True,
        ):
            with attempt:
                return self._call("GET", path, query=query)
        raise AssertionError("tenacity re-raises the last error")

    def items(self, path: str, **query: str) -> Iterator[Json]:
        """Every object of a list, in pages; a list whose snapshot expired (410) is read anew from its start."""
        found: list[Json] = []
        token = ""
        while True:
            paged = {**query, "limit": str(_PAGE)} | ({"continue": token} if token else {})
            try:
                page = self.get(path, **paged)
            except ClusterError as error:
                if token and error.status == 410:
                    found, token = [], ""
                    continue
                raise
            found.extend(page.get("items", ()))
            token = page.get("metadata", {}).get("continue", "")
            if not token:
                return iter(found)

    def create(self, path: str, body: Json) -> Json:
        """POST; never tried again."""
        return self._call("POST", path, body=body)

    def replace(self, path: str, body: Json) -> Json:
        """PUT; the body's resourceVersion guards it."""
        return self._call("PUT", path, body=body)

    def patch(self, path: str, body: Json) -> Json:
        """A JSON merge patch; a resourceVersion in it guards it."""
        return self._call("PATCH", path, body=body, content_type=_MERGE_PATCH)

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> Json:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        url = f"{self.server}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            response = self._client.call_api(method, url, headers, body, None, _request_timeout=self._timeout)
            content = response.read()
        except ApiException as error:
            raise self._error(method, path, int(error.status or 0), error.body or error.reason or "") from error
        except (urllib3.exceptions.HTTPError, ConfigException, OSError) as error:
            raise ClusterUnreachable(self.server, _brief(error)) from error
        if not 200 <= response.status < 300:
            raise self._error(method, path, int(response.status), content)
        try:
            answer: Json = json.loads(content)
        except ValueError as error:
            raise ClusterUnreachable(self.server, "its answer is not JSON: something else answers there") from error
        return answer

    def _error(self, method: str, path: str, status: int, content: str | bytes) -> Exception:
        body = _status_of(content)
        message = str(body.get("message") or content[:200])
        match status:
            case 0:
                return ClusterUnreachable(self.server, message)
            case 401:
                return ClusterError(f"{self.server} does not accept the kubeconfig's credentials: renew them")
            case 403:
                return ClusterForbidden(method.lower(), path, message)
            case 404:
                return NotFound(path, str(body.get("details", {}).get("name", "")))
            case 409:
                return Conflict(path)
            case 429:
                causes = [str(cause.get("message", "")) for cause in body.get("details", {}).get("causes", ())]
                return TooManyRequests(self.server, "; ".join(filter(None, causes)) or message)
            case 500 | 502 | 503 | 504:
                return ClusterUnreachable(self.server, f"{status}: {message}")
        return ClusterError(f"the API server refused to {method} {path} ({status}): {message}", status=status)


def _status_of(content: str | bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _brief(error: BaseException) -> str:
    """The cause that a person can use: the innermost reason, without objects and addresses."""
    reason = getattr(error, "reason", None)
    text = str(reason if isinstance(reason, Exception) else error)
    return text.rsplit(">: ", 1)[-1].rsplit("): ", 1)[-1] or type(error).__name__
