//! Foreign keys onto numbers that the target gives itself: what is sent is the key of the row that is referenced, and what is
//! stored is the number that this row has there.

use opdb_core::compat::table::of_table;
use opdb_core::schema::{Fact, Kind};

use super::column::Column;
use super::error::DeployError;
use super::shipment;
use super::transformation::Transformations;
use crate::compat::{Compared, columns};
use crate::pg::error::Result;
use crate::pg::name::{Qualified, identifier};

/// A table that is deployed by another key than the one that it is referenced by.
pub struct Parent {
    /// As facts call it.
    pub label: String,
    pub name: Qualified,
    pub sql: String,
    pub key: Vec<String>,
    /// What the target gives its rows itself.
    pub own: Vec<String>,
}

/// A foreign key onto such a table.
pub struct Reference {
    /// The columns that reference, and which.
    pairs: Vec<(String, String)>,
    parent: String,
    /// What is sent instead, in columns of the stage.
    pub sent: Vec<Column>,
    /// The key's columns, in the same order.
    key: Vec<String>,
}

impl Reference {
    /// Those of a table, onto any of `parents`. Errors: 0A000 if it references itself so.
    pub fn all(
        table: &str,
        compared: &Compared,
        parents: &[Parent],
        transformations: &Transformations,
        free: &dyn Fn(String) -> String,
    ) -> Result<Vec<Self>> {
        let mut all: Vec<Self> = Vec::new();
        for fact in of_table(&compared.remote, table) {
            let Some((parent, pairs)) = referenced(fact, parents) else { continue };
            if parent.label == table {
                let columns = pairs.iter().map(|(column, _)| column.clone()).collect::<Vec<_>>().join(", ");
                return Err(DeployError::ReferencesItself { table: table.to_owned(), columns }.into());
            }
            if all.iter().any(|known| known.pairs == pairs) {
                continue;
            }
            if let Some(column) =
                parent.key.iter().find(|key| transformations.of(&parent.name, key).is_some())
            {
                let (parent, column) = (parent.label.clone(), column.clone());
                return Err(DeployError::TransformedKey { table: table.to_owned(), parent, column }.into());
            }
            let place = all.len() + 1;
            let sent = parent
                .key
                .iter()
                .enumerate()
                .map(|(number, key)| {
                    let name = free(format!("opdb_key_{place}_{}", number + 1));
                    let (local, there) = (
                        fact_of(&compared.local, &parent.label, key),
                        fact_of(&compared.remote, &parent.label, key),
                    );
                    let local = local.ok_or_else(|| DeployError::KeyColumn {
                        table: parent.label.clone(),
                        column: key.clone(),
                    })?;
                    Ok(Column::looked_up(name, local, there, lookup(parent, &pairs, key)))
                })
                .collect::<Result<Vec<_>>>()?;
            all.push(Self { pairs, parent: parent.sql.clone(), sent, key: parent.key.clone() });
        }
        Ok(all)
    }

    /// Puts what the target gave the rows that are referenced into the stage.
    pub fn resolve(&self, stage: &str) -> String {
        let set: Vec<String> = self
            .pairs
            .iter()
            .map(|(column, own)| format!("{} = t.{}", identifier(column), identifier(own)))
            .collect();
        format!(
            "UPDATE {stage} s SET {} FROM {} t WHERE {}",
            set.join(", "),
            self.parent,
            self.same().join(" AND ")
        )
    }

    /// Of a row of the stage, s, that it references a row, and that this is not on the target. One with a NULL references
    /// nothing.
    pub fn is_missing(&self) -> String {
        let stored: Vec<String> =
            self.pairs.iter().map(|(column, _)| format!("s.{} IS NOT NULL", identifier(column))).collect();
        format!(
            "({} AND NOT EXISTS (SELECT FROM {} t WHERE {}))",
            stored.join(" AND "),
            self.parent,
            self.same().join(" AND ")
        )
    }

    fn same(&self) -> Vec<String> {
        self.sent.iter().zip(&self.key).map(|(sent, key)| sent.equals("t", key, "s")).collect()
    }

    pub fn parent(&self) -> &str {
        &self.parent
    }
}

/// The parent that a foreign key is onto, if what it references is the target's own.
fn referenced<'a>(fact: &Fact, parents: &'a [Parent]) -> Option<(&'a Parent, Vec<(String, String)>)> {
    if fact.kind() != Kind::Constraint || fact.text("type") != Some("f") {
        return None;
    }
    let label = shipment::referenced(fact)?;
    let parent = parents.iter().find(|parent| parent.label == label)?;
    let pairs: Vec<(String, String)> = fact
        .facets
        .get("pairs")?
        .as_array()?
        .iter()
        .filter_map(|pair| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned())))
        .collect();
    pairs.iter().any(|(_, referenced)| parent.own.contains(referenced)).then_some((parent, pairs))
}

/// In the words of the table here, which is t: the parent's key by what references it.
fn lookup(parent: &Parent, pairs: &[(String, String)], key: &str) -> String {
    let same: Vec<String> = pairs
        .iter()
        .map(|(column, referenced)| {
            format!("p.{} OPERATOR(pg_catalog.=) t.{}", identifier(referenced), identifier(column))
        })
        .collect();
    format!("(SELECT p.{} FROM {} p WHERE {})", identifier(key), parent.sql, same.join(" AND "))
}

fn fact_of<'f>(facts: &'f [std::rc::Rc<Fact>], table: &str, column: &str) -> Option<&'f Fact> {
    columns(facts, table).find(|fact| fact.name() == column)
}
