"""`python -m sealwave.infra.tools [tools|packages]`: get the host ready, for the Makefile and for CI.

`tools` (the default) prints the folder of the tools on standard output, and what is going on on standard error;
`packages` installs the Debian packages that are missing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sealwave.infra.errors import InfraError
from sealwave.infra.settings import Settings
from sealwave.infra.tools.build import ensure_tools
from sealwave.infra.tools.host import install
from sealwave.infra.tools.plugin import ensure_plugin

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked and return the exit status: 0 done, 1 the world failed, 2 bad input, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["tools"]
    try:
        if words == ["tools"]:
            settings = Settings.from_environment()
            folders = [ensure_tools(settings, _say).folder, ensure_plugin(settings)]
            print(":".join(str(folder) for folder in folders if folder is not None))
        elif words == ["packages"]:
            install(_say)
        else:
            print(f"sealwave: error: {' '.join(words)!r} is neither 'tools' nor 'packages'", file=sys.stderr)
            return 2
    except InfraError as error:
        print(f"sealwave: error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"sealwave: error: {error.filename or 'the cache'}: {error.strerror}; make room or rights", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
