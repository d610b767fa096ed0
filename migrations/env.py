"""Runs the migrations on the connection that controlplane.store.schema hands over, inside its transaction.

Logging is left as it is: the process that upgrades owns it.
"""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
