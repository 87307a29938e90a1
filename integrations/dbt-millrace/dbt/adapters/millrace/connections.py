"""Connections: those of PostgreSQL, without a transaction around everything.

CREATE and DROP take effect at once and wait for history: a transaction would only hold tables locked meanwhile.
"""

from dataclasses import dataclass

from dbt.adapters.contracts.connection import Connection
from dbt.adapters.postgres.connections import PostgresConnectionManager, PostgresCredentials


@dataclass
class MillraceCredentials(PostgresCredentials):
    """The same, for a server that is told apart by its type."""

    @property
    def type(self) -> str:
        return "millrace"


class MillraceConnectionManager(PostgresConnectionManager):
    """Statements are transactions of their own unless dbt begins one."""

    TYPE = "millrace"

    @classmethod
    def open(cls, connection: Connection) -> Connection:
        connection = super().open(connection)
        connection.handle.autocommit = True
        return connection
