"""What actuators keep over restarts, in the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.loop.store_thread import StoreThread


class StoredConfigs:
    """The port KeptConfigs on the store of who leads."""

    def __init__(self, store: StoreThread) -> None:
        self._store = store

    async def keep(self, model: str, server: str, config: Mapping[str, Any]) -> None:
        """Keep it in place of the one before."""
        await self._store.call(lambda s: s.keep_config(model, server, config))

    async def kept(self, model: str, server: str) -> dict[str, Any] | None:
        """The one kept, None: there is none."""
        return await self._store.call(lambda s: s.kept_config(model, server))

    async def kept_elsewhere(self, model: str) -> dict[str, Any] | None:
        """One that is kept of the model, whichever its server; None: there is none."""
        return await self._store.call(lambda s: s.kept_config(model))

    async def drop(self, model: str, server: str) -> None:
        """Forget it."""
        await self._store.call(lambda s: s.drop_config(model, server))
