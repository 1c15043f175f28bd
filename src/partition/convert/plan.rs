//! What a conversion would do, for a person to read.

use pgrx::JsonB;

use super::course::Request;
use super::source::Source;
use super::{copy, options, prepare, swap};
use crate::partition::manage;
use crate::partition::recipe::{Recipe, Statement};
use crate::pg::error::Result;
use crate::pg::name::{self, Qualified};
use crate::pg::spi;

pub struct Row {
    pub step: &'static str,
    pub ddl: Option<String>,
    pub lock: Option<String>,
    pub note: Option<String>,
}

impl Row {
    fn ddl(step: &'static str, ddl: impl ToString) -> Self {
        Self { step, ddl: Some(ddl.to_string()), lock: None, note: None }
    }

    fn note(step: &'static str, note: String) -> Self {
        Self { step, ddl: None, lock: None, note: Some(note) }
    }

    fn with_lock(mut self, lock: String) -> Self {
        self.lock = Some(lock);
        self
    }

    fn with_note(mut self, note: &str) -> Self {
        self.note = Some(note.to_owned());
        self
    }
}

/// Run in order, the statements do by hand what partition_table does, if nobody writes meanwhile.
///
/// Errors: those of partition_table.
pub fn plan(request: &Request) -> Result<Vec<Row>> {
    let options = request.options()?;
    let source = Source::of(request.table, &request.column, options.weaker_keys)?;
    source.parent.check_owner()?;
    source.check()?;
    let wanted = request.wanted()?;
    manage::check(&wanted)?;
    let mut rows: Vec<Row> =
        prepare::empty_table(&source)?.iter().map(|statement| Row::ddl("create", statement)).collect();
    if options.weaker_keys {
        let note =
            "weaker_keys: unique keys without the column are widened by it, and unique only together with it";
        rows.push(Row::note("create", note.into()));
    }
    let leaves = prepare::leaves(&source.set(&wanted)?)?;
    let storage = manage::storage_of(&wanted, Some(source.parent.table.0))?;
    let recipe = Recipe::after(&source.parent, None, &storage)?.of_copy(&source.target);
    let partitions = prepare::partitions(&source, &recipe, &leaves);
    let joined =
        |statements: &[Statement]| statements.iter().map(ToString::to_string).collect::<Vec<_>>().join(";\n");
    rows.extend(partitions.iter().map(|(_, statements)| Row::ddl("partition", joined(statements))));
    if let Some(default) = rows.pop() {
        rows.push(default.with_note("takes rows that have no partition: NULL, infinite, far ahead"));
    }
    rows.extend(copy_rows(&source, options.batch_rows)?);
    let names: Vec<Qualified> = partitions.into_iter().map(|(name, _)| name).collect();
    rows.extend(swap_rows(&source, &names)?);
    rows.extend(finish_rows(&source, &names)?);
    if let Some(owner) = another_owner(&source)? {
        rows.insert(0, Row::ddl("create", format!("SET ROLE {owner}")));
        rows.push(Row::ddl("finish", "RESET ROLE"));
    }
    rows.push(managed(request, &source)?);
    let note = format!("{} is kept: drop it when nobody needs it any more", source.old().sql());
    rows.push(Row::note("finish", note));
    Ok(rows)
}

/// The table's owner, unless it is the caller.
fn another_owner(source: &Source) -> Result<Option<String>> {
    let sql = "SELECT nullif(pg_catalog.pg_get_userbyid($1), CURRENT_USER)::text";
    let owner = spi::read_value::<String>(sql, &[source.parent.owner.into()])?;
    Ok(owner.map(|owner| name::identifier(&owner)))
}

fn copy_rows(source: &Source, batch: i64) -> Result<Vec<Row>> {
    let lock = format!("SHARE ROW EXCLUSIVE on {}", source.parent.name.sql());
    let capture = prepare::capture(source, &source.written_down()?)?;
    let mut rows: Vec<Row> =
        capture.into_iter().map(|sql| Row::ddl("capture", sql).with_lock(lock.clone())).collect();
    let note = format!("about {batch} rows at a time, by their blocks, each time in a transaction");
    rows.push(Row::ddl("copy", copy::copy_sql(source)?).with_note(&note));
    rows.push(Row::ddl("analyze", format!("ANALYZE {}", source.target.sql())));
    let note = "the rows that changed meanwhile, again and again until few are left";
    rows.push(Row::ddl("apply", copy::apply_sql(source, None)?).with_note(note));
    Ok(rows)
}

fn swap_rows(source: &Source, leaves: &[Qualified]) -> Result<Vec<Row>> {
    let mut locks = Vec::new();
    for (relation, mode) in swap::others(source)? {
        locks.push(format!("{} on {}", mode.name(), name::of(relation)?.sql()));
    }
    locks.push(format!("ACCESS EXCLUSIVE on {}", source.parent.name.sql()));
    let mut rows = vec![
        Row::ddl("swap", "BEGIN")
            .with_lock(locks.join("; "))
            .with_note("each lock is asked for in short turns"),
    ];
    let dependents = source.dependents()?.into_iter().map(|it| it.statement);
    let statements = prepare::end_capture(source).into_iter().chain(source.statements()?.swap);
    rows.extend(statements.chain(dependents).map(|sql| Row::ddl("swap", sql)));
    let keys = swap::leaf_keys(leaves, &swap::own_keys(source.parent.table)?);
    rows.extend(keys.into_iter().map(|sql| Row::ddl("swap", sql).with_note("enforced from then on")));
    rows.push(Row::ddl("swap", "COMMIT"));
    Ok(rows)
}

fn finish_rows(source: &Source, leaves: &[Qualified]) -> Result<Vec<Row>> {
    let table = source.parent.name.sql();
    let validate = |table: &Qualified, constraint: &str| {
        let ddl = format!("ALTER TABLE {} VALIDATE CONSTRAINT {}", table.sql(), name::identifier(constraint));
        Row::ddl("finish", ddl).with_lock(format!("SHARE UPDATE EXCLUSIVE on {}", table.sql()))
    };
    let mut rows = Vec::new();
    for key in swap::own_keys(source.parent.table)? {
        rows.extend(leaves.iter().map(|leaf| validate(leaf, &key.name)));
        let add =
            format!("ALTER TABLE {table} ADD CONSTRAINT {} {}", name::identifier(&key.name), key.definition);
        let lock = format!("SHARE ROW EXCLUSIVE on {table} and the table that it refers to");
        rows.push(Row::ddl("finish", add).with_lock(lock));
    }
    for (other, constraint) in swap::other_keys(source.parent.table)? {
        rows.push(validate(&name::of(other)?, &constraint));
    }
    Ok(rows)
}

fn managed(request: &Request, source: &Source) -> Result<Row> {
    let mut options = request.options.clone();
    if let Some(options) = options.as_object_mut() {
        options.retain(|option, _| !options::OWN.contains(&option.as_str()));
    }
    let sql = "SELECT pg_catalog.format('SELECT opdb.manage_partitions(%L, every => %L, premake => %s, timezone => %L, options => %L)',
                                        $1, $2, $3, $4, $5::text)";
    let arguments = [
        source.parent.name.sql().into(),
        request.every.into(),
        request.premake.into(),
        request.timezone.as_str().into(),
        JsonB(options).into(),
    ];
    Ok(Row::ddl("finish", spi::read_value::<String>(sql, &arguments)?.unwrap_or_default()))
}
