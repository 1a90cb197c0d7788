"""Measures `claude_trio` against the same CLI in a bare terminal and under the official SDK.

Real CLI, isolated worlds, and a scripted model on the loopback interface that is the same for all.
The contestants take turns, so that what else the machine does hits all alike. Nothing here fails
for being slow; it prints one Markdown table, and the ratios.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
from idle import Idle
from imports import measure_imports
from lines import Lines
from plan import Plan
from results import BARE, CONTESTANTS, Results
from wire import Contestant, Turn, say, scrubbed

from claude_trio import BackendOptions
from claude_trio._launch import arguments as launch_arguments
from claude_trio._launch import merge_settings
from claude_trio.testing import World, find_real_cli, isolated_world

#: Turns, by contestant.
Turns: TypeAlias = dict[str, list[Turn]]
_WARM_UP: Final = 3  # turns of each that do not count


@attrs.define
class Bench:
    """The contestants, ready to start.

    Args:
        stack: Ends them.
        cli: The real CLI.
    """

    stack: ExitStack
    cli: Path
    base_url: str = ""
    contestants: dict[str, Contestant] = attrs.field(factory=dict)
    _count: int = 0

    def open(self) -> None:
        """Start the model and, without their CLIs, the contestants."""
        self.base_url = self.process("serve.py", []).line().strip()
        for name in CONTESTANTS:
            self.contestants[name] = self.process(name, [str(self.cli)])

    def process(self, program: str, arguments: Sequence[str]) -> Contestant:
        """Start one of the programs beside this file, in a world of its own."""
        world: World = self.stack.enter_context(isolated_world())
        if program == BARE:
            # What the library gives to the CLI, so that both run it alike.
            options = BackendOptions(cwd=world.cwd)
            settings = json.dumps(merge_settings(options))
            arguments = [*arguments, *launch_arguments(options, {}), "--settings", settings]
        env = scrubbed(world.env(self.base_url))
        return self.stack.enter_context(Contestant(program, arguments, env, world.cwd))

    def once(self, program: str, *arguments: object) -> Any:
        """Run one of the programs beside this file that print one line."""
        return json.loads(self.process(program, [str(each) for each in arguments]).line())

    def turns(
        self,
        word: str,
        rounds: int,
        number: int | None = None,
        *,
        into: Turns | None = None,
        fresh: bool = False,
    ) -> Turns:
        """Have each contestant take so many turns, in alternation.

        Args:
            word: What `serve` is asked for.
            rounds: How often.
            number: The second word of each prompt. Default: they are counted.
            into: What the turns are added to, and returned. Default: nothing yet.
            fresh: Whether each takes a new process for it.
        """
        turns: Turns = {name: [] for name in CONTESTANTS} if into is None else into
        for _ in range(rounds):
            self._count += 1
            # Who comes first and who follows whom changes.
            shift = self._count % len(CONTESTANTS)
            for name in (*CONTESTANTS[shift:], *CONTESTANTS[:shift]):
                prompt = f"{word} {self._count if number is None else number}"
                turns[name].append(self.contestants[name].turn(prompt, fresh=fresh))
            note(".")
        return turns


def note(text: str) -> None:
    """Show that something goes on, where it is not in the way of the table."""
    sys.stderr.write(text)
    sys.stderr.flush()


def version(cli: Path) -> str:
    """Return what the CLI says its version is."""
    with isolated_world() as world:
        env = world.env("http://127.0.0.1:9")
        done = subprocess.run(
            [str(cli), "--version"], env=env, cwd=world.cwd, check=True, capture_output=True
        )
    return done.stdout.decode().split()[0]


def heading(cli: Path, plan: Plan) -> str:
    """Return what the numbers depend on."""
    today = datetime.datetime.now(datetime.UTC).date()
    load = os.getloadavg()[0]
    packages = ("trio", "claude-agent-sdk")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    return (
        f"{today}, CLI {version(cli)}, Python {platform.python_version()}, {', '.join(versions)}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, load {load:.2f}; "
        f"of each {plan.starts} starts with {plan.rounds} warm turns, and {plan.slow} at human speed, "
        f"in alternation"
    )


def measure(bench: Bench, plan: Plan) -> Results:
    """Measure everything, which takes minutes."""
    bench.open()
    started: Turns = {name: [] for name in CONTESTANTS}
    warm: Turns = {name: [] for name in CONTESTANTS}
    for _ in range(plan.starts):
        bench.turns("fast", 1, into=started, fresh=True)
        bench.turns("fast", _WARM_UP)
        bench.turns("fast", plan.rounds, into=warm)
    return Results(
        plan=plan,
        started=started,
        warm=warm,
        slow=bench.turns("human", plan.slow),
        held=bench.turns("held", plan.held, plan.silence),
        lines=Lines(**bench.once("lines.py", plan.lines, plan.silence)),
        idle=Idle(**bench.once("idle.py", bench.cli, plan.sessions, plan.rest)),
        imports=measure_imports(plan.starts),
    )


def main() -> None:
    """Run it."""
    plan = Plan.chosen(sys.argv[1:])
    cli = find_real_cli()
    if cli is None:
        sys.exit("no CLI found: run this with `nox -s bench`, or set CLAUDE_TRIO_TEST_CLI")
    say(heading(cli, plan))
    with ExitStack() as stack:
        results = measure(Bench(stack, cli), plan)
    say(f"\n{results.to_table().to_markdown()}\n")
    for line in results.to_ratios():
        say(f"- {line}")


if __name__ == "__main__":
    main()
