//! TPC-H: its tables in any size, its queries, and its refreshes.
//!
//! Rows are made by a seed, with the proportions and the distributions of the public specification;
//! texts are shorter. Orders come in bunches, so that any part of them can be made again by itself:
//! a refresh deletes orders that were loaded and inserts others with keys that the load has left out.
//!
//! Invariants: 1. the same scale and seed always give the same rows, whatever was asked for before
//! ([`Data::random`]).

mod rows;
mod words;

use tokio_postgres::Client;

pub use self::rows::Data;
use futures::SinkExt;

/// The tables; those that queries see as never changing first.
pub const TABLES: [(&str, &str); 8] = [
    ("region", "r_regionkey INT PRIMARY KEY, r_name TEXT, r_comment TEXT"),
    ("nation", "n_nationkey INT PRIMARY KEY, n_name TEXT, n_regionkey INT, n_comment TEXT"),
    (
        "supplier",
        "s_suppkey INT PRIMARY KEY, s_name TEXT, s_address TEXT, s_nationkey INT, s_phone TEXT, \
         s_acctbal NUMERIC(15, 2), s_comment TEXT",
    ),
    (
        "customer",
        "c_custkey INT PRIMARY KEY, c_name TEXT, c_address TEXT, c_nationkey INT, c_phone TEXT, \
         c_acctbal NUMERIC(15, 2), c_mktsegment TEXT, c_comment TEXT",
    ),
    (
        "part",
        "p_partkey INT PRIMARY KEY, p_name TEXT, p_mfgr TEXT, p_brand TEXT, p_type TEXT, \
         p_size INT, p_container TEXT, p_retailprice NUMERIC(15, 2), p_comment TEXT",
    ),
    (
        "partsupp",
        "ps_partkey INT, ps_suppkey INT, ps_availqty INT, ps_supplycost NUMERIC(15, 2), \
         ps_comment TEXT, PRIMARY KEY (ps_partkey, ps_suppkey)",
    ),
    (
        "orders",
        "o_orderkey INT PRIMARY KEY, o_custkey INT, o_orderstatus TEXT, \
         o_totalprice NUMERIC(15, 2), o_orderdate DATE, o_orderpriority TEXT, o_clerk TEXT, \
         o_shippriority INT, o_comment TEXT",
    ),
    (
        "lineitem",
        "l_orderkey INT, l_partkey INT, l_suppkey INT, l_linenumber INT, \
         l_quantity NUMERIC(15, 2), l_extendedprice NUMERIC(15, 2), l_discount NUMERIC(15, 2), \
         l_tax NUMERIC(15, 2), l_returnflag TEXT, l_linestatus TEXT, l_shipdate DATE, \
         l_commitdate DATE, l_receiptdate DATE, l_shipinstruct TEXT, l_shipmode TEXT, \
         l_comment TEXT, PRIMARY KEY (l_orderkey, l_linenumber)",
    ),
];

macro_rules! queries {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("../../../bench/tpch/", $name, ".sql")))),*]
    };
}

/// The queries, with the parameters of the specification's validation run.
pub const QUERIES: [(&str, &str); 22] = queries!(
    "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q9", "q10", "q11", "q12", "q13", "q14", "q15",
    "q16", "q17", "q18", "q19", "q20", "q21", "q22"
);

/// A query over data of a scale: one of them has a parameter that depends on it.
pub fn query(text: &str, scale: f64) -> String {
    text.trim_end().replace("0.0001 / SCALE", &format!("{:.10}", 0.0001 / scale))
}

/// Makes the tables, without rows.
///
/// # Errors
/// The server's.
pub async fn create(client: &Client) -> Result<(), tokio_postgres::Error> {
    for (name, columns) in TABLES {
        client.batch_execute(&format!("CREATE TABLE {name} ({columns})")).await?;
    }
    Ok(())
}

/// Sends lines of CSV to a table.
///
/// # Errors
/// The server's.
pub async fn copy(client: &Client, table: &str, csv: String) -> Result<(), tokio_postgres::Error> {
    let statement = format!("COPY {table} FROM STDIN (FORMAT csv)");
    let sink = client.copy_in::<_, std::io::Cursor<Vec<u8>>>(&statement).await?;
    let mut sink = Box::pin(sink);
    sink.send(std::io::Cursor::new(csv.into_bytes())).await?;
    sink.as_mut().finish().await?;
    Ok(())
}

/// Loads all rows.
///
/// # Errors
/// The server's.
pub async fn load(client: &Client, data: &Data) -> Result<(), tokio_postgres::Error> {
    copy(client, "region", data.regions()).await?;
    copy(client, "nation", data.nations()).await?;
    copy(client, "supplier", data.suppliers()).await?;
    copy(client, "customer", data.customers()).await?;
    copy(client, "part", data.parts()).await?;
    copy(client, "partsupp", data.part_suppliers()).await?;
    for bunch in 0..data.bunches() {
        let (orders, lines) = data.bunch(bunch);
        copy(client, "orders", orders).await?;
        copy(client, "lineitem", lines).await?;
    }
    Ok(())
}

/// One refresh: new orders come with their lines, or old ones go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// RF1: inserts part n of the new orders.
    Insert(u32),
    /// RF2: deletes part n of the old ones.
    Delete(u32),
}

/// Makes one of `parts` refreshes; both tables change in one transaction.
///
/// # Errors
/// The server's.
pub async fn refresh(
    client: &Client,
    data: &Data,
    refresh: Refresh,
    parts: u32,
) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("BEGIN").await?;
    match refresh {
        Refresh::Insert(part) => {
            let (orders, lines) = data.new_orders(part, parts);
            copy(client, "orders", orders).await?;
            copy(client, "lineitem", lines).await?;
        }
        Refresh::Delete(part) => {
            let keys: Vec<String> =
                data.old_orders(part, parts).iter().map(ToString::to_string).collect();
            let keys = keys.join(", ");
            let lines = format!("DELETE FROM lineitem WHERE l_orderkey IN ({keys})");
            let orders = format!("DELETE FROM orders WHERE o_orderkey IN ({keys})");
            client.batch_execute(&format!("{lines}; {orders}")).await?;
        }
    }
    client.batch_execute("COMMIT").await
}

#[cfg(test)]
mod tests;
