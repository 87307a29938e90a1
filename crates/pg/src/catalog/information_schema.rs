//! The views of `information_schema`, as SQL over the live lists.
//!
//! Unlike in PostgreSQL, materialized views are listed, as base tables that take no rows: tools that know no
//! other catalog find them.

/// Views and their queries.
pub(super) const VIEWS: &[(&str, &str)] = &[
    ("information_schema_catalog_name", "SELECT '{database}' AS catalog_name"),
    (
        "schemata",
        "SELECT '{database}' AS catalog_name, name AS schema_name, '{owner}' AS schema_owner,
            NULL :: text AS default_character_set_catalog,
            NULL :: text AS default_character_set_schema,
            NULL :: text AS default_character_set_name, NULL :: text AS sql_path
        FROM schemas",
    ),
    (
        "tables",
        "SELECT '{database}' AS table_catalog, schema AS table_schema, name AS table_name,
            CASE WHEN kind = 'v' THEN 'VIEW' ELSE 'BASE TABLE' END AS table_type,
            NULL :: text AS self_referencing_column_name, NULL :: text AS reference_generation,
            NULL :: text AS user_defined_type_catalog, NULL :: text AS user_defined_type_schema,
            NULL :: text AS user_defined_type_name,
            CASE WHEN takes_rows THEN 'YES' ELSE 'NO' END AS is_insertable_into,
            'NO' AS is_typed, NULL :: text AS commit_action
        FROM relations WHERE kind NOT IN ('i', 'S')",
    ),
    (
        "views",
        "SELECT '{database}' AS table_catalog, schema AS table_schema, name AS table_name,
            definition AS view_definition, 'NONE' AS check_option, 'NO' AS is_updatable,
            'NO' AS is_insertable_into, 'NO' AS is_trigger_updatable,
            'NO' AS is_trigger_deletable, 'NO' AS is_trigger_insertable_into
        FROM relations WHERE kind = 'v'",
    ),
    (
        "columns",
        "SELECT '{database}' AS table_catalog, schema AS table_schema, table_name,
            columns.name AS column_name, columns.number :: int AS ordinal_position,
            CASE WHEN NOT computed THEN default_text END AS column_default,
            CASE WHEN nullable THEN 'YES' ELSE 'NO' END AS is_nullable, columns.type_name AS data_type,
            length AS character_maximum_length,
            CASE WHEN length IS NOT NULL THEN length * 4 WHEN columns.type_name = 'text'
                THEN 1073741824 :: int END AS character_octet_length,
            CASE columns.type_name WHEN 'real' THEN 24 :: int WHEN 'double precision' THEN 53 :: int
                ELSE precision END AS numeric_precision,
            CASE WHEN columns.type_name = 'numeric' THEN 10 :: int
                WHEN columns.type_name IN ('smallint', 'integer', 'bigint', 'real', 'double precision')
                THEN 2 :: int END AS numeric_precision_radix,
            scale AS numeric_scale,
            CASE WHEN columns.type_name = 'date' THEN 0 :: int
                WHEN columns.type_name LIKE 'time%' OR columns.type_name = 'interval' THEN 6 :: int
                END AS datetime_precision,
            NULL :: text AS interval_type, NULL :: int AS interval_precision,
            NULL :: text AS character_set_catalog, NULL :: text AS character_set_schema,
            NULL :: text AS character_set_name, NULL :: text AS collation_catalog,
            NULL :: text AS collation_schema, NULL :: text AS collation_name,
            NULL :: text AS domain_catalog, NULL :: text AS domain_schema,
            NULL :: text AS domain_name, '{database}' AS udt_catalog, 'pg_catalog' AS udt_schema,
            t.typname AS udt_name,
            NULL :: text AS scope_catalog, NULL :: text AS scope_schema,
            NULL :: text AS scope_name, NULL :: int AS maximum_cardinality,
            columns.number :: text AS dtd_identifier, 'NO' AS is_self_referencing,
            CASE WHEN identity = '' THEN 'NO' ELSE 'YES' END AS is_identity,
            CASE identity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' END
                AS identity_generation,
            CASE WHEN identity <> '' THEN s.start :: text END AS identity_start,
            CASE WHEN identity <> '' THEN s.increment :: text END AS identity_increment,
            CASE WHEN identity <> '' THEN s.greatest :: text END AS identity_maximum,
            CASE WHEN identity <> '' THEN s.least :: text END AS identity_minimum,
            CASE WHEN identity <> '' AND s.cycles THEN 'YES' ELSE 'NO' END AS identity_cycle,
            CASE WHEN computed THEN 'ALWAYS' ELSE 'NEVER' END AS is_generated,
            CASE WHEN computed THEN default_text END AS generation_expression,
            CASE WHEN is_stored AND NOT computed THEN 'YES' ELSE 'NO' END AS is_updatable
        FROM columns LEFT JOIN their_types AS t ON t.oid = columns.type_oid
            LEFT JOIN sequences AS s
                ON s.relation = columns.relation AND s.number = columns.number
        WHERE kind NOT IN ('i', 'S')
        ORDER BY columns.relation, columns.number",
    ),
    (
        // As in PostgreSQL, those of identity columns are left out.
        "sequences",
        "SELECT '{database}' AS sequence_catalog, 'public' AS sequence_schema,
            name AS sequence_name, type_name AS data_type,
            CASE type_name WHEN 'smallint' THEN 16 :: int WHEN 'integer' THEN 32 :: int
                ELSE 64 :: int END AS numeric_precision,
            2 :: int AS numeric_precision_radix, 0 :: int AS numeric_scale,
            start :: text AS start_value, least :: text AS minimum_value,
            greatest :: text AS maximum_value, increment :: text AS increment,
            CASE WHEN cycles THEN 'YES' ELSE 'NO' END AS cycle_option
        FROM sequences WHERE NOT is_identity",
    ),
    (
        "table_constraints",
        "SELECT '{database}' AS constraint_catalog, schema AS constraint_schema,
            name AS constraint_name, '{database}' AS table_catalog, schema AS table_schema,
            table_name, CASE letter WHEN 'p' THEN 'PRIMARY KEY' WHEN 'u' THEN 'UNIQUE'
                WHEN 'c' THEN 'CHECK' ELSE 'FOREIGN KEY' END AS constraint_type,
            'NO' AS is_deferrable, 'NO' AS initially_deferred, 'YES' AS enforced,
            CASE WHEN letter = 'u' THEN 'YES' END AS nulls_distinct
        FROM constraints",
    ),
    (
        "key_column_usage",
        "SELECT '{database}' AS constraint_catalog, c.schema AS constraint_schema,
            r.name AS constraint_name, '{database}' AS table_catalog,
            c.schema AS table_schema, c.table_name, c.name AS column_name,
            CAST(array_position(r.columns, c.number) AS int) AS ordinal_position,
            CAST(CASE WHEN r.letter = 'f' THEN array_position(r.to_key, array_element(r.to_columns,
                CAST(array_position(r.columns, c.number) AS bigint))) END AS int)
                AS position_in_unique_constraint
        FROM columns AS c JOIN constraints AS r ON r.relation = c.relation
        WHERE r.letter <> 'c' AND array_position(r.columns, c.number) IS NOT NULL",
    ),
    (
        "constraint_column_usage",
        "SELECT '{database}' AS table_catalog, c.schema AS table_schema, c.table_name,
            c.name AS column_name, '{database}' AS constraint_catalog,
            c.schema AS constraint_schema, r.name AS constraint_name
        FROM columns AS c JOIN constraints AS r
            ON CASE WHEN r.letter = 'f' THEN r.to_relation ELSE r.relation END = c.relation
        WHERE array_position(CASE WHEN r.letter = 'f' THEN r.to_columns ELSE r.columns END,
            c.number) IS NOT NULL",
    ),
    (
        "constraint_table_usage",
        "SELECT '{database}' AS table_catalog, schema AS table_schema,
            CASE WHEN letter = 'f' THEN to_name ELSE table_name END AS table_name,
            '{database}' AS constraint_catalog, schema AS constraint_schema,
            name AS constraint_name
        FROM constraints WHERE letter <> 'c'",
    ),
    (
        "referential_constraints",
        "SELECT '{database}' AS constraint_catalog, schema AS constraint_schema,
            name AS constraint_name, '{database}' AS unique_constraint_catalog,
            schema AS unique_constraint_schema, to_constraint AS unique_constraint_name,
            'NONE' AS match_option, on_update AS update_rule, on_delete AS delete_rule
        FROM constraints WHERE letter = 'f'",
    ),
    (
        "check_constraints",
        "SELECT '{database}' AS constraint_catalog, schema AS constraint_schema,
            name AS constraint_name, '(' || condition || ')' AS check_clause
        FROM constraints WHERE letter = 'c'",
    ),
    (
        "view_table_usage",
        "SELECT '{database}' AS view_catalog, v.schema AS view_schema, v.name AS view_name,
            '{database}' AS table_catalog, t.schema AS table_schema, t.name AS table_name
        FROM dependencies AS d JOIN relations AS v ON v.oid = d.view
            JOIN relations AS t ON t.oid = d.below",
    ),
    (
        "applicable_roles",
        "SELECT m.name AS grantee, r.name AS role_name,
            CASE WHEN s.admin THEN 'YES' ELSE 'NO' END AS is_grantable
        FROM members AS s JOIN roles AS m ON m.oid = s.member JOIN roles AS r ON r.oid = s.role",
    ),
    ("enabled_roles", "SELECT name AS role_name FROM roles"),
    ("table_privileges", "{grants}"),
    ("role_table_grants", "{grants}"),
];

/// What was granted on relations, read from the letters of their entries.
pub(super) const GRANTS: &str = "SELECT split_part(split_part(g.entry, '/', 2), '=', 1) AS grantor,
        CASE WHEN split_part(g.entry, '=', 1) = '' THEN 'PUBLIC'
            ELSE split_part(g.entry, '=', 1) END AS grantee,
        '{database}' AS table_catalog, g.schema AS table_schema, g.name AS table_name,
        p.privilege AS privilege_type, 'NO' AS is_grantable,
        CASE WHEN p.privilege = 'SELECT' THEN 'YES' ELSE 'NO' END AS with_hierarchy
    FROM (SELECT schema, name, unnest(coalesce(acl, make_array(concat(owner_name, '=arwd/', owner_name))))
            AS entry FROM relations WHERE kind <> 'i' AND oid >= 16384) AS g
        JOIN (VALUES ('r', 'SELECT'), ('a', 'INSERT'), ('w', 'UPDATE'), ('d', 'DELETE'))
            AS p(letter, privilege)
        ON strpos(split_part(split_part(g.entry, '=', 2), '/', 1), p.letter) > 0";

/// Views that have no rows here: names and types of their columns.
pub(super) const NO_ROWS: &[(&str, &str)] = &[
    (
        "routines",
        "specific_catalog text, specific_schema text, specific_name text, routine_catalog text, routine_schema text, routine_name text, routine_type text, data_type text, type_udt_schema text, type_udt_name text, routine_body text, routine_definition text, external_language text, is_deterministic text, security_type text",
    ),
    (
        "parameters",
        "specific_catalog text, specific_schema text, specific_name text, ordinal_position int, parameter_mode text, parameter_name text, data_type text, udt_schema text, udt_name text, parameter_default text",
    ),
    (
        "triggers",
        "trigger_catalog text, trigger_schema text, trigger_name text, event_manipulation text, event_object_catalog text, event_object_schema text, event_object_table text, action_order int, action_condition text, action_statement text, action_orientation text, action_timing text",
    ),
    (
        "domains",
        "domain_catalog text, domain_schema text, domain_name text, data_type text, udt_schema text, udt_name text, domain_default text",
    ),
    (
        "column_privileges",
        "grantor text, grantee text, table_catalog text, table_schema text, table_name text, column_name text, privilege_type text, is_grantable text",
    ),
    (
        "role_column_grants",
        "grantor text, grantee text, table_catalog text, table_schema text, table_name text, column_name text, privilege_type text, is_grantable text",
    ),
    (
        "role_routine_grants",
        "grantor text, grantee text, specific_catalog text, specific_schema text, specific_name text, routine_catalog text, routine_schema text, routine_name text, privilege_type text, is_grantable text",
    ),
    (
        "usage_privileges",
        "grantor text, grantee text, object_catalog text, object_schema text, object_name text, object_type text, privilege_type text, is_grantable text",
    ),
    (
        "element_types",
        "object_catalog text, object_schema text, object_name text, object_type text, collection_type_identifier text, data_type text, udt_schema text, udt_name text",
    ),
    (
        "user_defined_types",
        "user_defined_type_catalog text, user_defined_type_schema text, user_defined_type_name text",
    ),
    (
        "foreign_tables",
        "foreign_table_catalog text, foreign_table_schema text, foreign_table_name text, foreign_server_catalog text, foreign_server_name text",
    ),
    (
        "view_column_usage",
        "view_catalog text, view_schema text, view_name text, table_catalog text, table_schema text, table_name text, column_name text",
    ),
];
