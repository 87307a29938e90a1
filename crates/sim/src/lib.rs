//! Tests of the whole system, and what they need: the real server and broker, as users run them.
//!
//! Nothing depends on this crate. Its tests are in the modules; those that need a broker are
//! ignored by plain `cargo test`, `scripts/test` runs them.

pub mod disk;
pub mod kafka;
pub mod server;
pub mod slt;
pub mod tpch;
pub mod wait;

#[cfg(test)]
mod access;
#[cfg(test)]
mod behind;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod console;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod dashboard;
#[cfg(test)]
mod deep;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod ended;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod health;
#[cfg(test)]
mod indexes;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod load;
#[cfg(test)]
mod locks;
#[cfg(test)]
mod lookups;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod psql;
#[cfg(test)]
mod shell;
#[cfg(test)]
mod short;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod sleep;
#[cfg(test)]
mod stops;
#[cfg(test)]
mod wall_clock;
