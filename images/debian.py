"""Debian packages by name: what apt would install, and where those files stand.

Rules:
1. This is the only module that asks a package index. It is called by `lock` and by nothing else.
2. apt runs with a root of its own (lists, status, sources), so that what this machine has installed or pinned says
   nothing about the result. Its indexes are checked against the spec's keyring.
3. A host never gets into a result: a package is named by suite and pool path, and mirrors are found again.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from sealwave.images.errors import HostLacks, LockError, PackageNotFound, ToolFailed
from sealwave.images.sandbox import run_program
from sealwave.images.store import write_atomic

APT_SECONDS = 600.0
"""Longest run of apt: an update over a slow line. Measured: 8 s."""

ESSENTIAL = "?essential"
"""apt's own pattern for the packages that every Debian system has."""

_URI = re.compile(r"^'([^']+)' (\S+) (\d+) SHA256:([0-9a-f]{64})$")
_MISSING = re.compile(
    r"Unable to locate package (\S+)|Package '?([^\s']+)'? has no installation candidate|"
    r"Couldn't find any package by (?:glob|regex) '([^']+)'"
)


@dataclass(frozen=True, order=True)
class Package:
    """One .deb: what it is, what it hashes to, and where in an archive it stands (`size` in bytes)."""

    name: str
    version: str
    architecture: str
    sha256: str
    size: int
    suite: str
    path: str


@dataclass(frozen=True)
class Mirrors:
    """Base addresses of the Debian archive and of its security archive."""

    main: str
    security: str

    def base(self, suite: str) -> str:
        """The address that serves a suite or a path of it, without a slash at its end."""
        return (self.security if suite.endswith("-security") else self.main).rstrip("/")


def parse_mirrors(targets: str) -> Mirrors:
    """The mirrors among apt's own index targets, one `<address> <release>` a line. Raises `HostLacks`."""
    main = security = ""
    for line in targets.splitlines():
        address, _, release = line.strip().partition(" ")
        if release.endswith("-security") and "debian" in address:
            security = security or address
        elif "debian" in address and "/" not in release and "-" not in release:
            main = main or address
    if not main:
        raise HostLacks(
            "a Debian mirror in its apt sources",
            "name one with SEALWAVE_MIRROR (and SEALWAVE_SECURITY_MIRROR), or add one to /etc/apt",
        )
    return Mirrors(main=main, security=security or _security_beside(main))


def named_mirrors(main: str, security: str) -> Mirrors | None:
    """The mirrors at these addresses, the second derived from the first where it is ""; None without the first."""
    return Mirrors(main=main, security=security or _security_beside(main)) if main else None


def machine_mirrors() -> Mirrors:
    """The mirrors of this machine's own apt. Raises `HostLacks`."""
    line = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]
    return parse_mirrors(run_program(line, seconds=APT_SECONDS).decode())


def _security_beside(main: str) -> str:
    return re.sub(r"/debian/?$", "/debian-security", main)


class AptRoot:
    """apt with lists, status and sources of its own in `folder`, for one set of suites and one architecture."""

    def __init__(
        self, folder: Path, *, suites: Sequence[str], architecture: str, keyring: Path, mirrors: Mirrors
    ) -> None:
        self.folder = folder
        self.suites = tuple(suites)
        self.architecture = architecture
        self.keyring = keyring
        self.mirrors = mirrors
        self._configuration = folder / "apt.conf"

    def update(self) -> None:
        """Fetch and check the suites' indexes. Raises `LockError` for a silent mirror or a bad signature."""
        if not self.keyring.is_file():
            raise HostLacks(
                f"the archive keyring {self.keyring}", "install it with `apt-get install debian-archive-keyring`"
            )
        for name in ("lists/partial", "cache/archives/partial", "parts"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        sources = [
            f"deb [arch={self.architecture} signed-by={self.keyring}] {self.mirrors.base(suite)} {suite} main\n"
            for suite in self.suites
        ]
        write_atomic(self.folder / "sources.list", "".join(sources).encode())
        write_atomic(self.folder / "status", b"")
        write_atomic(self._configuration, self._settings().encode())
        try:
            self._apt("apt-get", "update", "--error-on=any")
        except ToolFailed as error:
            raise LockError(f"the package indexes of {', '.join(self.suites)} cannot be fetched: {error}") from error

    def resolve(self, packages: Sequence[str]) -> tuple[Package, ...]:
        """The essential packages, the wanted ones and what they depend on, without what they recommend."""
        try:
            listed = self._apt("apt-get", "install", "--print-uris", "--yes", "--quiet=2", ESSENTIAL, *packages)
        except ToolFailed as error:
            missing = [next(filter(None, found)) for found in _MISSING.findall(error.output)]
            if missing:
                raise PackageNotFound(sorted(set(missing)), self.suites) from error
            raise LockError(f"the packages of the spec cannot be installed together: {error}") from error
        return parse_uris(listed, {suite: self.mirrors.base(suite) for suite in self.suites})

    def newest_release(self) -> int:
        """The youngest date of the suites' signed Release files, in seconds since 1970: the lock's SOURCE_DATE_EPOCH.

        It is a fact of the inputs, so that two people who lock the same archive state get the same number.
        """
        dates = []
        for file in sorted((self.folder / "lists").glob("*InRelease")):
            found = re.search(r"^Date: (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            if found:
                dates.append(int(email.utils.parsedate_to_datetime(found.group(1)).timestamp()))
        if not dates:
            raise LockError(f"no release file with a date in {self.folder}; delete that folder and lock again")
        return max(dates)

    def _settings(self) -> str:
        places = {
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": self.folder / "parts",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": self.folder / "parts",
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": self.folder / "status",
            "Dir::State::extended_states": self.folder / "extended_states",
            "Dir::Cache": self.folder / "cache",
            "APT::Architecture": self.architecture,
            "APT::Sandbox::User": "root",
            "APT::Install-Recommends": "false",
            "APT::Get::Assume-Yes": "true",
            "Acquire::Languages": "none",
            "Acquire::ForceHash": "SHA256",
            "Debug::NoLocking": "true",
        }
        lines = [f'{name} "{value}";\n' for name, value in places.items()]
        lines.append(f'#clear APT::Architectures;\nAPT::Architectures {{ "{self.architecture}"; }};\n')
        return "".join(lines)

    def _apt(self, *line: str) -> str:
        environment = {
            "APT_CONFIG": str(self._configuration),
            "LC_ALL": "C.UTF-8",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        return run_program(line, seconds=APT_SECONDS, environment=environment).decode()


def parse_uris(listed: str, bases: Mapping[str, str]) -> tuple[Package, ...]:
    """Packages from apt's `--print-uris`, sorted; `bases` maps each suite to the address that serves it.

    A package that two suites of one archive could serve is named after the first of them: they share one pool.
    """
    packages = []
    for line in listed.splitlines():
        found = _URI.match(line)
        if found is None:
            continue
        address, file, size, sha256 = found.groups()
        suite, path = _split(address, bases)
        name, version, architecture = unquote(file.removesuffix(".deb")).split("_")
        packages.append(Package(name, version, architecture, sha256, int(size), suite, path))
    if not packages:
        raise LockError("apt named no package to install; delete the apt folder in the cache and lock again")
    return tuple(sorted(packages))


def _split(address: str, bases: Mapping[str, str]) -> tuple[str, str]:
    for suite, base in sorted(bases.items(), key=lambda item: -len(item[1])):
        if address.startswith(base + "/"):
            return suite, unquote(address[len(base) + 1 :])
    raise LockError(f"apt offers {address}, which is in none of the suites {', '.join(bases)}; look at the mirrors")
