//! What is remembered of a deployment so that it can be taken back.

use serde::{Deserialize, Serialize};

use super::Shipment;
use crate::pg::name::identifier;

/// How a deployment of one table is taken back: pieces of SQL in which the target is t, what was deployed is s, and what
/// was there before is b.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Undo {
    pub table: String,
    /// The rows that were written, as they were sent, or at least their keys.
    pub rows: String,
    /// The rows that were updated or deleted, as they were.
    pub before: String,
    /// The column of it that says which.
    pub change: String,
    pub key: Vec<String>,
    pub same_key: String,
    pub same_key_before: String,
    pub same_key_of_both: String,
    pub same_row: String,
    pub same_row_before: String,
    /// Puts the columns that were sent to what they were.
    pub assignments: String,
    /// All columns that can be written.
    pub whole: String,
    pub whole_before: String,
    /// Whether what was not sent of a row that was inserted is as it was then.
    pub same_others: String,
}

impl Shipment {
    /// The same where of the rows that were written only a hash was kept.
    pub fn undo_of_load(&self, rows: String, before: String) -> Undo {
        let same_row = format!("s.{} = {}", identifier(self.hash_column()), self.hash_there());
        Undo { same_row, ..self.undo(rows, before) }
    }

    /// What it takes to undo what was done to the table, once the facts that this was planned by are gone.
    pub fn undo(&self, rows: String, before: String) -> Undo {
        Undo {
            table: self.table.clone(),
            rows,
            before,
            change: identifier(self.change_column()),
            key: self.key.clone(),
            same_key: self.same_key(),
            same_key_before: self.same_key_of("t", "b"),
            same_key_of_both: self.same_key_of("b", "s"),
            same_row: self.same_row(),
            same_row_before: self.same_row_of("t", "b"),
            assignments: self.assignments("b."),
            whole: self.whole_names(""),
            whole_before: self.whole_names("b."),
            same_others: match &self.others {
                Some(others) => format!("s.{} = {others}", identifier(&self.others_column)),
                None => "true".to_owned(),
            },
        }
    }
}
