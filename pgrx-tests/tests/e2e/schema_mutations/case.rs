//! One change to the schema, and what opdb must say of it.

pub struct Case {
    pub change: &'static str,
    pub undo: &'static str,
    /// As `aspect kind object missing`, or `aspect kind object changed: facet, facet`, sorted.
    pub found: &'static [&'static str],
    first_major: u32,
    last_major: u32,
}

pub const fn case(change: &'static str, undo: &'static str, found: &'static [&'static str]) -> Case {
    Case { change, undo, found, first_major: 0, last_major: u32::MAX }
}

impl Case {
    /// Only on servers from this version on.
    pub const fn since(mut self, major: u32) -> Self {
        self.first_major = major;
        self
    }

    /// Only on servers up to this version.
    pub const fn until(mut self, major: u32) -> Self {
        self.last_major = major;
        self
    }

    pub fn is_for(&self, major: u32) -> bool {
        (self.first_major..=self.last_major).contains(&major)
    }
}
