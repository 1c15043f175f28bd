//! What of a table is sent, and the SQL with which it is read on the source and written on the target.

mod source;
mod target;
mod undo;

use opdb_core::compat::form::{Side, row_hash, text};
use opdb_core::compat::table::{column_type, is_sent, is_unique};
use opdb_core::deploy::in_reference_order;
use opdb_core::schema::{Fact, Kind, label};

use serde_json::Value;

use crate::deploy::column::{Column, is_drawn};
use crate::deploy::error::DeployError;
use crate::deploy::options::Options;
use crate::deploy::reference::{Parent, Reference};
use crate::deploy::transformation::Transformations;
pub use target::Inbox;
pub use undo::Undo;

use crate::compat::{Compared, LocalTable, columns, primary_key};
use crate::pg::error::Result;
use crate::pg::name::{Qualified, identifier};

/// One table on its way.
pub struct Shipment {
    pub name: Qualified,
    /// The table in SQL, the same on both sides.
    pub table: String,
    /// The table as facts call it.
    pub label: String,
    /// What the other side decides for itself.
    pub kept_here: Vec<String>,
    pub key: Vec<String>,
    /// What is sent as it is.
    columns: Vec<Column>,
    /// What is sent of rows that are referenced by numbers of the target's own.
    references: Vec<Reference>,
    /// Every column of the target that can be written, for what is deleted there.
    whole: Vec<String>,
    /// Which rows are deployed, in parentheses.
    pub condition: Option<String>,
    /// The other side keeps this table as an event table of its own opdb.
    pub is_event_table_there: bool,
    /// Nothing here keeps a key from being there twice, or NULL.
    is_key_claimed: bool,
    /// The number of a row in the stage.
    row_number: String,
    /// The column of the stage for `others`.
    others_column: String,
    /// Of a row of the target, t, a hash of what is not sent; none if everything is.
    others: Option<String>,
}

impl Shipment {
    /// Errors: 42P16 if nothing identifies a row, 42703 for a key column that is not sent.
    pub fn new(
        table: &LocalTable,
        compared: &Compared,
        options: &Options,
        condition: Option<String>,
        transformations: &Transformations,
        parents: &[Parent],
    ) -> Result<Self> {
        let label = table.name.label();
        let kept_here = kept_here(table, compared, options)?;
        let there = |name: &str| columns(&compared.remote, &label).find(|column| column.name() == name);
        let key = key(table, compared, options)?;
        let all_sent = || {
            columns(&compared.local, &label).filter(|local| is_sent(local, there(local.name()), &kept_here))
        };
        if let Some(column) = key.iter().find(|key| !all_sent().any(|column| column.name() == **key)) {
            return Err(DeployError::KeyColumn { table: label, column: column.clone() }.into());
        }
        let whole: Vec<String> = columns(&compared.remote, &label)
            .filter(|column| column.text("generated").is_none())
            .map(|column| column.name().to_owned())
            .collect();
        let free = |mut name: String| {
            while whole.contains(&name) || all_sent().any(|column| column.name() == name) {
                name.push('_');
            }
            name
        };
        let references = Reference::all(&label, compared, parents, transformations, &free)?;
        let columns: Vec<Column> = all_sent()
            .map(|local| {
                Column::new(local, there(local.name()), transformations.of(&table.name, local.name()))
            })
            .collect();
        let is_event_table_there = compared.remote.iter().any(|fact| {
            fact.kind() == Kind::Table
                && fact.relation() == label
                && !fact.list("unique_by_trigger").is_empty()
        });
        let is_sent = |fact: &&Fact| columns.iter().any(|column| column.name == fact.name());
        let others: Vec<String> = crate::compat::columns(&compared.remote, &label)
            .filter(|fact| fact.text("generated").is_none() && !is_sent(fact))
            .map(|fact| text(&format!("t.{}", identifier(fact.name())), &column_type(fact)))
            .collect();
        let (row_number, others_column) = (free("opdb_row".into()), free("opdb_others".into()));
        Ok(Self {
            is_key_claimed: !is_certain_key(compared, &label, &key),
            name: table.name.clone(),
            table: table.name.sql(),
            label,
            kept_here,
            key,
            columns,
            references,
            whole,
            condition,
            is_event_table_there,
            row_number,
            others_column,
            others: (!others.is_empty())
                .then(|| format!("pg_catalog.md5(ARRAY[{}]::text[]::text)", others.join(", "))),
        })
    }

    /// The columns of the target that are written.
    pub fn written_columns(&self) -> impl Iterator<Item = &str> {
        self.written().map(|column| column.name.as_str())
    }

    fn written(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter()
    }

    /// What is sent, in the order in which it is.
    fn sent(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().chain(self.references.iter().flat_map(|reference| &reference.sent))
    }

    /// What makes two stages of the table the same: rows of one can be rows of the other.
    pub fn signature(&self) -> String {
        let columns: Vec<String> = self.sent().map(Column::signature).collect();
        format!("{}|{}|{}", self.table, self.key.join(","), columns.join("|"))
    }

    /// The columns that something else is sent of.
    pub fn transformed(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter(|column| column.is_transformed()).map(|column| column.name.as_str())
    }

    /// What is sent of them, by column.
    pub fn transformations(&self) -> serde_json::Map<String, Value> {
        let transformed = self.columns.iter().filter_map(|column| {
            Some((column.name.clone(), Value::from(column.transformation.as_ref()?.text.clone())))
        });
        transformed.collect()
    }

    pub fn is_transformed(&self) -> bool {
        self.transformed().next().is_some()
    }

    pub fn has_references(&self) -> bool {
        !self.references.is_empty()
    }

    fn names(&self, prefix: &str) -> String {
        let names: Vec<String> =
            self.written().map(|column| format!("{prefix}{}", identifier(&column.name))).collect();
        names.join(", ")
    }

    fn whole_names(&self, prefix: &str) -> String {
        let names: Vec<String> =
            self.whole.iter().map(|name| format!("{prefix}{}", identifier(name))).collect();
        names.join(", ")
    }

    /// Of t, the target, and s, the stage or what became of it.
    fn same_key(&self) -> String {
        self.same_key_of("t", "s")
    }

    fn same_key_of(&self, one: &str, other: &str) -> String {
        let keys = self.written().filter(|column| self.key.contains(&column.name));
        keys.map(|column| column.same_key(one, other)).collect::<Vec<_>>().join(" AND ")
    }

    fn same_row(&self) -> String {
        self.same_row_of("t", "s")
    }

    fn same_row_of(&self, one: &str, other: &str) -> String {
        let columns = self.written();
        columns.map(|column| column.is_same(one, other)).collect::<Vec<_>>().join(" AND ")
    }
}

fn hash_of<'c>(
    columns: impl Iterator<Item = &'c Column>,
    side: Side,
    value: impl Fn(usize, &Column) -> String,
) -> String {
    row_hash(columns.enumerate().flat_map(|(place, column)| column.hash_parts(side, &value(place, column))))
}

/// The option's key, an event table's source_id, or the primary key.
pub fn key(table: &LocalTable, compared: &Compared, options: &Options) -> Result<Vec<String>> {
    if let Some(key) = options.key_of(table) {
        return Ok(key);
    }
    if table.is_event_table {
        return Ok(vec!["source_id".to_owned()]);
    }
    let label = table.name.label();
    primary_key(&compared.local, &label).ok_or_else(|| DeployError::NoKey(label).into())
}

/// The columns that the other side decides for itself: an event's, those that the options exclude, and the numbers that it
/// gives to rows which are told apart by another key.
fn kept_here(table: &LocalTable, compared: &Compared, options: &Options) -> Result<Vec<String>> {
    let mut kept = table.kept_here();
    kept.extend(options.exclude_columns.iter().cloned());
    if let Some(key) = options.key_of(table) {
        kept.extend(surrogates(table, compared).filter(|name| !key.contains(name)));
    }
    // Nobody can update what is always generated; in a key it only has to be inserted.
    let key = key(table, compared, options)?;
    let label = table.name.label();
    let always = columns(&compared.remote, &label)
        .filter(|fact| fact.text("identity") == Some("a") && !key.iter().any(|name| name == fact.name()));
    kept.extend(always.map(|fact| fact.name().to_owned()));
    Ok(kept)
}

/// The columns of the primary key that the target draws from a sequence.
fn surrogates(table: &LocalTable, compared: &Compared) -> impl Iterator<Item = String> {
    let label = table.name.label();
    let primary = primary_key(&compared.remote, &label).unwrap_or_default();
    let drawn: Vec<String> = columns(&compared.remote, &label)
        .filter(|fact| is_drawn(fact))
        .map(|fact| fact.name().to_owned())
        .filter(|name| primary.contains(name))
        .collect();
    drawn.into_iter()
}

/// The tables whose rows have other numbers on the target than here.
pub fn parents(tables: &[LocalTable], compared: &Compared, options: &Options) -> Result<Vec<Parent>> {
    let parents = tables.iter().map(|table| {
        let key = key(table, compared, options)?;
        let kept = kept_here(table, compared, options)?;
        let label = table.name.label();
        let own: Vec<String> = primary_key(&compared.remote, &label)
            .unwrap_or_default()
            .into_iter()
            .filter(|name| kept.contains(name))
            .collect();
        Ok((!own.is_empty()).then(|| Parent {
            sql: table.name.sql(),
            name: table.name.clone(),
            label,
            key,
            own,
        }))
    });
    Ok(parents.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Whether the catalog here says that the key is there once and never NULL.
fn is_certain_key(compared: &Compared, label: &str, key: &[String]) -> bool {
    let is_not_null = |name: &String| {
        columns(&compared.local, label).any(|column| column.name() == name && column.flag("not_null"))
    };
    is_unique(&compared.local, label, key) && key.iter().all(is_not_null)
}

/// Shipments with referenced tables before those that reference them, by the foreign keys there.
/// Errors: 42830 if they go in a circle.
pub fn ordered(mut shipments: Vec<Shipment>, compared: &Compared) -> Result<Vec<Shipment>> {
    let tables: Vec<String> = shipments.iter().map(|shipment| shipment.label.clone()).collect();
    let references: Vec<(String, String)> = compared
        .remote
        .iter()
        .filter(|fact| fact.text("type") == Some("f") && !fact.flag("deferred"))
        .filter_map(|fact| Some((fact.relation().to_owned(), referenced(fact)?)))
        .collect();
    let order = in_reference_order(&tables, &references)
        .map_err(|cycle| DeployError::ReferenceCycle(cycle.join(", ")))?;
    shipments.sort_by_key(|shipment| order.iter().position(|table| *table == shipment.label));
    Ok(shipments)
}

/// The table that a foreign key references.
pub fn referenced(foreign_key: &Fact) -> Option<String> {
    match foreign_key.list("references")[..] {
        [schema, table] => Some(label(schema, table)),
        _ => None,
    }
}
