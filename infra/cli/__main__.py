"""The entry point of `sealwave`: signals and errors become one sentence and an exit status."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType

import click

from sealwave.infra.cli.groups import LazyGroup
from sealwave.infra.cli.status import EXPECTED, Status, sentence_of, status_of
from sealwave.infra.settings import Settings

__all__ = ["main", "sealwave"]


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done, 1 failed or refused, 2 bad input, 3 a node failed, 4 held, 130 interrupted.",
)
@click.version_option(package_name="sealwave", message="%(package)s %(version)s")
def sealwave() -> None:
    """Sealed node images, and the rollout that replaces nodes wave by wave."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        answer = sealwave.main(args=arguments, standalone_mode=False)
        return answer if isinstance(answer, int) else Status.OK
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        place = f"; see `{context.command_path} --help`" if context else ""
        return _fail(error.format_message().rstrip(".") + place, Status.BAD_INPUT)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", Status.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output (`| head`) has had enough; nothing more may be written to it, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Status.OK
    except EXPECTED as error:
        return _fail(sentence_of(error), status_of(error))
    except Exception as error:
        if Settings.from_environment().debug:
            traceback.print_exc()
        sentence = f"this is a bug ({type(error).__name__}: {error}); set SEALWAVE_DEBUG=1 to see where, and report it"
        return _fail(sentence, Status.FAILED)


def _fail(sentence: str, status: Status) -> Status:
    click.echo(f"sealwave: error: {sentence}", err=True)
    return status


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
