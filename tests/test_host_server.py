"""The host server by itself: whoever is no CLI of the backend is refused, and costs nothing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from asking import Endless, until

from claude_trio import Allow, BackendOptions, Deny, PermissionRequest, ProcessError, tool
from claude_trio._host import server as server_module
from claude_trio._host.guest import Guest
from claude_trio._host.host import Host, open_host
from claude_trio._start_files import start_files


@attrs.define(eq=False)
class FakeSession:
    """What a guest needs of a session."""

    session_id: str = "s"
    in_turn: bool = True
    raised: list[tuple[str, Exception]] = attrs.field(factory=list)

    cost: float | None = 0.0

    def look_now(self) -> None:
        pass

    def limit_reached(self, subtype: str) -> None:
        raise AssertionError(subtype)

    def callback_raised(self, name: str, reason: Exception) -> None:
        self.raised.append((name, reason))


async def allow(_: PermissionRequest) -> Allow | Deny:
    return Allow()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncGenerator[Host, None]:
    async with open_host(BackendOptions(cwd=tmp_path, on_permission=allow)) as opened:
        assert opened is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opened.run)
            yield opened
            opened.close()


@pytest.fixture
def guest(host: Host) -> Guest:
    return host.admit(FakeSession())


BODY = {
    "session_id": "s",
    "hook_event_name": "PreToolUse",
    "tool_name": "Bash",
    "tool_input": {"command": "ls"},
    "permission_mode": "dontAsk",
}


def raw(
    guest: Guest,
    host: Host,
    *,
    method: str = "POST",
    path: str = "/hooks/0",
    body: bytes | None = None,
    **headers: str,
) -> bytes:
    """Return a request of the guest's, some of it wrong."""
    content = json.dumps(BODY).encode() if body is None else body
    fields = {
        "Host": f"127.0.0.1:{port_of(host)}",
        "Authorization": f"Bearer {guest.token}",
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + content


def port_of(host: Host) -> int:
    return host._server.port


async def exchange(host: Host, data: bytes) -> tuple[int, bytes]:
    """Send bytes; return the status of the answer and its body. 0: there was no answer."""
    with trio.fail_after(30):
        async with await trio.open_tcp_stream("127.0.0.1", port_of(host)) as stream:
            received = b""
            try:
                await stream.send_all(data)
                while piece := await stream.receive_some():
                    received += piece
            except trio.BrokenResourceError:
                pass
    if not received:
        return 0, b""
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_a_cli_is_answered(host: Host, guest: Guest) -> None:
    status, body = await exchange(host, raw(guest, host))
    assert 200 == status
    assert "allow" == json.loads(body)["hookSpecificOutput"]["permissionDecision"]


@pytest.mark.parametrize(
    ("status", "wrong"),
    [
        (401, {"Authorization": ""}),
        (401, {"Authorization": "Bearer "}),
        (401, {"Authorization": "Bearer x"}),
        (401, {"Authorization": "Basic x"}),
        (401, {"Authorization": "Bearer \xff"}),
        (421, {"Host": "example.org"}),
        (421, {"Host": "localhost:80"}),
        (404, {"path": "/"}),
        (404, {"path": "/hooks/99"}),
        (404, {"path": "/hooks/0?x=1"}),
        (404, {"path": "/hooks/0/../1"}),
        (404, {"path": "http://127.0.0.1/hooks/0"}),
        (405, {"method": "GET"}),
        (405, {"method": "DELETE"}),
        (405, {"method": "OPTIONS"}),
        (403, {"Origin": "http://127.0.0.1"}),
        (403, {"Origin": "null"}),
        (415, {"Content_Type": "text/plain"}),
        (415, {"Content_Type": ""}),
        (413, {"Content_Length": str(server_module.MOST_BODY + 1)}),
        (400, {"body": b""}),
        (400, {"body": b"nonsense"}),
        (400, {"body": b"[]"}),
        (400, {"body": b"{}"}),
        (400, {"body": json.dumps({**BODY, "hook_event_name": "Stop"}).encode()}),
        (400, {"body": json.dumps({**BODY, "session_id": 7}).encode()}),
        (400, {"body": b"[" * 100_000}),
        (400, {"body": b"\xff\xfe"}),
    ],
)
async def test_a_wrong_request_is_refused(
    host: Host, guest: Guest, status: int, wrong: dict[str, Any]
) -> None:
    assert (status, b"") == await exchange(host, raw(guest, host, **wrong))
    assert 200 == (await exchange(host, raw(guest, host)))[0]


async def test_nothing_is_told_without_a_token(host: Host, guest: Guest) -> None:
    for wrong in ({"path": "/"}, {"method": "GET"}, {"Host": "x"}, {"Content_Type": "x"}):
        data = raw(guest, host, **{**wrong, "Authorization": "Bearer no"})  # type: ignore[arg-type]
        assert (401, b"") == await exchange(host, data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /hooks/0 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /hooks/0 HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /hooks/0 HTTP/1.1\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" * 1000,
    ],
    ids=["TLS", "words", "version", "hosts", "length", "header", "HTTP/2", "lines"],
)
async def test_what_is_no_request_is_refused(host: Host, guest: Guest, data: bytes) -> None:
    # Behind it the connection is closed for sending, so what waits for more learns that it ends.
    with trio.fail_after(30):
        async with await trio.open_tcp_stream("127.0.0.1", port_of(host)) as stream:
            received = b""
            try:
                await stream.send_all(data)
                await stream.send_eof()
                while piece := await stream.receive_some():
                    received += piece
            except trio.BrokenResourceError:
                pass
    assert received == b"" or 400 <= int(received.split()[1]) < 500
    assert 200 == (await exchange(host, raw(guest, host)))[0]


async def test_a_body_that_grows_too_large_is_refused(
    host: Host, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MOST_BODY", 1000)
    whole = raw(guest, host, Content_Length="", Transfer_Encoding="chunked", body=b"")
    assert (413, b"") == await exchange(host, whole + b"800\r\n" + b"x" * 0x800 + b"\r\n0\r\n\r\n")


async def test_a_slow_client_is_given_up(
    host: Host, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "PATIENCE", 0.05)
    assert (408, b"") == await exchange(host, raw(guest, host)[:30])


async def test_a_session_that_has_ended_is_a_stranger(host: Host, guest: Guest) -> None:
    data = raw(guest, host)
    host.dismiss(guest)
    assert (401, b"") == await exchange(host, data)


async def test_it_listens_on_the_loopback_interface_alone_and_not_when_closed(
    host: Host,
) -> None:
    for listener in host._server._listeners:
        assert ("127.0.0.1", port_of(host)) == listener.socket.getsockname()
    async with open_host(host.options) as another:
        assert another is not None
        port = port_of(another)
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_nothing_is_there_when_nothing_needs_it(tmp_path: Path) -> None:
    async with open_host(BackendOptions(cwd=tmp_path)) as host:
        assert host is None


async def test_a_port_that_is_not_to_be_had_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError("no port")

    monkeypatch.setattr(trio, "open_tcp_listeners", refuse)
    with pytest.raises(ProcessError, match="no port") as caught:
        async with open_host(BackendOptions(cwd=tmp_path, on_permission=allow)):
            pass
    assert "not_started" == caught.value.kind


async def test_the_files_name_no_token(host: Host, guest: Guest) -> None:
    with start_files(host.options, host) as files:
        told = files.flags["--settings"].read_text()  # noqa: ASYNC240 - a test may wait for a disk
    assert guest.token not in told
    assert f"127.0.0.1:{port_of(host)}" in told


async def test_a_callback_goes_when_its_client_does(tmp_path: Path) -> None:
    wait = Endless()
    async with open_host(BackendOptions(cwd=tmp_path, on_permission=wait)) as host:
        assert host is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.run)
            guest = host.admit(FakeSession())
            with trio.fail_after(30):
                stream = await trio.open_tcp_stream("127.0.0.1", port_of(host))
                await stream.send_all(raw(guest, host))
                await wait.begun.wait()
                await stream.aclose()
                await wait.ended.wait()
            host.close()


async def test_a_callback_that_fails_while_it_goes_costs_nobody_else_anything(
    tmp_path: Path,
) -> None:
    begun, oops = trio.Event(), ValueError("could not say goodbye")

    async def helper() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise oops

    async def decide(_: PermissionRequest) -> Allow | Deny:
        if begun.is_set():
            return Allow()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(helper)
            begun.set()
            await trio.sleep_forever()
        raise AssertionError

    async with running(BackendOptions(cwd=tmp_path, on_permission=decide)) as host:
        session = FakeSession()
        guest, other = host.admit(session), host.admit(FakeSession())
        with trio.fail_after(60):
            async with await trio.open_tcp_stream("127.0.0.1", port_of(host)) as stream:
                await stream.send_all(raw(guest, host))
                await begun.wait()
        await until(lambda: session.raised)
        status, answer = await exchange(host, raw(other, host))
        assert (200, "allow") == (status, decision(answer))
    ((name, reason),) = session.raised
    assert "on_permission" == name
    assert isinstance(reason, ExceptionGroup)
    assert (oops,) == reason.exceptions


@contextlib.asynccontextmanager
async def running(options: BackendOptions) -> AsyncGenerator[Host, None]:
    async with open_host(options) as host:
        assert host is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.run)
            yield host
            host.close()


def decision(body: bytes) -> str:
    """Return what an answer decides."""
    answer = json.loads(body)["hookSpecificOutput"]
    return str(answer.get("permissionDecision") or answer["decision"]["behavior"])


def deep() -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(100_000):
        value = {"x": value}
    return value


@pytest.mark.parametrize(
    "updated_input", [{"x": object()}, {"x": float("nan")}, {7: {1, 2}}, deep()]
)
async def test_an_answer_that_json_cannot_hold_is_a_no_and_the_rest_goes_on(
    tmp_path: Path, updated_input: dict[str, Any]
) -> None:
    async def decide(_: PermissionRequest) -> Allow | Deny:
        return Allow(updated_input)

    async with running(BackendOptions(cwd=tmp_path, on_permission=decide)) as host:
        session = FakeSession()
        guest = host.admit(session)
        for body in (BODY, {**BODY, "permission_mode": "plan"}):
            status, answer = await exchange(host, raw(guest, host, body=json.dumps(body).encode()))
            assert (200, "deny") == (status, decision(answer))
    assert ["on_permission"] * 2 == [name for name, _ in session.raised]


async def test_a_decision_that_was_not_asked_for_is_not_used_for_another_call(
    tmp_path: Path,
) -> None:
    """A hook of the settings may deny a call, so that nobody asks for what the callback has said."""
    answers: list[Allow | Deny] = []

    async def decide(_: PermissionRequest) -> Allow | Deny:
        return answers.pop(0)

    before = json.dumps({**BODY, "permission_mode": "plan"}).encode()
    asked = json.dumps({**BODY, "hook_event_name": "PermissionRequest"}).encode()
    async with running(BackendOptions(cwd=tmp_path, on_permission=decide)) as host:
        guest = host.admit(FakeSession())

        async def ask(later: Allow | Deny) -> tuple[str, Any]:
            answers.append(later)
            first = decision((await exchange(host, raw(guest, host, body=before)))[1])
            told = await exchange(host, raw(guest, host, path="/hooks/1", body=asked))
            return first, json.loads(told[1])["hookSpecificOutput"]["decision"]

        answers.append(Allow())
        assert 200 == (await exchange(host, raw(guest, host, body=before)))[0]
        first, second = await ask(Deny("no", interrupt=True))
        assert ("ask", "deny", True) == (first, second["behavior"], second["interrupt"])
        assert "deny" == (await ask(Deny("no")))[1]["behavior"]

        answers.append(Allow())
        assert 200 == (await exchange(host, raw(guest, host, body=before)))[0]
        first, second = await ask(Allow({"command": "echo"}))
        assert ("ask", {"command": "echo"}) == (first, second["updatedInput"])
        # In another turn, what was said in this one counts no more.
        answers.append(Allow())
        assert 200 == (await exchange(host, raw(guest, host, body=before)))[0]
        guest.begin_turn(resumed=False)
        told = await exchange(host, raw(guest, host, path="/hooks/1", body=asked))
        assert "deny" == decision(told[1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Allow(7),  # type: ignore[arg-type]
        lambda: Allow(updated_permissions=[7]),  # type: ignore[list-item]
        lambda: Deny(7),  # type: ignore[arg-type]
        lambda: Deny("no", interrupt="yes"),  # type: ignore[arg-type]
    ],
    ids=["input", "permissions", "message", "interrupt"],
)
def test_an_answer_of_another_type_cannot_be_made(make: Callable[[], object]) -> None:
    with pytest.raises(TypeError):
        make()


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def call(how: Any) -> bytes:
    what = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": how}
    return json.dumps(what).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"{}",
        b"[]",
        b"[" * 100_000,
        b"[" * 900 + b"]" * 900,
        b'{"method":' * 50_000 + b"1" + b"}" * 50_000,
        b"\xff\xfe",
        b"9" * 10_000,
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": 7}',
        call(7),
        call({}),
        call({"name": "none"}),
        call({"name": "add", "arguments": 7}),
        call({"name": "add", "arguments": {"a": "\ud800", "b": "x" * 100_000}}),
    ],
    ids=range(15),
)
async def test_nonsense_for_a_tool_costs_nothing(tmp_path: Path, body: bytes) -> None:
    async with running(BackendOptions(cwd=tmp_path, mcp_servers={"app": [add]})) as host:
        guest = host.admit(FakeSession())

        async def ask(content: bytes) -> tuple[int, bytes]:
            accepted = "application/json, text/event-stream"
            return await exchange(
                host, raw(guest, host, path="/tools/app", body=content, Accept=accepted)
            )

        status, answer = await ask(body)
        assert status >= 400 or b"error" in answer.lower() or status == 202
        status, answer = await ask(call({"name": "add", "arguments": {"a": 40, "b": 2}}))
        assert (200, "42") == (status, json.loads(answer)["result"]["content"][0]["text"])


async def test_what_comes_behind_a_request_is_not_kept(tmp_path: Path) -> None:
    wait = Endless()
    async with running(BackendOptions(cwd=tmp_path, on_permission=wait)) as host:
        guest = host.admit(FakeSession())
        with trio.fail_after(30):
            async with await trio.open_tcp_stream("127.0.0.1", port_of(host)) as stream:
                await stream.send_all(raw(guest, host))
                await wait.begun.wait()
                with pytest.raises(trio.BrokenResourceError):
                    for _ in range(1000):
                        await stream.send_all(bytes(100_000))
            await wait.ended.wait()


async def test_strangers_that_say_nothing_keep_nobody_out(host: Host, guest: Guest) -> None:
    async with contextlib.AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port_of(host)))
            for _ in range(2 * server_module.MOST_STRANGERS)
        ]
        with trio.fail_after(30):
            assert 200 == (await exchange(host, raw(guest, host)))[0]
            # The one that has waited longest was given up.
            assert b" 408 " in await streams[0].receive_some()


async def test_whoever_has_shown_a_token_is_no_stranger(host: Host, guest: Guest) -> None:
    whole = raw(guest, host)
    async with contextlib.AsyncExitStack() as stack:

        async def connect() -> trio.SocketStream:
            opened = await trio.open_tcp_stream("127.0.0.1", port_of(host))
            return await stack.enter_async_context(opened)

        with trio.fail_after(30):
            stream = await connect()
            await stream.send_all(whole[:-1])
            while not host._server._strangers:
                await trio.lowlevel.checkpoint()
            while host._server._strangers:
                await trio.lowlevel.checkpoint()
            for _ in range(2 * server_module.MOST_STRANGERS):
                await connect()
            assert 200 == (await exchange(host, whole))[0]
            await stream.send_all(whole[-1:])
            assert b" 200 " in await stream.receive_some()
