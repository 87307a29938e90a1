//! Secrets: values that options of connectors name instead of holding them.

use millrace_types::{Concealed, ObjectId};

use super::Access;

/// A named value that is never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Never used twice, by objects neither.
    pub id: ObjectId,
    /// Folded.
    pub name: String,
    /// What it stands for.
    pub value: Concealed,
    /// Whose it is, and who may use it.
    pub access: Access,
}

/// True for an option whose value is nobody's business: it is masked wherever it would be shown.
pub fn is_confidential(option: &str) -> bool {
    let option = option.to_ascii_lowercase();
    ["password", "secret", "jaas", "token", "pem", "credential"].iter().any(|w| option.contains(w))
        || option == "properties.ssl.key"
        || option.ends_with(".key")
}
