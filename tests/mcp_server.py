"""A stdio MCP server without tools; with ``stubborn`` it ends neither by a signal nor at its end.

Usage: mcp_server.py READY [stubborn]; it writes its pid into READY once it has been initialised.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    ready, stubborn = Path(sys.argv[1]), "stubborn" in sys.argv[2:]
    if stubborn:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    for line in sys.stdin:
        request = json.loads(line)
        result = {}
        if request.get("method") == "initialize":
            result = {
                "protocolVersion": request["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "idle", "version": "1"},
            }
        elif request.get("method") == "tools/list":
            result = {"tools": []}
        if "id" in request:
            answer = {"jsonrpc": "2.0", "id": request["id"], "result": result}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
        if request.get("method") == "notifications/initialized":
            ready.write_text(str(os.getpid()))
    while stubborn:
        time.sleep(1000)


if __name__ == "__main__":
    main()
