"""How requests end, as the servers' counters call it (label `outcome`)."""

FAILED = "other|backend|rejected|error|refused"
"""By Triton itself, by its backend, timed out in the queue; by vLLM, turned away at the door."""
ANSWERED = "success|stop|length|repetition"
"""With an answer that somebody got."""
