"""Where the agent is asked, and what holds when it does not answer. Knows no protocol."""

from __future__ import annotations

import os
from enum import Enum
from typing import Optional, Union

#: The agent's own default.
DEFAULT_SOCKET = "/run/headroom/headroom.sock"

SOCKET = "HEADROOM_SOCKET"
NO_AGENT = "HEADROOM_NO_AGENT"


class NoAgent(str, Enum):
    """What holds when no agent answers."""

    #: :class:`~headroom_guard.NoAgentError` is raised.
    RAISE = "raise"
    #: Everything is allowed, and nothing is reserved. That is logged once.
    ALLOW = "allow"
    #: Nothing is allowed.
    DENY = "deny"


def socket_path(given: Optional[str] = None) -> str:
    return given or os.environ.get(SOCKET) or DEFAULT_SOCKET


def no_agent(given: Union[NoAgent, str, None] = None) -> NoAgent:
    """The argument, else the environment, else `allow`, as `headroom guard` does."""
    word = given or os.environ.get(NO_AGENT) or NoAgent.ALLOW
    try:
        return NoAgent(word)
    except ValueError:
        raise ValueError(f"{NO_AGENT} is raise, allow or deny, not {word!r}") from None
