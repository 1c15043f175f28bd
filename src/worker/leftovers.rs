//! What an interrupted statement of several transactions left: an index that is not valid, a partition half detached.
//! The next run clears it away first; IF NOT EXISTS would take it for done.

use crate::pg::error::Result;
use crate::pg::statement::{Leaves, Reindexed};
use crate::pg::types::Regclass;
use crate::pg::{lock, spi};

/// What is to be run first.
#[derive(Default)]
pub struct Repaired {
    pub statements: Vec<String>,
    /// Nothing is left to do for the statement itself.
    pub is_done: bool,
}

/// What such a statement has left. Where somebody else is at work on the table, nothing is a leftover.
pub fn find(leaves: &Leaves) -> Result<Repaired> {
    match leaves {
        Leaves::Nothing => Ok(Repaired::default()),
        Leaves::Index { table, name, columns } => {
            let invalid = of_index(table, name.as_deref(), columns.as_deref())?;
            Ok(Repaired { statements: drop_all(invalid)?, is_done: false })
        }
        Leaves::Reindexed(what) => Ok(Repaired { statements: drop_all(of_reindex(what)?)?, is_done: false }),
        Leaves::Partition { parent, partition } => of_detach(parent, partition),
    }
}

/// An index that is not valid, its table, and how SQL calls it.
type Invalid = (Regclass, Regclass, String);

const INVALID: &str = "SELECT i.indexrelid::pg_catalog.regclass, i.indrelid::pg_catalog.regclass,
        pg_catalog.format('%I.%I', n.nspname, c.relname)
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT i.indisvalid AND NOT i.indisexclusion";

fn invalid(condition: &str, args: &[pgrx::datum::DatumWithOid<'_>]) -> Result<Vec<Invalid>> {
    let rows = spi::read(&format!("{INVALID} AND {condition} ORDER BY 3"), args, |row| {
        Ok((row.get::<Regclass>(1)?, row.get::<Regclass>(2)?, row.get::<String>(3)?))
    })?;
    Ok(rows.into_iter().filter_map(|(index, table, name)| Some((index?, table?, name?))).collect())
}

/// Without a name of its own, an index is known by its columns and by the kind of name that the server gives.
fn of_index(table: &str, name: Option<&str>, columns: Option<&[String]>) -> Result<Vec<Invalid>> {
    const OF_TABLE: &str = "i.indrelid = pg_catalog.to_regclass($1)";
    match (name, columns) {
        (Some(name), _) => {
            invalid(&format!("{OF_TABLE} AND c.relname = $2"), &[table.into(), name.into()])
        }
        (None, Some(columns)) => invalid(
            &format!(
                "{OF_TABLE} AND c.relname ~ '_idx[0-9]*$' AND i.indexprs IS NULL AND i.indpred IS NULL AND $2 = ARRAY(
                     SELECT a.attname::text FROM pg_catalog.unnest(i.indkey[:i.indnkeyatts - 1]) WITH ORDINALITY k (number, place)
                     JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
                     ORDER BY k.place)"
            ),
            &[table.into(), columns.to_vec().into()],
        ),
        (None, None) => Ok(Vec::new()),
    }
}

/// REINDEX CONCURRENTLY builds `…_ccnew` beside an index and drops what has become `…_ccold`.
fn of_reindex(what: &Reindexed) -> Result<Vec<Invalid>> {
    const BESIDE: &str = "c.relname ~ '_cc(new|old)[0-9]*$'";
    match what {
        Reindexed::Index(index) => invalid(
            &format!(
                "{BESIDE} AND i.indrelid = (SELECT indrelid FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass($1))"
            ),
            &[index.as_str().into()],
        ),
        Reindexed::Table(table) => invalid(
            &format!("{BESIDE} AND i.indrelid = pg_catalog.to_regclass($1)"),
            &[table.as_str().into()],
        ),
        Reindexed::Schema(schema) => {
            invalid(&format!("{BESIDE} AND n.nspname = $1"), &[schema.as_str().into()])
        }
        Reindexed::Database => invalid(BESIDE, &[]),
    }
}

/// The statements that drop them. Whoever builds an index holds a lock on its table: an index whose table can be
/// locked, and that is still not valid then, nobody builds.
fn drop_all(found: Vec<Invalid>) -> Result<Vec<String>> {
    let mut statements = Vec::new();
    for (index, table, name) in found {
        let is_left = lock::as_builder_if_free(table)
            && spi::read_one_now(
                "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = $1",
                &[index.into()],
                |row| row.get::<bool>(1),
            )?
            .flatten()
                == Some(false);
        if is_left {
            statements.push(format!("DROP INDEX CONCURRENTLY {name}"));
        }
    }
    Ok(statements)
}

fn of_detach(parent: &str, partition: &str) -> Result<Repaired> {
    let is_pending = spi::read_value::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits
                        WHERE inhparent = pg_catalog.to_regclass($1) AND inhrelid = pg_catalog.to_regclass($2)
                          AND inhdetachpending)",
        &[parent.into(), partition.into()],
    )?;
    Ok(match is_pending {
        Some(true) => Repaired {
            statements: vec![format!("ALTER TABLE {parent} DETACH PARTITION {partition} FINALIZE")],
            is_done: true,
        },
        _ => Repaired::default(),
    })
}
