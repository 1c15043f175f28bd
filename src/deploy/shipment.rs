//! What of a table is sent, and the SQL with which it is read here and written there.

use opdb_core::compat::table::is_sent;
use opdb_core::deploy::in_reference_order;
use opdb_core::schema::{Fact, Kind, label};

use super::column::Column;
use super::error::DeployError;
use super::options::Options;
use crate::compat::{Compared, LocalTable, columns, primary_key};
use crate::pg::error::Result;
use crate::pg::name::{Qualified, identifier, literal};

/// A row as it is sent: every value as text.
pub type Values = Vec<Option<String>>;

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
    columns: Vec<Column>,
    pub condition: Option<String>,
    /// The other side keeps this table as an event table of its own opdb.
    pub is_event_table_there: bool,
    stage: String,
}

impl Shipment {
    /// Errors: 42P16 if nothing identifies a row, 42703 for a key column that is not sent.
    pub fn new(place: usize, table: &LocalTable, compared: &Compared, options: &Options) -> Result<Self> {
        let label = table.name.label();
        let mut kept_here = table.kept_here();
        kept_here.extend(options.exclude_columns.iter().cloned());
        let there = |name: &str| columns(&compared.remote, &label).find(|column| column.name() == name);
        let columns: Vec<Column> = columns(&compared.local, &label)
            .filter(|local| is_sent(local, there(local.name()), &kept_here))
            .map(|local| Column::new(local, there(local.name())))
            .collect();
        let key = key(table, &label, compared, options)?;
        if let Some(column) = key.iter().find(|key| !columns.iter().any(|column| column.name == **key)) {
            return Err(DeployError::KeyColumn { table: label, column: column.clone() }.into());
        }
        let is_event_table_there = compared.remote.iter().any(|fact| {
            fact.kind() == Kind::Table
                && fact.relation() == label
                && !fact.list("unique_by_trigger").is_empty()
        });
        Ok(Self {
            stage: format!("pg_temp.opdb_stage_{place}"),
            name: table.name.clone(),
            table: table.name.sql(),
            label,
            kept_here,
            key,
            columns,
            condition: options.condition.clone(),
            is_event_table_there,
        })
    }

    pub fn sent_columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// Each row here as a JSON array of texts: what is sent, and what the digest is of.
    pub fn read_rows(&self) -> String {
        let values: Vec<String> = self.columns.iter().map(Column::sent_text).collect();
        let condition = self.condition.as_deref().unwrap_or("true");
        format!("SELECT {} FROM {} WHERE {condition}", json_array(&values), self.table)
    }

    /// A temporary table there with the types of the target and none of its constraints.
    pub fn create_stage(&self) -> String {
        format!(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA",
            self.stage,
            self.names(""),
            self.table
        )
    }

    /// Puts a batch into the stage. A literal is read by the type's own input function: a cast could be a
    /// user's, and one to varchar(n) would cut the text in silence.
    pub fn fill_stage(&self, batch: &[Values]) -> String {
        let value = |value: &Option<String>| value.as_ref().map_or("NULL".to_owned(), literal);
        let rows: Vec<String> = batch
            .iter()
            .map(|row| format!("({})", row.iter().map(value).collect::<Vec<_>>().join(",")))
            .collect();
        format!("INSERT INTO {} ({}) VALUES {}", self.stage, self.names(""), rows.join(","))
    }

    /// The sums of a RowDigest over the stage, each value brought back to the text it has here.
    pub fn stage_digest(&self) -> String {
        let values: Vec<String> = self.columns.iter().map(Column::staged_text).collect();
        digest_sums(&format!("SELECT {} FROM {}", json_array(&values), self.stage))
    }

    /// The same over the rows here.
    pub fn digest_here(&self) -> String {
        digest_sums(&self.read_rows())
    }

    /// No key twice and none NULL; also what the joins below go by.
    pub fn key_stage(&self) -> String {
        format!("ALTER TABLE {} ADD PRIMARY KEY ({})", self.stage, list(&self.key))
    }

    pub fn analyze_stage(&self) -> String {
        format!("ANALYZE {}", self.stage)
    }

    /// One deployment of a table at a time.
    pub fn lock(&self) -> String {
        format!(
            "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended({}, 0))",
            literal(&self.table)
        )
    }

    /// The partitions that the rows need there, where opdb makes them.
    pub fn create_partitions(&self) -> Option<String> {
        self.is_event_table_there.then(|| {
            format!(
                "SELECT opdb.create_event_partitions({}::regclass, ARRAY(
                     SELECT DISTINCT pg_catalog.date_trunc('hour', occurred_at) FROM {}))",
                literal(&self.table),
                self.stage
            )
        })
    }

    pub fn update(&self) -> Option<String> {
        let others: Vec<&Column> =
            self.columns.iter().filter(|column| !self.key.contains(&column.name)).collect();
        if others.is_empty() {
            return None;
        }
        let set: Vec<String> =
            others.iter().map(|column| format!("{0} = s.{0}", identifier(&column.name))).collect();
        Some(format!(
            "UPDATE {} t SET {} FROM {} s WHERE {} AND NOT ({})",
            self.table,
            set.join(", "),
            self.stage,
            self.same_key(),
            self.same_row()
        ))
    }

    pub fn insert(&self) -> String {
        format!(
            "INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {stage} s
             WHERE NOT EXISTS (SELECT FROM {table} t WHERE {same_key})",
            table = self.table,
            names = self.names(""),
            values = self.names("s."),
            stage = self.stage,
            same_key = self.same_key()
        )
    }

    pub fn count(&self) -> String {
        format!("SELECT pg_catalog.count(*) FROM {}", self.table)
    }

    /// How many staged rows are not in the target as they were sent.
    pub fn count_deviating(&self) -> String {
        format!(
            "SELECT pg_catalog.count(*) FROM {} s WHERE NOT EXISTS (SELECT FROM {} t WHERE {} AND {})",
            self.stage,
            self.table,
            self.same_key(),
            self.same_row()
        )
    }

    /// Moves the target's sequences past the values that were sent, so that its own next row finds a free
    /// one. Needs UPDATE on the sequence, and may skip a value.
    pub fn advance_sequences(&self) -> Vec<String> {
        self.columns
            .iter()
            .filter(|column| column.has_sequence_there)
            .map(|column| {
                format!(
                    "SELECT pg_catalog.setval(q.seqrelid::regclass,
                                CASE WHEN q.seqincrement > 0
                                     THEN greatest(m.high, pg_catalog.nextval(q.seqrelid::regclass))
                                     ELSE least(m.low, pg_catalog.nextval(q.seqrelid::regclass)) END)
                     FROM pg_catalog.pg_sequence q,
                          (SELECT pg_catalog.max({column}) AS high, pg_catalog.min({column}) AS low FROM {stage}) m
                     WHERE q.seqrelid = pg_catalog.pg_get_serial_sequence({table}, {name})::regclass
                       AND m.high <= q.seqmax AND m.low >= q.seqmin",
                    column = identifier(&column.name),
                    stage = self.stage,
                    table = literal(&self.table),
                    name = literal(&column.name),
                )
            })
            .collect()
    }

    fn names(&self, prefix: &str) -> String {
        let names: Vec<String> =
            self.columns.iter().map(|column| format!("{prefix}{}", identifier(&column.name))).collect();
        names.join(", ")
    }

    fn same_key(&self) -> String {
        let keys = self.columns.iter().filter(|column| self.key.contains(&column.name));
        keys.map(Column::same_key).collect::<Vec<_>>().join(" AND ")
    }

    /// By text, byte for byte: json has no equality, 1.0 is not the 1.00 that was sent, and a collation may
    /// call an A an a.
    fn same_row(&self) -> String {
        let pairs: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("{} IS NOT DISTINCT FROM {}", column.text_of("t"), column.text_of("s")))
            .collect();
        pairs.join(" AND ")
    }
}

fn digest_sums(rows: &str) -> String {
    format!(
        "SELECT pg_catalog.count(*)::text,
                coalesce(pg_catalog.sum(('x' || pg_catalog.substr(h, 1, 16))::bit(64)::bigint::numeric), 0)::text,
                coalesce(pg_catalog.sum(('x' || pg_catalog.substr(h, 17, 16))::bit(64)::bigint::numeric), 0)::text
         FROM (SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(r.line, 'UTF8')), 'hex') AS h
               FROM ({rows}) AS r (line)) hashed"
    )
}

/// Texts as one JSON array; json_build_array would take a hundred at most.
fn json_array(values: &[String]) -> String {
    format!("pg_catalog.array_to_json(ARRAY[{}]::text[])::text", values.join(", "))
}

fn list(names: &[String]) -> String {
    names.iter().map(identifier).collect::<Vec<_>>().join(", ")
}

/// The option's key, an event table's source_id, or the primary key.
fn key(table: &LocalTable, label: &str, compared: &Compared, options: &Options) -> Result<Vec<String>> {
    if let Some(key) = &options.key {
        return Ok(key.clone());
    }
    if table.is_event_table {
        return Ok(vec!["source_id".to_owned()]);
    }
    primary_key(&compared.local, label).ok_or_else(|| DeployError::NoKey(label.to_owned()).into())
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
