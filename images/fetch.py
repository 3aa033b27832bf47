"""Download of packages from a mirror into the store: in parallel, checked, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import requests
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

from sealwave.images.debian import Mirrors, Package
from sealwave.images.errors import LockError, StoreCorrupt
from sealwave.images.store import Store

PARALLEL = 8
"""Downloads at once: enough to hide a mirror's round trips, few enough not to be taken for abuse."""

ATTEMPTS = 4
"""Tries per file. A mirror that fails four times within half a minute is down and a person should know."""

TIMEOUT_SECONDS = (10.0, 60.0)
"""Longest wait for a connection, and for the next bytes of one."""

_CHUNK = 1 << 18


def fetch_packages(packages: Iterable[Package], *, mirrors: Mirrors, store: Store) -> int:
    """Bring every package that the store lacks and return how many bytes came.

    Raises `LockError` if a mirror does not deliver, or delivers other bytes than its signed index promised.
    """
    missing = {package.sha256: package for package in packages if not store.holds(package.sha256)}
    with requests.Session() as session, ThreadPoolExecutor(PARALLEL) as pool:
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=PARALLEL)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        jobs = [pool.submit(_fetch, session, package, mirrors, store) for package in missing.values()]
        try:
            return sum(job.result() for job in jobs)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch(session: requests.Session, package: Package, mirrors: Mirrors, store: Store) -> int:
    try:
        _transfer(session, f"{mirrors.base(package.suite)}/{package.path}", package, store)
    except requests.RequestException as error:
        status = getattr(error.response, "status_code", None)
        reason = f"the mirror answered {status}" if status else "the mirror did not answer"
        raise LockError(
            f"{package.name} {package.version} cannot be fetched: {reason}; try again, and lock again if the mirror "
            "has dropped that version"
        ) from error
    except StoreCorrupt as error:
        raise LockError(
            f"the mirror delivered {package.name} {package.version} with SHA-256 {error.found}, but its signed index "
            f"says {package.sha256}; try again or use another mirror"
        ) from error
    return package.size


@retry(
    retry=retry_if_exception_type((requests.ConnectionError, requests.Timeout, StoreCorrupt)),
    stop=stop_after_attempt(ATTEMPTS),
    wait=wait_exponential(multiplier=1, max=10),
    reraise=True,
)
def _transfer(session: requests.Session, address: str, package: Package, store: Store) -> None:
    with session.get(address, stream=True, timeout=TIMEOUT_SECONDS) as response:
        response.raise_for_status()
        store.add_stream(_body(response, package), wanted=package.sha256, used_for=f"{package.name} {package.version}")


def _body(response: requests.Response, package: Package) -> Iterator[bytes]:
    """The bytes of an answer, no more of them than the index promised: a mirror must not fill the disk."""
    left = package.size
    for chunk in response.iter_content(_CHUNK):
        left -= len(chunk)
        if left < 0:
            raise LockError(
                f"the mirror delivered more than the {package.size} bytes that its signed index says "
                f"{package.name} {package.version} has; try again or use another mirror"
            )
        yield chunk
