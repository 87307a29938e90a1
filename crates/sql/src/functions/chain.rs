//! Names of calls that stand in long chains, `a + b + c + ...`.
//!
//! DataFusion asks each level for its type, that asks the levels below, and each of them for its name, which holds the
//! names of all below it: 300 terms took seconds. Of a long chain the name is a digest of what it is made of. Names are
//! compared, and nobody sees these. As in DataFusion's own, casts do not count.

use std::hash::{DefaultHasher, Hash, Hasher};

use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::{BinaryExpr, Cast, ScalarFunction, TryCast};

/// Levels that are named as they are.
const WHOLE_MAX: usize = 16;

/// `name(a,b)`
pub(super) fn call(name: &str, args: &[Expr]) -> String {
    match is_long(args) {
        true => digest(name, args),
        false => {
            let args: Vec<_> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
            format!("{name}({})", args.join(","))
        }
    }
}

/// `a + b`
pub(super) fn operator(name: &str, operator: &str, args: &[Expr; 2]) -> String {
    let [left, right] = args;
    match is_long(args) {
        true => digest(name, args),
        false => format!("{} {operator} {}", left.schema_name(), right.schema_name()),
    }
}

fn without_casts(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => without_casts(expr),
        other => other,
    }
}

/// True if the first argument is the end of a long chain.
fn is_long(args: &[Expr]) -> bool {
    let mut next = args.first();
    for _ in 0..WHOLE_MAX {
        next = match next.map(without_casts) {
            Some(Expr::ScalarFunction(call)) => call.args.first(),
            Some(Expr::BinaryExpr(binary)) => Some(&binary.left),
            _ => return false,
        };
    }
    true
}

fn digest(name: &str, args: &[Expr]) -> String {
    let mut hasher = DefaultHasher::new();
    args.iter().for_each(|arg| add(arg, &mut hasher));
    format!("{name}(#{:016x})", hasher.finish())
}

fn add(expr: &Expr, hasher: &mut impl Hasher) {
    match without_casts(expr) {
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            (func.name(), args.len()).hash(hasher);
            args.iter().for_each(|arg| add(arg, hasher));
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            op.hash(hasher);
            add(left, hasher);
            add(right, hasher);
        }
        Expr::Literal(value, _) => value.hash(hasher),
        Expr::Column(column) => column.hash(hasher),
        other => other.schema_name().to_string().hash(hasher),
    }
}
