"""History in a SQL database: `open_store` opens it, `open_reader` once more for reports, `claim` keeps others off.

The rest is for operators.
"""

from controlplane.store.claim import claim
from controlplane.store.repository import SqlStore, open_reader, open_store
from controlplane.store.schema import schema_revision, upgrade_schema

__all__ = ["SqlStore", "claim", "open_reader", "open_store", "schema_revision", "upgrade_schema"]
