"""The adapter: dbt-postgres, but for what a streaming database has and what it does not have."""

from dbt.adapters.base import AdapterPlugin

from dbt.adapters.millrace.connections import MillraceConnectionManager, MillraceCredentials
from dbt.adapters.millrace.impl import MillraceAdapter
from dbt.adapters.millrace.relation import MillraceRelation
from dbt.include import millrace

__all__ = ["MillraceConnectionManager", "MillraceRelation", "Plugin"]

Plugin = AdapterPlugin(
    adapter=MillraceAdapter,
    credentials=MillraceCredentials,
    include_path=millrace.PACKAGE_PATH,
    dependencies=["postgres"],
)
