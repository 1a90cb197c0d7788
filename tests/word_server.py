"""An MCP server on standard input and output with one tool, of nothing but the standard library.

Usage: word_server.py [SECONDS]; so long does the tool take.
"""

from __future__ import annotations

import json
import sys
import time

TOOL = {
    "name": "lookup",
    "description": "Look a word up",
    "inputSchema": {"type": "object", "properties": {}},
}


def answer(request: dict[str, object]) -> dict[str, object]:
    match request["method"]:
        case "initialize":
            version = request["params"]["protocolVersion"]  # type: ignore[index]
            about = {"name": "words", "version": "1"}
            found = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
            return {"result": found}
        case "tools/list":
            return {"result": {"tools": [TOOL]}}
        case "tools/call":
            time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0)
            return {"result": {"content": [{"type": "text", "text": "a wading bird"}]}}
        case _:
            return {"error": {"code": -32601, "message": "no such method"}}


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        reply = {"jsonrpc": "2.0", "id": request["id"], **answer(request)}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
