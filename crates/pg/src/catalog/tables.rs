//! The tables of `pg_catalog` that describe what is in this database, as SQL over the live lists.
//!
//! Columns and their order are PostgreSQL 16's. Columns of numbers of objects ([`OIDS`]) get their type when
//! a view is planned.

/// Columns of numbers of objects or of transactions, besides `oid` itself.
pub(super) const OIDS: [&str; 64] = [
    "relnamespace",
    "reltype",
    "reloftype",
    "relowner",
    "relam",
    "relfilenode",
    "reltablespace",
    "reltoastrelid",
    "relrewrite",
    "relfrozenxid",
    "relminmxid",
    "attrelid",
    "atttypid",
    "attcollation",
    "nspowner",
    "datdba",
    "dattablespace",
    "datfrozenxid",
    "datminmxid",
    "datid",
    "setdatabase",
    "setrole",
    "member",
    "roleid",
    "grantor",
    "adrelid",
    "indexrelid",
    "indrelid",
    "conrelid",
    "connamespace",
    "contypid",
    "conindid",
    "conparentid",
    "confrelid",
    "ev_class",
    "classid",
    "objid",
    "refclassid",
    "refobjid",
    "objoid",
    "classoid",
    "relid",
    "usesysid",
    "grosysid",
    "leader_pid_oid",
    "backend_xid",
    "backend_xmin",
    "defaclrole",
    "defaclnamespace",
    "typnamespace",
    "typowner",
    "typrelid",
    "typelem",
    "typarray",
    "typbasetype",
    "typcollation",
    "grolist_oid",
    "umid",
    "srvid",
    "umuser",
    "seqrelid",
    "srsubid",
    "database",
    "relation",
];

/// Views of `pg_catalog` and their queries.
pub(super) const VIEWS: &[(&str, &str)] = &[
    (
        "pg_class",
        "SELECT oid, name AS relname, namespace AS relnamespace, 0 AS reltype,
            0 AS reloftype, owner AS relowner,
            CASE kind WHEN 'v' THEN 0 WHEN 'S' THEN 0 WHEN 'i' THEN 403 ELSE 2 END AS relam, oid AS relfilenode,
            0 AS reltablespace, 0 :: int AS relpages, tuples AS reltuples,
            0 :: int AS relallvisible, 0 AS reltoastrelid, has_index AS relhasindex,
            false AS relisshared, 'p' AS relpersistence, kind AS relkind, columns AS relnatts,
            checks AS relchecks, kind IN ('v', 'm') AS relhasrules, false AS relhastriggers,
            false AS relhassubclass, false AS relrowsecurity, false AS relforcerowsecurity,
            true AS relispopulated, CASE WHEN kind IN ('v', 'i', 'S') THEN 'n' ELSE 'd' END AS relreplident,
            false AS relispartition, 0 AS relrewrite, 0 AS relfrozenxid,
            0 AS relminmxid, acl AS relacl, {none} AS reloptions,
            NULL :: text AS relpartbound
        FROM relations",
    ),
    (
        "pg_attribute",
        "SELECT relation AS attrelid, name AS attname, type_oid AS atttypid, width AS attlen,
            number AS attnum, -1 :: int AS attcacheoff, modifier AS atttypmod,
            CASE WHEN type_name = 'ARRAY' THEN 1 ELSE 0 END :: smallint AS attndims,
            width > 0 AND width <= 8 AS attbyval, 'i' AS attalign,
            CASE WHEN width > 0 THEN 'p' WHEN type_name = 'numeric' THEN 'm' ELSE 'x' END AS attstorage,
            '' AS attcompression,
            NOT nullable AS attnotnull, default_text IS NOT NULL AS atthasdef,
            false AS atthasmissing, identity AS attidentity,
            CASE WHEN computed THEN 's' ELSE '' END AS attgenerated, false AS attisdropped,
            true AS attislocal, 0 :: smallint AS attinhcount,
            CASE WHEN type_oid IN (25, 1009, 1043) THEN 100 ELSE 0 END AS attcollation,
            -1 :: smallint AS attstattarget, {none} AS attacl, {none} AS attoptions,
            {none} AS attfdwoptions, NULL :: text AS attmissingval
        FROM columns",
    ),
    (
        "pg_attrdef",
        "SELECT 1300000000 + relation % 2000000 * 1000 + number AS oid, relation AS adrelid,
            number AS adnum, default_text AS adbin
        FROM columns WHERE default_text IS NOT NULL",
    ),
    (
        "pg_namespace",
        "SELECT oid, name AS nspname, 10 AS nspowner, acl AS nspacl FROM schemas",
    ),
    (
        "pg_database",
        "SELECT 5 AS oid, '{database}' AS datname, 10 AS datdba, 6 :: int AS encoding,
            'c' AS datlocprovider, false AS datistemplate, true AS datallowconn,
            -1 :: int AS datconnlimit, 0 AS datfrozenxid, 0 AS datminmxid,
            1663 AS dattablespace, 'C.UTF-8' AS datcollate, 'C.UTF-8' AS datctype,
            NULL :: text AS daticulocale, NULL :: text AS daticurules,
            NULL :: text AS datcollversion, {none} AS datacl",
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
        "SELECT r.name AS groname, r.oid AS grosysid,
            (SELECT array_agg(m.member) FROM members AS m WHERE m.role = r.oid) AS grolist
        FROM roles AS r WHERE NOT r.login",
    ),
    (
        "pg_auth_members",
        "SELECT oid, role AS roleid, member, 10 AS grantor, admin AS admin_option,
            true AS inherit_option, true AS set_option
        FROM members",
    ),
    (
        "pg_default_acl",
        "SELECT oid, oid AS defaclrole, 2200 AS defaclnamespace, 'r' AS defaclobjtype,
            defaults AS defaclacl
        FROM roles WHERE defaults IS NOT NULL",
    ),
    (
        "pg_description",
        "SELECT objoid, classoid, objsubid, description FROM their_description
            WHERE classoid IN (1255, 1247, 2617, 2601, 2615, 2607, 2612)
        UNION ALL
        SELECT object, class, number, comment FROM comments WHERE class NOT IN (1260, 1262)",
    ),
    (
        "pg_shdescription",
        "SELECT object AS objoid, class AS classoid, comment AS description FROM comments
        WHERE class IN (1260, 1262)",
    ),
    (
        "pg_constraint",
        "SELECT oid, name AS conname, namespace AS connamespace, letter AS contype,
            false AS condeferrable, false AS condeferred, true AS convalidated,
            relation AS conrelid, 0 AS contypid, index AS conindid, 0 AS conparentid,
            to_relation AS confrelid, updated AS confupdtype, deleted AS confdeltype,
            CASE WHEN letter = 'f' THEN 's' ELSE ' ' END AS confmatchtype,
            true AS conislocal, 0 :: smallint AS coninhcount, letter <> 'c' AS connoinherit,
            columns AS conkey, to_columns AS confkey, {oids} AS conpfeqop, {oids} AS conppeqop,
            {oids} AS conffeqop, {smalls} AS confdelsetcols, {oids} AS conexclop,
            '(' || condition || ')' AS conbin
        FROM constraints",
    ),
    (
        "pg_index",
        "SELECT oid AS indexrelid, index_on AS indrelid, index_width AS indnatts,
            index_width AS indnkeyatts, is_unique AS indisunique, false AS indnullsnotdistinct,
            is_key AS indisprimary, false AS indisexclusion, true AS indimmediate,
            false AS indisclustered, true AS indisvalid, false AS indcheckxmin,
            true AS indisready, true AS indislive, false AS indisreplident,
            index_keys AS indkey, {oids} AS indcollation, {oids} AS indclass,
            {zeros} AS indoption, NULL :: text AS indexprs, NULL :: text AS indpred
        FROM relations WHERE kind = 'i'",
    ),
    (
        "pg_rewrite",
        "SELECT oid + 1200000000 AS oid, '_RETURN' AS rulename, oid AS ev_class, '1' AS ev_type,
            'O' AS ev_enabled, true AS is_instead, NULL :: text AS ev_qual, definition AS ev_action
        FROM relations WHERE kind IN ('v', 'm')",
    ),
    (
        "pg_depend",
        "SELECT 2618 AS classid, view + 1200000000 AS objid, 0 :: int AS objsubid,
            1259 AS refclassid, below AS refobjid, 0 :: int AS refobjsubid, 'n' AS deptype
        FROM dependencies
        UNION ALL
        SELECT 2618, oid + 1200000000, 0, 1259, oid, 0, 'i' FROM relations WHERE kind IN ('v', 'm')
        UNION ALL
        SELECT 1259, oid, 0, 1259, index_on, 0, 'a' FROM relations WHERE kind = 'i'
        UNION ALL
        SELECT 2606, oid, 0, 1259, relation, 0, 'a' FROM constraints
        UNION ALL
        SELECT 2606, oid, 0, 1259, to_relation, 0, 'n' FROM constraints WHERE letter = 'f'
        UNION ALL
        SELECT 1259, oid, 0, 1259, relation, number :: int,
            CASE WHEN is_identity THEN 'i' ELSE 'a' END FROM sequences",
    ),
    (
        "pg_sequences",
        "SELECT 'public' AS schemaname, s.name AS sequencename, r.name AS sequenceowner,
            s.type_name AS data_type, s.start AS start_value, s.least AS min_value,
            s.greatest AS max_value, s.increment AS increment_by, s.cycles AS cycle,
            1 :: bigint AS cache_size, s.last AS last_value
        FROM sequences AS s JOIN roles AS r ON r.oid = s.owner",
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
            NULL :: text AS tablespace, has_index AS hasindexes, true AS ispopulated,
            definition || ';' AS definition
        FROM relations WHERE kind = 'm'",
    ),
    (
        "pg_indexes",
        "SELECT i.schema AS schemaname, t.name AS tablename, i.name AS indexname,
            NULL :: text AS tablespace, i.definition AS indexdef
        FROM relations AS i JOIN relations AS t ON t.oid = i.index_on",
    ),
    (
        "pg_stat_all_tables",
        "SELECT oid AS relid, schema AS schemaname, name AS relname, 0 :: bigint AS seq_scan,
            {never} AS last_seq_scan, 0 :: bigint AS seq_tup_read, 0 :: bigint AS idx_scan,
            {never} AS last_idx_scan, 0 :: bigint AS idx_tup_fetch, 0 :: bigint AS n_tup_ins,
            0 :: bigint AS n_tup_upd, 0 :: bigint AS n_tup_del, 0 :: bigint AS n_tup_hot_upd,
            0 :: bigint AS n_tup_newpage_upd, coalesce(live_rows, 0) AS n_live_tup,
            0 :: bigint AS n_dead_tup, 0 :: bigint AS n_mod_since_analyze,
            0 :: bigint AS n_ins_since_vacuum, {never} AS last_vacuum, {never} AS last_autovacuum,
            {never} AS last_analyze, {never} AS last_autoanalyze, 0 :: bigint AS vacuum_count,
            0 :: bigint AS autovacuum_count, 0 :: bigint AS analyze_count,
            0 :: bigint AS autoanalyze_count
        FROM relations WHERE kind IN ('r', 'm')",
    ),
    (
        "pg_stat_all_indexes",
        "SELECT t.oid AS relid, i.oid AS indexrelid, i.schema AS schemaname, t.name AS relname,
            i.name AS indexrelname, 0 :: bigint AS idx_scan, {never} AS last_idx_scan,
            0 :: bigint AS idx_tup_read, 0 :: bigint AS idx_tup_fetch
        FROM relations AS i JOIN relations AS t ON t.oid = i.index_on",
    ),
    (
        "pg_stat_database",
        "SELECT 5 AS datid, '{database}' AS datname,
            (SELECT count(*) :: int FROM activity) AS numbackends, 0 :: bigint AS xact_commit,
            0 :: bigint AS xact_rollback, 0 :: bigint AS blks_read, 0 :: bigint AS blks_hit,
            0 :: bigint AS tup_returned, 0 :: bigint AS tup_fetched, 0 :: bigint AS tup_inserted,
            0 :: bigint AS tup_updated, 0 :: bigint AS tup_deleted, 0 :: bigint AS conflicts,
            0 :: bigint AS temp_files, 0 :: bigint AS temp_bytes, 0 :: bigint AS deadlocks,
            {never} AS stats_reset",
    ),
    (
        // Who changes a table keeps others from changing it, and from nothing else.
        "pg_locks",
        "SELECT 'relation' AS locktype, 5 AS database, relation, NULL :: int AS page,
            NULL :: smallint AS tuple, NULL :: text AS virtualxid, {number} AS transactionid,
            {number} AS classid, {number} AS objid, NULL :: smallint AS objsubid,
            pid :: text || '/1' AS virtualtransaction, pid, 'ExclusiveLock' AS mode, granted,
            false AS fastpath, waits_since AS waitstart
        FROM locks",
    ),
    (
        "pg_stat_ssl",
        "SELECT pid, false AS ssl, NULL :: text AS version, NULL :: text AS cipher,
            NULL :: int AS bits, NULL :: text AS client_dn, NULL :: numeric AS client_serial,
            NULL :: text AS issuer_dn
        FROM activity",
    ),
    (
        "pg_stat_gssapi",
        "SELECT pid, false AS gss_authenticated, NULL :: text AS principal, false AS encrypted,
            false AS credentials_delegated
        FROM activity",
    ),
];

/// Views that show others under a second name.
pub(super) const ALIASES: [(&str, &str); 6] = [
    ("pg_stat_user_tables", "pg_stat_all_tables"),
    ("pg_stat_user_indexes", "pg_stat_all_indexes"),
    ("pg_stat_xact_user_tables", "pg_stat_all_tables"),
    ("pg_stat_xact_all_tables", "pg_stat_all_tables"),
    ("pg_statio_user_tables", "pg_stat_all_tables"),
    ("pg_statio_all_tables", "pg_stat_all_tables"),
];

/// Tables that the library lacks and that have no rows here: names and types of their columns.
pub(super) const NO_ROWS: &[(&str, &str)] = &[
    (
        "pg_prepared_xacts",
        "transaction oid, gid text, prepared timestamptz, owner text, database text",
    ),
    (
        "pg_available_extensions",
        "name text, default_version text, installed_version text, comment text",
    ),
    (
        "pg_available_extension_versions",
        "name text, version text, installed bool, superuser bool, trusted bool, relocatable bool, schema text, requires texts, comment text",
    ),
    ("pg_rules", "schemaname text, tablename text, rulename text, definition text"),
    (
        "pg_policies",
        "schemaname text, tablename text, policyname text, permissive text, roles texts, cmd text, qual text, with_check text",
    ),
    (
        "pg_stats",
        "schemaname text, tablename text, attname text, inherited bool, null_frac float, avg_width int, n_distinct float, most_common_vals text, most_common_freqs text, histogram_bounds text, correlation float",
    ),
    (
        "pg_user_mappings",
        "umid oid, srvid oid, srvname text, umuser oid, usename text, umoptions texts",
    ),
    (
        "pg_publication_tables",
        "pubname text, schemaname text, tablename text, attnames texts, rowfilter text",
    ),
    (
        "pg_replication_slots",
        "slot_name text, plugin text, slot_type text, datoid oid, database text, temporary bool, active bool, active_pid int, xmin oid, catalog_xmin oid, restart_lsn text, confirmed_flush_lsn text, wal_status text, safe_wal_size bigint, two_phase bool, conflicting bool",
    ),
    (
        "pg_stat_replication",
        "pid int, usesysid oid, usename text, application_name text, client_addr text, client_hostname text, client_port int, backend_start timestamptz, backend_xmin oid, state text, sent_lsn text, write_lsn text, flush_lsn text, replay_lsn text, sync_priority int, sync_state text, reply_time timestamptz",
    ),
    ("pg_stat_progress_vacuum", "pid int, datid oid, datname text, relid oid, phase text"),
    (
        "pg_seclabels",
        "objoid oid, classoid oid, objsubid int, objtype text, objnamespace oid, objname text, provider text, label text",
    ),
    (
        "pg_statio_user_indexes",
        "relid oid, indexrelid oid, schemaname text, relname text, indexrelname text, idx_blks_read bigint, idx_blks_hit bigint",
    ),
    (
        "pg_stat_user_functions",
        "funcid oid, schemaname text, funcname text, calls bigint, total_time float, self_time float",
    ),
    ("pg_timezone_abbrevs", "abbrev text, utc_offset interval, is_dst bool"),
    (
        "pg_file_settings",
        "sourcefile text, sourceline int, seqno int, name text, setting text, applied bool, error text",
    ),
    (
        "pg_hba_file_rules",
        "rule_number int, file_name text, line_number int, type text, database texts, user_name texts, address text, netmask text, auth_method text, options texts, error text",
    ),
    ("pg_db_role_setting", "setdatabase oid, setrole oid, setconfig texts"),
    ("pg_parameter_acl", "oid oid, parname text, paracl texts"),
    ("pg_shseclabel", "objoid oid, classoid oid, provider text, label text"),
];
