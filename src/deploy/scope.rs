//! Which rows of each table are deployed.

use serde_json::Value;

use super::ground::Ground;
use super::history::SERVER;
use super::options::{Mode, Options};
use super::transformation::Transformations;
use crate::compat::LocalTable;
use crate::pg::error::Result;
use crate::pg::name::{Qualified, identifier, literal};
use crate::pg::types::Regclass;
use crate::pg::{own, spi};

/// For each table, in their order, the condition that chooses its rows, in parentheses; none for all of them.
pub struct Scope {
    pub conditions: Vec<Option<String>>,
    grounds: Vec<(Qualified, Ground)>,
    /// For each table, whether only rows since the last deployment are: there may be none.
    pub is_since: Vec<bool>,
    /// What brought the rows which are left out; none if none are.
    pub known: Option<Known>,
}

/// Deployments that are relied on: the target must still be the server that they went to, and have them.
pub struct Known {
    pub server: String,
    pub keys: Vec<String>,
}

impl Scope {
    /// `ask` gives one value of a query on the source, as text.
    pub fn new(
        environment: &str,
        tables: &[LocalTable],
        options: &Options,
        transformations: &Transformations,
        ask: &dyn Fn(&str) -> Result<Option<String>>,
    ) -> Result<Self> {
        let read = |table: &LocalTable| Ok((table.name.clone(), Ground::read(table, ask)?));
        let grounds = tables.iter().map(read).collect::<Result<Vec<_>>>()?;
        let mut known: Option<Known> = None;
        let mut is_since = Vec::new();
        let conditions = tables
            .iter()
            .zip(&grounds)
            .map(|(table, (_, ground))| {
                let more = match options.mode {
                    Mode::All => None,
                    Mode::Limit(rows) => first_rows(table, options, rows, ask)?,
                    // A row that references another one is another row there when that one's key changes.
                    Mode::SinceLast if options.may_renumber() && tables.len() > 1 => None,
                    Mode::SinceLast => {
                        let last = last_horizon(environment, (table, ground), options, transformations, ask)?;
                        last.map(|last| {
                            let known =
                                known.get_or_insert_with(|| Known { server: last.server, keys: Vec::new() });
                            known.keys.push(last.key);
                            last.condition
                        })
                    }
                };
                is_since.push(options.mode == Mode::SinceLast && more.is_some());
                Ok(match (&options.condition, more) {
                    (Some(condition), Some(more)) => Some(format!("({condition} AND {more})")),
                    (condition, more) => condition.clone().or(more),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { conditions, grounds, is_since, known })
    }

    /// What stood behind one of the tables, as the history has it.
    pub fn ground(&self, table: &Qualified) -> Value {
        let found = self.grounds.iter().find(|(name, _)| name == table);
        found.map_or(Value::Null, |(_, ground)| ground.to_json())
    }
}

/// The condition that a row is not behind the last of the first rows by the key; none if there are no more.
fn first_rows(
    table: &LocalTable,
    options: &Options,
    rows: i64,
    ask: &dyn Fn(&str) -> Result<Option<String>>,
) -> Result<Option<String>> {
    let key = match options.key_of(table) {
        Some(key) => key,
        None if table.is_event_table => vec!["source_id".to_owned()],
        None => primary_key(table.relation)?,
    };
    if key.is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = key.iter().map(identifier).collect();
    let texts: Vec<String> = names.iter().map(|name| format!("{name}::text")).collect();
    let sql = format!(
        "SELECT pg_catalog.array_to_json(ARRAY[{}]::text[])::text FROM {} WHERE {} ORDER BY {} OFFSET {} LIMIT 1",
        texts.join(", "),
        table.name.sql(),
        options.condition.as_deref().unwrap_or("true"),
        names.join(", "),
        rows - 1
    );
    let last: Option<Vec<Option<String>>> = ask(&sql)?.and_then(|last| serde_json::from_str(&last).ok());
    Ok(last.map(|last| {
        let values: Vec<String> =
            last.iter().map(|value| value.as_ref().map_or("NULL".to_owned(), literal)).collect();
        format!("(({}) <= ({}))", names.join(", "), values.join(", "))
    }))
}

fn primary_key(table: Regclass) -> Result<Vec<String>> {
    let names = spi::read(
        "SELECT a.attname::text
         FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indkey) WITH ORDINALITY k (attnum, place), pg_catalog.pg_attribute a
         WHERE i.indrelid = $1 AND i.indisprimary AND a.attrelid = i.indrelid AND a.attnum = k.attnum
         ORDER BY k.place",
        &[table.into()],
        |row| row.get::<String>(1),
    )?;
    Ok(names.into_iter().flatten().collect())
}

/// In SQL, for any server: the tables that rows of a table stand in. Of one that is not partitioned there is no tree.
pub fn leaves(table: &str) -> String {
    format!(
        "(SELECT c.oid, c.relkind, c.reltuples FROM pg_catalog.pg_class c
          WHERE c.relkind <> 'p' AND (c.oid = {table}
                OR c.oid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree({table}) p)))"
    )
}

/// What the last deployment that brought everything did not see.
struct Last {
    condition: String,
    server: String,
    key: String,
}

/// Transactions that are farther apart cannot be told from each other by what a row keeps of them: 32 bits.
const FARTHEST: i64 = (1 << 31) - 100_000_000;

/// A row that was written after that has a newer transaction in its xmin. Subtransactions have numbers of their own, newer
/// than that of the oldest transaction that was running: so that is what is remembered, and rows of transactions that ran
/// meanwhile are sent once more.
///
/// None if there is no such deployment: it left no rows out, still stands as it was made (nothing before it was rolled
/// back since), and was of the same columns, key and transformations.
fn last_horizon(
    environment: &str,
    (table, ground): (&LocalTable, &Ground),
    options: &Options,
    transformations: &Transformations,
    ask: &dyn Fn(&str) -> Result<Option<String>>,
) -> Result<Option<Last>> {
    let sql = "SELECT (d.horizon::text::numeric % 4294967296)::bigint, d.target_server,
                      ($5::numeric - d.horizon::text::numeric)::bigint,
                      (SELECT e.entry -> 'lineage'
                       FROM pg_catalog.jsonb_array_elements(d.details) e (entry) WHERE e.entry ->> 'table' = $7),
                      d.key::text
               FROM opdb.deployment d
               WHERE d.environment = $1 AND $2 = ANY (d.tables) AND d.kind = 'deploy' AND d.state = 'applied'
                 AND d.direction = $6 AND coalesce(d.errors, 0) = 0 AND d.horizon IS NOT NULL
                 AND coalesce(d.options ->> 'mode', 'all') <> 'limit' AND NOT d.options ? 'where'
                 AND d.options -> 'key' IS NOT DISTINCT FROM $3 -> 'key'
                 AND d.options -> 'exclude_columns' IS NOT DISTINCT FROM $3 -> 'exclude_columns'
                 AND d.source_server = $4
                 AND NOT EXISTS (SELECT FROM opdb.deployment r
                                 WHERE r.kind = 'rollback' AND r.state IN ('applied', 'applying', 'in_doubt')
                                   AND r.environment = d.environment AND $2 = ANY (r.tables)
                                   AND r.deployment_id > d.deployment_id AND r.rolls_back <= d.deployment_id)
               ORDER BY d.deployment_id DESC LIMIT 1";
    let source = ask(SERVER)?;
    let now = ask("SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text")?;
    let found = own::read_as_owner(|| {
        spi::read_one(
            sql,
            &[
                environment.into(),
                table.name.sql().into(),
                pgrx::JsonB(options.given.clone()).into(),
                source.into(),
                now.into(),
                options.direction.as_str().into(),
                table.name.label().into(),
            ],
            |row| {
                let lineage = row.get::<pgrx::JsonB>(4)?.map(|lineage| lineage.0);
                let numbers = (row.get::<i64>(1)?, row.get::<i64>(3)?);
                Ok((numbers, row.get::<String>(2)?, row.get::<String>(5)?, lineage))
            },
        )
    })?;
    let Some(((Some(horizon), Some(distance)), Some(server), Some(key), Some(lineage))) = found else {
        return Ok(None);
    };
    let is_as_it_was = lineage["transformations"] == transformations.to_json(&table.name);
    let new = ground.new_since(&lineage).filter(|_| is_as_it_was && (0..FARTHEST).contains(&distance));
    // Rows of a partition that was attached, or of a table that took the name, can be older.
    let Some(new) = new else { return Ok(None) };
    // Counted back from now, as the server does it, which is soon done for each row of a table.
    let mut condition = format!("pg_catalog.age(xmin) <= pg_catalog.age('{horizon}'::pg_catalog.xid)");
    let new: Vec<String> = new.iter().map(i64::to_string).collect();
    if !new.is_empty() {
        condition += &format!(" OR tableoid IN ({})", new.join(", "));
    }
    let places = places(table, &condition, ask)?;
    Ok(Some(Last { condition: format!("(({condition}) AND {places})"), server, key }))
}

/// So many rows are looked up one by one.
const MOST_PLACES: i64 = 20_000;

/// Where in the table, or in each partition, these rows are: nobody has to look at the rest again. Few are told one by
/// one; more stand at its end, or where others were. Every row keeps its place as long as the snapshot is kept on which
/// they are read.
fn places(
    table: &LocalTable,
    condition: &str,
    ask: &dyn Fn(&str) -> Result<Option<String>>,
) -> Result<String> {
    let found = format!("FROM {} WHERE {condition}", table.name.sql());
    let range = "pg_catalog.quote_literal(pg_catalog.min(ctid)::text) || '::pg_catalog.tid AND '
                 || pg_catalog.quote_literal(pg_catalog.max(ctid)::text) || '::pg_catalog.tid'";
    let few = ask(&format!(
        "SELECT CASE WHEN pg_catalog.count(*) = 0 THEN 'false'
                     WHEN pg_catalog.count(*) <= {MOST_PLACES}
                     THEN 'ctid BETWEEN ' || {range} || ' AND ctid = ANY ('
                          || pg_catalog.quote_literal(pg_catalog.array_agg(ctid)::text) || '::pg_catalog.tid[])' END
         FROM (SELECT ctid {found} LIMIT {MOST_PLACES} + 1) few",
    ))?;
    if let Some(few) = few {
        return Ok(few);
    }
    let bounds = ask(&format!("SELECT {range} {found}"))?;
    Ok(bounds.map_or_else(|| "false".to_owned(), |bounds| format!("ctid BETWEEN {bounds}")))
}
