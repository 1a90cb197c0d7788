"""What is run on this repository; ``nox --list`` shows it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_external_run = True
nox.options.sessions = ["lint", "types", "tests"]

PROJECT = nox.project.load_toml("pyproject.toml")
OLD_CLI = "2.1.197"
AT_ONCE = ("--numprocesses", "4")
PUBLISHED = ("claude_trio", "examples")
CHECKED = ("claude_trio", "tests", "examples", "noxfile.py")


def install(session: nox.Session, *groups: str) -> None:
    """Install the package as a user gets it, and some dependency groups."""
    session.install(".[gateway]", *nox.project.dependency_groups(PROJECT, *groups))


@nox.session
def demo(session: nox.Session) -> None:
    """Run the first example: the real CLI, with a model of our own; no account is needed."""
    install(session, "real-cli")
    session.run("python", "examples/basic_usage.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test, those on the real CLI included, and measure the coverage."""
    install(session, "tests", "real-cli")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *AT_ONCE, *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report", "--skip-covered")


for version in ("3.11", "3.12", "3.13"):
    nox.session(python=version, name=f"tests-{version}", default=False)(tests.func)


@nox.session
def real_cli_old(session: nox.Session) -> None:
    """Run the tests that start the real CLI on an older one, from its npm package (needs npm)."""
    install(session, "tests")
    folder = Path(session.create_tmp()).resolve()
    system = {"linux": "linux", "darwin": "darwin"}[sys.platform]
    machine = "arm64" if os.uname().machine in {"arm64", "aarch64"} else "x64"
    package = f"@anthropic-ai/claude-code-{system}-{machine}@{OLD_CLI}"
    binary = folder / "package" / "claude"
    if not binary.exists():
        with session.chdir(folder):
            session.run("npm", "pack", "--silent", package, external=True)
            (archive,) = folder.glob("*.tgz")
            shutil.unpack_archive(archive, folder)
            archive.unlink()
    session.run(
        "pytest",
        "-m",
        "real_cli",
        *AT_ONCE,
        *session.posargs,
        env={"CLAUDE_TRIO_TEST_CLI": str(binary)},
    )


@nox.session(default=False)
def deep(session: nox.Session) -> None:
    """Run what is too much for every day on the real CLI: thousands of texts, thirty starts with tools."""
    install(session, "tests", "real-cli")
    few = "any_text or generated or every_time or with_hooks or longer_than"
    profile = {"HYPOTHESIS_PROFILE": "deep"}
    session.run("pytest", "-m", "real_cli", "-k", few, *AT_ONCE, *session.posargs, env=profile)


@nox.session
def framework(session: nox.Session) -> None:
    """Let an agent framework talk to the gateway of the examples (optional)."""
    install(session, "tests", "real-cli", "framework")
    session.run("pytest", "tests/test_framework.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style, and the rules of structured concurrency."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", *CHECKED)
    session.run("ruff", "format", "--check", *CHECKED)
    # ASYNC114 knows trio's own names for `task_status` only.
    files = sorted(str(file) for folder in PUBLISHED for file in Path(folder).rglob("*.py"))
    session.run("flake8-async", "--enable=ASYNC", "--disable=ASYNC114", *files)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, and that the public ones are complete."""
    install(session, "tests", "typing")
    session.run("mypy")
    session.run("basedpyright", "--ignoreexternal", "--verifytypes", "claude_trio")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the speed against a bare terminal and the official SDK; prints a table."""
    install(session, "tests", "real-cli")
    session.run("python", "tests/bench/run.py", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Run 200 turns over 8 conversations on the real CLI, with interrupts, kills and cancellations."""
    install(session, "tests", "real-cli")
    session.run("python", "tests/soak.py", *session.posargs)


@nox.session
def drift(session: nox.Session) -> None:
    """Judge a CLI (CLAUDE_TRIO_TEST_CLI): in which rows of the truth table it goes another way."""
    install(session, "tests", "real-cli")
    session.run("python", "tests/rows/drift.py", *session.posargs)
