//! The catalog tables that describe the user's relations, as SQL over the live lists.
//!
//! Columns and their order are PostgreSQL 16's. Numbers of objects are `integer` here, as in
//! datafusion-pg-catalog's tables, which these are joined with.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::Result as DfResult;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::{OWNER, Relations, live};

/// The views of each schema.
pub(super) struct Views {
    pub(super) pg_catalog: BTreeMap<String, Arc<dyn TableProvider>>,
    pub(super) information_schema: BTreeMap<String, Arc<dyn TableProvider>>,
}

/// Plans the views once; they read the lists when they run.
pub(super) async fn views(
    config: SessionConfig,
    database: &str,
    relations: &Arc<dyn Relations>,
) -> DfResult<Views> {
    let context = SessionContext::new_with_config(config);
    context.register_table("relations", Arc::new(live::relations(relations)?))?;
    context.register_table("columns", Arc::new(live::columns(relations)?))?;
    context.register_table("roles", Arc::new(live::roles(relations)?))?;
    context.register_table("members", Arc::new(live::members(relations)?))?;
    context.register_table("schema_acl", Arc::new(live::schema_acl(relations)?))?;
    let schemas: Vec<String> =
        live::SCHEMAS.iter().map(|(name, oid)| format!("('{name}', {oid})")).collect();
    let variables = [
        ("{database}", database.replace('\'', "''")),
        ("{owner}", OWNER.to_owned()),
        ("{schemas}", schemas.join(", ")),
        ("{none}", "arrow_cast(NULL, 'List(Utf8)')".to_owned()),
    ];
    let mut views = Views { pg_catalog: BTreeMap::new(), information_schema: BTreeMap::new() };
    for (schema, definitions) in
        [(&mut views.pg_catalog, PG_CATALOG), (&mut views.information_schema, INFORMATION_SCHEMA)]
    {
        for (name, query) in definitions {
            let mut query = (*query).to_owned();
            for (variable, value) in &variables {
                query = query.replace(variable, value);
            }
            let view = context.sql(&query).await?.into_view();
            schema.insert((*name).to_owned(), view);
        }
    }
    Ok(views)
}

/// True for a view of `pg_catalog` that is made here.
pub(super) fn is_ours(name: &str) -> bool {
    PG_CATALOG.iter().any(|(ours, _)| *ours == name)
}

const PG_CATALOG: &[(&str, &str)] = &[
    (
        "pg_class",
        "SELECT oid, name AS relname, namespace AS relnamespace, 0 :: int AS reltype,
            0 :: int AS reloftype, owner AS relowner,
            CASE kind WHEN 'v' THEN 0 :: int WHEN 'i' THEN 403 :: int ELSE 2 :: int END AS relam, oid AS relfilenode,
            0 :: int AS reltablespace, 0 :: int AS relpages, -1 :: real AS reltuples,
            0 :: int AS relallvisible, 0 :: int AS reltoastrelid, has_index AS relhasindex,
            false AS relisshared, 'p' AS relpersistence, kind AS relkind, columns AS relnatts,
            0 :: smallint AS relchecks, false AS relhasrules, false AS relhastriggers,
            false AS relhassubclass, false AS relrowsecurity, false AS relforcerowsecurity,
            true AS relispopulated, CASE WHEN kind = 'v' THEN 'n' ELSE 'd' END AS relreplident,
            false AS relispartition, 0 :: int AS relrewrite, 0 :: int AS relfrozenxid,
            0 :: int AS relminmxid, acl AS relacl, {none} AS reloptions,
            NULL :: text AS relpartbound
        FROM relations",
    ),
    (
        "pg_attribute",
        "SELECT relation AS attrelid, name AS attname, type_oid AS atttypid, width AS attlen,
            number AS attnum, -1 :: int AS attcacheoff, modifier AS atttypmod,
            CASE WHEN type_name = 'ARRAY' THEN 1 :: int ELSE 0 :: int END AS attndims,
            width > 0 AS attbyval, 'i' AS attalign,
            CASE WHEN width > 0 THEN 'p' ELSE 'x' END AS attstorage, '' AS attcompression,
            NOT nullable AS attnotnull, false AS atthasdef, false AS atthasmissing,
            '' AS attidentity, '' AS attgenerated, false AS attisdropped, true AS attislocal,
            0 :: int AS attinhcount,
            CASE WHEN type_name = 'text' THEN 100 :: int ELSE 0 :: int END AS attcollation,
            -1 :: int AS attstattarget, {none} AS attacl, {none} AS attoptions,
            {none} AS attfdwoptions, NULL :: text AS attmissingval
        FROM columns",
    ),
    (
        "pg_namespace",
        "SELECT s.oid :: int AS oid, s.name AS nspname, 10 :: int AS nspowner, a.acl AS nspacl
        FROM (VALUES {schemas}) AS s(name, oid) LEFT JOIN schema_acl AS a ON a.namespace = s.oid",
    ),
    (
        "pg_database",
        "SELECT 5 :: int AS oid, '{database}' AS datname, 10 :: int AS datdba, 6 :: int AS encoding,
            'c' AS datlocprovider, false AS datistemplate, true AS datallowconn,
            -1 :: int AS datconnlimit, 0 :: int AS datfrozenxid, 0 :: int AS datminmxid,
            1663 :: int AS dattablespace, 'C.UTF-8' AS datcollate, 'C.UTF-8' AS datctype,
            NULL :: text AS daticulocale, NULL :: text AS daticurules,
            NULL :: text AS datcollversion, {none} AS datacl",
    ),
    (
        "pg_db_role_setting",
        "SELECT 0 :: int AS setdatabase, 0 :: int AS setrole, {none} AS setconfig WHERE false",
    ),
    (
        "pg_roles",
        "SELECT name AS rolname, superuser AS rolsuper, inherits AS rolinherit,
            creates_roles OR superuser AS rolcreaterole, superuser AS rolcreatedb,
            login AS rolcanlogin, false AS rolreplication, connections AS rolconnlimit,
            '********' AS rolpassword, valid_until AS rolvaliduntil, superuser AS rolbypassrls,
            {none} AS rolconfig, oid
        FROM roles",
    ),
    (
        // What proves passwords is shown to nobody.
        "pg_authid",
        "SELECT oid, name AS rolname, superuser AS rolsuper, inherits AS rolinherit,
            creates_roles OR superuser AS rolcreaterole, superuser AS rolcreatedb,
            login AS rolcanlogin, false AS rolreplication, superuser AS rolbypassrls,
            connections AS rolconnlimit, NULL :: text AS rolpassword, valid_until AS rolvaliduntil
        FROM roles",
    ),
    (
        "pg_shadow",
        "SELECT name AS usename, oid AS usesysid, superuser AS usecreatedb,
            superuser AS usesuper, false AS userepl, superuser AS usebypassrls,
            NULL :: text AS passwd, valid_until AS valuntil, {none} AS useconfig
        FROM roles WHERE login",
    ),
    (
        "pg_user",
        "SELECT name AS usename, oid AS usesysid, superuser AS usecreatedb,
            superuser AS usesuper, false AS userepl, superuser AS usebypassrls,
            '********' AS passwd, valid_until AS valuntil, {none} AS useconfig
        FROM roles WHERE login",
    ),
    (
        "pg_group",
        "SELECT name AS groname, oid AS grosysid, arrow_cast(NULL, 'List(Int32)') AS grolist
        FROM roles WHERE NOT login",
    ),
    (
        "pg_auth_members",
        "SELECT role + member * 0 AS oid, role AS roleid, member, 10 :: int AS grantor,
            admin AS admin_option, true AS inherit_option, true AS set_option
        FROM members",
    ),
    (
        "pg_policy",
        "SELECT oid, name AS polname, oid AS polrelid, 'r' AS polcmd, true AS polpermissive,
            arrow_cast(NULL, 'List(Int32)') AS polroles, NULL :: text AS polqual,
            NULL :: text AS polwithcheck
        FROM relations WHERE false",
    ),
    (
        "pg_default_acl",
        "SELECT oid, oid AS defaclrole, 2200 :: int AS defaclnamespace, 'r' AS defaclobjtype,
            defaults AS defaclacl
        FROM roles WHERE defaults IS NOT NULL",
    ),
    (
        "pg_tables",
        "SELECT schema AS schemaname, name AS tablename, owner_name AS tableowner,
            NULL :: text AS tablespace, has_index AS hasindexes, false AS hasrules,
            false AS hastriggers, false AS rowsecurity
        FROM relations WHERE kind = 'r'",
    ),
    (
        "pg_views",
        "SELECT schema AS schemaname, name AS viewname, owner_name AS viewowner, definition
        FROM relations WHERE kind = 'v'",
    ),
    (
        "pg_matviews",
        "SELECT schema AS schemaname, name AS matviewname, owner_name AS matviewowner,
            NULL :: text AS tablespace, has_index AS hasindexes, true AS ispopulated, definition
        FROM relations WHERE kind = 'm'",
    ),
    (
        "pg_indexes",
        "SELECT i.schema AS schemaname, t.name AS tablename, i.name AS indexname,
            NULL :: text AS tablespace, i.definition AS indexdef
        FROM relations AS i JOIN relations AS t ON t.oid = i.index_on",
    ),
    (
        "pg_index",
        "SELECT oid AS indexrelid, index_on AS indrelid, index_width AS indnatts,
            index_width AS indnkeyatts, false AS indisunique, false AS indnullsnotdistinct,
            false AS indisprimary, false AS indisexclusion, true AS indimmediate,
            false AS indisclustered, true AS indisvalid, false AS indcheckxmin,
            true AS indisready, true AS indislive, false AS indisreplident,
            index_keys AS indkey, NULL :: text AS indcollation, NULL :: text AS indclass,
            NULL :: text AS indoption, NULL :: text AS indexprs, NULL :: text AS indpred
        FROM relations WHERE kind = 'i'",
    ),
    (
        "pg_stat_user_tables",
        "SELECT oid AS relid, schema AS schemaname, name AS relname, 0 :: bigint AS seq_scan,
            0 :: bigint AS seq_tup_read, 0 :: bigint AS idx_scan, 0 :: bigint AS idx_tup_fetch,
            0 :: bigint AS n_tup_ins, 0 :: bigint AS n_tup_upd, 0 :: bigint AS n_tup_del,
            0 :: bigint AS n_live_tup, 0 :: bigint AS n_dead_tup
        FROM relations WHERE kind <> 'v' AND kind <> 'i'",
    ),
];

const INFORMATION_SCHEMA: &[(&str, &str)] = &[
    (
        "schemata",
        "SELECT '{database}' AS catalog_name, s.name AS schema_name, '{owner}' AS schema_owner,
            NULL :: text AS default_character_set_catalog,
            NULL :: text AS default_character_set_schema,
            NULL :: text AS default_character_set_name, NULL :: text AS sql_path
        FROM (VALUES {schemas}) AS s(name, oid)",
    ),
    (
        "tables",
        "SELECT '{database}' AS table_catalog, schema AS table_schema, name AS table_name,
            CASE WHEN kind = 'v' THEN 'VIEW' ELSE 'BASE TABLE' END AS table_type,
            NULL :: text AS self_referencing_column_name, NULL :: text AS reference_generation,
            NULL :: text AS user_defined_type_catalog, NULL :: text AS user_defined_type_schema,
            NULL :: text AS user_defined_type_name, 'NO' AS is_insertable_into,
            'NO' AS is_typed, NULL :: text AS commit_action
        FROM relations",
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
            name AS column_name, number :: int AS ordinal_position, NULL :: text AS column_default,
            CASE WHEN nullable THEN 'YES' ELSE 'NO' END AS is_nullable, type_name AS data_type,
            NULL :: int AS character_maximum_length,
            CASE WHEN type_name = 'text' THEN 1073741824 :: int END AS character_octet_length,
            CASE type_name WHEN 'real' THEN 24 :: int WHEN 'double precision' THEN 53 :: int
                ELSE precision END AS numeric_precision,
            CASE WHEN type_name = 'numeric' THEN 10 :: int
                WHEN type_name IN ('smallint', 'integer', 'bigint', 'real', 'double precision')
                THEN 2 :: int END AS numeric_precision_radix,
            scale AS numeric_scale,
            CASE WHEN type_name = 'date' THEN 0 :: int
                WHEN type_name LIKE 'time%' OR type_name = 'interval' THEN 6 :: int
                END AS datetime_precision,
            NULL :: text AS interval_type, NULL :: int AS interval_precision,
            NULL :: text AS character_set_catalog, NULL :: text AS character_set_schema,
            NULL :: text AS character_set_name, NULL :: text AS collation_catalog,
            NULL :: text AS collation_schema, NULL :: text AS collation_name,
            NULL :: text AS domain_catalog, NULL :: text AS domain_schema,
            NULL :: text AS domain_name, '{database}' AS udt_catalog, 'pg_catalog' AS udt_schema,
            CASE type_oid WHEN 16 THEN 'bool' WHEN 21 THEN 'int2' WHEN 23 THEN 'int4'
                WHEN 20 THEN 'int8' WHEN 700 THEN 'float4' WHEN 701 THEN 'float8'
                WHEN 1083 THEN 'time' WHEN 1114 THEN 'timestamp' WHEN 1184 THEN 'timestamptz'
                WHEN 1000 THEN '_bool' WHEN 1005 THEN '_int2' WHEN 1007 THEN '_int4'
                WHEN 1016 THEN '_int8' WHEN 1021 THEN '_float4' WHEN 1022 THEN '_float8'
                WHEN 1231 THEN '_numeric' WHEN 1009 THEN '_text' WHEN 1001 THEN '_bytea'
                WHEN 1182 THEN '_date' WHEN 1183 THEN '_time' WHEN 1115 THEN '_timestamp'
                WHEN 1185 THEN '_timestamptz' WHEN 1187 THEN '_interval'
                ELSE type_name END AS udt_name,
            NULL :: text AS scope_catalog, NULL :: text AS scope_schema,
            NULL :: text AS scope_name, NULL :: int AS maximum_cardinality,
            number :: text AS dtd_identifier, 'NO' AS is_self_referencing, 'NO' AS is_identity,
            NULL :: text AS identity_generation, NULL :: text AS identity_start,
            NULL :: text AS identity_increment, NULL :: text AS identity_maximum,
            NULL :: text AS identity_minimum, 'NO' AS identity_cycle, 'NEVER' AS is_generated,
            NULL :: text AS generation_expression, 'NO' AS is_updatable
        FROM columns",
    ),
    (
        "table_constraints",
        "SELECT '{database}' AS constraint_catalog, schema AS constraint_schema,
            name AS constraint_name, '{database}' AS table_catalog, schema AS table_schema,
            name AS table_name, 'PRIMARY KEY' AS constraint_type, 'NO' AS is_deferrable,
            'NO' AS initially_deferred, 'YES' AS enforced
        FROM relations WHERE false",
    ),
    (
        "key_column_usage",
        "SELECT '{database}' AS constraint_catalog, schema AS constraint_schema,
            name AS constraint_name, '{database}' AS table_catalog, schema AS table_schema,
            table_name, name AS column_name, number :: int AS ordinal_position,
            NULL :: int AS position_in_unique_constraint
        FROM columns WHERE false",
    ),
    (
        "constraint_column_usage",
        "SELECT '{database}' AS table_catalog, schema AS table_schema, table_name,
            name AS column_name, '{database}' AS constraint_catalog,
            schema AS constraint_schema, name AS constraint_name
        FROM columns WHERE false",
    ),
    (
        "referential_constraints",
        "SELECT '{database}' AS constraint_catalog, schema AS constraint_schema,
            name AS constraint_name, '{database}' AS unique_constraint_catalog,
            schema AS unique_constraint_schema, name AS unique_constraint_name,
            'NONE' AS match_option, 'NO ACTION' AS update_rule, 'NO ACTION' AS delete_rule
        FROM relations WHERE false",
    ),
    (
        "routines",
        "SELECT '{database}' AS specific_catalog, schema AS specific_schema,
            name AS specific_name, '{database}' AS routine_catalog, schema AS routine_schema,
            name AS routine_name, 'FUNCTION' AS routine_type
        FROM relations WHERE false",
    ),
];
