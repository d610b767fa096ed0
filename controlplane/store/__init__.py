"""History in a SQL database: `open_store` opens it, `claim` keeps others off; the rest is for operators."""

from controlplane.store.claim import claim
from controlplane.store.repository import SqlStore, open_store
from controlplane.store.schema import schema_revision, upgrade_schema

__all__ = ["SqlStore", "claim", "open_store", "schema_revision", "upgrade_schema"]
