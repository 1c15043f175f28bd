//! The SQL that stages and applies rows on the target. Everywhere the target is t, and the stage is s.

use opdb_core::compat::form::Side;

use super::{Shipment, hash_of};
use crate::deploy::column::Column;
use crate::deploy::ledger;
use crate::deploy::scope::leaves;
use crate::pg::copy::Format;
use crate::pg::name::{identifier, literal};

/// A table there for rows that are not of the stage's types.
pub struct Inbox {
    pub table: String,
    pub create: String,
    pub store: String,
    pub empty: String,
    pub drop: String,
}

impl Shipment {
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

    /// How rows are sent: what a type sends is sooner made and read than what it writes.
    pub fn format(&self) -> Format {
        if self.sent().all(Column::has_binary_form) { Format::Binary } else { Format::Text }
    }

    /// Has the stage take rows, whose columns are of its types.
    pub fn copy_into(&self, table: &str) -> String {
        self.copy(table, &self.staged_names())
    }

    /// Has the target itself take rows.
    pub fn copy_all(&self) -> String {
        self.copy(&self.table, &self.names(""))
    }

    fn copy(&self, table: &str, names: &str) -> String {
        let format = match self.format() {
            Format::Binary => "binary",
            Format::Text => "text",
        };
        format!("COPY {table} ({names}) FROM STDIN (FORMAT {format})")
    }

    /// Whether all rows can go into the target as they are read.
    pub fn can_be_loaded(&self) -> bool {
        self.can_be_compared()
            && !self.is_key_claimed
            && !self.is_event_table_there
            && !self.sent().any(Column::is_converted_there)
    }

    pub fn has_rows(&self) -> String {
        format!("SELECT EXISTS (SELECT FROM {})::text", self.table)
    }

    /// The key of each row that the transaction made there, a hash of it, and what the target itself gave to it.
    pub fn keep_loaded(&self, rows: &str, transaction: &str) -> String {
        let key: String = self.key.iter().map(|name| format!("t.{}, ", identifier(name))).collect();
        format!(
            "CREATE TABLE {rows} AS SELECT {key}{} AS {}, {} AS {} FROM {} t WHERE t.xmin = '{transaction}'::xid",
            self.hash_there(),
            identifier(self.hash_column()),
            self.others.as_deref().unwrap_or("NULL::text"),
            identifier(&self.others_column),
            self.table
        )
    }

    pub fn loaded_digest(&self, rows: &str) -> String {
        format!(
            "SELECT pg_catalog.count(*)::text, coalesce(pg_catalog.sum(s.{}), 0)::text FROM {rows} s",
            identifier(self.hash_column())
        )
    }

    /// The name of the column of rows that were loaded which has their hash; no column of the target has it.
    pub(super) fn hash_column(&self) -> &str {
        // As the row's number, which is not in that table.
        &self.row_number
    }

    /// Of a row of the target.
    pub(super) fn hash_there(&self) -> String {
        hash_of(self.written(), Side::Remote, |_, column| format!("t.{}", identifier(&column.name)))
    }

    /// For rows with columns of other types, which are converted when they are stored: a table that is there as long as the
    /// part is sent. Statements that make it, and bring what it took into the stage.
    pub fn inbox(&self, stage: &str) -> Option<Inbox> {
        if !self.sent().any(Column::is_converted_there) {
            return None;
        }
        let table = format!("{stage}_in");
        let columns: Vec<String> = self
            .sent()
            .map(|column| format!("{} {}", identifier(&column.name), column.read_type()))
            .collect();
        let names = self.staged_names();
        Some(Inbox {
            create: format!(
                "CREATE TABLE {table} ({}, {} bigint)",
                columns.join(", "),
                identifier(&self.row_number)
            ),
            store: format!("INSERT INTO {stage} ({names}) SELECT {names} FROM {table}"),
            empty: format!("TRUNCATE {table}"),
            drop: format!("DROP TABLE {table}"),
            table,
        })
    }

    fn staged_names(&self) -> String {
        let names = self.sent().map(|column| column.name.as_str()).chain([self.row_number.as_str()]);
        names.map(identifier).collect::<Vec<_>>().join(", ")
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
        ledger::lock(&self.table)
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

    /// How many rows there are, or so many.
    pub fn count(&self, most: i64) -> String {
        format!("SELECT pg_catalog.count(*)::text FROM (SELECT FROM {} LIMIT {most}) counted", self.table)
    }

    /// About how many rows there are, if need be by the size; 0 only if there are none.
    pub fn estimate(&self) -> String {
        format!(
            "SELECT CASE WHEN EXISTS (SELECT FROM {}) THEN
                        (SELECT greatest(pg_catalog.sum(CASE WHEN l.reltuples >= 0 THEN l.reltuples
                             ELSE pg_catalog.pg_relation_size(l.oid) / 100 END), 1)::bigint::text FROM {} l)
                    ELSE '0' END",
            self.table,
            leaves(&format!("{}::regclass", literal(&self.table)))
        )
    }

    /// How many rows of the stage are in the target, and the sum of the hashes that they have there.
    pub fn target_digest(&self, stage: &str) -> String {
        format!(
            "SELECT pg_catalog.count(*)::text, coalesce(pg_catalog.sum({}), 0)::text, NULL::text
             FROM {} t JOIN {stage} s ON {}",
            self.hash_there(),
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

    /// Of a row of the target, whether it is to be deleted.
    pub fn is_going(&self, before: &str) -> String {
        format!(
            "EXISTS (SELECT FROM {before} s WHERE s.{} = 'D' AND {})",
            identifier(self.change_column()),
            self.same_key()
        )
    }

    /// Forgets to delete rows for which one of the conditions holds, and returns their keys as JSON.
    pub fn spare(&self, before: &str, conditions: &[String]) -> String {
        let members: Vec<String> =
            self.key.iter().map(|name| format!("{}, s.{}", literal(name), identifier(name))).collect();
        format!(
            "DELETE FROM {before} s USING {} t WHERE s.{} = 'D' AND {} AND ({})
             RETURNING pg_catalog.jsonb_build_object({})::text",
            self.table,
            identifier(self.change_column()),
            self.same_key(),
            conditions.join(" OR "),
            members.join(", ")
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

    /// Moves the target's sequences past the values in a table that has the rows, so that its own next row finds a free
    /// one. Needs UPDATE on the sequence, and may skip a value.
    pub fn advance_sequences(&self, rows: &str) -> Vec<String> {
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
                          (SELECT pg_catalog.max({column}) AS high, pg_catalog.min({column}) AS low FROM {rows}) m
                     WHERE q.seqrelid = coalesce(
                               pg_catalog.pg_get_serial_sequence({table}, {name})::regclass::oid,
                               -- One that the column's default names, and that does not belong to it.
                               (SELECT pg_catalog.min(d.refobjid)
                                FROM pg_catalog.pg_attribute a
                                JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
                                JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass
                                     AND d.objid = f.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
                                JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
                                WHERE a.attrelid = {table}::regclass AND a.attname = {name}))
                       AND CASE WHEN q.seqincrement > 0 THEN m.high <= q.seqmax ELSE m.low >= q.seqmin END",
                    column = identifier(&column.name),
                    table = literal(&self.table),
                    name = literal(&column.name),
                )
            })
            .collect()
    }

    pub(super) fn assignments(&self, from: &str) -> String {
        let others = self.written().filter(|column| !self.key.contains(&column.name));
        let set = others.map(|column| format!("{0} = {from}{0}", identifier(&column.name)));
        set.collect::<Vec<_>>().join(", ")
    }
}
