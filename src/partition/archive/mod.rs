//! Partitions that retention moves to another server, where a foreign table takes their place.
//!
//! Two tasks, so that rows travel without a lock: *ship* copies them into a plain table there; *swap* makes sure under
//! a lock against writers that both sides have the same rows, and puts a foreign table in the partition's place.
//! Everything is done as the table's owner, with the owner's credentials: whoever runs maintenance lends the owner
//! nothing.

mod error;
pub mod shipment;

use pgrx::pg_sys;

use super::children::Partition;
use super::parent::Parent;
use super::recipe::Statement;
use super::retired::{self, Still};
use super::set::{Archive, RetentionAction};
use super::step::{Step, Steps, Then, lock, on_default};
use crate::pg::error::Result;
use crate::pg::lock::Mode;
use crate::pg::name::{self, Qualified};
use crate::pg::types::Regclass;
use crate::pg::{own, spi};
use error::ArchiveError;
use shipment::{Place, Shipment};

/// Errors: 0A000 if no partition of the table can be a foreign table, 42501 if the table's owner cannot use the
/// environment.
pub fn check(parent: &Parent, environment: &str) -> Result<()> {
    let why = spi::read_one_now(
        "SELECT coalesce(
            (SELECT pg_catalog.format('it has the unique index %s', i.indexrelid::pg_catalog.regclass)
             FROM pg_catalog.pg_index i WHERE i.indrelid = $1 AND i.indisunique LIMIT 1),
            (SELECT pg_catalog.format('it has the %s %I', w.what, k.conname)
             FROM pg_catalog.pg_constraint k
             JOIN (VALUES ('f', 'foreign key'), ('t', 'constraint trigger'), ('x', 'exclusion constraint')) w (type, what)
               ON w.type = k.contype::text
             WHERE k.conrelid = $1 LIMIT 1),
            (SELECT pg_catalog.format('it is referenced by the foreign key %I', k.conname)
             FROM pg_catalog.pg_constraint k WHERE k.confrelid = $1 AND k.contype = 'f' LIMIT 1))",
        &[parent.table.into()],
        |row| row.get::<String>(1),
    )?;
    match why.flatten() {
        Some(why) => Err(ArchiveError::NoForeignPartition { table: parent.name.sql(), why }.into()),
        None => check_owner(parent, environment),
    }
}

/// Errors: 42501 if the table's owner lacks the environment's server, or credentials for it.
fn check_owner(parent: &Parent, environment: &str) -> Result<()> {
    let found = spi::read_one_now(
        "SELECT r.rolname::text,
                pg_catalog.has_server_privilege(r.oid, s.oid, 'USAGE')
                AND pg_catalog.has_schema_privilege(r.oid, 'opdb', 'USAGE')
                AND pg_catalog.has_table_privilege(r.oid, 'opdb.environment', 'SELECT'),
                EXISTS (SELECT FROM pg_catalog.pg_user_mappings m WHERE m.srvid = s.oid AND m.umuser IN (r.oid, 0))
         FROM opdb.environment e
         JOIN pg_catalog.pg_foreign_server s ON s.srvname = e.server
         JOIN pg_catalog.pg_roles r ON r.oid = $2
         WHERE e.name = $1",
        &[environment.into(), parent.owner.into()],
        |row| Ok((row.get::<String>(1)?.unwrap_or_default(), row.get::<bool>(2)?, row.get::<bool>(3)?)),
    )?;
    match found {
        Some((_, Some(true), Some(true))) | None => Ok(()),
        Some((owner, may_use, _)) => Err(ArchiveError::OwnerCannotReach {
            table: parent.name.sql(),
            owner,
            environment: environment.to_owned(),
            lacks: if may_use == Some(true) { "credentials for" } else { "the right to use" },
        }
        .into()),
    }
}

/// The copying.
///
/// Errors: 55000 if it is on hold, or not expired any more.
pub fn ship(steps: &Steps, partition: pg_sys::Oid) -> Result<Step> {
    let (expired, place) = expired(steps, partition)?;
    let shipment = Shipment::of(&steps.look.set.parent, &expired, place)?;
    let mut step =
        Step::new("archive", Some(expired.name.clone()), vec![Statement::Ship(Box::new(shipment))])
            .over(expired.lower.clone(), expired.upper.clone());
    step.note = retired::shipped_at(partition)?
        .map(|at| format!("copied at {at} and not attached yet; copied again only if rows differ"));
    step.then = Then::Shipped(expired);
    Ok(step)
}

/// The taking of its place: one transaction, which a reader sees all of or nothing.
///
/// Errors: 55000 if it is not copied yet; those of [`ship`].
pub fn swap(steps: &Steps, partition: pg_sys::Oid) -> Result<Step> {
    let (expired, place) = expired(steps, partition)?;
    // An environment that could not be reached a moment ago is not asked again.
    if !steps.is_plan && retired::shipped_at(partition)?.is_none() {
        let environment = place.environment;
        return Err(ArchiveError::NotShipped { partition: expired.name.sql(), environment }.into());
    }
    if !steps.is_plan {
        check_older_transactions(&expired)?;
    }
    let parent = &steps.look.set.parent;
    let detail = format!("archived on environment {}", name::literal(&place.environment));
    let shipment = Shipment::of(parent, &expired, place)?;
    let table = expired.name.sql();
    let sql = |text: String| Statement::Sql(text);
    let all_of_it = tree(&expired)?;
    let locks = |mode| all_of_it.iter().map(move |(oid, name)| lock(*oid, name, mode));
    let mut statements: Vec<Statement> = locks(Mode::ShareRow).collect();
    let attach = shipment.create_foreign(parent);
    statements.push(Statement::Verify(Box::new(shipment)));
    statements.extend(steps.parent_locks(Mode::Access)?);
    statements.extend(steps.look.children.default.as_ref().map(|it| on_default(it, Mode::Access)));
    statements.extend(locks(Mode::Access));
    statements.push(Statement::Still(Still::partition(parent, &expired)));
    statements.push(sql(format!("ALTER TABLE {} DETACH PARTITION {table}", parent.name.sql())));
    // It leaves its name to the foreign table.
    statements.push(sql(format!("DROP TABLE {table}")));
    statements.push(sql(attach));
    statements.extend(steps.recipe()?.revoke(&expired.name));
    let mut step = Step::new("archive", Some(expired.name.clone()), statements)
        .over(expired.lower.clone(), expired.upper.clone());
    step.note = Some("while rows are compared, writers of the partition wait and readers go on".into());
    step.then = Then::Archived { partition: expired, detail };
    Ok(step)
}

/// postgres_fdw keeps one snapshot of the other server until a transaction here ends: one that is older than the copying
/// would find no rows there.
///
/// Errors: 55P03 while there is one.
fn check_older_transactions(partition: &Partition) -> Result<()> {
    let older = own::read_as_owner(|| {
        spi::read_one_now(
            "SELECT pg_catalog.string_agg(pg_catalog.format('process %s of role %s is in its transaction since %s', a.pid, a.usename, a.xact_start),
                                          '; ' ORDER BY a.xact_start)
             FROM pg_catalog.pg_stat_activity a JOIN opdb.retired_partition r ON r.partition = $1 AND a.xact_start <= r.retired_at
             WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
               AND a.backend_type IN ('client backend', 'background worker')",
            &[partition.table.0.into()],
            |row| row.get::<String>(1),
        )
    })?;
    match older.flatten() {
        Some(blockers) => {
            Err(ArchiveError::OlderTransactions { partition: partition.name.sql(), blockers }.into())
        }
        None => Ok(()),
    }
}

fn expired(steps: &Steps, partition: pg_sys::Oid) -> Result<(Partition, Place)> {
    let look = steps.look;
    let expired = look.expired()?.into_iter().find(|it| it.table.0 == partition);
    let place = match look.set.retention.as_ref().map(|it| &it.action) {
        Some(RetentionAction::Archive(Archive::Environment(place))) => Some(place.clone()),
        _ => None,
    };
    let (expired, place) = expired.zip(place).ok_or_else(|| retired::changed(partition))?;
    retired::check_hold(&look.set.parent, partition, &expired.name)?;
    Ok((expired.clone(), place))
}

/// The partition and, if it is partitioned itself, its own: whoever writes to one of them directly locks nothing else.
fn tree(partition: &Partition) -> Result<Vec<(Regclass, Qualified)>> {
    let sql = "SELECT relid FROM pg_catalog.pg_partition_tree($1) ORDER BY level, relid";
    let tables = spi::read_now(sql, &[partition.table.into()], |row| row.get::<Regclass>(1))?;
    tables.into_iter().flatten().map(|table| Ok((table, name::of(table)?))).collect()
}
