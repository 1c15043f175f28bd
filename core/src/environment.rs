//! What a database is, and which environment a session means to write to.

/// Everything a database can be.
pub const KINDS: [&str; 6] = ["local", "development", "test", "staging", "production", "disaster_recovery"];

/// How the environment was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The session named its target.
    Explicit,
    /// No target named; this database's own environment applies.
    Inferred,
    /// Nothing named and nothing declared.
    Unset,
}

impl Decision {
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Explicit => "explicit",
            Decision::Inferred => "inferred",
            Decision::Unset => "unset",
        }
    }
}

/// The target of a session: the one it named, or else the database's own, but production only ever by name.
pub fn resolve<'a>(named: Option<&'a str>, own: Option<(&'a str, bool)>) -> (Option<&'a str>, Decision) {
    match (named.filter(|name| !name.is_empty()), own) {
        (Some(name), _) => (Some(name), Decision::Explicit),
        (None, Some((_, true)) | None) => (None, Decision::Unset),
        (None, Some((name, false))) => (Some(name), Decision::Inferred),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_is_never_inferred() {
        assert_eq!(resolve(None, Some(("production", true))), (None, Decision::Unset));
        assert_eq!(
            resolve(Some("production"), Some(("production", true))),
            (Some("production"), Decision::Explicit)
        );
    }

    #[test]
    fn an_empty_setting_names_nothing() {
        assert_eq!(resolve(Some(""), Some(("test", false))), (Some("test"), Decision::Inferred));
        assert_eq!(resolve(Some(""), None), (None, Decision::Unset));
    }
}
