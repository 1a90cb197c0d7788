"""Turns in the words of the Messages API, judged by the models and the accumulator of the official client."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from claude_trio import (
    AssistantMessage,
    AuthError,
    BackendError,
    BackendOptions,
    CLINotFoundError,
    ContentBlock,
    Event,
    ProcessError,
    RateLimitError,
    ResultMessage,
    SessionError,
    StartupError,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    TurnTimeout,
    UnknownBlock,
    Usage,
    UserMessage,
)
from claude_trio.messages_api import (
    PING,
    ErrorResponse,
    MessageStream,
    Shown,
    error_response,
    parse_request,
    to_message,
    to_sse,
)

EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def said(*blocks: ContentBlock | str, id: str = "msg_1", **more: Any) -> AssistantMessage:  # noqa: A002
    content = tuple(TextBlock(b) if isinstance(b, str) else b for b in blocks)
    facts = {"model": "claude-x", "stop_reason": "end_turn", "usage": Usage(10, 5, 3, 2)}
    return AssistantMessage(content=content, message_id=id, **{**facts, **more})


def result(subtype: str = "success", stop_reason: str | None = "end_turn") -> ResultMessage:
    return ResultMessage(subtype=subtype, is_error=False, stop_reason=stop_reason)


PROMPT = UserMessage(content=(TextBlock("go"),), origin="prompt")
CALL = ToolUseBlock("toolu_1", "Bash", {"command": "ls"})
OUTPUT = UserMessage(content=(ToolResultBlock("toolu_1", "a b"),), origin="tool")
AGENT: list[Event] = [
    PROMPT,
    said(ThinkingBlock("hm", "c2ln"), stop_reason="tool_use"),
    said("Let me look.", stop_reason="tool_use"),
    said(CALL, stop_reason="tool_use"),
    OUTPUT,
    said("what a subagent says", id="msg_s", parent_tool_use_id="toolu_1"),
    said("There is a, and b.", id="msg_2", usage=Usage(20, 7, 0, 12)),
    result(),
]


def stream(events: Iterable[Event], **how: Any) -> list[dict[str, Any]]:
    maker = MessageStream(**how)
    made = [event for given in events for event in maker.feed(given)]
    for event in made:
        EVENTS.validate_python(event)
    return made


def accumulated(events: Iterable[dict[str, Any]]) -> Message:
    """Let the official client read a stream to its end."""
    body = b"".join(to_sse(event) for event in events)

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    transport = httpx2.MockTransport(answer)
    with (
        httpx2.Client(transport=transport) as http,
        anthropic.Anthropic(api_key="k", http_client=http, max_retries=0) as client,
        client.messages.stream(
            model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}]
        ) as reading,
    ):
        return reading.get_final_message()


def plain(message: Message) -> dict[str, Any]:
    whole: dict[str, Any] = message.to_dict()
    usage = {name: whole["usage"][name] for name in Usage().to_dict()}
    return {
        **{key: whole[key] for key in ("id", "type", "role", "model", "stop_reason")},
        "content": [
            {k: v for k, v in block.items() if v is not None and k != "parsed_output"}
            for block in whole["content"]
        ],
        "stop_sequence": message.stop_sequence,
        "usage": usage,
    }


# --- messages


def test_a_turn_is_one_message_with_all_its_texts_and_all_that_it_used() -> None:
    message = to_message(AGENT)
    Message.model_validate(message, strict=True)
    assert ["Let me look.", "There is a, and b."] == [block["text"] for block in message["content"]]
    assert ("msg_1", "claude-x", "end_turn") == (
        message["id"],
        message["model"],
        message["stop_reason"],
    )
    # Each API message counts once, however many records it has.
    assert Usage(30, 12, 3, 14).to_dict() == message["usage"]


def test_with_all_blocks_it_has_thinking_and_the_calls_that_the_cli_has_answered() -> None:
    message = to_message(AGENT, shown="all")
    Message.model_validate(message, strict=True)
    assert ["thinking", "text", "tool_use", "text"] == [b["type"] for b in message["content"]]
    assert "end_turn" == message["stop_reason"]  # there is nothing for the client to answer


def test_a_call_of_a_tool_of_the_clients_ends_the_message() -> None:
    call = ToolUseBlock("toolu_2", "weather", {"city": "Delft", "deep": {"é": [1]}})
    events: list[Event] = [
        PROMPT,
        said("I ask.", stop_reason="tool_use"),
        said(call, stop_reason="tool_use"),
        result("paused", "tool_use"),
    ]
    message = to_message(events, client_tools={"weather"})
    Message.model_validate(message, strict=True)
    assert ["text", "tool_use"] == [block["type"] for block in message["content"]]
    assert "tool_use" == message["stop_reason"]
    assert message == plain(accumulated(stream(events, client_tools={"weather"})))


@pytest.mark.parametrize(
    ("subtype", "given", "expected"),
    [
        ("success", "end_turn", "end_turn"),
        ("success", "max_tokens", "max_tokens"),
        ("success", "stop_sequence", "stop_sequence"),
        ("success", "refusal", "refusal"),
        ("success", "model_context_window_exceeded", "model_context_window_exceeded"),
        ("success", None, "end_turn"),
        ("success", "tool_use", "end_turn"),
        ("local_command", None, "end_turn"),
        ("interrupted", "tool_use", "pause_turn"),
        ("stopped_by_hook", "tool_use", "pause_turn"),
        ("error_max_turns", "tool_use", "pause_turn"),
        ("error_max_budget_usd", "tool_use", "pause_turn"),
    ],
)
def test_every_end_of_a_turn_has_a_stop_reason(
    subtype: str, given: str | None, expected: str
) -> None:
    record = {"message": {"stop_sequence": "STOP"}}
    events: list[Event] = [said("x", stop_reason=given, raw=record), result(subtype, given)]
    message = to_message(events)
    Message.model_validate(message, strict=True)
    assert expected == message["stop_reason"]
    assert ("STOP" if expected == "stop_sequence" else None) == message["stop_sequence"]
    assert message == plain(accumulated(stream(events)))


def test_a_turn_without_a_word_is_an_empty_message() -> None:
    message = to_message([PROMPT, result("local_command", None)])
    Message.model_validate(message, strict=True)
    assert [] == message["content"]
    assert message["id"].startswith("msg_")


def test_fillers_and_error_records_are_no_answer() -> None:
    filler = said("No response requested.", id="f", model="<synthetic>")
    error = said("API Error", id="e", model="<synthetic>", error="unknown")
    assert ["x"] == [b["text"] for b in to_message([filler, error, said("x"), result()])["content"]]


def test_a_part_of_a_turn_is_no_message() -> None:
    with pytest.raises(ValueError, match="ResultMessage is missing"):
        to_message(AGENT[:-1])
    with pytest.raises(ValueError, match="no answer"):
        _ = MessageStream().message


@pytest.mark.parametrize(
    ("kind", "stop_reason", "expected"),
    [
        ("max_output_tokens", "max_tokens", "max_tokens"),
        ("max_output_tokens", "model_context_window_exceeded", "model_context_window_exceeded"),
        ("refusal", "refusal", "refusal"),
        ("refusal", None, "refusal"),
    ],
)
def test_a_bound_and_a_refusal_are_ends_of_a_message_and_not_errors(
    kind: str, stop_reason: str | None, expected: str
) -> None:
    error = BackendError("the CLI has given up", kind=kind)
    events: list[Event] = [PROMPT, said("so far", stop_reason=stop_reason)]
    message = to_message(events, error=error)
    Message.model_validate(message, strict=True)
    assert (expected, ["so far"]) == (
        message["stop_reason"],
        [b["text"] for b in message["content"]],
    )
    maker = MessageStream()
    made = [event for given in events for event in maker.feed(given)] + maker.fail(error)
    assert message == plain(accumulated(made))
    assert [] == to_message([PROMPT], error=error)["content"]


def test_a_message_can_be_over_at_its_bound() -> None:
    goes_on = UserMessage(content=(TextBlock("Output token limit hit."),), origin="cli")
    rest: list[Event] = [said("and more", id="msg_2"), result()]
    cut = said("so far", stop_reason="max_tokens")
    cases: list[list[Event]] = [
        [cut, goes_on, *rest],
        [cut, *rest],
        [cut, TextDelta(text="a", index=0), *rest],
    ]
    for events in cases:
        maker = MessageStream(stop_at_limit=True)
        made = [event for given in events for event in maker.feed(given)]
        assert maker.over
        assert ("max_tokens", 1) == (maker.message["stop_reason"], len(maker.message["content"]))
        assert maker.message == plain(accumulated(made))
        whole = to_message(events)
        assert ("end_turn", 2) == (whole["stop_reason"], len(whole["content"]))


# --- streams


@pytest.mark.parametrize("shown", ["text", "all"])
def test_what_the_official_client_makes_of_the_stream_is_the_message(shown: Shown) -> None:
    made = stream(AGENT, shown=shown)
    assert to_message(AGENT, shown=shown) == plain(accumulated(made))
    # A ping may stand anywhere behind the beginning.
    assert to_message(AGENT, shown=shown) == plain(accumulated([made[0], dict(PING), *made[1:]]))


def test_the_stream_has_the_order_of_the_api() -> None:
    made = stream([said(ThinkingBlock("hm", "c2ln"), CALL, ""), said("x"), result()], shown="all")
    assert [
        "message_start",
        "content_block_start",
        "thinking_delta",
        "signature_delta",
        "content_block_stop",
        "content_block_start",
        "input_json_delta",
        "content_block_stop",
        "content_block_start",
        "text_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ] == [
        event["delta"]["type"] if "index" in event and "delta" in event else event["type"]
        for event in made
    ]
    assert {"input_tokens": 10, "output_tokens": 0} == {
        key: made[0]["message"]["usage"][key] for key in ("input_tokens", "output_tokens")
    }


def test_a_block_of_another_type_is_sent_whole() -> None:
    block = UnknownBlock("redacted_thinking", {"type": "redacted_thinking", "data": "eA=="})
    made = stream([said(block), result()], shown="all")
    assert block.raw == made[1]["content_block"]
    assert [block.raw] == to_message([said(block), result()], shown="all")["content"]
    assert [] == to_message([said(block), result()])["content"]


def deltas(made: list[dict[str, Any]]) -> list[str]:
    found = [event.get("delta", {}) for event in made]
    return [delta["text"] for delta in found if delta.get("type") == "text_delta"]


def test_live_text_is_streamed_as_it_comes_and_only_once() -> None:
    events: list[Event] = [
        PROMPT,
        TextDelta(text="One line,\n", index=0),
        TextDelta(text="another.", index=1),
        TextDelta(text="", index=2, final=True),
        said("One line,\nanother.", stop_reason="tool_use"),
        said(CALL, stop_reason="tool_use"),
        OUTPUT,
        TextDelta(text="Done.", index=0, final=True),
        said("Done.", id="msg_2"),
        result(),
    ]
    made = stream(events, model="claude-asked")
    assert ["One line,\n", "another.", "Done."] == deltas(made)
    message = accumulated(made)
    assert ["One line,\nanother.", "Done."] == [
        block.text for block in message.content if block.type == "text"
    ]
    assert "claude-asked" == message.model
    assert Usage(20, 10, 6, 4).to_dict() == plain(message)["usage"]
    assert to_message(events)["content"] == plain(message)["content"]


def test_live_text_that_runs_ahead_of_its_block_is_not_repeated() -> None:
    events: list[Event] = [
        TextDelta(text="a, b", index=0),
        TextDelta(text="", index=1, final=True),
        said("a, "),
        TextDelta(text=" and c", index=2, final=True),
        said("b and c"),
        result(),
    ]
    assert ["a, b", " and c"] == deltas(stream(events))
    assert "a, b and c" == accumulated(stream(events)).content[0].text  # type: ignore[union-attr]


def test_live_text_may_run_ahead_of_the_thinking_before_it() -> None:
    events: list[Event] = [
        TextDelta(text="a", index=0),
        said(ThinkingBlock("hm", "c2ln")),
        TextDelta(text="b", index=1, final=True),
        said("ab"),
        result(),
    ]
    content = accumulated(stream(events, shown="all")).content
    assert ["text", "thinking", "text"] == [block.type for block in content]
    assert ["a", "b"] == [block.text for block in content if block.type == "text"]


def test_a_block_that_is_not_what_was_shown_breaks_the_stream() -> None:
    made = MessageStream()
    sent = [*made.feed(TextDelta(text="The answ", index=0)), *made.feed(said("Another", CALL))]
    assert made.over
    assert "error" == sent[-1]["type"]


def test_text_that_begins_again_breaks_the_stream() -> None:
    """As it would the API's own: what was sent cannot be taken back."""
    made = MessageStream()
    assert [False] == [made.begun]
    sent = made.feed(TextDelta(text="The answ", index=0))
    assert made.begun
    sent += made.feed(TextDelta(text="An answer", index=0))
    assert made.over
    with pytest.raises(anthropic.APIStatusError, match="began again"):
        accumulated(sent)
    assert [] == made.feed(said("An answer"))


def test_a_failure_within_the_stream_is_an_event_of_it() -> None:
    maker = MessageStream()
    sent = maker.feed(said("so far"))
    sent += maker.fail(BackendError("Overloaded", status=529, request_id="req_1"))
    assert {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Overloaded"},
        "request_id": "req_1",
    } == sent[-1]
    assert [] == maker.fail(BackendError("again"))
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        accumulated(sent)


def test_a_failure_before_the_stream_is_the_answer_itself() -> None:
    error = AuthError("not logged in", kind="auth")
    maker = MessageStream()
    maker.feed(PROMPT)
    with pytest.raises(AuthError) as caught:
        maker.fail(error)
    assert error is caught.value
    with pytest.raises(AuthError):
        to_message([PROMPT], error=error)


def test_no_character_of_a_text_breaks_a_line_of_the_stream() -> None:
    text = "a\r\nb\u2028c\x85d\n\nevent: x\ud800é"
    (line, data, *rest) = to_sse({"type": "ping", "text": text}).decode("ascii").split("\n")
    assert ("event: ping", ["", ""]) == (line, rest)
    assert text == json.loads(data.removeprefix("data: "))["text"]


# --- errors


@pytest.mark.parametrize(
    ("error", "status", "type_", "raised"),
    [
        (AuthError(kind="auth"), 401, "authentication_error", anthropic.AuthenticationError),
        (AuthError(status=403), 403, "permission_error", anthropic.PermissionDeniedError),
        (BackendError(kind="billing"), 402, "billing_error", anthropic.APIStatusError),
        (BackendError(kind="model_not_found"), 404, "not_found_error", anthropic.NotFoundError),
        (
            BackendError(kind="context_overflow"),
            400,
            "invalid_request_error",
            anthropic.BadRequestError,
        ),
        (
            BackendError(kind="request_too_large"),
            413,
            "request_too_large",
            anthropic.APIStatusError,
        ),
        (BackendError(status=422), 400, "invalid_request_error", anthropic.BadRequestError),
        (RateLimitError(), 429, "rate_limit_error", anthropic.RateLimitError),
        (
            BackendError(kind="server", status=529),
            529,
            "overloaded_error",
            anthropic.APIStatusError,
        ),
        (BackendError(kind="server", status=503), 500, "api_error", anthropic.InternalServerError),
        (BackendError(kind="connection"), 500, "api_error", anthropic.InternalServerError),
        (BackendError(kind="timeout"), 504, "timeout_error", anthropic.APIStatusError),
        (TurnTimeout(kind="stalled"), 504, "timeout_error", anthropic.APIStatusError),
        (SessionError(kind="dialog"), 500, "api_error", anthropic.InternalServerError),
        (SessionError(kind="rejected"), 400, "invalid_request_error", anthropic.BadRequestError),
        (ProcessError(screen_tail="secret"), 500, "api_error", anthropic.InternalServerError),
        (CLINotFoundError(), 500, "api_error", anthropic.InternalServerError),
        (ValueError("messages[0]"), 400, "invalid_request_error", anthropic.BadRequestError),
        (TypeError("messages"), 400, "invalid_request_error", anthropic.BadRequestError),
        (LookupError("secret"), 500, "api_error", anthropic.InternalServerError),
    ],
)
def test_every_failure_has_its_place_among_the_errors_of_the_api(
    error: Exception, status: int, type_: str, raised: type[anthropic.APIStatusError]
) -> None:
    response = error_response(error, request_id="req_gate")
    assert (status, type_) == (response.status, response.type)
    assert "secret" not in response.message
    assert response.message

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(response.status, headers=response.headers, json=response.to_dict())

    with (
        httpx2.Client(transport=httpx2.MockTransport(answer)) as http,
        anthropic.Anthropic(api_key="k", http_client=http, max_retries=0) as client,
        pytest.raises(raised) as caught,
    ):
        client.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}])
    assert raised is type(caught.value) or anthropic.APIStatusError is raised
    assert ("req_gate", response.message) == (
        caught.value.request_id,
        caught.value.body["error"]["message"],  # type: ignore[index]
    )


@pytest.mark.parametrize(
    ("refused", "named"),
    [
        ({"max_output_tokens": 0}, "max_tokens must be 1 or more, not 0"),
        ({"system_prompt": "a\0"}, "system holds a NUL character"),
        ({"client_tools": [{}]}, "tools[0]['name'] must be"),
        ({"extra_body": {"top_k": math.nan}}, "top_k is nan"),
        ({"effort": "much"}, "effort must be one of"),
    ],
)
def test_what_an_argument_is_called_is_what_a_request_calls_it(
    tmp_path: Path, refused: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is what this is about
        BackendOptions(cwd=tmp_path, **refused)
    assert error_response(caught.value).message.startswith(named)


def test_an_error_of_another_status_has_a_type_all_the_same() -> None:
    types = [ErrorResponse(status=status, message="m").type for status in (405, 429, 501)]
    assert ["invalid_request_error", "rate_limit_error", "api_error"] == types


@pytest.mark.parametrize(
    ("error", "repeated"),
    [
        (BackendError(kind="server", status=529), True),
        (SessionError(kind="dialog"), True),
        (ProcessError(kind="died"), True),
        (RateLimitError(), True),
        (StartupError(kind="trust"), False),
        (CLINotFoundError(), False),
        (TurnTimeout(kind="timeout"), False),
        (LookupError(), False),
    ],
)
def test_the_official_client_repeats_only_what_may_pass(error: Exception, repeated: bool) -> None:
    response, asked = error_response(error), []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(response.status, headers=response.headers, json=response.to_dict())

    with (
        httpx2.Client(transport=httpx2.MockTransport(answer)) as http,
        anthropic.Anthropic(api_key="k", http_client=http, max_retries=1) as client,
        pytest.raises(anthropic.APIStatusError),
    ):
        client.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}])
    assert (2 if repeated else 1) == len(asked)


def test_a_limit_says_when_it_is_lifted() -> None:
    short = error_response(RateLimitError("slow down", retry_after=1.2, request_id="req_api"))
    assert {"request-id": "req_api", "retry-after": "2"} == short.headers
    long = error_response(RateLimitError("used up", retry_after=3600.0), request_id="req_gate")
    assert {
        "request-id": "req_gate",
        "retry-after": "3600",
        "x-should-retry": "false",
    } == long.headers
    assert {} == error_response(RateLimitError("who knows")).headers


# --- requests


def body(**more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], **more}


def test_a_request_becomes_the_arguments_of_a_call() -> None:
    tool = {"name": "weather", "description": "d", "input_schema": {"type": "object"}}
    request = parse_request(
        body(
            system=[
                {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "b"},
            ],
            thinking={"type": "adaptive"},
            stop_sequences=["X"],
            temperature=0.5,
            output_config={"effort": "low", "format": {"type": "json_schema", "schema": {}}},
            tools=[{**tool, "type": "custom", "cache_control": {"type": "ephemeral"}}],
            tool_choice={"type": "auto"},
            metadata={"user_id": "u"},
            stream=True,
        )
    )
    assert ("m", True, ("weather",)) == (request.model, request.stream, request.client_tools)
    assert {
        "model": "m",
        "max_output_tokens": 9,
        "system_prompt": "a\n\nb",
        "thinking": {"type": "adaptive"},
        "extra_body": {
            "stop_sequences": ["X"],
            "temperature": 0.5,
            "output_config": {"format": {"type": "json_schema", "schema": {}}},
        },
        "effort": "low",
        "client_tools": (tool,),
    } == request.choices


def test_what_is_left_out_is_as_in_the_api() -> None:
    request = parse_request(body())
    assert not request.stream
    assert "be brief" == parse_request(body(system="be brief")).choices["system_prompt"]
    assert {
        "model": "m",
        "max_output_tokens": 9,
        "system_prompt": "",
        "thinking": {"type": "disabled"},
        "extra_body": {},
        "client_tools": (),
    } == request.choices


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        (
            {"service_tier": "auto", "container": "c"},
            ValueError,
            "container, service_tier: not supported",
        ),
        ({"model": None}, TypeError, "model: must be there, of the type str"),
        ({"max_tokens": True}, TypeError, "max_tokens: must be there, of the type int"),
        (
            {"messages": [{"role": "user", "content": "x", "name": "n", "id": 1}]},
            ValueError,
            r"messages\[0\]: id, name: not supported",
        ),
        ({"messages": "x"}, TypeError, "messages: must be there"),
        ({"stream": 1}, TypeError, "stream: must be true or false"),
        ({"system": [{"type": "image"}]}, TypeError, r"system\[0\]: must be a block of text"),
        ({"system": 1}, TypeError, r"system\[0\]"),
        ({"output_config": {"x": 1}}, ValueError, "output_config.x: not supported"),
        ({"output_config": 1}, TypeError, "output_config: must be an object"),
        ({"tools": {}}, TypeError, "tools: must be a list"),
        ({"tools": [1]}, TypeError, r"tools\[0\]: must be an object"),
        ({"tools": [{"type": "web_search_20250305"}]}, ValueError, "web_search_20250305"),
        (
            {"tools": [{"name": "a", "strict": True}]},
            ValueError,
            r"tools\[0\].strict: not supported",
        ),
        ({"tools": [{}]}, TypeError, r"tools\[0\].name: must be there, of the type str"),
        ({"tool_choice": {"type": "any"}}, ValueError, "tool_choice: 'any' is not supported"),
        (
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            ValueError,
            "disable_parallel",
        ),
        ({"tool_choice": "auto"}, TypeError, "tool_choice: must be an object"),
        ({"tool_choice": {"type": ["auto"]}}, ValueError, r"tool_choice: \['auto'\]"),
        ({"tool_choice": {"type": "auto", "name": "a"}}, ValueError, "tool_choice.name"),
        ({"tools": [{"type": {}, "name": "a"}]}, ValueError, r"tools\[0\]: \{\} is a tool"),
    ],
)
def test_what_the_cli_has_no_counterpart_for_is_refused_by_its_name(
    changed: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        parse_request(body(**changed))


def test_a_body_that_is_no_object_is_refused() -> None:
    with pytest.raises(TypeError, match="JSON object"):
        parse_request([])


@pytest.mark.parametrize("thinking", [{}, "", 0, False, []])
def test_a_thinking_that_says_nothing_is_not_passed_over(tmp_path: Path, thinking: Any) -> None:
    choices = parse_request(body(thinking=thinking)).choices
    with pytest.raises((ValueError, TypeError), match="thinking"):
        BackendOptions(cwd=tmp_path, thinking=choices["thinking"])


def test_no_tools_may_be_chosen() -> None:
    tools = [{"name": "a", "input_schema": {"type": "object"}}]
    assert () == parse_request(body(tools=tools, tool_choice={"type": "none"})).client_tools
