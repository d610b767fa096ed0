"""Requests that a server takes out of its gauges and counts nowhere."""

from __future__ import annotations


class GivenUp:
    """Counts requests that a server counts nowhere because their clients went away after the first token.

    vLLM takes them out of its gauges and adds them to no counter of ended requests (seen on 0.32). But each request
    that got a first token has ended, executes, or was given up. While some of those that execute have none yet this
    gives too few, so the most that was ever seen counts. It counts at once: an interval without it would have had fewer
    arrivals than there were. Who goes away before the first token is counted by nothing.
    """

    def __init__(self) -> None:
        self._first_tokens = 0.0
        self._given_up = 0.0

    def seen(self, first_tokens: float, ended: float, running: int) -> float:
        """How many there are since the server began; from 0 again where its count of first tokens fell."""
        if first_tokens < self._first_tokens:
            self._given_up = 0.0
        self._first_tokens = first_tokens
        self._given_up = max(self._given_up, first_tokens - ended - running)
        return self._given_up
