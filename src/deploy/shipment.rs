//! What of a table is sent, and the SQL with which it is read on the source and written on the target.

use opdb_core::compat::digest::Digest;
use opdb_core::compat::form::{Side, row_hash, text};
use opdb_core::compat::table::{column_type, is_sent, is_unique};
use opdb_core::deploy::in_reference_order;
use opdb_core::schema::{Fact, Kind, label};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::column::Column;
use super::error::DeployError;
use super::options::Options;
use super::reference::{Parent, Reference};
use super::transformation::Transformations;
use crate::compat::{Compared, LocalTable, columns, primary_key};
use crate::pg::error::Result;
use crate::pg::name::{Qualified, identifier, literal};
use crate::pg::spi;

/// How a deployment of one table is taken back: pieces of SQL in which the target is t, what was deployed is s, and what
/// was there before is b.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Undo {
    pub table: String,
    /// The rows that were written, as they were sent.
    pub rows: String,
    /// The rows that were updated or deleted, as they were.
    pub before: String,
    /// The column of it that says which.
    pub change: String,
    pub key: Vec<String>,
    pub same_key: String,
    pub same_key_before: String,
    pub same_key_of_both: String,
    pub same_row: String,
    pub same_row_before: String,
    /// Puts the columns that were sent to what they were.
    pub assignments: String,
    /// All columns that can be written.
    pub whole: String,
    pub whole_before: String,
    /// Whether what was not sent of a row that was inserted is as it was then.
    pub same_others: String,
}

/// One table on its way.
pub struct Shipment {
    pub name: Qualified,
    /// The table in SQL, the same on both sides.
    pub table: String,
    /// The table as facts call it.
    pub label: String,
    /// What the other side decides for itself.
    pub kept_here: Vec<String>,
    pub key: Vec<String>,
    /// What is sent as it is.
    columns: Vec<Column>,
    /// What is sent of rows that are referenced by numbers of the target's own.
    references: Vec<Reference>,
    /// The columns that those numbers are stored in.
    filled: Vec<Column>,
    /// Every column of the target that can be written, for what is deleted there.
    whole: Vec<String>,
    /// Which rows are deployed, in parentheses.
    pub condition: Option<String>,
    /// The other side keeps this table as an event table of its own opdb.
    pub is_event_table_there: bool,
    /// Nothing here keeps a key from being there twice, or NULL.
    is_key_claimed: bool,
    /// The number of a row in the stage.
    row_number: String,
    /// The column of the stage for `others`.
    others_column: String,
    /// Of a row of the target, t, a hash of what is not sent; none if everything is.
    others: Option<String>,
}

impl Shipment {
    /// Errors: 42P16 if nothing identifies a row, 42703 for a key column that is not sent.
    pub fn new(
        table: &LocalTable,
        compared: &Compared,
        options: &Options,
        condition: Option<String>,
        transformations: &Transformations,
        parents: &[Parent],
    ) -> Result<Self> {
        let label = table.name.label();
        let kept_here = kept_here(table, compared, options)?;
        let there = |name: &str| columns(&compared.remote, &label).find(|column| column.name() == name);
        let key = key(table, compared, options)?;
        let all_sent = || {
            columns(&compared.local, &label).filter(|local| is_sent(local, there(local.name()), &kept_here))
        };
        if let Some(column) = key.iter().find(|key| !all_sent().any(|column| column.name() == **key)) {
            return Err(DeployError::KeyColumn { table: label, column: column.clone() }.into());
        }
        let whole: Vec<String> = columns(&compared.remote, &label)
            .filter(|column| column.text("generated").is_none())
            .map(|column| column.name().to_owned())
            .collect();
        let free = |mut name: String| {
            while whole.contains(&name) || all_sent().any(|column| column.name() == name) {
                name.push('_');
            }
            name
        };
        let references = Reference::all(&label, compared, parents, &free)?;
        let is_filled = |name: &str| references.iter().any(|it| it.stored().any(|column| column == name));
        let filled: Vec<Column> = columns(&compared.remote, &label)
            .filter(|fact| is_filled(fact.name()) && all_sent().any(|local| local.name() == fact.name()))
            .map(Column::filled)
            .collect();
        let columns: Vec<Column> = all_sent()
            .filter(|local| !is_filled(local.name()))
            .map(|local| {
                Column::new(local, there(local.name()), transformations.of(&table.name, local.name()))
            })
            .collect();
        let is_event_table_there = compared.remote.iter().any(|fact| {
            fact.kind() == Kind::Table
                && fact.relation() == label
                && !fact.list("unique_by_trigger").is_empty()
        });
        let is_sent = |fact: &&Fact| columns.iter().chain(&filled).any(|column| column.name == fact.name());
        let others: Vec<String> = crate::compat::columns(&compared.remote, &label)
            .filter(|fact| fact.text("generated").is_none() && !is_sent(fact))
            .map(|fact| text(&format!("t.{}", identifier(fact.name())), &column_type(fact)))
            .collect();
        let (row_number, others_column) = (free("opdb_row".into()), free("opdb_others".into()));
        Ok(Self {
            is_key_claimed: !is_certain_key(compared, &label, &key),
            name: table.name.clone(),
            table: table.name.sql(),
            label,
            kept_here,
            key,
            columns,
            references,
            filled,
            whole,
            condition,
            is_event_table_there,
            row_number,
            others_column,
            others: (!others.is_empty())
                .then(|| format!("pg_catalog.md5(ARRAY[{}]::text[]::text)", others.join(", "))),
        })
    }

    /// The columns of the target that are written.
    pub fn written_columns(&self) -> impl Iterator<Item = &str> {
        self.written().map(|column| column.name.as_str())
    }

    fn written(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().chain(&self.filled)
    }

    /// What is sent, in the order in which it is.
    fn sent(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().chain(self.references.iter().flat_map(|reference| &reference.sent))
    }

    /// What makes two stages of the table the same: rows of one can be rows of the other.
    pub fn signature(&self) -> String {
        let columns: Vec<String> = self.sent().map(Column::signature).collect();
        format!("{}|{}|{}", self.table, self.key.join(","), columns.join("|"))
    }

    /// The rows on the source: the hash of each, then what is sent of it as c1, c2, …
    pub fn read_rows(&self, restriction: Option<&str>) -> String {
        let values: Vec<String> = self
            .sent()
            .enumerate()
            .map(|(place, column)| format!("{} AS c{}", column.value(), place + 1))
            .collect();
        let hash = hash_of(self.sent(), Side::Local, |place, _| format!("r.c{}", place + 1));
        format!(
            "SELECT {hash} AS h, r.* FROM (SELECT {} FROM {} t WHERE {}{}) r",
            values.join(", "),
            self.table,
            self.condition.as_deref().unwrap_or("true"),
            restriction.map_or(String::new(), |more| format!(" AND {more}")),
        )
    }

    /// Whether rows can be compared on both sides before any are sent: all of them, as they are.
    pub fn can_be_compared(&self) -> bool {
        self.condition.is_none() && !self.is_transformed() && !self.has_references()
    }

    /// Of rows in groups by their key, as one text: the number of each group, how many rows it has and the sum of their
    /// hashes.
    pub fn buckets(&self, side: Side, of: i64) -> String {
        let value = |column: &Column| match side {
            Side::Local => column.value(),
            Side::Remote => format!("t.{}", identifier(&column.name)),
        };
        let hash = hash_of(self.columns.iter(), side, |_, column| value(column));
        format!(
            "SELECT pg_catalog.string_agg(d.bucket || ':' || d.rows || ':' || d.sum, ',')
             FROM (SELECT {} AS bucket, pg_catalog.count(*) AS rows, pg_catalog.sum({hash}) AS sum
                   FROM {} t GROUP BY 1) d",
            self.bucket(side, of),
            self.table
        )
    }

    /// Of a row, t, whether it is in one of these groups.
    pub fn in_buckets(&self, side: Side, of: i64, buckets: &[i64]) -> String {
        let list: Vec<String> = buckets.iter().map(i64::to_string).collect();
        format!("({} = ANY ('{{{}}}'::bigint[]))", self.bucket(side, of), list.join(","))
    }

    fn bucket(&self, side: Side, of: i64) -> String {
        let keys = self.columns.iter().filter(|column| self.key.contains(&column.name));
        let hashes: Vec<String> = keys
            .enumerate()
            .map(|(place, column)| {
                let value = match side {
                    Side::Local => column.value(),
                    Side::Remote => format!("t.{}", identifier(&column.name)),
                };
                column.bucket_hash(side, &value, place + 1)
            })
            .collect();
        format!("({}) & {}", hashes.join(" # "), of - 1)
    }

    /// The number of rows and the sum of their hashes, on the source.
    pub fn read_digest(&self) -> Result<Digest> {
        let sql = format!(
            "SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(h), 0)::text FROM ({}) d",
            self.read_rows(None)
        );
        let found = spi::read_one(&sql, &[], |row| Ok((row.get::<i64>(1)?, row.get::<String>(2)?)))?;
        let (rows, sum) = found.unwrap_or_default();
        Ok(Digest { rows: rows.unwrap_or(0), sum: sum.and_then(|sum| sum.parse().ok()).unwrap_or(0) })
    }

    /// The columns that something else is sent of.
    pub fn transformed(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter(|column| column.is_transformed()).map(|column| column.name.as_str())
    }

    /// What is sent of them, by column.
    pub fn transformations(&self) -> serde_json::Map<String, Value> {
        let transformed = self.columns.iter().filter_map(|column| {
            Some((column.name.clone(), Value::from(column.transformation.as_ref()?.text.clone())))
        });
        transformed.collect()
    }

    pub fn is_transformed(&self) -> bool {
        self.transformed().next().is_some()
    }

    /// What `read_rows` returns, where it comes from another server.
    pub fn definition(&self) -> String {
        let columns: Vec<String> = self
            .sent()
            .enumerate()
            .map(|(place, column)| format!("c{} {}", place + 1, column.read_type()))
            .collect();
        format!("h bigint, {}", columns.join(", "))
    }

    /// Puts rows of a spool into the stage, by their numbers.
    pub fn take_into_stage(&self, stage: &str, (first, last): (i64, i64)) -> String {
        let names: Vec<String> = self.sent().map(|column| identifier(&column.name)).collect();
        let values: Vec<String> = (1..=names.len()).map(|column| format!("s.c{column}")).collect();
        format!(
            "INSERT INTO {stage} ({}, {}) SELECT {}, s.n
             FROM (SELECT *, pg_catalog.row_number() OVER () AS n FROM spool) s WHERE s.n BETWEEN {first} AND {last}",
            names.join(", "),
            identifier(&self.row_number),
            values.join(", ")
        )
    }

    /// Of a row of the target, whether it is in the stage: in words that mean the target's own columns.
    pub fn is_staged(&self, stage: &str) -> String {
        let key: Vec<String> = self.key.iter().map(identifier).collect();
        let key = key.join(", ");
        format!("(({key}) IN (SELECT {key} FROM {stage}))")
    }

    /// From a spool of rows, all values of each column as one text.
    pub fn gather(&self) -> String {
        let texts: Vec<String> = self
            .sent()
            .enumerate()
            .map(|(place, column)| column.gathered(&format!("c{}", place + 1)))
            .collect();
        format!("SELECT {} FROM spool", texts.join(", "))
    }

    /// How many columns that has.
    pub fn width(&self) -> usize {
        self.sent().count()
    }

    /// From a spool, the key of its first row, as JSON.
    pub fn key_of_spool(&self) -> String {
        // A reference that is part of the key is shown by what it was sent as.
        let is_shown = |column: &&Column| {
            self.key.contains(&column.name) || !self.columns.iter().any(|own| own.name == column.name)
        };
        let members: Vec<String> = self
            .sent()
            .enumerate()
            .filter(|(_, column)| is_shown(column))
            .map(|(place, column)| format!("{}, c{}", literal(&column.name), place + 1))
            .collect();
        format!("SELECT pg_catalog.jsonb_build_object({})::text FROM spool LIMIT 1", members.join(", "))
    }

    /// A table there with the types of the target and none of its constraints.
    pub fn create_stage(&self, stage: &str) -> String {
        let keys = self.references.iter().flat_map(|reference| &reference.sent);
        let looked_up: String =
            keys.map(|key| format!(", NULL::{} AS {}", key.type_there(), identifier(&key.name))).collect();
        format!(
            "CREATE TABLE {stage} AS SELECT {}{looked_up}, NULL::bigint AS {}, NULL::text AS {} FROM {} WITH NO DATA",
            self.names(""),
            identifier(&self.row_number),
            identifier(&self.others_column),
            self.table
        )
    }

    /// Puts rows into the stage, from what `gather` gives of them.
    pub fn fill_stage(&self, stage: &str, gathered: &[String], first_row: i64, rows: i64) -> String {
        let values: Vec<String> =
            self.sent().zip(gathered).map(|(column, values)| column.scattered(values)).collect();
        let names: Vec<String> = self.sent().map(|column| identifier(&column.name)).collect();
        format!(
            "INSERT INTO {stage} ({}, {}) SELECT {}, pg_catalog.generate_series({first_row}::bigint, {})",
            names.join(", "),
            identifier(&self.row_number),
            values.join(", "),
            first_row + rows - 1
        )
    }

    /// Takes rows of numbers between out of the stage.
    pub fn delete_staged(&self, stage: &str, (first, last): (i64, i64)) -> String {
        format!("DELETE FROM {stage} WHERE {} BETWEEN {first} AND {last}", identifier(&self.row_number))
    }

    /// Rows of the stage, the sum of their hashes, and the highest number.
    pub fn stage_digest(&self, stage: &str) -> String {
        let hash = hash_of(self.sent(), Side::Remote, |_, column| format!("s.{}", identifier(&column.name)));
        format!(
            "SELECT pg_catalog.count(*)::text, coalesce(pg_catalog.sum({hash}), 0)::text,
                    coalesce(pg_catalog.max(s.{}), 0)::text FROM {stage} s",
            identifier(&self.row_number)
        )
    }

    /// The same of what is to be written; the same as that where nothing is looked up.
    pub fn written_digest(&self, stage: &str) -> String {
        let hash =
            hash_of(self.written(), Side::Remote, |_, column| format!("s.{}", identifier(&column.name)));
        format!(
            "SELECT pg_catalog.count(*)::text, coalesce(pg_catalog.sum({hash}), 0)::text, NULL::text FROM {stage} s"
        )
    }

    pub fn has_references(&self) -> bool {
        !self.references.is_empty()
    }

    /// Statements that put the target's own numbers into the stage.
    pub fn resolve_references(&self, stage: &str) -> Vec<String> {
        self.references.iter().map(|reference| reference.resolve(stage)).collect()
    }

    /// Rows of the stage that reference what is not on the target: their number and what that is.
    pub fn unresolved(&self, stage: &str) -> String {
        let each: Vec<String> = self
            .references
            .iter()
            .map(|reference| {
                format!(
                    "SELECT s.{}::text, {} FROM {stage} s WHERE {}",
                    identifier(&self.row_number),
                    literal(reference.parent()),
                    reference.is_missing()
                )
            })
            .collect();
        each.join(" UNION ALL ")
    }

    /// Fails if a key is in the stage twice, or NULL.
    pub fn key_stage(&self, stage: &str) -> Option<String> {
        let list: Vec<String> = self.key.iter().map(identifier).collect();
        self.is_key_claimed.then(|| format!("ALTER TABLE {stage} ADD PRIMARY KEY ({})", list.join(", ")))
    }

    /// One deployment of a table at a time.
    pub fn lock(&self) -> String {
        format!(
            "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended({}, 0))::text",
            literal(&self.table)
        )
    }

    /// The partitions that the rows need there, where opdb makes them.
    pub fn create_partitions(&self, stage: &str) -> Option<String> {
        self.is_event_table_there.then(|| {
            format!(
                "SELECT opdb.create_event_partitions({}::regclass, ARRAY(
                     SELECT DISTINCT pg_catalog.date_trunc('hour', occurred_at) FROM {stage}))::text",
                literal(&self.table),
            )
        })
    }

    /// Leaves in the stage only what changes something.
    pub fn drop_unchanged(&self, stage: &str) -> String {
        format!(
            "DELETE FROM {stage} s USING {} t WHERE {} AND {}",
            self.table,
            self.same_key(),
            self.same_row()
        )
    }

    /// Where rows of the target are kept as they were: U for one that was updated, D for one that was deleted.
    pub fn create_before(&self, before: &str) -> String {
        format!(
            "CREATE TABLE {before} AS SELECT NULL::\"char\" AS {}, {} FROM {} t WITH NO DATA",
            identifier(self.change_column()),
            self.whole_names("t."),
            self.table
        )
    }

    /// The name of the column that says what became of a row; no column of the target has it.
    pub fn change_column(&self) -> &str {
        // As the row's number, which is not in that table.
        &self.row_number
    }

    /// Of a row of the stage, s, whether it is one of those; none for all, of which the planner then knows how many they
    /// are.
    fn is_in(&self, rows: Option<(i64, i64)>) -> String {
        rows.map_or("true".to_owned(), |(first, last)| {
            format!("s.{} BETWEEN {first} AND {last}", identifier(&self.row_number))
        })
    }

    /// Keeps the rows that are about to be updated, and locks them.
    pub fn keep_updated(&self, (stage, before): (&str, &str), rows: Option<(i64, i64)>) -> String {
        format!(
            "INSERT INTO {before} SELECT 'U', {} FROM {} t JOIN {stage} s ON {} WHERE {} FOR UPDATE OF t",
            self.whole_names("t."),
            self.table,
            self.same_key(),
            self.is_in(rows)
        )
    }

    /// None if there is nothing beside the key.
    pub fn update(&self, stage: &str, rows: Option<(i64, i64)>) -> Option<String> {
        let set = self.assignments("s.");
        (!set.is_empty()).then(|| {
            format!(
                "UPDATE {} t SET {set} FROM {stage} s WHERE {} AND {}",
                self.table,
                self.same_key(),
                self.is_in(rows)
            )
        })
    }

    pub fn insert(&self, stage: &str, rows: Option<(i64, i64)>) -> String {
        format!(
            "INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {stage} s
             WHERE {is_in} AND NOT EXISTS (SELECT FROM {table} t WHERE {same_key})",
            table = self.table,
            names = self.names(""),
            values = self.names("s."),
            is_in = self.is_in(rows),
            same_key = self.same_key()
        )
    }

    /// The key of a row of the stage, as JSON.
    pub fn staged_key(&self, stage: &str, row: i64) -> String {
        let members: Vec<String> =
            self.key.iter().map(|name| format!("{}, s.{}", literal(name), identifier(name))).collect();
        format!(
            "SELECT pg_catalog.jsonb_build_object({})::text FROM {stage} s WHERE s.{} = {row}",
            members.join(", "),
            identifier(&self.row_number)
        )
    }

    pub fn count(&self) -> String {
        format!("SELECT pg_catalog.count(*)::text FROM {}", self.table)
    }

    /// About how many rows there are; 0 only if there are none.
    pub fn estimate(&self) -> String {
        format!(
            "SELECT CASE WHEN EXISTS (SELECT FROM {}) THEN
                        (SELECT greatest(pg_catalog.sum(c.reltuples), 1)::bigint::text
                         FROM pg_catalog.pg_partition_tree({name}::regclass) p JOIN pg_catalog.pg_class c ON c.oid = p.relid
                         WHERE p.isleaf)
                    ELSE '0' END",
            self.table,
            name = literal(&self.table)
        )
    }

    /// How many rows of the stage are in the target, and the sum of the hashes that they have there.
    pub fn target_digest(&self, stage: &str) -> String {
        let hash =
            hash_of(self.written(), Side::Remote, |_, column| format!("t.{}", identifier(&column.name)));
        format!(
            "SELECT pg_catalog.count(*)::text, coalesce(pg_catalog.sum({hash}), 0)::text, NULL::text
             FROM {} t JOIN {stage} s ON {}",
            self.table,
            self.same_key()
        )
    }

    /// How many rows of the stage are not in the target as they were sent.
    pub fn count_deviating(&self, stage: &str) -> String {
        format!(
            "SELECT pg_catalog.count(*)::text FROM {stage} s WHERE NOT EXISTS (SELECT FROM {} t WHERE {} AND {})",
            self.table,
            self.same_key(),
            self.same_row()
        )
    }

    /// Remembers what the target itself gave to rows; none if that is nothing.
    pub fn remember_others(&self, stage: &str) -> Option<String> {
        self.others.as_ref().map(|others| {
            format!(
                "UPDATE {stage} s SET {} = {others} FROM {} t WHERE {}",
                identifier(&self.others_column),
                self.table,
                self.same_key()
            )
        })
    }

    /// Keeps the rows that are about to be deleted, and locks them: those that the source does not have.
    pub fn keep_deleted(&self, (stage, before): (&str, &str), restriction: Option<&str>) -> String {
        format!(
            "INSERT INTO {before} SELECT 'D', {} FROM {} t
             WHERE {}{} AND NOT EXISTS (SELECT FROM {stage} s WHERE {}) FOR UPDATE OF t",
            self.whole_names("t."),
            self.table,
            self.condition.as_deref().unwrap_or("true"),
            restriction.map_or(String::new(), |more| format!(" AND {more}")),
            self.same_key()
        )
    }

    pub fn delete(&self, before: &str) -> String {
        format!(
            "DELETE FROM {} t USING {before} s WHERE s.{} = 'D' AND {}",
            self.table,
            identifier(self.change_column()),
            self.same_key()
        )
    }

    /// Rows that were deleted and are there all the same.
    pub fn count_undeleted(&self, before: &str) -> String {
        format!(
            "SELECT pg_catalog.count(*)::text FROM {} t JOIN {before} s ON {} WHERE s.{} = 'D'",
            self.table,
            self.same_key(),
            identifier(self.change_column())
        )
    }

    /// What it takes to undo what was done to the table, once the facts that this was planned by are gone.
    pub fn undo(&self, rows: String, before: String) -> Undo {
        Undo {
            table: self.table.clone(),
            rows,
            before,
            change: identifier(self.change_column()),
            key: self.key.clone(),
            same_key: self.same_key(),
            same_key_before: self.same_key_of("t", "b"),
            same_key_of_both: self.same_key_of("b", "s"),
            same_row: self.same_row(),
            same_row_before: self.same_row_of("t", "b"),
            assignments: self.assignments("b."),
            whole: self.whole_names(""),
            whole_before: self.whole_names("b."),
            same_others: match &self.others {
                Some(others) => format!("s.{} = {others}", identifier(&self.others_column)),
                None => "true".to_owned(),
            },
        }
    }

    /// Moves the target's sequences past the values that were sent, so that its own next row finds a free
    /// one. Needs UPDATE on the sequence, and may skip a value.
    pub fn advance_sequences(&self, stage: &str) -> Vec<String> {
        self.columns
            .iter()
            .filter(|column| column.has_sequence_there)
            .map(|column| {
                format!(
                    "SELECT pg_catalog.setval(q.seqrelid::regclass,
                                CASE WHEN q.seqincrement > 0
                                     THEN greatest(m.high, pg_catalog.nextval(q.seqrelid::regclass))
                                     ELSE least(m.low, pg_catalog.nextval(q.seqrelid::regclass)) END)::text
                     FROM pg_catalog.pg_sequence q,
                          (SELECT pg_catalog.max({column}) AS high, pg_catalog.min({column}) AS low FROM {stage}) m
                     WHERE q.seqrelid = pg_catalog.pg_get_serial_sequence({table}, {name})::regclass
                       AND m.high <= q.seqmax AND m.low >= q.seqmin",
                    column = identifier(&column.name),
                    table = literal(&self.table),
                    name = literal(&column.name),
                )
            })
            .collect()
    }

    fn assignments(&self, from: &str) -> String {
        let others = self.written().filter(|column| !self.key.contains(&column.name));
        let set = others.map(|column| format!("{0} = {from}{0}", identifier(&column.name)));
        set.collect::<Vec<_>>().join(", ")
    }

    fn names(&self, prefix: &str) -> String {
        let names: Vec<String> =
            self.written().map(|column| format!("{prefix}{}", identifier(&column.name))).collect();
        names.join(", ")
    }

    fn whole_names(&self, prefix: &str) -> String {
        let names: Vec<String> =
            self.whole.iter().map(|name| format!("{prefix}{}", identifier(name))).collect();
        names.join(", ")
    }

    /// Of t, the target, and s, the stage or what became of it.
    fn same_key(&self) -> String {
        self.same_key_of("t", "s")
    }

    fn same_key_of(&self, one: &str, other: &str) -> String {
        let keys = self.written().filter(|column| self.key.contains(&column.name));
        keys.map(|column| column.same_key(one, other)).collect::<Vec<_>>().join(" AND ")
    }

    fn same_row(&self) -> String {
        self.same_row_of("t", "s")
    }

    fn same_row_of(&self, one: &str, other: &str) -> String {
        let columns = self.written();
        columns.map(|column| column.is_same(one, other)).collect::<Vec<_>>().join(" AND ")
    }
}

fn hash_of<'c>(
    columns: impl Iterator<Item = &'c Column>,
    side: Side,
    value: impl Fn(usize, &Column) -> String,
) -> String {
    row_hash(columns.enumerate().flat_map(|(place, column)| column.hash_parts(side, &value(place, column))))
}

/// The option's key, an event table's source_id, or the primary key.
pub fn key(table: &LocalTable, compared: &Compared, options: &Options) -> Result<Vec<String>> {
    if let Some(key) = options.key_of(table) {
        return Ok(key);
    }
    if table.is_event_table {
        return Ok(vec!["source_id".to_owned()]);
    }
    let label = table.name.label();
    primary_key(&compared.local, &label).ok_or_else(|| DeployError::NoKey(label).into())
}

/// The columns that the other side decides for itself: an event's, those that the options exclude, and the numbers that it
/// gives to rows which are told apart by another key.
fn kept_here(table: &LocalTable, compared: &Compared, options: &Options) -> Result<Vec<String>> {
    let mut kept = table.kept_here();
    kept.extend(options.exclude_columns.iter().cloned());
    if let Some(key) = options.key_of(table) {
        kept.extend(surrogates(table, compared).filter(|name| !key.contains(name)));
    }
    Ok(kept)
}

/// The columns of the primary key that the target draws from a sequence.
fn surrogates(table: &LocalTable, compared: &Compared) -> impl Iterator<Item = String> {
    let label = table.name.label();
    let primary = primary_key(&compared.remote, &label).unwrap_or_default();
    let drawn: Vec<String> = columns(&compared.remote, &label)
        .filter(|fact| {
            fact.text("identity").is_some_and(|identity| !identity.is_empty())
                || fact.text("default").is_some_and(|default| default.starts_with("nextval("))
        })
        .map(|fact| fact.name().to_owned())
        .filter(|name| primary.contains(name))
        .collect();
    drawn.into_iter()
}

/// The tables whose rows have other numbers on the target than here.
pub fn parents(tables: &[LocalTable], compared: &Compared, options: &Options) -> Result<Vec<Parent>> {
    let parents = tables.iter().map(|table| {
        let key = key(table, compared, options)?;
        let kept = kept_here(table, compared, options)?;
        let label = table.name.label();
        let own: Vec<String> = primary_key(&compared.remote, &label)
            .unwrap_or_default()
            .into_iter()
            .filter(|name| kept.contains(name))
            .collect();
        Ok((!own.is_empty()).then(|| Parent { sql: table.name.sql(), label, key, own }))
    });
    Ok(parents.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Whether the catalog here says that the key is there once and never NULL.
fn is_certain_key(compared: &Compared, label: &str, key: &[String]) -> bool {
    let is_not_null = |name: &String| {
        columns(&compared.local, label).any(|column| column.name() == name && column.flag("not_null"))
    };
    is_unique(&compared.local, label, key) && key.iter().all(is_not_null)
}

/// Shipments with referenced tables before those that reference them, by the foreign keys there.
/// Errors: 42830 if they go in a circle.
pub fn ordered(mut shipments: Vec<Shipment>, compared: &Compared) -> Result<Vec<Shipment>> {
    let tables: Vec<String> = shipments.iter().map(|shipment| shipment.label.clone()).collect();
    let references: Vec<(String, String)> = compared
        .remote
        .iter()
        .filter(|fact| fact.text("type") == Some("f") && !fact.flag("deferred"))
        .filter_map(|fact| Some((fact.relation().to_owned(), referenced(fact)?)))
        .collect();
    let order = in_reference_order(&tables, &references)
        .map_err(|cycle| DeployError::ReferenceCycle(cycle.join(", ")))?;
    shipments.sort_by_key(|shipment| order.iter().position(|table| *table == shipment.label));
    Ok(shipments)
}

/// The table that a foreign key references.
fn referenced(foreign_key: &Fact) -> Option<String> {
    match foreign_key.list("references")[..] {
        [schema, table] => Some(label(schema, table)),
        _ => None,
    }
}
