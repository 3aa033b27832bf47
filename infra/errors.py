"""What can go wrong between the engine and a person's machine.

    InfraError
    +-- ToolMissing         a program that is needed is not there
    +-- PortInUse           another process listens where the lab has to
    +-- ChildEnded          a program that the lab started ended by itself
    +-- NotReadyInTime      something that was started did not become ready within its time
    +-- ClusterRefused      the API server answered a request with an error
    +-- ClusterUnreachable  the API server did not answer at all
    +-- LabBusy             another process works on this lab
    +-- LabFailed           the lab ended by itself
    +-- LabStateSpoiled     the lab's state on disk cannot be used
    +-- MachineUnreachable  a virtual machine's control socket does not answer
    +-- StepFailed          a step of the demonstration did not end as it must

Facts are in the fields; the message is one sentence for a person.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "ChildEnded",
    "ClusterRefused",
    "ClusterUnreachable",
    "InfraError",
    "LabBusy",
    "LabFailed",
    "LabStateSpoiled",
    "MachineUnreachable",
    "NotReadyInTime",
    "PortInUse",
    "StepFailed",
    "ToolMissing",
]


class InfraError(Exception):
    """Root of every error of this folder."""


class ToolMissing(InfraError):
    """A program or firmware file that is needed is not on this host."""

    def __init__(self, name: str, remedy: str) -> None:
        self.name = name
        self.remedy = remedy
        super().__init__(f"{name} is missing on this host; {remedy}")


class PortInUse(InfraError):
    """Another process listens on a port that the lab has to listen on."""

    def __init__(self, port: int, purpose: str, holder: str | None) -> None:
        self.port = port
        self.purpose = purpose
        self.holder = holder
        by = f"by {holder}" if holder else "by another process"
        super().__init__(f"port {port} on 127.0.0.1, wanted for {purpose}, is in use {by}; end it or give another port")


class ChildEnded(InfraError):
    """A program that the lab started ended although nobody asked it to."""

    def __init__(self, name: str, code: int, log: Path, last_line: str) -> None:
        self.name = name
        self.code = code
        self.log = log
        self.last_line = last_line
        said = f" after saying {last_line!r}" if last_line else ""
        super().__init__(f"{name} ended with code {code}{said}; its whole output is in {log}")


class NotReadyInTime(InfraError):
    """Something that was started did not become ready within its time."""

    def __init__(self, what: str, seconds: float, detail: str, remedy: str) -> None:
        self.what = what
        self.seconds = seconds
        self.detail = detail
        self.remedy = remedy
        super().__init__(f"{what} was not ready within {seconds:.0f} s ({detail}); {remedy}")


class ClusterRefused(InfraError):
    """The API server answered a request with an error."""

    def __init__(self, method: str, path: str, status: int, message: str) -> None:
        self.method = method
        self.path = path
        self.status = status
        self.message = message
        super().__init__(f"the API server refused {method} {path} with {status}: {message}")


class ClusterUnreachable(InfraError):
    """The API server did not answer at all."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"the API server at {url} does not answer: {reason}; check that the lab is up and try again")


class LabBusy(InfraError):
    """Another process works on this lab."""

    def __init__(self, folder: Path, holder: int | None) -> None:
        self.folder = folder
        self.holder = holder
        who = f"process {holder}" if holder else "another process"
        super().__init__(f"the lab in {folder} is in use by {who}; wait for it or run `sealwave lab down`")


class LabFailed(InfraError):
    """The lab's supervisor ended although nobody asked it to."""

    def __init__(self, sentence: str, log: Path) -> None:
        self.sentence = sentence
        self.log = log
        super().__init__(f"the lab ended: {sentence}; its log is {log}")


class LabStateSpoiled(InfraError):
    """The lab's state on disk cannot be used."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} {reason}; run `sealwave lab down`, remove the folder and start again")


class MachineUnreachable(InfraError):
    """A virtual machine's control socket does not answer."""

    def __init__(self, machine: str, reason: str) -> None:
        self.machine = machine
        self.reason = reason
        super().__init__(f"the virtual machine {machine} does not answer: {reason}; look at its console log")


class StepFailed(InfraError):
    """A step of the demonstration did not end as it must."""

    def __init__(self, step: str, reason: str, log: Path | None = None) -> None:
        self.step = step
        self.reason = reason
        self.log = log
        where = f"; the whole output is in {log}" if log else ""
        super().__init__(f"{step}: {reason}{where}")
