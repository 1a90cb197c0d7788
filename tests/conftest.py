"""What every test runs in: an empty environment, a guard on starting `claude`, a look for leaks."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import hypothesis
import psutil
import ptyprocess
import pytest
from asking import Options

from claude_trio import BackendOptions
from claude_trio._sweep import MARKER
from claude_trio.testing import (
    FakeCLI,
    LoopbackApi,
    World,
    find_real_cli,
    isolated_world,
    open_loopback_api,
)
from claude_trio.testing._world import WORLD_PREFIX

KEPT: Final = re.compile(
    r"PATH|LANG|TMPDIR|CI|LD_LIBRARY_PATH|CLAUDE_TRIO_TEST_CLI"
    r"|(COVERAGE|COV_CORE|PYTEST|PYTHON|HYPOTHESIS)_?\w*"
)
LOOPBACK: Final = re.compile(r"http://127\.0\.0\.1:\d+")
# How long a machine takes to make an example says nothing about the code.
UNHURRIED: Final = (hypothesis.HealthCheck.too_slow,)
hypothesis.settings.register_profile("usual", suppress_health_check=UNHURRIED, deadline=None)
# Thousands of generated texts through the real CLI: HYPOTHESIS_PROFILE=deep pytest -k any_text
hypothesis.settings.register_profile(
    "deep", hypothesis.settings.get_profile("usual"), max_examples=5000, database=None
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))
PATIENCE: Final = 10.0  # seconds that things get to go away
FD_DIRECTORY: Final = Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")


# --- fixtures that tests ask for


@pytest.fixture
async def api() -> AsyncGenerator[LoopbackApi, None]:
    async with open_loopback_api() as opened:
        yield opened


@pytest.fixture
def world() -> Generator[World, None, None]:
    with isolated_world() as made:
        yield made
        wait_until(lambda: not inhabitants(made), lambda: f"left running: {inhabitants(made)}")


@pytest.fixture
def make_fake(world: World) -> Callable[..., FakeCLI]:
    """Return what makes a stand-in for the CLI in this test's world."""
    directory = world.root / "fake"
    directory.mkdir()
    return partial(FakeCLI, directory)


@pytest.fixture
def options(world: World, api: LoopbackApi, real_cli: Path) -> Options:
    """Return what makes options for the real CLI in this test's world."""

    def make(**how: Any) -> BackendOptions:
        env = world.env(api.base_url, **how.pop("env", {}))
        return BackendOptions(**{"cwd": world.cwd, "cli_path": real_cli, "env": env, **how})

    return make


@pytest.fixture
def no_room() -> Callable[..., contextlib.AbstractContextManager[None]]:
    """Return what lets no file of this process grow beyond a size, for the length of a block.

    A stand-in for a full disk that needs no right and no disk: the system refuses to write, in the
    middle of it or at once, with another reason.
    """
    return file_size_limit


@contextlib.contextmanager
def file_size_limit(size: int = 0) -> Generator[None, None, None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def real_cli() -> Path:
    """Give the real CLI; in CI there must be one."""
    found = find_real_cli()
    if found is not None:
        return found
    reason = "no real CLI: install the dependency group real-cli, or set CLAUDE_TRIO_TEST_CLI"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_configure() -> None:
    # What a shell starts in the background ignores it, and so would every program of the tests.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        names = getattr(item, "fixturenames", [])
        if "real_cli" in names:
            item.add_marker("real_cli")
        elif item.get_closest_marker("real_cli"):
            names.append("real_cli")
        if "real_cli" in names:
            # A program that is not ours, beside three others on a busy machine. What failed the first
            # time is printed all the same; nothing else gets a second try.
            item.add_marker(pytest.mark.flaky(reruns=1))


# --- an environment without anything of the user's


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def bare_environment(empty_home: Path) -> Generator[None, None, None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if not KEPT.fullmatch(name):
                patch.delenv(name)
        patch.setenv("HOME", str(empty_home))
        yield


# --- a guard: no test starts a `claude` outside an isolated world


@attrs.define(eq=False)
class CliGuard:
    """Refuses starts, and remembers what it refused, in case the starter swallows the refusal."""

    refused: list[str] = attrs.field(factory=list)

    def check(self, programs: Sequence[Any], env: Mapping[Any, Any] | None) -> None:
        if not any(is_claude(program) for program in programs):
            return
        reason = objection(dict(os.environ) if env is None else env)
        if reason is not None:
            refusal = f"a test starts {programs} outside an isolated world: {reason}"
            self.refused.append(refusal)
            raise AssertionError(refusal)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            executable, argv, _, env = arguments
            self.check([executable, first(argv)], env)
        elif event in {"os.posix_spawn", "os.exec"}:
            path, argv, env = arguments
            try:
                self.check([path, first(argv)], env)
            except AssertionError as exc:
                if os.getpid() == PID:
                    raise
                # A forked copy of the tests: it must not go on as one.
                os.write(2, f"{exc}\n".encode())
                os._exit(126)


def is_claude(program: Any) -> bool:
    if not isinstance(program, str | bytes | os.PathLike) or not program:
        return False
    path = os.fsdecode(program)
    return "claude" in {Path(path).name, Path(os.path.realpath(path)).name}


def first(argv: Any) -> Any:
    return argv if isinstance(argv, str | bytes | os.PathLike) else next(iter(argv), None)


def objection(env: Mapping[Any, Any]) -> str | None:
    """Say why a `claude` with this environment would not be isolated; None if it is."""
    values = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
    for name in ("HOME", "CLAUDE_CONFIG_DIR"):
        if not values.get(name) or not is_in_a_world(Path(values[name])):
            return f"{name} is {values.get(name)!r}"
    if not LOOPBACK.fullmatch(values.get("ANTHROPIC_BASE_URL", "")):
        return f"ANTHROPIC_BASE_URL is {values.get('ANTHROPIC_BASE_URL')!r}"
    return None


def is_in_a_world(path: Path) -> bool:
    temporary = Path(os.path.realpath(tempfile.gettempdir()))
    real = Path(os.path.realpath(path))
    return (
        real.is_relative_to(temporary)
        and real.relative_to(temporary).parts[:1] != ()
        and (real.relative_to(temporary).parts[0].startswith(WORLD_PREFIX))
    )


PID: Final = os.getpid()
GUARD: Final = CliGuard()
sys.addaudithook(GUARD.audit)


@pytest.fixture(autouse=True)
def cli_guard(bare_environment: None) -> Generator[CliGuard, None, None]:
    GUARD.refused.clear()
    spawn = ptyprocess.PtyProcess.spawn.__func__

    # The audit event of a program in a terminal comes only after the fork.
    def guarded(
        cls: Any, /, argv: Sequence[str], cwd: Any = None, env: Any = None, **more: Any
    ) -> Any:
        GUARD.check([first(argv)], env)
        return spawn(cls, argv, cwd=cwd, env=env, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ptyprocess.PtyProcess, "spawn", classmethod(guarded))
        yield GUARD
    refused = list(GUARD.refused)
    GUARD.refused.clear()
    assert [] == refused


# --- nothing is left behind


@pytest.fixture(autouse=True)
def nothing_leaks(cli_guard: CliGuard) -> Generator[None, None, None]:
    descriptors_before, children_before = open_descriptors(), child_processes()
    yield

    def leaks() -> list[str]:
        more = open_descriptors() - descriptors_before
        children = [str(child) for child in child_processes() - children_before]
        grown = len(open_descriptors()) > len(descriptors_before)
        return children + [f"{number} -> {target}" for number, target in more if grown]

    wait_until(lambda: not leaks(), lambda: f"left behind by the test: {leaks()}")


def open_descriptors() -> set[tuple[str, str]]:
    """Return number and target of each open descriptor."""
    found = set()
    for name in os.listdir(FD_DIRECTORY):  # noqa: PTH208 - it needs a descriptor itself
        try:
            target = str((FD_DIRECTORY / name).readlink()) if sys.platform == "linux" else ""
            os.fstat(int(name))
        except OSError:
            continue  # the one that the listing was made with
        found.add((name, target))
    return found


def child_processes() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def inhabitants(world: World) -> list[str]:
    """Return the processes that live in a world, whatever became of their parents."""
    found = []
    for process in psutil.process_iter():
        try:
            env = process.environ()
            if Path(env.get("HOME", "/")).is_relative_to(world.root):
                found.append(f"{process} {MARKER}={env.get(MARKER)}")
        except psutil.Error:
            continue  # gone, or somebody else's
    return found


def wait_until(condition: Callable[[], bool], message: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        gc.collect()
        assert time.monotonic() < deadline, message()
        time.sleep(0.05)
