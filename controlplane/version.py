"""Which version this is, as the command line, the API and the metrics tell it."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("inference-controlplane")
