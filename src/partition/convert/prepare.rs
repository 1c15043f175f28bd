//! The new table, and what keeps account of changes to the old one while it is copied.

use opdb_core::partition::{Range, name};

use super::error::ConvertError;
use super::options::ConvertOptions;
use super::source::{KeyColumn, Source};
use super::state::{self, Begun, File};
use crate::partition::error::PartitionError;
use crate::partition::manage::{self, Wanted};
use crate::partition::parent::Parent;
use crate::partition::recipe::{Lock, Recipe, Statement};
use crate::partition::set::Set;
use crate::partition::{run, stray};
use crate::pg::error::Result;
use crate::pg::lock::{self, Mode};
use crate::pg::name::{MAX_IDENTIFIER_BYTES, Qualified, identifier, literal};
use crate::pg::spi;
use crate::pg::types::Regclass;

const MOST_PARTITIONS: usize = 1000;

/// What is written down, and where a trigger finds the rows.
const EVENTS: [(&str, &str); 3] = [
    ("INSERT", "NEW TABLE AS new_rows"),
    ("UPDATE", "OLD TABLE AS old_rows NEW TABLE AS new_rows"),
    ("DELETE", "OLD TABLE AS old_rows"),
];

/// A partition that the rows, or those to come, need.
pub struct Leaf {
    pub name: Qualified,
    pub lower: String,
    pub upper: String,
}

/// Makes the new table and begins to write down what changes in the old one, in one transaction. The old table is
/// locked against writers only at the end of it.
pub fn prepare(
    source: &Source,
    wanted: &Wanted,
    options: &ConvertOptions,
    stored: &serde_json::Value,
) -> Result<()> {
    run::alone(source.parent.table)?;
    manage::check(wanted)?;
    lock::against_alter(source.parent.table);
    lock::still(source.parent.table, &source.parent.name)?;
    source.check()?;
    let set = source.set(wanted)?;
    let leaves = leaves(&set)?;
    let definition = source.definition()?;
    let storage = manage::storage_of(wanted, Some(source.parent.table.0))?;
    run::as_owner(source.parent.owner, || create(source, &leaves, &storage))?;
    let (table, limit) = (source.parent.table, std::time::Duration::from_secs(options.wait_seconds as u64));
    if !lock::in_turns(table, Mode::ShareRow, limit)? {
        let blockers = lock::holders(table)?;
        let relation = source.parent.name.sql();
        return Err(PartitionError::Locked { relation, seconds: limit.as_secs(), blockers }.into());
    }
    if source.definition()? != definition {
        return Err(ConvertError::Altered(source.parent.name.sql()).into());
    }
    let columns = source.written_down()?;
    run::as_owner(source.parent.owner, || {
        capture(source, &columns)?.iter().try_for_each(|sql| spi::write(sql, &[]).map(drop))
    })?;
    let begun = Begun { definition, captured: captured(table)?, file: state::file_of(table)? };
    state::begin(source, wanted, stored, &begun)
}

/// Where a rewritten table is copied from.
pub fn file(table: Regclass) -> Result<File> {
    lock::against_alter(table);
    state::file_of(table)
}

/// The partitions that the rows need, except those of rows ahead of what is made ahead, which stay in the default
/// partition, and those that are made ahead.
///
/// Errors: 22023 if they are too many.
pub fn leaves(set: &Set) -> Result<Vec<Leaf>> {
    let parent = &set.parent;
    let strays = stray::count(set, &parent.name, parent.owner)?;
    let now = match set.key.is_time() {
        true => set.clock(),
        false => strays.rows.keys().next_back().map_or(0, |last| last.lower),
    };
    let ahead = std::iter::successors(set.grid.range_at(now), |range| set.grid.after(*range));
    let mut ranges: std::collections::BTreeSet<Range> = ahead.take(set.premake + 1).collect();
    let horizon = ranges.iter().next_back().map_or(i64::MAX, |last| last.upper);
    ranges.extend(strays.rows.keys().copied().filter(|range| range.upper <= horizon));
    if ranges.len() > MOST_PARTITIONS.max(set.premake + 1) {
        let (table, partitions) = (parent.name.sql(), ranges.len());
        return Err(ConvertError::TooMany { table, partitions }.into());
    }
    let leaf = |range| {
        let name = parent.name.sibling(name(&parent.name.name, &set.grid, range, MAX_IDENTIFIER_BYTES));
        set.bounds(range, 0).map(|(lower, upper)| Leaf { name, lower, upper })
    };
    Ok(ranges.into_iter().filter_map(leaf).collect())
}

fn default_name(source: &Source) -> Qualified {
    let own = &source.parent.name;
    let name = match own.name.len() {
        ..=55 => format!("{}_default", own.name),
        _ => format!("opdb_default_{}", source.parent.table.0.to_u32()),
    };
    own.sibling(name)
}

/// The statements that make the new table without partitions.
pub fn empty_table(source: &Source) -> Result<Vec<Statement>> {
    let mut statements: Vec<Statement> =
        source.statements()?.create.into_iter().map(Statement::Sql).collect();
    let parent = Parent::to_be(source.parent.table, &source.parent.column.name)?;
    let rest = Recipe::after(&parent, None, &[])?.create(&source.target);
    // Its first statement makes the table, as LIKE would.
    let rest = rest.into_iter().skip(1);
    let place = 1.min(statements.len());
    statements.splice(place..place, rest);
    Ok(statements)
}

fn create(source: &Source, leaves: &[Leaf], storage: &[String]) -> Result<()> {
    Statement::run_all(&empty_table(source)?)?;
    let recipe = Recipe::after(&Parent::get(target(source)?)?, None, storage)?;
    for (_, statements) in partitions(source, &recipe, leaves) {
        Statement::run_all(&statements)?;
    }
    Ok(())
}

/// The statements that make each partition, the default one last.
pub fn partitions(source: &Source, recipe: &Recipe, leaves: &[Leaf]) -> Vec<(Qualified, Vec<Statement>)> {
    let made = |name: &Qualified, attached: Vec<Statement>| {
        (name.clone(), recipe.create(name).into_iter().chain(attached).collect())
    };
    let default = default_name(source);
    let of_leaf = |leaf: &Leaf| made(&leaf.name, recipe.attach(&leaf.name, &leaf.lower, &leaf.upper));
    let of_default = made(&default, recipe.attach_default(&default));
    leaves.iter().map(of_leaf).chain([of_default]).collect()
}

pub fn target(source: &Source) -> Result<Regclass> {
    crate::pg::name::find(&source.target.sql())
}

/// The statements that write down these columns of changed rows from now on. The function belongs to the table's owner
/// and needs nothing of opdb or of the writer's. It fires in every session, that of a replica, too.
pub fn capture(source: &Source, columns: &[KeyColumn]) -> Result<Vec<String>> {
    let (table, changes) = (source.parent.name.sql(), source.changes.sql());
    let function = source.capture.sql();
    let listed = Source::listed(columns);
    let defined: Vec<String> = columns.iter().map(|it| format!("{} {}", it.name, it.definition)).collect();
    let take = |rows: &str| format!("INSERT INTO {changes} ({listed}) SELECT {listed} FROM {rows};");
    // Columns may be called like the variables of a trigger function.
    let body = format!(
        "#variable_conflict use_column
BEGIN
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        {}
    END IF;
    IF TG_OP IN ('UPDATE', 'INSERT') THEN
        {}
    END IF;
    RETURN NULL;
END",
        take("old_rows"),
        take("new_rows")
    );
    let mut statements = vec![
        format!(
            "CREATE TABLE {changes} (opdb_change bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {})",
            defined.join(", ")
        ),
        format!("REVOKE ALL ON {changes} FROM {}", preferred(source)?.join(", ")),
        format!(
            "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
             SET search_path = pg_catalog, pg_temp AS {}",
            literal(&body)
        ),
        format!("REVOKE ALL ON FUNCTION {function}() FROM PUBLIC"),
    ];
    for (event, tables) in EVENTS {
        let trigger = identifier(trigger_name(event));
        statements.push(format!(
            "CREATE TRIGGER {trigger} AFTER {event} ON {table} REFERENCING {tables} FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        ));
        statements.push(format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}"));
    }
    Ok(statements)
}

/// Everybody, and the roles to whom the owner's new tables are open without his saying so.
fn preferred(source: &Source) -> Result<Vec<String>> {
    let roles = spi::read_now(
        "SELECT DISTINCT pg_catalog.quote_ident(r.rolname)
         FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) a
         JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
         WHERE d.defaclrole = $1 AND d.defaclobjtype = 'r' AND r.oid <> $1 ORDER BY 1",
        &[source.parent.owner.into()],
        |row| spi::known::<String>(&row, 1),
    )?;
    Ok(["PUBLIC".to_owned()].into_iter().chain(roles).collect())
}

/// What writes changes down, as it is now; None if something of it is missing or switched off. It is another value when
/// anything was altered meanwhile, even if it is as before: a load may have switched the triggers off and on again.
pub fn captured(source: Regclass) -> Result<Option<String>> {
    let sql =
        "SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', t.oid, t.xmin, f.xmin), ',' ORDER BY t.oid)
               FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid
               WHERE t.tgrelid = $1 AND t.tgname = ANY ($2) AND t.tgenabled = 'A' HAVING count(*) = 3";
    let names: Vec<String> = EVENTS.into_iter().map(|(event, _)| trigger_name(event)).collect();
    Ok(spi::read_one_now(sql, &[source.into(), names.into()], |row| row.get::<String>(1))?.flatten())
}

/// Has changes written down again, from now on.
pub fn capture_again(source: &Source) -> Result<()> {
    let (relation, name) = (source.parent.table, source.parent.name.clone());
    let table = name.sql();
    Statement::Lock(Lock { relation, name, mode: Mode::ShareRow }).run()?;
    run::as_owner(source.parent.owner, || {
        EVENTS.into_iter().try_for_each(|(event, _)| {
            let trigger = identifier(trigger_name(event));
            spi::write(&format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}"), &[]).map(drop)
        })
    })
}

fn trigger_name(event: &str) -> String {
    format!("opdb_capture_{}", event.to_lowercase())
}

/// The statements that end it.
pub fn end_capture(source: &Source) -> Vec<String> {
    let table = source.parent.name.sql();
    let trigger = |(event, _): (&str, _)| {
        format!("DROP TRIGGER IF EXISTS {} ON {table}", identifier(trigger_name(event)))
    };
    let mut statements: Vec<String> = EVENTS.into_iter().map(trigger).collect();
    statements.push(format!("DROP FUNCTION IF EXISTS {}()", source.capture.sql()));
    statements.push(format!("DROP TABLE IF EXISTS {}", source.changes.sql()));
    statements
}
