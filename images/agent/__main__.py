"""The agent's command line: `python3 -I agent.pyz COMMAND`, one command per unit.

Exit status: 0 it is done, 1 the world failed (the service manager tries again), 2 bad input.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence

from sealwave.images.agent.errors import AgentError, ConfigUnusable
from sealwave.signing.errors import SigningError

__all__ = ["main"]

# Each command imports what it needs: on an emulated machine the HTTP server alone costs seconds that `prepare` and
# the backstop must not pay.


def _prepare() -> None:
    from sealwave.images.agent.linux import LinuxPlatform
    from sealwave.images.agent.prepare import prepare

    prepare(LinuxPlatform())


def _serve() -> None:
    from sealwave.images.agent.serve import serve

    serve()


def _backstop() -> None:
    from sealwave.images.agent.backstop import keep_watch
    from sealwave.images.agent.linux import LinuxPlatform

    keep_watch(LinuxPlatform())


def _import_images() -> None:
    from sealwave.images.agent.runtime_images import import_images

    import_images()


_COMMANDS: Mapping[str, Callable[[], None]] = {
    "prepare": _prepare,
    "serve": _serve,
    "backstop": _backstop,
    "import-images": _import_images,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if len(given) != 1 or given[0] not in _COMMANDS:
        print(f"sealwave: error: give one command of {', '.join(_COMMANDS)}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        _COMMANDS[given[0]]()
    except ConfigUnusable as error:
        print(f"sealwave: error: {error}", file=sys.stderr)
        return 2
    except (AgentError, SigningError, OSError) as error:
        print(f"sealwave: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
