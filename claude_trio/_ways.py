"""Which way each prompt of a backend takes to the CLI."""

from __future__ import annotations

import attrs

from ._protocol import keys
from ._protocol.history import Conversation
from .options import BackendOptions


@attrs.define(eq=False)
class Ways:
    """The ways that are open to the prompts of one backend.

    Args:
        options: The backend's.
    """

    options: BackendOptions
    #: How many prompts the CLI has recorded differently from what was sent.
    altered: int = 0
    _closed: set[keys.Way] = attrs.field(factory=set)

    def of(self, conversation: Conversation) -> keys.Way:
        """Return how the new prompt of a conversation gets to the CLI."""
        text = conversation.prompt_text
        if text is None:
            return "transcript"
        way = keys.way_of(
            text,
            commands=self.options.allow_commands,
            mentions=self.options.expand_mentions,
        )
        return "transcript" if way in self._closed else way

    def close(self, way: keys.Way) -> None:
        """Send no more prompts by a way that does not work here: by transcript instead."""
        self._closed.add(way)

    def distrust(self, way: keys.Way) -> None:
        """As `close`, of a way by which a prompt has arrived as another one."""
        self.altered += 1
        self.close(way)
