"""Exit statuses: what a script learns without reading the sentence."""

from __future__ import annotations

import errno
from enum import IntEnum

from sealwave.images.errors import ImageError, SpecError
from sealwave.infra.errors import InfraError
from sealwave.rollout.errors import BadInput, RolloutError
from sealwave.signing.errors import SigningError

__all__ = ["EXPECTED", "Status", "sentence_of", "status_of"]


class Status(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    """The world failed, or what was asked is refused."""
    BAD_INPUT = 2
    """What was given cannot be understood; nothing was touched."""
    NODE_FAILED = 3
    """A node failed, and the rollout halted."""
    HELD = 4
    """The rollout is in a safe hold and can be resumed."""
    INTERRUPTED = 130
    """Ctrl-C."""


# Errors that are raised on purpose and carry a sentence; OSError is the world's own.
EXPECTED = (SigningError, ImageError, RolloutError, InfraError, OSError)


# What to do about what the system says most often.
REMEDIES = {
    errno.ENOSPC: "make room there and run it again",
    errno.EDQUOT: "make room there and run it again",
    errno.EACCES: "give the right to it, or run this as root",
    errno.EPERM: "give the right to it, or run this as root",
    errno.ENOENT: "check the path",
}


def sentence_of(error: Exception) -> str:
    """The error as one sentence for a person; what the system reports gets its file and what to do."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    remedy = REMEDIES.get(error.errno or 0, "look at it and try again")
    return f"{where}{error.strerror}; {remedy}"


def status_of(error: Exception) -> Status:
    """The status that tells this error's kind."""
    return Status.BAD_INPUT if isinstance(error, SpecError | BadInput) else Status.FAILED
