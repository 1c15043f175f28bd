//! How indexes are made, and the statements that drop them and bring them back.

use std::collections::HashMap;

use pgrx::pg_sys;
use pgrx::spi::SpiHeapTupleData;

use crate::pg::error::Result;
use crate::pg::name::{Qualified, identifier, literal};
use crate::pg::spi;
use crate::pg::types::Regclass;

/// An index, or a part of a partitioned one.
pub struct Index {
    pub oid: pg_sys::Oid,
    parent: Option<pg_sys::Oid>,
    pub table: Regclass,
    pub name: Qualified,
    is_partitioned: bool,
    /// None while another session holds the table.
    pub definition: Option<String>,
    /// The end of the definition, from WHERE on.
    condition: Option<String>,
    tablespace: Option<String>,
    comment: Option<String>,
    statistics: Vec<String>,
    extensions: Vec<String>,
    bytes: Option<i64>,
    writes: Option<i64>,
    pub has_expressions: bool,
    pub is_exclusion: bool,
    pub is_unique: bool,
}

/// An index with its parts, each after its parent.
pub struct Tree(Vec<Index>);

/// Describes indexes by their OIDs; one that is gone is left out.
pub fn read(indexes: Vec<pg_sys::Oid>) -> Result<HashMap<pg_sys::Oid, Tree>> {
    if indexes.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = include_str!("../../../sql/maintain/index_descriptions.sql");
    let rows = super::attempts(|| spi::read(sql, &[indexes.clone().into()], index))?;
    let mut trees: HashMap<pg_sys::Oid, Tree> = HashMap::new();
    for (root, index) in rows.into_iter().flatten() {
        trees.entry(root).or_insert_with(|| Tree(Vec::new())).0.push(index);
    }
    Ok(trees)
}

fn index(row: SpiHeapTupleData) -> pgrx::spi::Result<Option<(pg_sys::Oid, Index)>> {
    let (Some(root), Some(oid), Some(table)) = (row.get(1)?, row.get(2)?, row.get::<pg_sys::Oid>(4)?) else {
        return Ok(None);
    };
    let flag = |column| row.get::<bool>(column).map(|flag| flag.unwrap_or(false));
    let index = Index {
        oid,
        parent: row.get(3)?,
        table: Regclass(table),
        name: Qualified { schema: row.get(5)?.unwrap_or_default(), name: row.get(6)?.unwrap_or_default() },
        is_partitioned: flag(7)?,
        definition: row.get(8)?,
        condition: row.get(9)?,
        tablespace: row.get(10)?,
        comment: row.get(11)?,
        statistics: row.get(12)?.unwrap_or_default(),
        extensions: row.get(13)?.unwrap_or_default(),
        bytes: row.get(14)?,
        writes: row.get(15)?,
        has_expressions: flag(16)?,
        is_exclusion: flag(17)?,
        is_unique: flag(18)?,
    };
    Ok(Some((root, index)))
}

impl Tree {
    pub fn top(&self) -> Option<&Index> {
        self.0.first()
    }

    /// None if one of them is not known.
    pub fn bytes(&self) -> Option<i64> {
        self.0.iter().map(|index| index.bytes).sum()
    }

    /// Entries that its tables' writes made since statistics began.
    pub fn writes(&self) -> Option<i64> {
        self.0.iter().map(|index| index.writes).sum()
    }

    /// What makes it anew, exactly, one statement each. None while it cannot be described.
    pub fn creation(&self) -> Option<Vec<String>> {
        let mut statements = Vec::new();
        for index in &self.0 {
            statements.push(index.creation()?);
            statements.extend(index.properties());
        }
        // From the leaves up: a partitioned index becomes valid with its last part.
        for index in self.0.iter().rev() {
            let parent = index.parent.and_then(|oid| self.0.iter().find(|parent| parent.oid == oid));
            statements.extend(parent.map(|parent| attachment(&parent.name, &index.name)));
        }
        Some(statements)
    }
}

impl Index {
    pub fn drop_statement(&self) -> String {
        // The server drops a partitioned one in one go only.
        let concurrently = if self.is_partitioned { "" } else { "CONCURRENTLY " };
        format!("DROP INDEX {concurrently}{}", self.name.sql())
    }

    /// For a leaf only.
    pub fn rebuild_statement(&self) -> String {
        // The server rebuilds that of an exclusion constraint in no other way.
        let concurrently = if self.is_exclusion { "" } else { "CONCURRENTLY " };
        format!("REINDEX INDEX {concurrently}{}", self.name.sql())
    }

    fn creation(&self) -> Option<String> {
        let (definition, condition) = (self.definition.as_deref()?, self.condition.as_deref()?);
        let placed = match &self.tablespace {
            Some(tablespace) => {
                let head = definition.strip_suffix(condition)?;
                format!("{head} TABLESPACE {}{condition}", identifier(tablespace))
            }
            None => definition.to_owned(),
        };
        Some(match self.is_partitioned {
            true => placed,
            false => placed.replacen(" INDEX ", " INDEX CONCURRENTLY ", 1),
        })
    }

    /// What the definition does not say.
    fn properties(&self) -> Vec<String> {
        let name = self.name.sql();
        let comment =
            self.comment.iter().map(|comment| format!("COMMENT ON INDEX {name} IS {}", literal(comment)));
        let statistics = self.statistics.iter().map(|statistics| format!("ALTER INDEX {name} {statistics}"));
        let extensions = self.extensions.iter();
        let extensions = extensions
            .map(|extension| format!("ALTER INDEX {name} DEPENDS ON EXTENSION {}", identifier(extension)));
        comment.chain(statistics).chain(extensions).collect()
    }
}

/// Whether a definition is of a unique index, and what it says after the index's name: the same for every index that is
/// made like this one.
pub fn nameless(definition: &str) -> Option<(bool, &str)> {
    let rest = definition.strip_prefix("CREATE ")?;
    let (is_unique, rest) = match rest.strip_prefix("UNIQUE ") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let name = rest.strip_prefix("INDEX ")?;
    // A quote in a quoted name is doubled, so the quotes before the name's end are even in number.
    let mut is_quoted = false;
    let end = name.find(|letter| {
        is_quoted ^= letter == '"';
        letter == ' ' && !is_quoted
    })?;
    Some((is_unique, &name[end..]))
}

pub fn attachment(parent: &Qualified, part: &Qualified) -> String {
    format!("ALTER INDEX {} ATTACH PARTITION {}", parent.sql(), part.sql())
}
