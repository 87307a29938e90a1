//! A text that nobody is to see: passwords, verifiers and secrets.

use std::fmt;

/// A text that is not shown: not by `Debug`, and it has no `Display`. Who needs it asks for it by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Concealed(String);

impl Concealed {
    /// Conceals a text.
    pub fn new(text: impl Into<String>) -> Concealed {
        Concealed(text.into())
    }

    /// The text itself, for who proves or connects with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Concealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_does_not_show_a_concealed_text() {
        let shown = format!("{:?}", Some(Concealed::new("hunter2")));
        assert_eq!(shown, "Some(********)");
    }
}
