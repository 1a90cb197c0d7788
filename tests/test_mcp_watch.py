"""What the CLI's debug file tells of MCP servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from claude_trio._mcp_watch import McpWatch
from claude_trio._protocol.mcp_status import parse_mcp_status

STAMP = "2026-11-26T00:19:29.042Z"
UP = f'{STAMP} [DEBUG] MCP server "echo": Successfully connected (transport: stdio) in 6965ms'
DOWN = (
    f'{STAMP} [DEBUG] MCP server "bad": Connection failed after 55ms, 55ms of it awake (ENOENT): '
    "ENOENT: no such file or directory, posix_spawn 'stdio'"
)
OLD_DOWN = f'{STAMP} [DEBUG] MCP server "bad": Connection failed after 471ms: Unable to connect.'


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (UP, ("echo", "connected", None)),
        (DOWN, ("bad", "failed", "ENOENT: no such file or directory, posix_spawn 'stdio'")),
        (OLD_DOWN, ("bad", "failed", "Unable to connect.")),
    ],
)
def test_a_connection_is_told(line: str, told: tuple[str, str, str | None]) -> None:
    event = parse_mcp_status(line, "id")
    assert event is not None
    assert ("mcp_status", "id") == (event.subtype, event.session_id)
    assert told == (event.data["server"], event.data["status"], event.data["error"])


@pytest.mark.parametrize(
    "line",
    [
        "",
        f"{STAMP} [DEBUG] Successfully connected",
        f'{STAMP} [DEBUG] MCP server "web": HTTP Connection failed after 15ms: ECONNREFUSED',
        f'{STAMP} [ERROR] MCP server "web" Connection failed (ECONNREFUSED): ECONNREFUSED',
        f'  said the model: {STAMP} [DEBUG] MCP server "web": Successfully connected',
    ],
)
def test_other_lines_tell_nothing(line: str) -> None:
    assert parse_mcp_status(line, "id") is None


def test_a_change_is_told_once_and_a_line_when_it_is_whole(tmp_path: Path) -> None:
    watch = McpWatch(tmp_path / "debug.txt")
    assert [] == watch.read("id")  # there is none yet
    watch.create()
    assert watch.path is not None
    with watch.path.open("a", encoding="utf-8") as file:
        file.write(f"{DOWN}\n{DOWN}\n{UP[:40]}")
        file.flush()
        assert ["bad"] == [event.data["server"] for event in watch.read("id")]
        file.write(f"{UP[40:]}\n")
        file.flush()
        assert ["echo"] == [event.data["server"] for event in watch.read("id")]
    assert [] == watch.read("id")
    assert ["bad", "echo"] == sorted(watch.servers)
    assert "connected" == watch.servers["echo"]
    watch.remove()
    watch.remove()
    assert not watch.path.exists()
