"""Makes the virtual environment that everything runs in, from the locked requirements; prints its folder.

Run by whatever Python the host has, so this file needs the standard library only. The environment lies in the cache
under a key of all that decides its content, the checkout's path included, since the checkout is installed editable. A
marker is written last: an environment without it was interrupted and is made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["environment_key", "main"]

_OLDEST = (3, 11)
_ROOT = Path(__file__).resolve().parents[2]
_MARKER = ".complete"


def environment_key(*, lock: bytes, project: bytes, python: str, checkout: str) -> str:
    """The name of the environment that these inputs make."""
    inputs = [hashlib.sha256(lock).hexdigest(), hashlib.sha256(project).hexdigest(), python, checkout]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]


def main() -> int:
    """Make the environment if it is not there and print its folder; returns 0, or 1 after one sentence of why not."""
    if sys.version_info < _OLDEST:
        return _fail(
            f"this is Python {sys.version.split()[0]}", "install 3.11 or newer and run `make PYTHON=python3.11`"
        )
    if not _has_ensurepip():
        return _fail("this Python cannot make virtual environments", "install Debian's package python3-venv")
    cache = Path(os.environ.get("SEALWAVE_CACHE") or "~/.cache/sealwave").expanduser().absolute()
    lock, project = _ROOT / "requirements.lock", _ROOT / "pyproject.toml"
    key = environment_key(
        lock=lock.read_bytes(), project=project.read_bytes(), python=sys.version + sys.executable, checkout=str(_ROOT)
    )
    folder = cache / f"venv-{key}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / ".venv.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if not (folder / _MARKER).exists():
                print("making the virtual environment (about a minute)", file=sys.stderr, flush=True)
                _make(folder, lock)
    except subprocess.CalledProcessError as error:
        return _fail(f"{' '.join(map(str, error.cmd[:4]))} ended with {error.returncode}", "see the lines above")
    except OSError as error:
        return _fail(f"{error.filename or cache}: {error.strerror}", "make room or rights, or set SEALWAVE_CACHE")
    print(folder)
    return 0


def _make(folder: Path, lock: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)])
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--require-hashes", "--only-binary", ":all:", "--requirement", str(lock)])
    _run([*pip, "--no-deps", "--no-build-isolation", "--editable", str(_ROOT)])
    (folder / _MARKER).touch()


def _run(arguments: list[str]) -> None:
    subprocess.run(arguments, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)


def _has_ensurepip() -> bool:
    try:
        import ensurepip  # noqa: F401  # Debian splits it off: only trying tells.
    except ImportError:
        return False
    return True


def _fail(why: str, remedy: str) -> int:
    print(f"sealwave: error: {why}; {remedy}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
