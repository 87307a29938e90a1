"""What dbt asks of a database, where Millrace answers in another way than PostgreSQL."""

import re
from typing import Dict, List, Optional

from dbt.adapters.base.meta import available
from dbt.adapters.postgres.impl import PostgresAdapter

from dbt.adapters.millrace.connections import MillraceConnectionManager
from dbt.adapters.millrace.relation import MillraceRelation

KINDS = {
    "source": "SOURCE",
    "table": "TABLE",
    "view": "VIEW",
    "materialized_view": "MATERIALIZED VIEW",
    "sink": "SINK",
}


class MillraceAdapter(PostgresAdapter):
    """dbt-postgres, but for the list of what there is and how it is compared."""

    Relation = MillraceRelation
    ConnectionManager = MillraceConnectionManager

    def _link_cached_relations(self, manifest, used_schemas=None) -> None:
        """What stands on what is the server's to know: DROP ... CASCADE takes it along."""

    def list_relations_without_caching(self, schema_relation) -> List[MillraceRelation]:
        if schema_relation.schema != "public":
            return []
        relations = []
        for kind in KINDS:
            for name in self._names(kind):
                relations.append(
                    self.Relation.create(
                        database=schema_relation.database,
                        schema="public",
                        identifier=name,
                        type=kind,
                        quote_policy={"database": True, "schema": True, "identifier": True},
                    )
                )
        return relations

    def _names(self, kind: str) -> List[str]:
        _, table = self.execute(f"SHOW {KINDS[kind]}S", fetch=True)
        return [row[0] for row in table.rows]

    @available
    def keyword(self, kind: str) -> str:
        """What SQL calls a kind of relation."""
        return KINDS[kind]

    @available
    def current_kind(self, relation) -> Optional[str]:
        """What a name stands for now, whatever dbt remembers: a DROP may have taken it along."""
        for kind in KINDS:
            if relation.identifier in self._names(kind):
                return kind
        return None

    @available
    def is_current(self, relation, kind: str, statement: str) -> bool:
        """True if a relation was made by this statement, blanks aside."""
        _, table = self.execute(f"SHOW CREATE {KINDS[kind]} {relation}", fetch=True)
        stored = table.rows[0][1]
        return _plain(stored) == _plain(statement)

    @available
    def described_columns(self, relation) -> List[Dict[str, str]]:
        """Names and types of the columns of a relation."""
        _, table = self.execute(f"DESCRIBE {relation}", fetch=True)
        return [{"name": row[0], "type": row[1]} for row in table.rows]


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().rstrip(";").strip()
