//! Calls of every scalar function, with random columns as arguments.
//!
//! A template's holes are `{n}` for a number, `{i}` an integer, `{k}` one from 0 to 3, `{d}` a double, `{m}`
//! a numeric, `{t}` a text, `{f}` a truth value, `{ts}` a time, `{a}` an array of integers, `{j}` a
//! jsonb, `{g}` a uuid. No template fails, whatever its columns hold.

use std::collections::BTreeMap;

use datafusion::execution::SessionState;
use millrace_types::SqlType;
use rand::Rng;
#[cfg(test)]
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::query::{Input, Writer, is_integer};

/// What PostgreSQL has too.
const SHARED: [&str; 283] = [
    "abs({n})",
    "ceil({d})",
    "floor({d})",
    "round({d})",
    "round({m}, 1)",
    "trunc({d})",
    "sign({d})",
    "sqrt(abs({d}))",
    "cbrt({d})",
    "exp(sin({d}))",
    "ln(abs({d}) + 1)",
    "log(abs({d}) + 1)",
    "log10(abs({d}) + 1)",
    "power({d}, 2)",
    "pi() + {d}",
    "degrees({d})",
    "radians({d})",
    "sin({d})",
    "cos({d})",
    "tan({d} / 1000)",
    "cot({k} + 1.5)",
    "asin(sin({d}))",
    "acos(sin({d}))",
    "atan({d})",
    "atan2({d}, 1.5)",
    "sinh(sin({d}))",
    "cosh(sin({d}))",
    "tanh({d})",
    "asinh({d})",
    "acosh(abs({d}) + 1)",
    "atanh(sin({d}) / 2)",
    "gcd({i}, 12)",
    "lcm({i}, 6)",
    "factorial({k})",
    "greatest({n}, 3)",
    "least({n}, 3)",
    "nullif({i}, 2)",
    "coalesce({i}, 0)",
    "upper({t})",
    "lower({t})",
    "initcap({t})",
    "length({t})",
    "octet_length({t})",
    "encode({t}::bytea || '\\x00ff', 'hex')",
    "length(substring({t}::bytea || {t}::bytea FROM 3 FOR 8))",
    "position('-' IN {t}::bytea)",
    "substring({t} FROM 's(.)n')",
    "{t} || concat({f}, {i} > 1)",
    "bit_length({t})",
    "reverse({t})",
    "left({t}, 3)",
    "right({t}, 2)",
    "lpad({t}, 9, '*')",
    "rpad({t}, 9, '*')",
    "ltrim({t}, 's')",
    "rtrim({t}, '12')",
    "btrim({t}, 's2')",
    "replace({t}, 's', 'zz')",
    "translate({t}, 'se', 'x')",
    "split_part({t}, '-', 1)",
    "strpos({t}, 'n')",
    "substr({t}, 2, 3)",
    "repeat({t}, {k}::int)",
    "concat({t}, {i}, {t})",
    "concat_ws('-', {t}, {i}, {t})",
    "ascii({t})",
    "chr(65 + {k}::int)",
    "md5({t})",
    "starts_with({t}, 'sen')",
    "to_hex({k}::int)",
    "overlay({t} PLACING 'x' FROM 2 FOR 1)",
    "regexp_replace({t}, '[0-9]+', 'n')",
    "regexp_like({t}, 's.n')",
    "regexp_count({t}, '[se]')",
    "regexp_instr({t}, 'o')",
    "regexp_match({t}, '(s)(e)')",
    "string_to_array({t}, '-')",
    "date_trunc('minute', {ts})",
    "date_part('second', {ts})",
    "extract(hour FROM {ts})",
    "date_bin(INTERVAL '7 seconds', {ts}, TIMESTAMPTZ '2024-01-01 00:00:00+00')",
    "to_char({ts}, 'YYYY-MM-DD HH24:MI:SS')",
    "to_timestamp({k} * 1.5)",
    "to_date('2024-02-28', 'YYYY-MM-DD') + {k}::int",
    "make_date(2024, 1 + {k}::int, 3)",
    "timezone('Europe/London', {ts})",
    "timezone('UTC', {ts})::date",
    "{ts} - TIMESTAMPTZ '2024-01-01 00:00:00+00'",
    "INTERVAL '2 seconds' * {k}",
    "INTERVAL '9 seconds' / ({k} + 1)",
    "{ts}::date - DATE '2024-01-01'",
    "{ts}::date - {k}::int",
    "{m} * {m}",
    "{m} / ({k} + 1)",
    "{i}::bigint + 1",
    "{i} - 2",
    "{i} * 3",
    "{i} / 2",
    "{i} % 3",
    "-{n}",
    "{m}::text",
    "{d}::text",
    "{ts}::text",
    "{i}::text",
    "{f}::int",
    "{d}::int",
    "{i}::double precision",
    "{i}::numeric",
    "{m}::int",
    "{k}::text::int",
    "{f}::text",
    "{i} & 6",
    "{i} | 1",
    "~({k}::int)",
    "{k}::int << 2",
    "{i} IS DISTINCT FROM 2",
    "{t} IS NOT DISTINCT FROM NULL",
    "{f} IS TRUE",
    "{f} IS NOT FALSE",
    "{f} IS UNKNOWN",
    "{i} BETWEEN 1 AND 3",
    "{i} NOT IN (1, 2)",
    "{t} LIKE 's%2'",
    "{t} NOT LIKE '_ensor%'",
    "{t} ILIKE 'SENSOR-_'",
    "{t} SIMILAR TO '(s|x)%[0-9]'",
    "{t} ~ 'r-[12]$'",
    "{t} !~* 'SENSOR-1'",
    "CASE {i} WHEN 1 THEN 'one' WHEN 2 THEN 'two' ELSE {t} END",
    "CASE WHEN {f} THEN {i} WHEN {i} > 1 THEN -1 END",
    "{t} || '-' || {i}",
    "{ts} AT TIME ZONE 'Asia/Kolkata'",
    "{ts} + INTERVAL '1 month 2 days'",
    "(ARRAY[{i}, 2])[1]",
    "ARRAY[{i}, 7]",
    "ARRAY[{t}, 'x']",
    "ROW({i}, {t})",
    "ROW({k}, ROW({t}, {a}))::text",
    "({a})[2]",
    "({a})[1:2]",
    "{a}::text",
    "array_append({a}, 5)",
    "array_prepend(5, {a})",
    "array_cat({a}, ARRAY[4])",
    "array_dims({a})",
    "array_length({a}, 1)",
    "array_ndims({a})",
    "array_position({a}, 2)",
    "array_positions({a}, 2)",
    "array_remove({a}, 1)",
    "array_replace({a}, 1, 9)",
    "array_to_string({a}, ',', '*')",
    "cardinality({a})",
    "{a} && ARRAY[1, 2]",
    "{a} @> ARRAY[1]",
    "{a} < ARRAY[({i})::int, ({k})::int]",
    "ARRAY[{i}, {k}] >= ARRAY[{k}, {i}]",
    "ARRAY[{d}, 0] = ARRAY[{d}, '-0'::double precision]",
    "{i} = ANY ({a})",
    "{i} <> ALL (ARRAY[1, 3])",
    "{k} = ANY ('{1,2}')",
    "{j} -> 'k'",
    "{j} ->> 'k'",
    "{j} -> 0",
    "{j} #> '{k,0}'",
    "{j} #>> ARRAY['k', '1']",
    "{j} @> '{\"k\": 1}'",
    "'[1]' <@ {j}",
    "{j} ? 'k'",
    "{j} ?| ARRAY['k', 'x']",
    "{j} ?& ARRAY['k', 'l']",
    "jsonb_build_array({j}, 1) || {j}",
    "jsonb_build_object('k', {i}) - 'k'",
    "jsonb_build_object('k', {j}) #- '{k,0}'",
    "jsonb_typeof({j})",
    "jsonb_array_length(jsonb_build_array({i}, {t}))",
    "jsonb_pretty({j})",
    "jsonb_strip_nulls({j})",
    "{j} @? '$.k ? (@ > 1)'",
    "{j} @@ '$.k[*] >= 2'",
    "jsonb_path_exists({j}, '$.** ? (@ == $x)', jsonb_build_object('x', {j} -> 'k'))",
    "jsonb_path_match({j}, 'exists($.k) && $.k.type() == \"number\"')",
    "jsonb_path_query_array({j}, '$.** ? (@.type() == \"number\").floor()')",
    "jsonb_path_query_first({j}, '$.*')",
    "jsonb_set(jsonb_build_object('k', {j}), '{\"k\"}', '7')",
    "jsonb_insert(jsonb_build_array({j}), '{0}', '7')",
    "jsonb_extract_path({j}, 'k')",
    "jsonb_extract_path_text({j}, 'k')",
    "to_jsonb({t})",
    "to_jsonb({a})",
    "jsonb_build_object('a', {i}, 'b', {f}, 'c', {t})",
    "jsonb_build_array({i}, {j}, {a}, {ts})",
    "{j}::text",
    "{g}::text",
    "{g} = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
    "pg_typeof({j})::text",
    "age({ts}, TIMESTAMPTZ '2024-01-31 12:30:00+00')",
    "age({ts}::date, DATE '2023-12-31')",
    "date_trunc('hour', INTERVAL '7 minutes' * {k})",
    "div({m}, 3)",
    "div({i}, 2)",
    "format('%s|%2$L|%L|%5s|%-6s|', {t}, {i}, {f}, {k}, {t})",
    "justify_days(INTERVAL '17 days' * {k})",
    "justify_hours(INTERVAL '17 hours' * {k})",
    "justify_interval(INTERVAL '17 days -5 hours' * {k})",
    "make_interval(days => {k}::int, secs => {k} * 1.5)",
    "quote_ident({t})",
    "quote_literal({t})",
    "quote_nullable({t})",
    "to_number({k}::text || '.5', '9D9')",
    "width_bucket({d}, -10, 10, 7)",
    "width_bucket({m}, 0, 5.5, 4)",
    "({ts}, INTERVAL '2 seconds') OVERLAPS ({ts}, {ts})",
    "gcd({m}, 1.5)",
    "lcm({k}, 6)",
    "({i}, {k}) < (2, {i})",
    "({i}, {k}) IN ((1, 1), (2, NULL))",
    "ROW({i}, {t}) IS NOT NULL",
    "({a})[{k} - 1:{k}]",
    "width_bucket({i}, ARRAY[-1, 2, 3])",
    "make_time({k}::int, 7, {k} + 0.5)",
    "make_timestamp(2024, 1 + {k}::int, 3, 4, 5, {k} + 0.25)",
    "make_timestamptz(2024, 3, 28 + {k}::int, 2, 30, 0, 'Europe/Berlin')",
    "isfinite({ts})",
    "date({ts})",
    "date_trunc('week', {ts}, 'Asia/Kolkata')",
    "date_trunc('century', {ts})",
    "extract(julian FROM {ts}::date)",
    "timezone(INTERVAL '90 minutes', {ts})",
    "num_nulls({i}, {t}, NULL)",
    "num_nonnulls({i}, {t}, NULL)",
    "sind({k} * 30)",
    "cosd({k} * 30)",
    "tand({k} * 15)",
    "cotd(({k} + 1) * 15)",
    "asind({k} / 4.0)",
    "acosd({k} / 4.0)",
    "atand({d})",
    "atan2d({d}, 2)",
    "to_char({m}, 'FM99,990.99PR')",
    "to_char({k}, 'S099th') || to_char({k}, 'RN')",
    "to_char({d} / 7, '9.999EEEE')",
    "to_char({ts}, 'FMDay, DDth Mon Y,YYY IYYY-IW-ID J Q RM SSSS US AM')",
    "to_char(INTERVAL '17 hours -5 minutes' * {k}, 'HH12:MI:SS.MS am DDD')",
    "to_timestamp('2024 ' || ({k} + 1)::text || ' 3', 'IYYY IW ID')",
    "regexp_replace({t}, '(s|se)(n*?)', '[\\2\\&]', 1, 1, 'i')",
    "regexp_substr({t}, 'o|or|[0-9]$', 2)",
    "regexp_split_to_array({t}, '-|s+')",
    "{t} ~ '^(s).*(?=r)'",
    "{t} SIMILAR TO ('s%' || {i})",
    "get_byte({t}::bytea || '\\x0102', {k}::int % 2)",
    "set_byte({t}::bytea || '\\x01', 0, {k}::int * 100)",
    "get_bit({t}::bytea || '\\x01', {k})",
    "set_bit({t}::bytea || '\\x01', {k}, 1)",
    "bit_count({t}::bytea)",
    "to_hex(-{k}::int)",
    "convert_from(convert_to({t}, 'LATIN1'), 'LATIN1')",
    "convert(convert_to({t}, 'UTF8'), 'UTF8', 'WIN1252')",
    "length({t}::bytea, 'UTF8')",
    "btrim({t}::bytea, '\\x7332'::bytea)",
    "overlay({t}::bytea PLACING '\\x00'::bytea FROM 2 FOR {k}::int)",
    "scale({k}::numeric(5, 2))",
    "min_scale({m})",
    "trim_scale({m})",
    "width_bucket({ts}, ARRAY[TIMESTAMPTZ '2024-01-01 00:00:05+00', TIMESTAMPTZ '2024-01-01 00:01:00+00'])",
    "{t} LIKE {t} || '%'",
    "{t} ILIKE '%' || upper(left({t}, 2)) || '_%'",
    "{t} LIKE ANY (ARRAY['x%', '%-1', NULL])",
    "{t} !~ ALL (ARRAY['2$', '^x'])",
    "ARRAY[{i}, NULL]::bigint[] @> ARRAY[{k}, NULL]::bigint[]",
    "trim_array(ARRAY[{k}, 2, 3], {k}::int)",
    "array_fill({i}, ARRAY[2, 1])",
    "jsonb_object(ARRAY['k', {t}])",
    "jsonb_object(ARRAY['k', 'l'], ARRAY[{t}, NULL])",
    "{ts}::timestamptz(0)",
    "({ts} AT TIME ZONE 'UTC')::timestamp(1)",
    "(INTERVAL '100 minutes' * {k})::interval hour",
    "{t} ^@ 'sens'",
    "unistr({t} || '\\0061')",
    "normalize({t} || 'ö', NFD)",
    "{t} || 'ö' IS NFD NORMALIZED",
    "is_normalized({t} || 'ö', 'NFKC')",
    "jsonb_set_lax(jsonb_build_object('k', {j}), ARRAY['k'], CASE WHEN {f} THEN '7'::jsonb END)",
];

/// What it does not have, or has with another result.
const OWN: [&str; 73] = [
    "make_array({i}, 1)",
    "array_add(ARRAY[1.5, {d}], ARRAY[1.0, 2.0])",
    "array_any_value({a})",
    "array_avg({a})",
    "array_compact({a})",
    "array_concat({a}, {a})",
    "array_distance(ARRAY[{d}], ARRAY[1.0])",
    "array_distinct({a})",
    "array_element({a}, 1)",
    "array_except({a}, ARRAY[1])",
    "array_has({a}, 1)",
    "array_has_all({a}, ARRAY[1])",
    "array_has_any({a}, ARRAY[1])",
    "array_intersect({a}, ARRAY[1, 2])",
    "array_max({a})",
    "array_min({a})",
    "array_normalize(ARRAY[{d}, 1.0])",
    "array_pop_back({a})",
    "array_pop_front({a})",
    "array_product({a})",
    "array_remove_all({a}, 1)",
    "array_remove_n({a}, 1, 1)",
    "array_repeat({i}, 2)",
    "array_replace_all({a}, 1, 9)",
    "array_replace_n({a}, 1, 9, 1)",
    "array_resize({a}, 3, 0)",
    "array_reverse({a})",
    "array_scale(ARRAY[{d}], 2.0)",
    "array_slice({a}, 1, 2)",
    "array_sort({a})",
    "array_subtract(ARRAY[{d}], ARRAY[1.0])",
    "array_sum({a})",
    "array_union({a}, ARRAY[1])",
    "arrays_zip(ARRAY[{i}, 1], ARRAY[2, {k}])",
    "flatten(make_array({a}, {a}))",
    "empty({a})",
    "range(0, {k})",
    "cosine_distance(ARRAY[{d}, 1.0], ARRAY[1.0, 1.0])",
    "inner_product(ARRAY[{d}], ARRAY[2.0])",
    "contains({t}, 's')",
    "ends_with({t}, '2')",
    "find_in_set({t}, 'sensor-1,sensor-2')",
    "levenshtein({t}, 'sensor')",
    "substr_index({t}, '-', 1)",
    "encode(digest({t}, 'sha256'), 'hex')",
    "encode(decode(encode({t}::bytea, 'hex'), 'hex'), 'base64')",
    "encode(sha224({t}), 'hex')",
    "encode(sha256({t}), 'hex')",
    "encode(sha384({t}), 'hex')",
    "encode(sha512({t}), 'hex')",
    "isnan({d})",
    "iszero({d})",
    "nanvl({d}, 0.5::float8)",
    "log2(abs({d}) + 1)",
    "nvl({i}, 4)",
    "nvl2({i}, 1, 2)",
    "signum({d})",
    "from_unixtime({k})::timestamp",
    "to_local_time({ts})",
    "to_time('12:13:1' || {k})",
    "to_timestamp_micros({k})::timestamptz",
    "to_timestamp_millis({k})::timestamptz",
    "to_timestamp_nanos({k} * 1000)::timestamptz",
    "to_timestamp_seconds({k})::timestamptz",
    "to_unixtime({ts})",
    "named_struct('x', {i}, 'y', {t})",
    "(named_struct('x', {i})).x",
    "map_extract(map(ARRAY['k'], ARRAY[{i}]), 'k')",
    "map_keys(map(ARRAY[coalesce({k}, 0)], ARRAY[{i}]))",
    "map_values(map(ARRAY[coalesce({k}, 0)], ARRAY[{i}]))",
    "arrow_typeof({i})",
    "arrow_cast({i}, 'Int64')",
    "arrow_try_cast({i}, 'Int64')",
];

/// What operators, casts and fields are made into; nobody writes them.
pub(crate) const OF_OPERATORS: [&str; 45] = [
    "arraycontains",
    "arrayoverlap",
    "byteacat",
    "checked_add",
    "checked_divide",
    "checked_multiply",
    "checked_subtract",
    "date_mi",
    "date_mii",
    "date_pli",
    "get_field",
    "interval_div",
    "interval_mul",
    "jsonb_concat",
    "jsonb_contained",
    "jsonb_contains",
    "jsonb_delete",
    "jsonb_delete_path",
    "jsonb_exists",
    "jsonb_exists_all",
    "jsonb_exists_any",
    "jsonb_object_field",
    "jsonb_object_field_text",
    "jsonb_path_exists_opr",
    "jsonb_path_match_opr",
    "millrace_add_at",
    "millrace_iso_at",
    "millrace_matches",
    "millrace_offset_at",
    "millrace_precision",
    "millrace_read_at",
    "millrace_text_at",
    "millrace_to_char_at",
    "millrace_to_timestamp_at",
    "numeric_div",
    "numeric_mul",
    "overlaps",
    "similar_to_escape",
    "texticlike",
    "texticregexeq",
    "texticregexne",
    "textlike",
    "textregexeq",
    "textregexne",
    "timestamp_mi",
];

/// They ask for the types and files of DataFusion itself.
pub(crate) const OF_LIBRARY: [&str; 10] = [
    "arrow_field",
    "arrow_metadata",
    "cast_to_type",
    "try_cast_to_type",
    "file_row_index",
    "input_file_name",
    "with_metadata",
    "union_extract",
    "union_tag",
    "map_entries",
];

/// Others without a template: what they give differs from call to call, or they are parts of something else.
const WITHOUT: [&str; 39] = [
    // Refused in a view: another value at each call.
    "current_date",
    "current_time",
    "localtimestamp",
    "gen_random_uuid",
    "random",
    "uuid",
    "version",
    // Behind constructors and patterns, which have templates.
    "struct",
    "millrace_array_like",
    // In statements that change tables.
    "millrace_assigned",
    "millrace_fitting",
    "millrace_cast",
    "millrace_span",
    // Behind windows, series and subqueries, which have forms of their own.
    "millrace_calendar_end",
    "millrace_calendar_start",
    "millrace_cumulate",
    "millrace_hop",
    "millrace_tumble",
    "millrace_series",
    "millrace_only_value",
    "millrace_with_ties",
    "millrace_one_value",
    "millrace_order_key",
    "millrace_exact_order_key",
    "millrace_padded",
    "millrace_places",
    // Lists of the parts of JSON and of matches, which stand in FROM.
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_object_keys",
    "jsonb_path_query",
    // A time that moves, which a view refuses.
    "millrace_moving",
    "regexp_matches",
    "regexp_split_to_table",
    "millrace_member_as",
    "millrace_member_texts",
    "millrace_member_values",
    "millrace_record",
    "millrace_recordset",
    "millrace_object_of",
];

/// The functions of a session that must have been called.
pub(super) fn wanted(state: &SessionState) -> Vec<(String, Vec<String>)> {
    let all = state.scalar_functions().values();
    let names = all.map(|function| {
        let others = function.aliases().iter().cloned();
        (function.name().to_owned(), others.collect::<Vec<_>>())
    });
    let names: BTreeMap<String, Vec<String>> = names.collect();
    let without = |name: &str| [&OF_OPERATORS[..], &OF_LIBRARY, &WITHOUT].concat().contains(&name);
    names.into_iter().filter(|(name, _)| !without(name)).collect()
}

/// A query for each function that PostgreSQL has too.
pub(super) fn shared(input: &Input, random: &mut StdRng) -> Vec<String> {
    let mut writer = Writer { input, random };
    let call = |template: &&str| writer.filled(template);
    let calls: Vec<String> = SHARED.iter().map(call).collect();
    calls.iter().map(|call| format!("SELECT u, {call} AS c FROM {}", input.name)).collect()
}

/// By template what tells it in a text: its longest part between holes.
pub(super) fn marks() -> impl Iterator<Item = String> {
    let mark = |template: &str| {
        let holes = HOLES.map(|hole| format!("{{{hole}}}"));
        let bare = holes.iter().fold(template.to_owned(), |text, hole| text.replace(hole, "\0"));
        bare.split('\0').max_by_key(|part| part.len()).unwrap_or_default().to_owned()
    };
    SHARED.into_iter().chain(OWN).map(mark)
}

const HOLES: [&str; 11] = ["n", "i", "k", "d", "m", "t", "f", "ts", "a", "j", "g"];

/// True for a query that PostgreSQL does not have for the functions in it.
pub(super) fn is_own(text: &str) -> bool {
    OWN.iter().any(|template| {
        let name = template.split('(').next().unwrap_or_default();
        !name.is_empty() && text.contains(&format!("{name}("))
    })
}

impl Writer<'_> {
    /// A call of a random function.
    pub(super) fn function(&mut self) -> String {
        let all = SHARED.len() + OWN.len();
        let at = self.random.random_range(0..all);
        let template = *SHARED.get(at).unwrap_or_else(|| &OWN[at - SHARED.len()]);
        self.filled(template)
    }

    fn filled(&mut self, template: &str) -> String {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            // Other braces are those of arrays and JSON.
            match after.split_once('}').filter(|(hole, _)| HOLES.contains(hole)) {
                Some((hole, after)) => {
                    text.push_str(&self.hole(hole));
                    rest = after;
                }
                None => {
                    text.push('{');
                    rest = after;
                }
            }
        }
        text + rest
    }

    fn hole(&mut self, hole: &str) -> String {
        let column = |writer: &mut Self, wanted: &dyn Fn(&SqlType) -> bool, or: &str| {
            writer.column(wanted).unwrap_or_else(|| or.to_owned())
        };
        match hole {
            "n" => self.number(),
            "i" => column(self, &is_integer, "(7 + 0)"),
            "k" => format!("abs({} % 4)", column(self, &is_integer, "(7 + 0)")),
            "d" => column(self, &|t| *t == SqlType::Double, "(0.25::float8)"),
            "m" => column(self, &|t| matches!(t, SqlType::Numeric(_)), "(1.25::numeric)"),
            "t" => column(self, &|t| *t == SqlType::Text, "('sensor-7'::text)"),
            "f" => column(self, &|t| *t == SqlType::Boolean, "(NOT false)"),
            "ts" => column(
                self,
                &|t| *t == SqlType::TimestampTz,
                "TIMESTAMPTZ '2024-02-28 23:59:58.5+00'",
            ),
            "a" => {
                let ints = |t: &SqlType| matches!(t, SqlType::Array(e) if **e == SqlType::Integer);
                column(self, &ints, "ARRAY[3,1,NULL,2]")
            }
            "j" => column(self, &|t| *t == SqlType::Jsonb, "('{\"k\": [1, \"x\"]}'::jsonb)"),
            "g" => {
                let uuid = "('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid)";
                column(self, &|t| *t == SqlType::Uuid, uuid)
            }
            other => panic!("no hole is named {other}"),
        }
    }
}

#[test]
fn each_template_is_a_view_and_fails_for_no_row() {
    let sql = super::sql::Sql::new(true);
    let columns: Vec<(String, SqlType)> =
        super::data::columns().into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
    let input = Input { name: "s".into(), columns, append_only: true };
    let mut random = StdRng::seed_from_u64(1);
    let times = super::data::Times::Free;
    let mut rows = super::data::Rows::new(sql.source_schema(), times, &mut random);
    let mut all = Vec::new();
    for epoch in 1..20 {
        all.extend(rows.epoch(epoch, &mut random).partitions);
    }
    let mut batch = super::batch::Batch::new();
    batch.set("s", &sql.source_schema(), all);
    let mut wrong = Vec::new();
    for template in SHARED.into_iter().chain(OWN) {
        let mut writer = Writer { input: &input, random: &mut random };
        let text = format!("SELECT {} AS c0 FROM s", writer.filled(template));
        if let Err(report) = sql.plan(&text, 0) {
            wrong.push(format!("{text}: {} {:?}", report.message, report.detail));
            continue;
        }
        let answer = std::panic::AssertUnwindSafe(|| batch.answer(&sql, &text).1.len());
        if let Err(panic) = std::panic::catch_unwind(answer) {
            let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            wrong.push(format!("{text}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
