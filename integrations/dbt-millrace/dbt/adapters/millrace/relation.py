"""Relations: tables and views, and what they are made of and sent to."""

from dataclasses import dataclass, field
from typing import Optional

from dbt_common.dataclass_schema import StrEnum

from dbt.adapters.contracts.relation import Policy
from dbt.adapters.postgres.relation import PostgresRelation


class MillraceRelationType(StrEnum):
    """What a name may stand for."""

    Table = "table"
    View = "view"
    CTE = "cte"
    MaterializedView = "materialized_view"
    Source = "source"
    Sink = "sink"
    External = "external"


@dataclass
class WithoutDatabase(Policy):
    """A server has one database, and takes names without it."""

    database: bool = False
    schema: bool = True
    identifier: bool = True


@dataclass(frozen=True, eq=False, repr=False)
class MillraceRelation(PostgresRelation):
    """A relation of Millrace."""

    type: Optional[MillraceRelationType] = None
    include_policy: Policy = field(default_factory=WithoutDatabase)
    renameable_relations: frozenset = frozenset()
    replaceable_relations: frozenset = frozenset()

    @classmethod
    def get_relation_type(cls) -> type:
        return MillraceRelationType
