"""What every block of the configuration is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Block(BaseModel):
    """Keys that it does not know are refused, and what was read stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)
