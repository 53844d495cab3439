"""Whether a transcriber that is connected still listens (pure).

A dead connection and a silent room look the same from outside. So what counts is speech: once somebody was heard to
speak, the transcriber must send something, be it an empty result, or it is taken for stalled.
"""

from __future__ import annotations

# Shorter sounds may be no speech at all.
SHORTEST_SPEECH = 0.4


class SignsOfLife:
    """Compares when the caller spoke with when the transcriber sent something. Times in seconds, of one clock."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._speaking = False
        self._began: float | None = None
        self._last_message = self._unsure = float("-inf")
        self.unanswered: float | None = None

    def speech_began(self) -> None:
        """Somebody speaks; what of it reaches the transcriber, `audio` says."""
        self._speaking, self._began = True, None

    def audio(self, now: float) -> None:
        """A frame with sound in it was given to the transcriber."""
        if self._speaking and self._began is None:
            self._began = now
            if self.unanswered is None:
                self.unanswered = now

    def speech_ended(self, now: float, silence: float) -> None:
        """The speech ended so long ago; a transcriber that sent its last words after that owes nothing."""
        began, ended = self._began, now - silence
        self._speaking, self._began = False, None
        if began is None:
            return
        if self._last_message >= ended or (self.unanswered == began and ended - began < SHORTEST_SPEECH):
            self.unanswered = None
        elif self.unanswered is None:
            self.unanswered = ended

    def message(self, now: float) -> None:
        """The transcriber sent something; while the speech goes on, more must follow."""
        self._last_message = now
        self.unanswered = now if self._speaking and self._began is not None else None

    def unsure(self, now: float) -> None:
        """Whether somebody speaks now, or spoke until now, is not known: nobody can be blamed for silence."""
        self._unsure = now

    def stalled(self, now: float, since: float) -> bool:
        """Whether speech has waited too long for an answer on a connection that is open since then."""
        return self.unanswered is not None and now - max(self.unanswered, since, self._unsure) > self._timeout

    def lost(self, now: float) -> bool:
        """Whether speech has waited too long for two in a row: who stalled, and who heard it again."""
        return self.unanswered is not None and not self._speaking and now - self.unanswered > 2 * self._timeout

    @property
    def quiet(self) -> bool:
        """Whether nobody speaks and nobody waits."""
        return not self._speaking and self.unanswered is None

    def forget(self) -> None:
        """Stop waiting for an answer."""
        self.unanswered = None
