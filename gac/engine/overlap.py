"""Drafting while a draft is verified."""

from dataclasses import replace

from gac.decoding.flow import Draft, Score, Step
from gac.engine.drafted import OpenDraft, Place
from gac.engine.metrics import Metrics

FURTHER_TOKENS = 3
"""Tokens drafted while a draft is verified, which takes about a step of the slowest member."""


class Overlap:
    """Lets a drafter continue its draft while the others verify it.

    If the draft is accepted, the next tokens are there when they are asked for.  If not, they are
    dropped, and the drafter does so again only after another draft was accepted.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.open: OpenDraft | None = None
        self._draft: Draft | None = None
        self._was_accepted = False
        self._metrics = metrics
        self._reach = 0

    def note(self, step: Step, place: Place) -> None:
        """A step opens, at this place."""
        self.open = None
        here = max(place.num_tokens, place.request.num_forced)  # given tokens are not counted
        if isinstance(step, Draft):
            self._draft = step
        elif isinstance(step, Score):
            reach = place.num_tokens + len(step.tokens)
            self._metrics.drafted += max(0, reach - max(self._reach, here))
            self._reach = max(self._reach, reach)
            if self._was_accepted and self._draft is not None:
                size = len(step.tokens) + FURTHER_TOKENS
                self.open = OpenDraft(replace(self._draft, max_tokens=size), place)
            self._was_accepted = True
        else:
            self._metrics.wasted += max(0, self._reach - here)
            self._reach = place.num_tokens
            self._was_accepted = False

    def wants(self, member: str) -> bool:
        """Whether this member may go on from its draft."""
        return self.open is not None and member in self.open.members and self.open.lacks(member)
