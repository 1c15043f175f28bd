//! Statements that make indexes, of partitioned tables too.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use opdb_core::maintain::index_name::index_names;
use pgrx::pg_sys;
use pgrx::spi::SpiHeapTupleData;

use super::definition::{self, Index, attachment, nameless};
use super::finding::{Fault, Finding};
use super::{Advice, Kind};
use crate::pg::error::Result;
use crate::pg::name::{Qualified, identifier};
use crate::pg::spi;

/// Names for new indexes, none given twice.
#[derive(Default)]
pub struct Names(RefCell<BTreeSet<Qualified>>);

impl Names {
    fn choose(&self, table: &Qualified, columns: &[String]) -> Result<Qualified> {
        let mut tried = index_names(&table.name, columns).map(|name| table.sibling(name));
        loop {
            let Some(name) = tried.next() else { return Ok(table.clone()) };
            let is_taken = spi::read_value::<bool>(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                                WHERE n.nspname = $1 AND c.relname = $2)",
                &[name.schema.as_str().into(), name.name.as_str().into()],
            )?;
            if is_taken == Some(false) && self.0.borrow_mut().insert(name.clone()) {
                return Ok(name);
            }
        }
    }
}

/// A table, or a partition of one.
struct Node {
    oid: pg_sys::Oid,
    parent: Option<pg_sys::Oid>,
    name: Qualified,
    relkind: String,
    rows: Option<f64>,
    pages: i64,
    writes: i64,
    /// Whether an index of it is attached to the index that was asked about.
    has_attached: bool,
}

/// A table with its partitions, each after its parent.
pub struct Table(Vec<Node>);

/// A new index.
pub struct Creation {
    pub name: Qualified,
    pub ddl: Vec<String>,
    pub undo: Vec<String>,
}

/// Tables by their OIDs, with what of them is attached to `index`.
pub fn tables(tables: Vec<pg_sys::Oid>, index: Option<pg_sys::Oid>) -> Result<HashMap<pg_sys::Oid, Table>> {
    let sql = include_str!("../../../sql/maintain/index_tables.sql");
    let rows = spi::read(sql, &[tables.into(), index.into()], node)?;
    let mut tables: HashMap<pg_sys::Oid, Table> = HashMap::new();
    for (root, node) in rows.into_iter().flatten() {
        tables.entry(root).or_insert_with(|| Table(Vec::new())).0.push(node);
    }
    Ok(tables)
}

fn node(row: SpiHeapTupleData) -> pgrx::spi::Result<Option<(pg_sys::Oid, Node)>> {
    let (Some(root), Some(oid)) = (row.get(1)?, row.get(2)?) else { return Ok(None) };
    let node = Node {
        oid,
        parent: row.get(3)?,
        name: Qualified { schema: row.get(4)?.unwrap_or_default(), name: row.get(5)?.unwrap_or_default() },
        relkind: row.get(6)?.unwrap_or_default(),
        rows: row.get(7)?,
        pages: row.get(8)?.unwrap_or(0),
        writes: row.get(9)?.unwrap_or(0),
        has_attached: row.get(10)?.unwrap_or(false),
    };
    Ok(Some((root, node)))
}

impl Table {
    /// None if a part was never vacuumed or analyzed.
    pub fn rows(&self) -> Option<f64> {
        self.0.iter().map(|node| node.rows).sum()
    }

    pub fn pages(&self) -> i64 {
        self.0.iter().map(|node| node.pages).sum()
    }

    /// Entries that each of its indexes was given since statistics began.
    pub fn writes(&self) -> i64 {
        self.0.iter().map(|node| node.writes).sum()
    }

    pub fn name(&self) -> Option<&Qualified> {
        self.0.first().map(|node| &node.name)
    }

    /// A new index with these columns; `list` is what stands in parentheses. On a partitioned table each partition's is
    /// built without keeping writers out, and attached then.
    pub fn create(&self, columns: &[String], list: &str, names: &Names) -> Result<Option<Creation>> {
        let Some(top) = self.0.first() else { return Ok(None) };
        let name = names.choose(&top.name, columns)?;
        let is_plain = top.relkind != "p";
        // A foreign table has no index to attach; the server passes over it only when it builds all at once.
        let at_once = !is_plain && self.0.iter().any(|node| node.relkind == "f");
        let concurrently = if is_plain { "CONCURRENTLY " } else { "" };
        let ddl = match is_plain || at_once {
            true => {
                let table = top.name.sql();
                vec![format!("CREATE INDEX {concurrently}{} ON {table} ({list})", identifier(&name.name))]
            }
            false => {
                let how = How { unique: "", rest: &format!(" ({list})"), columns, constraint: None };
                let only = how.creation(top, &name);
                let parts = self.parts(top, &name, &how, names)?;
                std::iter::once(only).chain(parts).collect()
            }
        };
        let undo = vec![format!("DROP INDEX {concurrently}{}", name.sql())];
        Ok(Some(Creation { name, ddl, undo }))
    }

    /// The statements that give the parts of `parent` that have none an index, and attach them to `parent_index`.
    fn parts(
        &self,
        parent: &Node,
        parent_index: &Qualified,
        how: &How,
        names: &Names,
    ) -> Result<Vec<String>> {
        let mut statements = Vec::new();
        for node in self.lacking(parent) {
            let index = names.choose(&node.name, how.columns)?;
            statements.push(how.creation(node, &index));
            statements.extend(how.constraint(node, &index));
            statements.extend(self.parts(node, &index, how, names)?);
            statements.push(attachment(parent_index, &index));
        }
        Ok(statements)
    }

    fn lacking(&self, parent: &Node) -> impl Iterator<Item = &Node> {
        let parent = parent.oid;
        self.0.iter().filter(move |node| node.parent == Some(parent) && !node.has_attached)
    }
}

/// How an index of each part of a table is made.
struct How<'index> {
    /// `UNIQUE ` or nothing.
    unique: &'index str,
    /// What follows the table's name.
    rest: &'index str,
    columns: &'index [String],
    /// Of the constraint that each index must be of.
    constraint: Option<&'index Constraint>,
}

/// A primary key or unique constraint.
struct Constraint {
    kind: String,
    definition: String,
}

impl How<'_> {
    fn creation(&self, node: &Node, index: &Qualified) -> String {
        let (unique, rest) = (self.unique, self.rest);
        let (index, table) = (identifier(&index.name), node.name.sql());
        match self.constraint {
            // The server makes no constraint of a partitioned index that is there.
            Some(constraint) if node.relkind == "p" => {
                format!("ALTER TABLE ONLY {table} ADD CONSTRAINT {index} {}", constraint.definition)
            }
            _ if node.relkind == "p" => format!("CREATE {unique}INDEX {index} ON ONLY {table}{rest}"),
            _ => format!("CREATE {unique}INDEX CONCURRENTLY {index} ON {table}{rest}"),
        }
    }

    fn constraint(&self, node: &Node, index: &Qualified) -> Option<String> {
        let constraint = self.constraint.filter(|_| node.relkind != "p")?;
        let (kind, index) = (&constraint.kind, identifier(&index.name));
        Some(format!("ALTER TABLE {} ADD CONSTRAINT {index} {kind} USING INDEX {index}", node.name.sql()))
    }
}

/// Partitioned indexes that are invalid because partitions lack theirs.
pub fn completions(findings: &[Finding], names: &Names) -> Result<Vec<Advice>> {
    let mut advice = Vec::new();
    for finding in findings.iter().filter(|finding| finding.fault == Fault::Childless) {
        let Some(oid) = finding.index else { continue };
        let trees = definition::read(vec![oid])?;
        let tables = tables(vec![finding.table.0], Some(oid))?;
        let index = trees.get(&oid).and_then(definition::Tree::top);
        if let (Some(index), Some(table)) = (index, tables.get(&finding.table.0)) {
            advice.extend(completion(index, table, names)?);
        }
    }
    Ok(advice)
}

fn completion(index: &Index, table: &Table, names: &Names) -> Result<Option<Advice>> {
    let definition = index.definition.as_deref().and_then(nameless);
    let (Some(top), Some((_, after))) = (table.0.first(), definition) else { return Ok(None) };
    let Some(rest) = after.strip_prefix(&format!(" ON ONLY {}", top.name.sql())) else { return Ok(None) };
    let lacking: Vec<String> = table.lacking(top).map(|node| node.name.sql()).collect();
    // A foreign table can have no unique index; one of its kind is never complete.
    if lacking.is_empty() || table.lacking(top).any(|node| node.relkind == "f") {
        return Ok(None);
    }
    let (columns, constraint) = facts(index.oid)?;
    let unique = if index.is_unique { "UNIQUE " } else { "" };
    let how = How { unique, rest, columns: &columns, constraint: constraint.as_ref() };
    Ok(Some(Advice {
        kind: Kind::InvalidToComplete,
        table: index.table,
        object: index.name.sql(),
        ddl: table.parts(top, &index.name, &how, names)?,
        // Without its parts the index would be invalid again.
        undo: None,
        reason: format!("invalid: these partitions have no index attached to it: {}", lacking.join(", ")),
        bytes: None,
        write_cost: None,
        gain: None,
        columns,
        rank: 0.0,
    }))
}

/// The names of an index's columns, and the constraint that it is of.
fn facts(index: pg_sys::Oid) -> Result<(Vec<String>, Option<Constraint>)> {
    let found = spi::read_one(
        "SELECT ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 ORDER BY a.attnum),
                CASE o.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, pg_catalog.pg_get_constraintdef(o.oid)
         FROM (VALUES (1)) one
         LEFT JOIN pg_catalog.pg_constraint o ON o.conindid = $1 AND o.contype IN ('p', 'u')",
        &[index.into()],
        |row| {
            let constraint = row.get::<String>(2)?.zip(row.get::<String>(3)?);
            let constraint = constraint.map(|(kind, definition)| Constraint { kind, definition });
            Ok((row.get::<Vec<String>>(1)?.unwrap_or_default(), constraint))
        },
    )?;
    Ok(found.unwrap_or_default())
}
