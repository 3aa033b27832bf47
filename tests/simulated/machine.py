"""A machine for tests: the agent's whole HTTP service over real TLS on 127.0.0.1, over slots that are files.

What is real: certificates and roles, the API and its checks, fence, memory on disk, staging with every block verified,
the boot rules (a one-shot entry is used up; an image that does not come up leads to the default), the commit window
and its backstop. What is not: kernel, kubelet and pods; a test says what they do.

Use:

    trust = Trust.make()                                     # once per session
    v1 = make_image(tmp_path / "v1", version="1", release=trust.release)
    v2 = make_image(tmp_path / "v2", version="2", release=trust.release)
    with SimulatedMachine("node-1", tmp_path / "node-1", trust=trust, image=v1,
                          sources={"https://images.test/v2": v2.folder}) as machine:
        machine.url                                          # https://127.0.0.1:PORT, name to verify: machine.name
        trust.client("updater")                              # .certificate and .key, PEM; also "observer"
        trust.machine_ca.pem                                 # what a client trusts

- `sources` maps the base address given to `stage` to a folder; another https address is fetched really, if `images_ca`
  (PEM file) is given.
- `on_down(machine)` is called when it goes down, `on_boot(machine, digest)` when the agent answers again: make the
  test cluster's node NotReady and Ready there. Both come from a thread of this module; neither may raise.
- `pods` is a list to change, or a function (then it is asked each time): what `status` and the drain proof see.
- `faults` (see `Faults`) breaks images by digest, slows staging, delays boots.
- `machine.age(seconds)` makes the boot older; `machine.power_cut()` is a reboot that nobody announced;
  `machine.wait_boot(count)` waits until it has booted that often (1 is the start).

All machines of a process share one event loop in one thread, and a machine at rest costs no processor time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from aiohttp import web

from sealwave.images.agent.backstop import leave_if_overdue, seconds_left
from sealwave.images.agent.errors import Code, Refused
from sealwave.images.agent.fetch import HttpsSource, Source
from sealwave.images.agent.memory import MemoryFile
from sealwave.images.agent.platform import Pod
from sealwave.images.agent.server import open_site
from sealwave.images.agent.service import Agent
from sealwave.signing.certs import make_request, sign_machine_request
from sealwave.signing.files import write_atomic
from sealwave.signing.tls import server_context
from tests.simulated.images import FakeImage, SigningPair, Trust, make_image
from tests.simulated.platform import Faults, FilePlatform
from tests.simulated.sources import FolderSource

__all__ = ["FakeImage", "Faults", "FolderSource", "Pod", "SigningPair", "SimulatedMachine", "Trust", "make_image"]

# Seconds in which a simulated machine has booted, or something is wrong with the test.
_PATIENCE = 30.0


class SimulatedMachine:
    """See the head of this module."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        trust: Trust,
        image: FakeImage,
        sources: Mapping[str, Path] | None = None,
        images_ca: Path | None = None,
        port: int = 0,
        window: int = 600,
        faults: Faults | None = None,
        pods: list[Pod] | Callable[[], Sequence[Pod]] | None = None,
        on_boot: Callable[[SimulatedMachine, str | None], None] | None = None,
        on_down: Callable[[SimulatedMachine], None] | None = None,
    ) -> None:
        self.name = name
        self.folder = folder
        self.faults = Faults() if faults is None else faults
        self.pods: list[Pod] | Callable[[], Sequence[Pod]] = [] if pods is None else pods
        self.boots = 0
        self.port = port
        self._trust = trust
        self._sources = dict(sources or {})
        self._images_ca = images_ca
        self._window = window
        self._on_boot = on_boot
        self._on_down = on_down
        self._changed = threading.Condition()
        self._power = threading.RLock()
        self._on = False
        self._runner: web.AppRunner | None = None
        self._agent: Agent | None = None
        self._backstop: threading.Timer | None = None
        self._platform: FilePlatform | None = None
        if not folder.exists():
            folder.mkdir(parents=True)
            FilePlatform.install(folder, image.folder)
            self._certify()

    @property
    def url(self) -> str:
        """Where the machine API is; its certificate proves `name`, not the address."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def platform(self) -> FilePlatform:
        """The machine under the agent, of this boot."""
        assert self._platform is not None, "the machine is off"
        return self._platform

    @property
    def digest(self) -> str | None:
        """The digest of the running image."""
        return self.platform.digest

    def __enter__(self) -> SimulatedMachine:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Power on and wait until the agent answers."""
        with self._power:
            _Loop.enter()
            self._on = True
            self._boot()

    def stop(self) -> None:
        """Power off for good."""
        with self._power:
            if self._on:
                self._on = False
                self._go_down()
                _Loop.leave()

    def power_cut(self) -> None:
        """Off and on again without a word to the agent; returns when it answers again."""
        with self._power:
            if not self._on:
                return
            self._go_down()
            time.sleep(self.faults.boot_seconds)
            self._boot()

    def age(self, seconds: float) -> None:
        """Let the machine have been up for so much longer, and the backstop look at the clock."""
        self.platform.age(seconds)
        self._arm_backstop()

    def wait_boot(self, count: int, *, timeout: float = _PATIENCE) -> None:
        """Wait until the machine has booted `count` times since it was made."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.boots >= count, timeout), f"{self.name} did not boot"

    def _boot(self) -> None:
        self._platform = FilePlatform(
            self.folder,
            release_key=self._trust.release.public_pem,
            faults=self.faults,
            pods=lambda: self.pods() if callable(self.pods) else list(self.pods),
            on_reboot=self._reboot_soon,
        )
        self._agent = Agent(
            self._platform,
            machine=self.name,
            window=self._window,
            open_source=self._open_source,
            answer_first=0.05,
        )
        self._agent.start()
        context = server_context(
            self.folder / "machine.pem", self.folder / "machine.key", client_authority=self._trust.machine_ca.pem
        )
        serve = open_site(self._agent, context=context, host="127.0.0.1", port=self.port, shutdown_timeout=0.2)
        self._runner = _Loop.run(serve)
        self.port = self._runner.addresses[0][1]
        self._arm_backstop()
        if self._on_boot is not None:
            self._on_boot(self, self._platform.digest)
        with self._changed:
            self.boots += 1
            self._changed.notify_all()

    def _go_down(self) -> None:
        if self._backstop is not None:
            self._backstop.cancel()
        if self._on_down is not None:
            self._on_down(self)
        assert self._agent is not None and self._runner is not None
        self._agent.stop()
        _Loop.run(self._runner.cleanup())

    def _reboot_soon(self) -> None:
        """What the agent calls: the machine goes down in a thread that is not one of the agent's."""
        threading.Thread(target=self.power_cut, name=f"reboot {self.name}", daemon=True).start()

    def _arm_backstop(self) -> None:
        if self._backstop is not None:
            self._backstop.cancel()
        left = seconds_left(self.platform, window=self._window)
        if left is not None:
            self._backstop = threading.Timer(left, self._look_at_clock)
            self._backstop.daemon = True
            self._backstop.start()

    def _look_at_clock(self) -> None:
        memory = MemoryFile(self.platform.data / "agent")
        leave_if_overdue(self.platform, memory, window=self._window)

    def _open_source(self, base: str) -> Source:
        folder = self._sources.get(base.rstrip("/"))
        if folder is not None:
            return FolderSource(folder, self.faults)
        if self._images_ca is None:
            raise Refused(Code.SOURCE_UNAVAILABLE, f"{base} is no source of this simulated machine")
        return HttpsSource(base, authority=self._images_ca)

    def _certify(self) -> None:
        made = make_request(self.name)
        certificate = sign_machine_request(
            self._trust.machine_ca, made.certificate, machine=self.name, now=datetime.now(UTC)
        )
        write_atomic(self.folder / "machine.key", made.key, mode=0o600)
        write_atomic(self.folder / "machine.pem", certificate)


_Result = TypeVar("_Result")


class _Loop:
    """The event loop that the machines of this process share; it lives as long as one of them is on."""

    _lock = threading.Lock()
    _users = 0
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None

    @classmethod
    def enter(cls) -> None:
        with cls._lock:
            cls._users += 1
            if cls._loop is None:
                cls._loop = asyncio.new_event_loop()
                cls._thread = threading.Thread(target=cls._loop.run_forever, name="machines", daemon=True)
                cls._thread.start()

    @classmethod
    def leave(cls) -> None:
        with cls._lock:
            cls._users -= 1
            if cls._users == 0 and cls._loop is not None and cls._thread is not None:
                asyncio.run_coroutine_threadsafe(cls._loop.shutdown_default_executor(), cls._loop).result()
                cls._loop.call_soon_threadsafe(cls._loop.stop)
                cls._thread.join()
                cls._loop.close()
                cls._loop = cls._thread = None

    @classmethod
    def run(cls, work: Coroutine[Any, Any, _Result]) -> _Result:
        assert cls._loop is not None
        return asyncio.run_coroutine_threadsafe(work, cls._loop).result(_PATIENCE)
