"""Draws the states of a turn from the table that they follow: ``python tests/diagram.py``."""

from __future__ import annotations

from collections.abc import Iterator

from claude_trio._protocol.table import TABLE, State, Step

#: Where a step leads; the others stay in their state, or end the turn.
_LEADS = {
    (State.IDLE, Step.BEGIN_OTHER): State.AUTONOMOUS,
    (State.SUBMITTED, Step.BEGIN_OTHER): State.BEHIND,
    (State.SUBMITTED, Step.ACCEPT): State.RUNNING,
    (State.SUBMITTED, Step.JOIN): State.RUNNING,
    (State.BEHIND, Step.ACCEPT): State.RUNNING,
    (State.BEHIND, Step.JOIN): State.RUNNING,
    (State.RUNNING, Step.OVERTAKE): State.AUTONOMOUS,
    (State.RUNNING, Step.WAIT): State.CLOSING,
    (State.CLOSING, Step.GIVE_WAY): State.AUTONOMOUS,
    (State.RUNNING, Step.GO_ON): State.RUNNING,
    (State.BEHIND, Step.END_OTHER): State.SUBMITTED,
    (State.AUTONOMOUS, Step.END_OTHER): State.IDLE,
}
_STAYS = {Step.ACKNOWLEDGE, Step.QUEUE, Step.ENTER_AGAIN, Step.HOLD, Step.REFUSE}


def leads_to(state: State, step: Step) -> State:
    """Return the state in which a step leaves a conversation."""
    return state if step in _STAYS else _LEADS.get((state, step), State.IDLE)


def diagram() -> str:
    """Return the table as a diagram in Mermaid's language."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "stateDiagram-v2"
    yield "    [*] --> IDLE"
    yield "    IDLE --> SUBMITTED: a prompt is sent"
    yield "    AUTONOMOUS --> BEHIND: a prompt is sent"
    yield "    IDLE --> RUNNING: started on a written history"
    for state, row in TABLE.items():
        by_step: dict[Step, list[str]] = {}
        for signal, step in row.items():
            by_step.setdefault(step, []).append(signal.value)
        for step, causes in by_step.items():
            target = leads_to(state, step)
            yield f"    {state.name} --> {target.name}: {', or '.join(causes)}"


if __name__ == "__main__":
    import sys

    sys.stdout.write(diagram() + "\n")
