//! Rows that others reference: what the target would do to those (delete them, or set them to NULL) nobody asked for.

use super::database::Database;
use super::error::DeployError;
use crate::pg::error::Result;
use crate::pg::name::literal;

/// A condition that some row references t, a row of the table, for each foreign key onto it. `going` is a condition on t:
/// rows of the table itself that go, too, do not count.
pub fn referenced(database: &Database, table: &str, going: &str) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT c.conrelid::regclass::text, (c.conrelid = c.confrelid)::text,
                pg_catalog.string_agg(pg_catalog.format('t.%I OPERATOR(%I.%s) c.%I', f.attname, n.nspname, o.oprname,
                                                        a.attname), ' AND ')
         FROM pg_catalog.pg_constraint c,
              ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey), pg_catalog.unnest(c.conpfeqop))
                  k (attnum, referenced, operator),
              pg_catalog.pg_attribute a, pg_catalog.pg_attribute f, pg_catalog.pg_operator o,
              pg_catalog.pg_namespace n
         WHERE c.contype = 'f' AND c.conparentid = 0
           AND (c.confrelid = {0}::regclass
                OR c.confrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree({0}::regclass) p))
           AND a.attrelid = c.conrelid AND a.attnum = k.attnum AND f.attrelid = c.confrelid
           AND f.attnum = k.referenced AND o.oid = k.operator AND n.oid = o.oprnamespace
         GROUP BY c.oid, c.conrelid, c.confrelid",
        literal(table)
    );
    check_visible(database, table)?;
    let conditions = database.query(&sql, 3)?.into_iter().filter_map(|row| {
        let [table, is_own, on] = <[Option<String>; 3]>::try_from(row).ok()?;
        let (table, on) = (table?, on?);
        let staying = match is_own.as_deref() {
            Some("true") => format!("(SELECT * FROM {table} t WHERE NOT ({going}))"),
            _ => table,
        };
        Some(format!("EXISTS (SELECT FROM {staying} c WHERE {on})"))
    });
    Ok(conditions.collect())
}

/// In SQL, for a table by its OID: the tables that reference it or a partition of it.
pub fn referencing(table: &str) -> String {
    format!(
        "(SELECT DISTINCT c.conrelid FROM pg_catalog.pg_constraint c
          WHERE c.contype = 'f' AND (c.confrelid = {table}
                OR c.confrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree({table}) p)))"
    )
}

/// Errors: 42501 if policies may hide rows that reference the table.
fn check_visible(database: &Database, table: &str) -> Result<()> {
    let sql = format!(
        "SELECT pg_catalog.string_agg(r.conrelid::regclass::text, ', ') FROM {} r
         WHERE pg_catalog.row_security_active(r.conrelid)",
        referencing(&format!("{}::regclass", literal(table)))
    );
    let hidden = database.value(&sql)?;
    if hidden.is_empty() { Ok(()) } else { Err(DeployError::HiddenReferences { tables: hidden }.into()) }
}
