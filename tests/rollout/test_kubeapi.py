"""The transport's errors, without a server."""

from __future__ import annotations

import json

import pytest
from kubernetes.client import ApiClient, Configuration

from sealwave.rollout.errors import ClusterUnreachable
from sealwave.rollout.kubeapi import KubeApi


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH"])
def test_busy_api_server_is_waited_for(method: str) -> None:
    """A 429 of a busy server is silence, which a run bears for minutes; only an eviction's is an answer."""
    api = KubeApi(ApiClient(Configuration(host="https://api.example.com")), timeout=1)
    body = json.dumps({"message": "too many requests, please try again later"})
    error = api._error(method, "/api/v1/nodes", 429, body)
    with pytest.raises(ClusterUnreachable, match="it says not now: too many requests"):
        raise error
