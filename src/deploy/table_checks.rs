//! The checks that look at each table on both sides.

use opdb_core::compat::Verdict;
use opdb_core::compat::table::is_unique;
use opdb_core::schema::Fact;

use super::checks::{Check, failed, passed, unless};
use super::database::Database;
use super::guard::referencing;
use super::options::{Direction, Options};
use super::scope::leaves;
use super::shipment::Shipment;
use crate::compat::{Compared, Data, LocalTable, Mapping, Renames};
use crate::configure;
use crate::pg::error::Result;
use crate::pg::name::{Qualified, literal};
use crate::pg::{own, spi};

/// `tables` and `shipments` go together, place by place.
pub fn run(
    (source, target): (&Database, &Database),
    environment: &str,
    tables: &[LocalTable],
    shipments: &[Shipment],
    compared: &Compared,
    is_readable: bool,
    options: &Options,
) -> Result<[Check; 6]> {
    let (there, missing): (Vec<_>, Vec<_>) =
        tables.iter().zip(shipments).partition(|(table, _)| compared.exists_there(table));
    // What is not there was not looked at, and is nothing to pass.
    let unknown: Vec<String> = missing
        .iter()
        .map(|(_, shipment)| format!("{} does not exist there, or is no table", shipment.label))
        .collect();
    let mut not_looked_at = unknown.clone();
    if !is_readable {
        not_looked_at.push("values were not looked at because of row security".to_owned());
    }
    Ok([
        compatible(environment, tables, shipments, compared)?,
        column_mapping(if is_readable { &there } else { &[] }, not_looked_at, compared, options)?,
        unique_there(&there, unknown.clone(), compared),
        privileges(target, shipments, unknown.clone(), options)?,
        rollback_plan(target, shipments, unknown.clone())?,
        pre_images(source, target, shipments, unknown)?,
    ])
}

type There<'a> = [(&'a LocalTable, &'a Shipment)];

/// Structure only; whether narrower types matter is for the next check to say.
fn compatible(
    environment: &str,
    tables: &[LocalTable],
    shipments: &[Shipment],
    compared: &Compared,
) -> Result<Check> {
    let mut wrong: Vec<String> = tables
        .iter()
        .zip(shipments)
        .flat_map(|(table, shipment)| compared.findings(table, &shipment.kept_here))
        .filter(|finding| finding.blocking && finding.verdict >= Verdict::Incompatible)
        .map(|finding| match finding.object == finding.table {
            true => format!("{}: {}", finding.table, finding.detail),
            false => format!("{}.{}: {}", finding.table, finding.object, finding.detail),
        })
        .collect();
    wrong.extend(renumbered(environment, shipments, compared)?);
    Ok(unless("compatible", &wrong, "tables and columns have their counterparts"))
}

/// Foreign keys onto tables that are not deployed now, and were before, by another key than the primary one: their rows have
/// other numbers there.
fn renumbered(environment: &str, shipments: &[Shipment], compared: &Compared) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let is_foreign_key = |fact: &&std::rc::Rc<Fact>| fact.text("type") == Some("f");
    for fact in compared.remote.iter().filter(is_foreign_key) {
        let [schema, name] = fact.list("references")[..] else { continue };
        let parent = Qualified { schema: schema.to_owned(), name: name.to_owned() };
        if shipments.iter().any(|shipment| shipment.name == parent) {
            continue;
        }
        let sql =
            "SELECT EXISTS (SELECT FROM opdb.deployment d WHERE d.environment = $1 AND $2 = ANY (d.tables)
                                  AND d.state = 'applied' AND d.options ? 'key')";
        let is_renumbered =
            own::read_latest(|| spi::read_value::<bool>(sql, &[environment.into(), parent.sql().into()]))?;
        if is_renumbered == Some(true) {
            wrong.push(format!(
                "{} references {}, which was deployed by the option key and has numbers of its own there: deploy both in one call",
                fact.relation(),
                parent.label()
            ));
        }
    }
    Ok(wrong)
}

fn column_mapping(
    there: &There,
    mut wrong: Vec<String>,
    compared: &Compared,
    options: &Options,
) -> Result<Check> {
    let mut narrower = 0;
    for (table, shipment) in there {
        for column in mapping(compared, table, shipment, options.direction)? {
            if column.verdict <= Verdict::Widening || shipment.kept_here.contains(&column.local_column) {
                continue;
            }
            narrower += 1;
            // What is altered on the way is seen by nobody there; what is refused stops the deployment.
            let doubtful =
                column.fits == Some(false) || (column.fits.is_none() && column.verdict == Verdict::Lossy);
            if doubtful && column.verdict < Verdict::Incompatible {
                wrong.push(format!(
                    "{}.{}: {} -> {} is {}, {}",
                    shipment.table,
                    column.local_column,
                    column.local_type,
                    column.remote_type.as_deref().unwrap_or("nothing"),
                    column.verdict.as_str(),
                    column.evidence
                ));
            }
        }
    }
    let fine = match narrower {
        0 => "every value fits by its type".to_owned(),
        _ => format!("{narrower} columns are narrower there, no value is known not to fit"),
    };
    Ok(unless("column_mapping", &wrong, fine))
}

/// What is pulled is not here yet: it is judged when it arrives.
fn mapping(
    compared: &Compared,
    table: &LocalTable,
    shipment: &Shipment,
    direction: Direction,
) -> Result<Vec<Mapping>> {
    let data = match direction {
        Direction::Push => Data::Asked(shipment.condition.as_deref()),
        Direction::Pull => Data::NotAsked,
    };
    compared.mapping(table, &shipment.kept_here, &Renames::default(), data)
}

fn unique_there(there: &There, mut wrong: Vec<String>, compared: &Compared) -> Check {
    wrong.extend(
        there
            .iter()
            .filter(|(_, shipment)| !is_unique(&compared.remote, &shipment.label, &shipment.key))
            .map(|(_, shipment)| {
                let key = shipment.key.join(", ");
                format!("{} has no unique constraint or index on ({key}) there", shipment.table)
            }),
    );
    unless("key_unique_there", &wrong, "the target holds each key once")
}

/// What the role there lacks: the tables, their schemas, the sequences that are drawn from or moved on, and
/// for an event table the right to make partitions.
const LACKING: &str = "
    WITH shipment (schema, name, sent, is_event_table) AS (VALUES /*shipments*/),
    target AS (
        SELECT s.*, c.oid, n.oid AS schema_oid, n.nspname
        FROM shipment s, pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = s.schema AND c.relname = s.name
    ), lacking (privilege, object) AS (
        SELECT DISTINCT 'USAGE', 'schema ' || pg_catalog.quote_ident(t.nspname) FROM target t
        WHERE NOT pg_catalog.has_schema_privilege(t.schema_oid, 'USAGE')
        UNION ALL
        SELECT pg_catalog.string_agg(p.privilege, ', '), pg_catalog.format('%I.%I', t.schema, t.name)
        FROM target t, (VALUES ('SELECT'), ('INSERT'), ('UPDATE')/*or deletes*/) p (privilege)
        WHERE NOT pg_catalog.has_table_privilege(t.oid, p.privilege) GROUP BY t.schema, t.name
        UNION ALL
        SELECT p.privilege, 'sequence ' || pg_catalog.quote_ident(q.relname)
        FROM target t
        JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = t.oid
             AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
        JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
        JOIN pg_catalog.pg_class q ON q.oid = d.objid AND q.relkind = 'S'
        CROSS JOIN LATERAL (SELECT CASE WHEN a.attname = ANY (t.sent) THEN 'UPDATE'
                                        WHEN d.deptype = 'a' THEN 'USAGE' END) p (privilege)
        WHERE p.privilege IS NOT NULL
          AND NOT pg_catalog.has_sequence_privilege(q.oid, p.privilege)
        UNION ALL
        SELECT 'EXECUTE', 'function opdb.create_event_partitions (GRANT opdb_operator)'
        WHERE EXISTS (SELECT FROM target t WHERE t.is_event_table)
          AND NOT /*may make partitions*/
        UNION ALL
        SELECT 'CREATE', 'database ' || pg_catalog.quote_ident(pg_catalog.current_database())
               || ' (for the schema opdb_deploy; or have somebody else run what opdb.plan_deploy shows)'
        WHERE pg_catalog.to_regnamespace('opdb_deploy') IS NULL
          AND NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
        UNION ALL
        SELECT p.privilege, 'schema opdb_deploy'
        FROM pg_catalog.pg_namespace n, (VALUES ('USAGE'), ('CREATE')) p (privilege)
        WHERE n.nspname = 'opdb_deploy' AND NOT pg_catalog.has_schema_privilege(n.oid, p.privilege)
        UNION ALL
        SELECT p.privilege, pg_catalog.format('%I.%I', n.nspname, c.relname)
        FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid,
             (VALUES ('ledger', 'SELECT'), ('ledger', 'INSERT'), ('part', 'SELECT'), ('part', 'INSERT'), ('part', 'DELETE'))
                 p (relation, privilege)
        WHERE n.nspname = 'opdb_deploy' AND c.relname = p.relation
          AND NOT pg_catalog.has_table_privilege(c.oid, p.privilege)
    )
    SELECT current_user || ' lacks ' || privilege || ' on ' || object FROM lacking";

/// In SQL, whether the target has opdb and the role there may call this function of it.
pub fn may_call(function: &str) -> String {
    format!(
        "coalesce((SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                          AND pg_catalog.has_function_privilege(f.oid, 'EXECUTE')
                   FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_proc f ON f.pronamespace = n.oid
                   WHERE n.nspname = 'opdb' AND f.proname = {} AND {}), false)",
        literal(function),
        own::belongs_to_opdb("pg_proc", "f.oid")
    )
}

fn privileges(
    target: &Database,
    shipments: &[Shipment],
    mut wrong: Vec<String>,
    options: &Options,
) -> Result<Check> {
    let values: Vec<String> = shipments
        .iter()
        .map(|shipment| {
            let sent: Vec<String> = shipment.written_columns().map(literal).collect();
            format!(
                "({}, {}, ARRAY[{}]::text[], {})",
                literal(&shipment.name.schema),
                literal(&shipment.name.name),
                sent.join(", "),
                shipment.is_event_table_there
            )
        })
        .collect();
    let lacking = LACKING
        .replace("/*may make partitions*/", &may_call("create_event_partitions"))
        .replace("/*or deletes*/", if options.delete_missing { ", ('DELETE')" } else { "" })
        .replace("/*shipments*/", &values.join(", "));
    let rows = target.query(&lacking, 1)?;
    wrong.extend(rows.into_iter().flatten().flatten());
    Ok(unless("privileges", &wrong, "the role there has every right it needs"))
}

/// In SQL, the tables by their place; what may not be looked up by name can be found in the catalogs.
pub fn tables_of(shipments: &[Shipment]) -> String {
    let names: Vec<String> = shipments
        .iter()
        .enumerate()
        .map(|(place, shipment)| {
            format!("({place}, {}, {})", literal(&shipment.name.schema), literal(&shipment.name.name))
        })
        .collect();
    format!(
        "(SELECT t.place, c.oid, c.relname FROM (VALUES {}) t (place, schema, name)
          JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema
          JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.name) t",
        names.join(", ")
    )
}

/// Taking a deployment back deletes what it inserted.
fn rollback_plan(target: &Database, shipments: &[Shipment], mut wrong: Vec<String>) -> Result<Check> {
    let sql = format!(
        "SELECT current_user || ' lacks DELETE on ' || t.relname || ', so rows that are inserted could not be taken back'
         FROM {0} WHERE NOT pg_catalog.has_table_privilege(t.oid, 'DELETE')
         UNION ALL
         SELECT current_user || ' does not see all rows of ' || r.conrelid::regclass || ', which reference ' || t.relname
         FROM {0}, LATERAL {1} r
         WHERE NOT pg_catalog.has_table_privilege(r.conrelid, 'SELECT') OR pg_catalog.row_security_active(r.conrelid)",
        tables_of(shipments),
        referencing("t.oid")
    );
    wrong.extend(target.query(&sql, 1)?.into_iter().flatten().flatten());
    let fine =
        "rows that are updated or deleted are kept there as they were, and what is inserted can be deleted";
    Ok(unless("rollback_plan", &wrong, fine))
}

/// At most what is sent, and as much of what it replaces. How much is free on a disk PostgreSQL does not tell.
fn pre_images(
    source: &Database,
    target: &Database,
    shipments: &[Shipment],
    wrong: Vec<String>,
) -> Result<Check> {
    const NAME: &str = "pre_images";
    if !wrong.is_empty() {
        return Ok(unless(NAME, &wrong, ""));
    }
    let sql = format!(
        "SELECT (SELECT coalesce(pg_catalog.sum(pg_catalog.pg_table_size(l.oid)), 0)::bigint::text FROM {} l)
         FROM {} ORDER BY t.place",
        leaves("t.oid"),
        tables_of(shipments)
    );
    let sizes = |database: &Database| -> Result<Vec<i64>> {
        let rows = database.query(&sql, 1)?.into_iter().flatten();
        Ok(rows.map(|bytes| bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)).collect())
    };
    let most: i64 = sizes(source)?.into_iter().zip(sizes(target)?).map(|(new, old)| new + old.min(new)).sum();
    let limit = configure::number("deploy.max_kept_bytes")?;
    let told = format!(
        "at most about {} MB of {} table{} are kept there for a rollback; the limit is {} MB",
        most / 1_000_000 + 1,
        shipments.len(),
        if shipments.len() == 1 { "" } else { "s" },
        (limit / 1e6).ceil()
    );
    if most as f64 <= limit {
        return Ok(passed(NAME, told));
    }
    Ok(failed(NAME, format!("{told}: deploy fewer rows, or raise deploy.max_kept_bytes of opdb.settings")))
}
