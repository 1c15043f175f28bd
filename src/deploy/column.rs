//! A column on its way, and its text on both sides.

use opdb_core::compat::form::{is_builtin, text};
use opdb_core::compat::table::column_type;
use opdb_core::compat::types::{ColumnType, Family};
use opdb_core::schema::Fact;

use crate::pg::name::identifier;

pub struct Column {
    pub name: String,
    from: ColumnType,
    to: ColumnType,
    /// The other side draws its default from a sequence of its own.
    pub has_sequence_there: bool,
}

impl Column {
    pub fn new(local: &Fact, there: Option<&Fact>) -> Self {
        let from = column_type(local);
        let to = there.map_or_else(|| from.clone(), column_type);
        let draws = |there: &Fact| {
            there.text("identity").is_some_and(|identity| !identity.is_empty())
                || there.text("default").is_some_and(|default| default.starts_with("nextval("))
        };
        let has_sequence_there = there.is_some_and(draws) && matches!(to.family(), Family::Integer { .. });
        Self { name: local.name().to_owned(), from, to, has_sequence_there }
    }

    /// Whether t and s have the same key, by the operator of the key's own type: one that somebody made for a
    /// type nearer to it, in a schema of the search_path, is not asked.
    pub fn same_key(&self) -> String {
        let column = identifier(&self.name);
        let is_base_type = self.to.kind == "b" && !self.to.text.ends_with("[]");
        let schema = match self.to.text.split_once('.') {
            Some((schema, _)) if is_base_type && !is_builtin(&self.to.text) => schema,
            _ => "pg_catalog",
        };
        format!("t.{column} OPERATOR({schema}.=) s.{column}")
    }

    /// The text that is sent.
    pub fn sent_text(&self) -> String {
        let column = identifier(&self.name);
        if self.changes_number_type() { number_text(&column) } else { text(&column, &self.from) }
    }

    /// The text that was sent, as far as the staged value still has it.
    pub fn staged_text(&self) -> String {
        let column = identifier(&self.name);
        if self.changes_number_type() {
            number_text(&column)
        } else if self.from.text != self.to.text && is_builtin(&self.from.text) && is_builtin(&self.to.text) {
            format!("{column}::{}::text", self.from.text)
        } else {
            text(&column, &self.to)
        }
    }

    /// The text there of `alias`.column, to be compared byte for byte.
    pub fn text_of(&self, alias: &str) -> String {
        let column = format!("{alias}.{}", identifier(&self.name));
        format!("({}) COLLATE \"C\"", text(&column, &self.to))
    }

    /// Exact numbers of different types are the same if their digits are: 5.00 is 5.
    fn changes_number_type(&self) -> bool {
        let exact = |side: &ColumnType| {
            !side.text.ends_with("[]")
                && matches!(side.family(), Family::Integer { .. } | Family::Numeric { .. })
        };
        self.from.text != self.to.text && exact(&self.from) && exact(&self.to)
    }
}

fn number_text(column: &str) -> String {
    format!("pg_catalog.trim_scale({column}::numeric)::text")
}
