"""What can go wrong on the node.

    AgentError
    +-- Refused              a call that the machine API answers with a problem document
    +-- ConfigUnusable       the configuration blob is missing, unsigned or malformed
    +-- EnrolmentFailed      no machine certificate could be had
    +-- PlatformFailed       the machine itself did not do what was asked (firmware variable, disk, service)

Facts are in the fields; the message is one sentence for a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

__all__ = ["AgentError", "Code", "ConfigUnusable", "EnrolmentFailed", "PlatformFailed", "Problem", "Refused"]


class Code(Enum):
    """The stable codes of the machine API's problem documents, each with its HTTP status and title."""

    BAD_REQUEST = ("bad_request", 400, "The request is malformed")
    FORBIDDEN = ("forbidden", 403, "This certificate may not do that")
    NOT_FOUND = ("not_found", 404, "There is no such thing here")
    DIGEST_REQUIRED = ("digest_required", 400, "The image must be named by its digest")
    DIGEST_MISMATCH = ("digest_mismatch", 409, "Another image than the named one")
    SIGNATURE_UNTRUSTED = ("signature_untrusted", 422, "The image is not signed by a trusted key")
    SOURCE_UNAVAILABLE = ("source_unavailable", 502, "The image host did not serve the image")
    CONTENT_MISMATCH = ("content_mismatch", 422, "The content is not what the signed manifest says")
    ALREADY_STAGED = ("already_staged", 409, "A slot holds this image already")
    NOT_STAGED = ("not_staged", 409, "The image is not ready in the other slot")
    NOT_COMMITTED = ("not_committed", 409, "The running image is not committed yet")
    NOT_ACTIVATED = ("not_activated", 409, "Nothing is activated that could be taken back")
    DRAIN_PROOF_REQUIRED = ("drain_proof_required", 409, "Pods still run on this machine")
    BOOT_ID_MISMATCH = ("boot_id_mismatch", 409, "The call was planned for another boot")
    STALE_FENCE = ("stale_fence", 409, "A newer driver has taken over")
    OPERATION_IN_PROGRESS = ("operation_in_progress", 409, "Another operation is in progress")
    IDEMPOTENCY_CONFLICT = ("idempotency_conflict", 409, "The idempotency key was used for another request")
    COMMIT_WINDOW_EXPIRED = ("commit_window_expired", 409, "The commit window has ended")
    NO_SPACE = ("no_space", 507, "There is no space left")
    IMAGE_TOO_LARGE = ("image_too_large", 422, "The image does not fit into the slot")
    INTERNAL = ("internal", 500, "The agent failed")

    def __init__(self, code: str, status: int, title: str) -> None:
        self.code = code
        self.status = status
        self.title = title


@dataclass(frozen=True)
class Problem:
    """A problem document of RFC 9457: what a caller reads when a call, or a long operation, did not do its work."""

    code: Code
    detail: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The document's members; `type` is a relative reference, stable as the code is."""
        return {
            "type": f"urn:sealwave:problem:{self.code.code}",
            "title": self.code.title,
            "status": self.code.status,
            "code": self.code.code,
            "detail": self.detail,
            **self.extra,
        }


class AgentError(Exception):
    """Root of every error of this folder."""


class Refused(AgentError):
    """A call, or an operation, that ends with a problem document."""

    def __init__(self, code: Code, detail: str, **extra: Any) -> None:
        self.problem = Problem(code, detail, extra)
        super().__init__(detail)


class ConfigUnusable(AgentError):
    """The configuration blob cannot be used."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the machine's configuration cannot be used: {reason}; write and sign the blob again")


class EnrolmentFailed(AgentError):
    """The enrolment server gave no certificate that fits this machine."""

    def __init__(self, url: str, reason: str, *, final: bool) -> None:
        self.url = url
        self.reason = reason
        self.final = final  # True: asking again with the same secret gives the same answer.
        remedy = "give the machine a configuration with a new secret" if final else "it is tried again"
        super().__init__(f"{url} gave no machine certificate: {reason}; {remedy}")


class PlatformFailed(AgentError):
    """The machine did not do what was asked of it."""

    def __init__(self, what: str, reason: str) -> None:
        self.what = what
        self.reason = reason
        super().__init__(f"{what} failed: {reason}; look at this machine's console, and replace it if it stays so")
