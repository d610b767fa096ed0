"""History in a SQL database: `open_store` opens it, `open_reader` once more for reports, `alone` keeps others off.

The rest is for operators.
"""

from controlplane.store.claim import alone, is_file, lock_file
from controlplane.store.opening import open_reader, open_store
from controlplane.store.repository import SqlStore
from controlplane.store.schema import schema_revision, upgrade_schema

__all__ = [
    "SqlStore",
    "alone",
    "is_file",
    "lock_file",
    "open_reader",
    "open_store",
    "schema_revision",
    "upgrade_schema",
]
