//! What a conversion would do, for a person to read.

use super::source::Source;
use super::{Request, prepare, swap};
use crate::partition::manage;
use crate::pg::error::Result;
use crate::pg::name;

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

/// Errors: those of partition_table.
pub fn plan(request: &Request) -> Result<Vec<Row>> {
    let options = request.options()?;
    let source = Source::of(request.table, &request.column, options.weaker_keys)?;
    source.parent.check_owner()?;
    source.check()?;
    let wanted = request.wanted()?;
    manage::check(&wanted)?;
    let leaves = prepare::leaves(&source.set(&wanted)?)?;
    let (table, target) = (source.parent.name.sql(), source.target.sql());
    let mut rows: Vec<Row> =
        prepare::empty_table(&source)?.iter().map(|statement| Row::ddl("create", statement)).collect();
    if options.weaker_keys {
        let note =
            "weaker_keys: unique keys without the column are widened by it, and unique only together with it";
        rows.push(Row::note("create", note.into()));
    }
    for leaf in leaves {
        let name = leaf.name.sql();
        let ddl = format!(
            "CREATE TABLE {name} (LIKE {target} INCLUDING ALL EXCLUDING IDENTITY);\nALTER TABLE {target} ATTACH PARTITION {name} FOR VALUES FROM ('{}') TO ('{}')",
            leaf.lower, leaf.upper
        );
        rows.push(
            Row::ddl("partition", ddl).with_note("with the privileges, policies and storage of the table"),
        );
    }
    let default = prepare::default_name(&source).sql();
    let ddl = format!("ALTER TABLE {target} ATTACH PARTITION {default} DEFAULT");
    rows.push(
        Row::ddl("partition", ddl).with_note("takes rows that have no partition: NULL, infinite, far ahead"),
    );
    let lock = format!("SHARE ROW EXCLUSIVE on {table}");
    let capture = prepare::capture(&source, &source.key()?);
    rows.extend(capture.into_iter().map(|sql| Row::ddl("capture", sql).with_lock(lock.clone())));
    rows.push(Row::note(
        "copy",
        format!("all rows, {} at a time, each time in a transaction", options.batch_rows),
    ));
    rows.push(Row::note("apply", "rows whose keys were written down meanwhile, until few are left".into()));
    rows.extend(swap_rows(&source)?);
    let note = format!("{} is kept: drop it when nobody needs it any more", source.old().sql());
    rows.push(Row::note("finish", note));
    Ok(rows)
}

fn swap_rows(source: &Source) -> Result<Vec<Row>> {
    let mut locks = Vec::new();
    for (relation, mode) in swap::others(source)? {
        locks.push(format!("{} on {}", mode.name(), name::of(relation)?.sql()));
    }
    locks.push(format!("ACCESS EXCLUSIVE on {}", source.parent.name.sql()));
    let mut rows = vec![
        Row::note("swap", "one transaction; each lock is asked for in short turns".into())
            .with_lock(locks.join("; ")),
    ];
    rows.extend(prepare::end_capture(source).into_iter().map(|sql| Row::ddl("swap", sql)));
    rows.extend(source.statements()?.swap.into_iter().map(|sql| Row::ddl("swap", sql)));
    rows.extend(source.dependents()?.into_iter().map(|it| Row::ddl("swap", it.statement)));
    let table = source.parent.name.sql();
    for key in swap::own_keys(source.parent.table)? {
        let constraint = name::identifier(&key.name);
        let add = format!("ADD CONSTRAINT {constraint} {}", key.definition);
        rows.push(
            Row::ddl("swap", format!("ALTER TABLE … {add} NOT VALID"))
                .with_note("of each partition: enforced from then on"),
        );
        rows.push(
            Row::ddl("finish", format!("ALTER TABLE … VALIDATE CONSTRAINT {constraint}"))
                .with_lock("SHARE UPDATE EXCLUSIVE on a partition".into()),
        );
        rows.push(
            Row::ddl("finish", format!("ALTER TABLE {table} {add}"))
                .with_lock(format!("SHARE ROW EXCLUSIVE on {table} and the table that it refers to")),
        );
    }
    for (other, constraint) in swap::other_keys(source.parent.table)? {
        let ddl = format!(
            "ALTER TABLE {} VALIDATE CONSTRAINT {}",
            name::of(other)?.sql(),
            name::identifier(&constraint)
        );
        rows.push(Row::ddl("finish", ddl).with_lock("SHARE UPDATE EXCLUSIVE".into()));
    }
    Ok(rows)
}
