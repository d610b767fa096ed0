"""History in a SQL database: `open_store` opens it, `upgrade_schema` and `schema_revision` are for operators."""

from controlplane.store.repository import SqlStore, open_store
from controlplane.store.schema import schema_revision, upgrade_schema

__all__ = ["SqlStore", "open_store", "schema_revision", "upgrade_schema"]
