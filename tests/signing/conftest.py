"""Keys and certificates that several tests share; a smaller set of expensive RSA keys made once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwave.signing.keys import LabKeys, SigningKey


@pytest.fixture(scope="session")
def now() -> datetime:
    """An instant at which everything in these tests is valid, also for OpenSSL, which has no clock argument."""
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def signing_key() -> SigningKey:
    return SigningKey(Ed25519PrivateKey.generate())


@pytest.fixture(scope="session")
def shared_keys(tmp_path_factory: pytest.TempPathFactory, now: datetime) -> LabKeys:
    """One set of lab keys for tests that do not change it."""
    return LabKeys.ensure(tmp_path_factory.mktemp("lab") / "keys", now=now)
