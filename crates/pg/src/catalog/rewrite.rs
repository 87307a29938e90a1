//! What stands in queries on the catalog and nowhere else, written so that the binder plans it: names of
//! types and functions with their schema, casts to types of named numbers, system columns, `OPERATOR(...)`.
//!
//! Nothing here looks at whole queries: each rule replaces one construct by one that means the same. A query
//! without such constructs stays as it is.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart,
    Query, Select, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, Value,
    ValueWithSpan, VisitMut, VisitorMut,
};

use super::functions::EXPANDED;
use super::grants;
use super::named::{class_oid, is_named};
use super::properties::PARTITIONS;
use super::{OURS, emptied, statics, subqueries};

/// Functions in FROM without arguments that show a table.
const TABLES: [(&str, &str); 9] = [
    ("pg_get_keywords", "pg_get_keywords"),
    ("pg_timezone_names", "pg_timezone_names"),
    ("pg_timezone_abbrevs", "pg_timezone_abbrevs"),
    ("pg_show_all_settings", "pg_settings"),
    ("pg_available_extensions", "pg_available_extensions"),
    ("pg_available_extension_versions", "pg_available_extension_versions"),
    ("pg_lock_status", "pg_locks"),
    ("pg_prepared_statement", "pg_prepared_statements"),
    ("pg_cursor", "pg_cursors"),
];
/// Functions of one value that clients write into FROM.
const ONE_ROW: [&str; 9] = [
    "string_to_array",
    "regexp_split_to_array",
    "parse_ident",
    "current_schemas",
    "current_setting",
    "current_schema",
    "current_database",
    "pg_backend_pid",
    "version",
];
/// Columns of lists that are shown with spaces between their items, as `int2vector` and `oidvector` are.
const VECTORS: [&str; 5] = ["indkey", "indoption", "indclass", "indcollation", "proargtypes"];
/// Columns whose values are numbers of transactions.
const TRANSACTIONS: [&str; 3] = ["xmin", "relfrozenxid", "datfrozenxid"];

/// Writes such constructs out in a query and all queries inside it. `is_users` is true for the name of a
/// user's relation, which a table of the catalog may have too.
pub fn rewrite(query: &mut Query, is_users: &dyn Fn(&str) -> bool) {
    let ControlFlow::Continue(()) = VisitMut::visit(query, &mut Unqualified);
    let mut rewriter = Rewriter { scopes: Vec::new(), own: BTreeSet::new(), is_users };
    let ControlFlow::Continue(()) = VisitMut::visit(query, &mut rewriter);
    show_names(&mut query.body);
}

/// The tables that the selects around read: the name of each in its query, and its own.
struct Rewriter<'a> {
    scopes: Vec<Vec<(String, String)>>,
    /// Names that `WITH` has given.
    own: BTreeSet<String>,
    is_users: &'a dyn Fn(&str) -> bool,
}

pub(super) fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

pub(super) fn parts(name: &ObjectName) -> Vec<String> {
    name.0.iter().filter_map(ObjectNamePart::as_ident).map(folded).collect()
}

/// The name of a table of the catalog, without its schema.
pub(super) fn catalog_table(name: &ObjectName) -> Option<String> {
    match parts(name).as_slice() {
        [table] if table.starts_with("pg_") => Some(table.clone()),
        [.., schema, table] if OURS.contains(&schema.as_str()) => Some(table.clone()),
        _ => None,
    }
}

/// All items of a FROM.
pub(super) fn factors(select: &Select) -> impl Iterator<Item = &TableFactor> {
    select.from.iter().flat_map(|from| {
        std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
    })
}

impl VisitorMut for Rewriter<'_> {
    type Break = Infallible;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        let named = factors(select).filter_map(|factor| match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let table = catalog_table(name)?;
                if name.0.len() == 1 && self.is_own(&table) {
                    return None;
                }
                let alias = alias.as_ref().map(|alias| folded(&alias.name));
                Some((alias.unwrap_or_else(|| table.clone()), table))
            }
            _ => None,
        });
        let named = named.collect();
        self.scopes.push(named);
        if self.reads_catalog() {
            emptied::without_subqueries(select, &|name| self.is_own(name));
        }
        for item in &mut select.projection {
            name_cast(item);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<Infallible> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Infallible> {
        if let Some(table) = in_from(factor) {
            *factor = table;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Infallible> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        self.own.extend(with.map(|cte| folded(&cte.alias.name)));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if !self.reads_catalog() {
            return ControlFlow::Continue(());
        }
        if let Expr::Case { conditions, .. } = expr {
            emptied::without_dead_branches(conditions);
        }
        if let Some(new) = emptied::value(expr, &|name| self.is_own(name)) {
            *expr = new;
        }
        if let Some(new) = subqueries::simpler(expr) {
            *expr = new;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if let Some(new) = self.rewritten(expr) {
            *expr = new;
        }
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_> {
    /// True for a name without a schema that is not the catalog's.
    fn is_own(&self, name: &str) -> bool {
        self.own.contains(name) || (self.is_users)(name)
    }

    /// True inside of a query over the catalog. What the planner does not know of others it refuses.
    fn reads_catalog(&self) -> bool {
        self.scopes.iter().any(|scope| !scope.is_empty())
    }

    /// What stands for an expression; None for itself.
    fn rewritten(&self, expr: &mut Expr) -> Option<Expr> {
        match expr {
            Expr::Function(function) => {
                without_schema(&mut function.name);
                of_function(function)
            }
            Expr::Cast { expr, data_type, .. } => {
                let is_vector = is_text(data_type) && is_vector(expr) && self.reads_catalog();
                if is_vector {
                    return Some(spaced(expr.as_ref().clone()));
                }
                of_cast(expr, data_type)
            }
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                with_backslash(pattern, escape_char);
                None
            }
            Expr::BinaryOp { op, .. } => {
                plain_operator(op);
                None
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                expanded_part(root, access_chain).or_else(|| right_part(root, access_chain))
            }
            Expr::Identifier(name) if is_session_word(name) => {
                Some(call(&folded(name), Vec::new()))
            }
            Expr::Identifier(name) => self.system_column(None, name),
            Expr::CompoundIdentifier(path) => match path.as_slice() {
                [table, name] => self.system_column(Some(table), name),
                _ => None,
            },
            _ => None,
        }
    }

    /// `tableoid` and `xmin` of a table of the catalog.
    fn system_column(&self, table: Option<&Ident>, column: &Ident) -> Option<Expr> {
        let column = folded(column);
        if column != "tableoid" && column != "xmin" {
            return None;
        }
        let mut named = self.scopes.iter().rev().flatten();
        let (_, own) = match table {
            Some(table) => {
                let table = folded(table);
                named.find(|(alias, _)| *alias == table)?
            }
            None => self.scopes.last()?.first()?,
        };
        let value = if column == "xmin" { 1 } else { class_oid(own).unwrap_or(0) };
        Some(cast(number(value), custom("oid")))
    }
}

/// Columns of tables of the catalog by the name of their table alone: `pg_catalog.pg_class.oid` as
/// `pg_class.oid`.
struct Unqualified;

impl VisitorMut for Unqualified {
    type Break = Infallible;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if let Expr::CompoundIdentifier(path) = expr
            && let [schema, _, _] = path.as_slice()
            && OURS.contains(&folded(schema).as_str())
        {
            path.remove(0);
        }
        ControlFlow::Continue(())
    }
}

/// `LIKE 'a/_b' ESCAPE '/'` as `LIKE 'a\_b'`, which is the escape that the planner knows.
fn with_backslash(pattern: &mut Expr, escape: &mut Option<ValueWithSpan>) {
    let Some(ValueWithSpan { value: Value::SingleQuotedString(mark), .. }) = escape else { return };
    let mut marks = mark.chars();
    let (Some(mark), None) = (marks.next(), marks.next()) else { return };
    if mark == '\\' {
        return;
    }
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = pattern else {
        *pattern = calculated(std::mem::replace(pattern, null()), mark);
        *escape = None;
        return;
    };
    let (mut written, mut escaped) = (String::new(), false);
    for c in text.chars() {
        match c {
            c if c == mark && !escaped => escaped = true,
            '\\' | '%' | '_' if escaped => {
                written.extend(['\\', c]);
                escaped = false;
            }
            '\\' => written.push_str("\\\\"),
            c => {
                written.push(c);
                escaped = false;
            }
        }
    }
    (*text, *escape) = (written, None);
}

/// The same of a pattern that is not known yet: a mark that is meant as such is put aside meanwhile.
fn calculated(pattern: Expr, mark: char) -> Expr {
    let (mark, aside) = (mark.to_string(), "\u{1}");
    let twice = mark.repeat(2);
    let before_backslash = format!("{mark}\\");
    // A wildcard that is meant as such.
    let back = match mark.as_str() {
        "%" | "_" => format!("\\{mark}"),
        _ => mark.clone(),
    };
    let steps = [
        (twice.as_str(), aside),
        (&before_backslash, "\u{2}"),
        ("\\", "\\\\"),
        (&mark, "\\"),
        (aside, &back),
        ("\u{2}", "\\\\"),
    ];
    let quoted =
        |text: &str| Expr::Value(Value::SingleQuotedString(text.to_owned()).with_empty_span());
    steps.into_iter().fold(pattern, |pattern, (from, to)| {
        call("replace", vec![pattern, quoted(from), quoted(to)])
    })
}

/// Reserved words that are calls without parentheses.
fn is_session_word(name: &Ident) -> bool {
    name.quote_style.is_none()
        && matches!(folded(name).as_str(), "current_role" | "current_schema" | "current_catalog")
}

fn number(value: u32) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).with_empty_span())
}

pub(super) fn null() -> Expr {
    Expr::Value(Value::Null.with_empty_span())
}

pub(super) fn cast(expr: Expr, data_type: DataType) -> Expr {
    let (kind, expr) = (CastKind::DoubleColon, Box::new(expr));
    Expr::Cast { kind, expr, data_type, array: false, format: None }
}

fn custom(name: &str) -> DataType {
    DataType::Custom(ObjectName::from(vec![Ident::new(name)]), Vec::new())
}

pub(super) fn array_of(element: DataType) -> DataType {
    DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(element), None))
}

pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let unnamed = |arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(unnamed).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// Functions are found by their names alone.
fn without_schema(name: &mut ObjectName) {
    if let [schema, function] = parts(name).as_slice()
        && OURS.contains(&schema.as_str())
    {
        *name = ObjectName::from(vec![Ident::new(function)]);
    }
}

/// The arguments of a call, if all are plain.
fn plain_args(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let plain = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => Some(arg.clone()),
        _ => None,
    };
    list.args.iter().map(plain).collect()
}

fn of_function(function: &Function) -> Option<Expr> {
    let name = parts(&function.name).pop()?;
    let mut args = plain_args(function)?;
    match name.as_str() {
        "generate_subscripts" if args.len() >= 2 => Some(subscripts(args.swap_remove(0))),
        "_pg_expandarray" if args.len() == 1 => Some(call("unnest", vec![call(EXPANDED, args)])),
        "age" => match args.as_slice() {
            [Expr::Identifier(column)] => {
                TRANSACTIONS.contains(&folded(column).as_str()).then(|| number(1))
            }
            [Expr::CompoundIdentifier(path)] => {
                let column = path.last().map(folded)?;
                TRANSACTIONS.contains(&column.as_str()).then(|| number(1))
            }
            [Expr::Cast { data_type: DataType::Custom(name, _), .. }] => {
                matches!(parts(name).as_slice(), [name] if name == "oid" || name == "xid")
                    .then(|| number(1))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The places of an array's elements.
fn subscripts(array: Expr) -> Expr {
    let length = call("array_length", vec![array, number(1)]);
    call("generate_series", vec![number(1), call("coalesce", vec![length, number(0)])])
}

/// `(_pg_expandarray(a)).x`, `(_pg_expandarray(a)).n`: the call was written out before.
fn expanded_part(root: &Expr, chain: &[AccessExpr]) -> Option<Expr> {
    let mut root = root;
    while let Expr::Nested(inner) = root {
        root = inner;
    }
    let Expr::Function(unnest) = root else { return None };
    let inner = plain_args(unnest)?;
    let [Expr::Function(expanded)] = inner.as_slice() else { return None };
    if parts(&expanded.name) != [EXPANDED] {
        return None;
    }
    let array = plain_args(expanded)?.pop()?;
    match chain {
        [AccessExpr::Dot(Expr::Identifier(part))] if folded(part) == "x" => {
            Some(call("unnest", vec![array]))
        }
        [AccessExpr::Dot(Expr::Identifier(part))] if folded(part) == "n" => Some(subscripts(array)),
        _ => None,
    }
}

/// A type without its schema, and those of the catalog alone as what they are kept as.
fn plain_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Regclass => Some(custom("oid")),
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, size)) => {
            let element = Box::new(plain_type(element)?);
            Some(DataType::Array(ArrayElemTypeDef::SquareBracket(element, *size)))
        }
        DataType::Custom(name, modifiers) => {
            let parts = parts(name);
            let last = parts.last()?.as_str();
            match last {
                "int2vector" => Some(array_of(DataType::SmallInt(None))),
                "oidvector" => Some(array_of(custom("oid"))),
                "aclitem" | "cstring" | "pg_node_tree" | "sql_identifier" | "character_data"
                | "yes_or_no" | "pg_lsn" => Some(DataType::Text),
                "cardinal_number" => Some(DataType::Integer(None)),
                "xid" | "cid" | "tid" | "xid8" => Some(custom("oid")),
                known if is_named(known) || known.starts_with("reg") => Some(custom("oid")),
                _ if parts.len() == 2 && parts[0] == OURS[0] => unqualified(last, modifiers),
                _ => None,
            }
        }
        _ => None,
    }
}

/// `pg_catalog.int4` as `int4` is read.
fn unqualified(name: &str, modifiers: &[String]) -> Option<DataType> {
    let modifiers = match modifiers {
        [] => String::new(),
        some => format!("({})", some.join(",")),
    };
    let quoted = if name == "char" { "\"char\"" } else { name };
    let text = format!("{quoted}{modifiers}");
    let dialect = datafusion::sql::sqlparser::dialect::PostgreSqlDialect {};
    let mut parser =
        datafusion::sql::sqlparser::parser::Parser::new(&dialect).try_with_sql(&text).ok()?;
    parser.parse_data_type().ok()
}

/// The type of named numbers that a cast is to.
fn named_type(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Regclass => Some("regclass".to_owned()),
        DataType::Custom(name, _) => parts(name).pop().filter(|name| is_named(name)),
        _ => None,
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Text | DataType::Varchar(None) | DataType::CharacterVarying(None) => true,
        DataType::Custom(name, _) => {
            matches!(parts(name).pop().as_deref(), Some("text" | "name" | "varchar"))
        }
        _ => false,
    }
}

/// The call that gives a number for a name, if an expression is one: the type and the call.
fn input_of(expr: &Expr) -> Option<(String, &Function)> {
    match expr {
        Expr::Nested(inner) => input_of(inner),
        Expr::Function(function) => {
            let name = parts(&function.name).pop()?;
            let kind = name.strip_suffix("in").or_else(|| name.strip_prefix("to_"))?;
            is_named(kind).then(|| (kind.to_owned(), function))
        }
        _ => None,
    }
}

fn of_cast(expr: &mut Box<Expr>, data_type: &mut DataType) -> Option<Expr> {
    if let Some(kind) = named_type(data_type) {
        return Some(call(&format!("{kind}in"), vec![expr.as_ref().clone()]));
    }
    if is_text(data_type)
        && let Some((kind, _)) = input_of(expr)
    {
        return Some(call(&format!("{kind}out"), vec![expr.as_ref().clone()]));
    }
    if matches!(data_type, DataType::Char(None) | DataType::Character(None))
        && let Expr::Value(value) = expr.as_ref()
        && let Value::SingleQuotedString(text) = &value.value
        && text.chars().count() == 1
    {
        *data_type = DataType::Text;
    }
    if let Some(plain) = plain_type(data_type) {
        *data_type = plain;
    }
    None
}

/// `OPERATOR(pg_catalog.~)` as `~`.
fn plain_operator(operator: &mut BinaryOperator) {
    let BinaryOperator::PGCustomBinaryOperator(path) = operator else { return };
    *operator = match path.last().map(String::as_str) {
        Some("~") => BinaryOperator::PGRegexMatch,
        Some("~*") => BinaryOperator::PGRegexIMatch,
        Some("!~") => BinaryOperator::PGRegexNotMatch,
        Some("!~*") => BinaryOperator::PGRegexNotIMatch,
        Some("~~") => BinaryOperator::PGLikeMatch,
        Some("~~*") => BinaryOperator::PGILikeMatch,
        Some("!~~") => BinaryOperator::PGNotLikeMatch,
        Some("!~~*") => BinaryOperator::PGNotILikeMatch,
        Some("=") => BinaryOperator::Eq,
        Some("<>") => BinaryOperator::NotEq,
        Some("<") => BinaryOperator::Lt,
        Some("<=") => BinaryOperator::LtEq,
        Some(">") => BinaryOperator::Gt,
        Some(">=") => BinaryOperator::GtEq,
        Some("||") => BinaryOperator::StringConcat,
        Some("+") => BinaryOperator::Plus,
        Some("-") => BinaryOperator::Minus,
        _ => return,
    };
}

/// What stands for an item of FROM; None for itself.
fn in_from(factor: &mut TableFactor) -> Option<TableFactor> {
    let (name, args, alias) = match factor {
        TableFactor::Table { name, args: Some(args), alias, .. } => (name, &args.args, alias),
        TableFactor::Function { name, args, alias, .. } => (name, &*args, alias),
        _ => return None,
    };
    without_schema(name);
    let called = parts(name).pop()?;
    let plain = args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => Some(arg.clone()),
        _ => None,
    });
    let plain = plain.collect::<Option<Vec<_>>>()?;
    match (called.as_str(), plain.as_slice()) {
        ("_pg_expandarray", [array]) => Some(expanded_rows(array.clone(), alias.clone())),
        ("aclexplode", [acl]) => Some(side_by_side(&called, &grants::COLUMNS, acl, alias.clone())),
        ("pg_partition_tree", [of]) => {
            Some(side_by_side(&called, &PARTITIONS[..4], of, alias.clone()))
        }
        ("pg_partition_ancestors", [of]) => {
            Some(side_by_side(&called, &PARTITIONS[4..], of, alias.clone()))
        }
        (one, args) if ONE_ROW.contains(&one) => Some(one_row(one, args.to_vec(), alias.clone())),
        (called, []) => {
            let (_, table) = TABLES.iter().find(|(function, _)| *function == called)?;
            let path = [OURS[0], table].map(Ident::new).to_vec();
            Some(table_factor(ObjectName::from(path), alias.clone()))
        }
        _ => None,
    }
}

/// `f(x) AS s` as `(SELECT f(x) AS s) AS s`
fn one_row(function: &str, args: Vec<Expr>, alias: Option<TableAlias>) -> TableFactor {
    let name = Ident::with_quote('"', function);
    let alias =
        alias.unwrap_or_else(|| TableAlias { explicit: true, name, columns: Vec::new(), at: None });
    let column = alias.columns.first().map_or(&alias.name, |column| &column.name).clone();
    let value = SelectItem::ExprWithAlias { expr: call(function, args), alias: column };
    TableFactor::Derived {
        lateral: false,
        subquery: Box::new(subqueries::select(value)),
        alias: Some(TableAlias { columns: Vec::new(), ..alias }),
        sample: None,
    }
}

fn expanded_rows(array: Expr, alias: Option<TableAlias>) -> TableFactor {
    let column = |name: &str| TableAliasColumnDef { name: Ident::new(name), data_type: None };
    let mut alias = alias.unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::new("_pg_expandarray"),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        alias.columns = vec![column("x"), column("n")];
    }
    TableFactor::UNNEST {
        alias: Some(alias),
        array_exprs: vec![array],
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: true,
    }
}

/// The rows of a function that has a list for each of its columns.
fn side_by_side(
    name: &str,
    columns: &[(&str, &str)],
    arg: &Expr,
    alias: Option<TableAlias>,
) -> TableFactor {
    let mut alias = alias.unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::new(name),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        let column = |(name, _): &(&str, &str)| TableAliasColumnDef {
            name: Ident::new(*name),
            data_type: None,
        };
        alias.columns = columns.iter().map(column).collect();
    }
    let list = |(_, function): &(&str, &str)| call(function, vec![arg.clone()]);
    TableFactor::UNNEST {
        alias: Some(alias),
        array_exprs: columns.iter().map(list).collect(),
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    }
}

/// `(aclexplode(acl)).grantee`
fn right_part(root: &Expr, chain: &[AccessExpr]) -> Option<Expr> {
    let mut root = root;
    while let Expr::Nested(inner) = root {
        root = inner;
    }
    let Expr::Function(function) = root else { return None };
    let [AccessExpr::Dot(Expr::Identifier(part))] = chain else { return None };
    if parts(&function.name).last().map(String::as_str) != Some("aclexplode") {
        return None;
    }
    let part = folded(part);
    let (_, function_of) = grants::COLUMNS.into_iter().find(|(column, _)| *column == part)?;
    Some(call("unnest", vec![call(function_of, plain_args(function)?)]))
}

fn table_factor(name: ObjectName, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// Gives a cast to a type of named numbers the name that PostgreSQL gives it, before it becomes a call.
fn name_cast(item: &mut SelectItem) {
    if let SelectItem::UnnamedExpr(expr @ Expr::Cast { .. }) = item
        && names_type(expr)
        && let Some(name) = cast_name(expr)
    {
        let alias = Ident::with_quote('"', name);
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
    }
}

/// A column of the catalog that is a vector.
fn is_vector(expr: &Expr) -> bool {
    match expr {
        Expr::CompoundIdentifier(path) => {
            path.last().is_some_and(|name| VECTORS.contains(&folded(name).as_str()))
        }
        _ => false,
    }
}

/// A vector as text.
fn spaced(vector: Expr) -> Expr {
    let space = Value::SingleQuotedString(" ".to_owned()).with_empty_span();
    call("array_to_string", vec![vector, Expr::Value(space)])
}

fn names_type(expr: &Expr) -> bool {
    match expr {
        Expr::Cast { expr, data_type, .. } if is_text(data_type) && is_vector(expr) => true,
        Expr::Cast { expr, data_type, .. } => named_type(data_type).is_some() || names_type(expr),
        _ => false,
    }
}

/// The name of a cast: that of the column or the call that is cast, or of the outermost type.
fn cast_name(expr: &Expr) -> Option<String> {
    inner_name(expr).or_else(|| match expr {
        Expr::Cast { data_type: DataType::Custom(name, _), .. } => parts(name).pop(),
        Expr::Cast { data_type, .. } => Some(data_type.to_string().to_ascii_lowercase()),
        _ => None,
    })
}

fn inner_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(folded(name)),
        Expr::CompoundIdentifier(path) => path.last().map(folded),
        Expr::Function(function) => parts(&function.name).pop(),
        Expr::Nested(inner) => inner_name(inner),
        Expr::Cast { expr, .. } => inner_name(expr),
        _ => None,
    }
}

/// Numbers that the outermost selects show by their names.
fn show_names(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            let reads_catalog = factors(select).any(|factor| match factor {
                TableFactor::Table { name, .. } => catalog_table(name).is_some(),
                _ => false,
            });
            for item in &mut select.projection {
                show_name(item, reads_catalog);
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            show_names(left);
            show_names(right);
        }
        SetExpr::Query(query) => show_names(&mut query.body),
        _ => {}
    }
}

fn show_name(item: &mut SelectItem, reads_catalog: bool) {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = &*item else {
        return;
    };
    let shown = match input_of(expr) {
        Some((kind, _)) => call(&format!("{kind}out"), vec![expr.clone()]),
        None if reads_catalog => match cast_name(expr) {
            Some(name)
                if matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
                    && statics::FUNCTIONS.contains(&name.as_str()) =>
            {
                call("regprocout", vec![expr.clone()])
            }
            Some(_) if is_vector(expr) => spaced(expr.clone()),
            _ => return,
        },
        None => return,
    };
    let alias = match &*item {
        SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
        _ => Ident::with_quote('"', cast_name(expr).unwrap_or_default()),
    };
    *item = SelectItem::ExprWithAlias { expr: shown, alias };
}

#[cfg(test)]
mod tests;
