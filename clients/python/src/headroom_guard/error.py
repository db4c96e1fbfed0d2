"""What can go wrong. Knows no sockets, and decides nothing."""

from __future__ import annotations

from typing import Optional

from .answer import Verdict


class HeadroomError(Exception):
    """Everything that this package raises on its own."""


class NoAgentError(HeadroomError):
    """No agent answers: there is none, it stops, or it takes too long."""


class AgentError(HeadroomError):
    """An agent is there, and refuses: no permission, too many requests, a request that it cannot take."""

    def __init__(self, message: str, status: Optional[int] = None) -> None:
        super().__init__(message)
        #: The HTTP status; absent if it never came to a request.
        self.status = status


class UnknownLevelError(HeadroomError):
    """The agent does not know the level of this host. It says what is missing."""


class InsufficientResourcesError(HeadroomError):
    """It does not fit here, or nobody can say that it does."""

    def __init__(self, message: str, verdict: Optional[Verdict] = None) -> None:
        super().__init__(message)
        #: The agent's verdict with its numbers; absent without an agent.
        self.verdict = verdict


class ResourceExhaustionError(InsufficientResourcesError):
    """What was to be allocated does not fit beside what is used and reserved now."""
