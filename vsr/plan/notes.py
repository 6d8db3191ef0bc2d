"""The two lists every planning step adds to: reasons, and what is given up."""

from __future__ import annotations

from dataclasses import dataclass, field

from vsr.types import Reason

__all__ = ["Notes"]


@dataclass(slots=True)
class Notes:
    """Collected while a plan is made."""

    reasons: list[Reason] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)

    def why(self, topic: str, choice: str, why: str) -> None:
        """Record the reason for a choice that somebody could wonder about."""
        self.reasons.append(Reason(topic, choice, why))

    def lose(self, sentence: str) -> None:
        """Record what the result will lack, as one sentence with its remedy."""
        self.given_up.append(sentence)
