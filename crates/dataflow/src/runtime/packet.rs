//! What crosses an exchange: a delta, and between processes its Arrow IPC bytes.

use millrace_types::{Delta, decode_delta, encode_delta};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A delta on its way to the worker `delta.dest`.
#[derive(Clone, Debug)]
pub(super) struct Packet(pub(super) Delta);

impl Serialize for Packet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = encode_delta(&self.0).map_err(S::Error::custom)?;
        (self.0.dest, bytes).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Packet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Packet, D::Error> {
        let (dest, bytes) = <(u32, Vec<u8>)>::deserialize(deserializer)?;
        let delta = decode_delta(&bytes).map_err(D::Error::custom)?;
        Ok(Packet(Delta { dest, ..delta }))
    }
}
