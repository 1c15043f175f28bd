//! One call of `opdb.ingest`: partitions, keys and rows in a few statements, however many records.

use pgrx::datum::DatumWithOid;

use super::error::IngestError;
use super::event_table::EventTable;
use crate::pg::error::{Failure, Result};
use crate::pg::types::RawJsonb;
use crate::pg::{own, spi, subtransaction};

#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub inserted: i64,
    pub duplicates: i64,
    pub rejected: i64,
}

pub fn load(events: &EventTable, records: RawJsonb) -> Result<Counts> {
    let (kind, length) = spi::read_one(
        "SELECT pg_catalog.jsonb_typeof($1),
                CASE pg_catalog.jsonb_typeof($1) WHEN 'array' THEN pg_catalog.jsonb_array_length($1)::bigint END",
        &[records.into()],
        |row| Ok((row.get::<String>(1)?, row.get::<i64>(2)?)),
    )?
    .unwrap_or_default();
    let Some(length) = length else {
        return Err(IngestError::NotAnArray(kind.unwrap_or_default()).into());
    };
    let mut refused = Vec::new();
    let inserted = events.as_writer(|| {
        let created = events.create_partitions(
            "SELECT occurred_at FROM opdb.event_records($1) WHERE error IS NULL",
            &[records.into()],
        )?;
        // Their records go to a DEFAULT partition if there is one, and else to the dead letters.
        created.failures.iter().for_each(|failure| pgrx::warning!("{}", failure.message));
        insert(events, records, &mut refused)
    })?;
    // Two sessions that bury the same records do it in the same order.
    refused.sort_by(|(one, _), (other, _)| one.cmp(other));
    let malformed = bury_malformed(events, records)?;
    for (record, failure) in &refused {
        bury(events, record, failure)?;
    }
    let rejected = malformed + i64::try_from(refused.len()).unwrap_or(i64::MAX);
    Ok(Counts { inserted, duplicates: length - inserted - rejected, rejected })
}

/// A record, as JSON text, that the table refused, and why.
type Refused = (String, Failure);

/// Inserts the well-formed records and returns how many were new.
fn insert(events: &EventTable, records: RawJsonb, refused: &mut Vec<Refused>) -> Result<i64> {
    match subtransaction::run(|| insert_once(events, records.into())) {
        Err(failure) if is_about_the_data(&failure) => {
            let texts = spi::read(
                "SELECT r.record::text FROM opdb.event_records($1) r WHERE r.error IS NULL ORDER BY r.source_id, r.position",
                &[records.into()],
                |row| row.get::<String>(1),
            )?;
            let texts: Vec<String> = texts.into_iter().flatten().collect();
            insert_halves(events, &texts, failure, refused)
        }
        result => result,
    }
}

/// What some record made fail is tried again in halves, until the culprits are alone.
fn insert_halves(
    events: &EventTable,
    records: &[String],
    failure: Failure,
    refused: &mut Vec<Refused>,
) -> Result<i64> {
    if let [culprit] = records {
        refused.push((culprit.clone(), failure));
        return Ok(0);
    }
    let (left, right) = records.split_at(records.len() / 2);
    let mut inserted = 0;
    for half in [left, right] {
        let array = format!("[{}]", half.join(","));
        inserted += match subtransaction::run(|| insert_once(events, array.into())) {
            Err(failure) if is_about_the_data(&failure) => insert_halves(events, half, failure, refused)?,
            result => result?,
        };
    }
    Ok(inserted)
}

/// Data exceptions, integrity violations, what triggers and PL/pgSQL raise, and values too large for an index.
fn is_about_the_data(failure: &Failure) -> bool {
    matches!(failure.class().as_str(), "09" | "22" | "23" | "54" | "P0")
}

/// Keys are claimed in the order of source_id, so that two sessions with the same records wait for each
/// other instead of deadlocking.
fn insert_once(events: &EventTable, records: DatumWithOid) -> Result<i64> {
    let table = events.name.sql();
    let sql = match &events.keys {
        Some(keys) => format!(
            "WITH record AS MATERIALIZED (
                 SELECT DISTINCT ON (r.source_id) r.source, r.source_id, r.occurred_at, r.payload
                 FROM opdb.event_records($1::jsonb) r
                 WHERE r.error IS NULL
                 ORDER BY r.source_id, r.position
             ), claimed AS (
                 INSERT INTO {keys} (source_id, occurred_at, id)
                 SELECT r.source_id, r.occurred_at,
                        pg_catalog.nextval(pg_catalog.pg_get_serial_sequence($2, 'id')::regclass)
                 FROM record r
                 WHERE NOT EXISTS (SELECT FROM {keys} k WHERE k.source_id = r.source_id)
                 ORDER BY r.source_id
                 ON CONFLICT (source_id) DO NOTHING
                 RETURNING source_id, id
             ), inserted AS (
                 INSERT INTO {table} (id, source, source_id, occurred_at, payload) OVERRIDING SYSTEM VALUE
                 SELECT c.id, r.source, r.source_id, r.occurred_at, r.payload
                 FROM record r JOIN claimed c ON c.source_id = r.source_id
                 RETURNING id, source_id
             )
             SELECT (SELECT count(*) FROM inserted),
                    (SELECT count(*) FROM claimed c WHERE NOT EXISTS (SELECT FROM inserted i WHERE i.id = c.id)),
                    (SELECT pg_catalog.array_agg(c.source_id) FROM claimed c JOIN inserted i ON i.id = c.id
                     WHERE i.source_id <> c.source_id)",
            keys = keys.sql(),
        ),
        None => format!(
            "WITH record AS MATERIALIZED (
                 SELECT r.source, r.source_id, r.occurred_at, r.payload
                 FROM opdb.event_records($1::jsonb) r
                 WHERE r.error IS NULL AND $2 IS NOT NULL
             ), inserted AS (
                 INSERT INTO {table} (source, source_id, occurred_at, payload)
                 SELECT r.source, r.source_id, r.occurred_at, r.payload FROM record r
                 RETURNING 1
             )
             SELECT i.inserted, r.accepted - i.inserted, NULL::text[]
             FROM (SELECT count(*) AS inserted FROM inserted) i, (SELECT count(*) AS accepted FROM record) r"
        ),
    };
    let row = spi::write_returning(&sql, &[records, table.as_str().into()], |row| {
        Ok((row.get::<i64>(1)?, row.get::<i64>(2)?, row.get::<Vec<String>>(3)?))
    })?;
    let (inserted, discarded, renamed) = row.into_iter().next().unwrap_or_default();
    if discarded.unwrap_or(0) > 0 {
        return Err(IngestError::Discarded(table).into());
    }
    if let (Some(renamed), Some(keys)) = (renamed, &events.keys) {
        // A BEFORE trigger gave the rows another source_id, under which they have their keys by now.
        spi::write(&format!("DELETE FROM {} WHERE source_id = ANY ($1)", keys.sql()), &[renamed.into()])?;
    }
    Ok(inserted.unwrap_or(0))
}

const BURY: &str = "
    INSERT INTO opdb.dead_letter (table_name, source, source_id, sqlstate, error, fingerprint, record, record_digest)
    SELECT DISTINCT ON (digest) $1, b.source, b.source_id, b.sqlstate, b.error,
           pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(
               b.sqlstate || ' ' || pg_catalog.regexp_replace(pg_catalog.split_part(b.error, ': ', 1),
                                                              '(_[0-9]+)+\"', '\"', 'g'), 'UTF8')), 'hex'),
           b.record, digest
    FROM bad b, pg_catalog.sha256(pg_catalog.convert_to(b.record::text, 'UTF8')) AS digest
    ON CONFLICT (table_name, record_digest) DO UPDATE
    SET attempts = opdb.dead_letter.attempts + 1, last_at = pg_catalog.now(),
        sqlstate = excluded.sqlstate, error = excluded.error, fingerprint = excluded.fingerprint";

/// Keeps the records that are no events at all; returns how many there were.
fn bury_malformed(events: &EventTable, records: RawJsonb) -> Result<i64> {
    let args = [events.table.into(), records.into()];
    let source = "SELECT r.record, CASE pg_catalog.jsonb_typeof(r.record -> 'source') WHEN 'string' THEN r.source END AS source,
                         CASE pg_catalog.jsonb_typeof(r.record -> 'source_id') WHEN 'string' THEN r.source_id END AS source_id,
                         r.sqlstate, r.error
                  FROM opdb.event_records($2) r WHERE r.error IS NOT NULL";
    let sql = format!("WITH bad AS MATERIALIZED ({source}), buried AS ({BURY}) SELECT count(*) FROM bad");
    Ok(own::write_value::<i64>(&sql, &args)?.unwrap_or(0))
}

/// Keeps one well-formed record that the table refused.
fn bury(events: &EventTable, record: &str, failure: &Failure) -> Result<()> {
    let source = "SELECT r.record, r.source, r.source_id, $3::text AS sqlstate, $4::text AS error
                  FROM opdb.event_records(pg_catalog.jsonb_build_array($2::jsonb)) r";
    own::write(
        &format!("WITH bad AS ({source}) {BURY}"),
        &[
            events.table.into(),
            record.into(),
            failure.sqlstate_text().into(),
            failure.message.as_str().into(),
        ],
    )?;
    Ok(())
}
