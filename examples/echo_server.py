"""A tool server as a program of its own, for `mcp_tool.py`; it speaks MCP over stdin and stdout."""

from __future__ import annotations

from mcp.server import MCPServer

server = MCPServer("echo", log_level="WARNING")


@server.tool(structured_output=False)
def echo(text: str) -> str:
    """Say it again."""
    return f"echo: {text}"


if __name__ == "__main__":
    server.run()
