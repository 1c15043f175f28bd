//! What of a table is sent, and the SQL with which it is read here and written there.

use opdb_core::deploy::in_reference_order;
use opdb_core::schema::{Fact, Kind};

use super::error::DeployError;
use super::options::Options;
use crate::compat::{Compared, LocalTable, columns};
use crate::pg::error::Result;
use crate::pg::name::{identifier, literal};

/// One table on its way.
pub struct Shipment {
    /// `schema.table`, the same on both sides.
    pub table: String,
    /// What the other side decides for itself.
    pub kept_here: Vec<String>,
    pub key: Vec<String>,
    columns: Vec<Column>,
    pub condition: Option<String>,
    /// The other side keeps this table as an event table of its own opdb.
    pub is_event_table_there: bool,
    stage: String,
}

struct Column {
    name: String,
    local_type: String,
    remote_type: String,
    /// The other side draws its default from a sequence of its own.
    has_sequence_there: bool,
}

impl Shipment {
    /// Errors: 42P16 if nothing identifies a row, 42703 for a key column that is not sent.
    pub fn new(place: usize, table: &LocalTable, compared: &Compared, options: &Options) -> Result<Self> {
        let name = table.name.sql();
        let mut kept_here = table.kept_here();
        kept_here.extend(options.exclude_columns.iter().cloned());
        let columns: Vec<Column> = columns(&compared.local, &name)
            .filter(|column| !kept_here.contains(&column.name) && column.text("generated").is_none())
            .map(|local| {
                Column::new(local, columns(&compared.remote, &name).find(|there| there.name == local.name))
            })
            .collect();
        let key = key(table, &name, compared, options)?;
        if let Some(column) = key.iter().find(|key| !columns.iter().any(|column| column.name == **key)) {
            return Err(DeployError::KeyColumn { table: name, column: column.clone() }.into());
        }
        let is_event_table_there = compared.remote.iter().any(|fact| {
            fact.kind == Kind::Table && fact.table == name && !fact.list("unique_by_trigger").is_empty()
        });
        Ok(Self {
            stage: format!("pg_temp.opdb_stage_{place}"),
            table: name,
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
        let values: Vec<String> =
            self.columns.iter().map(|column| format!("{}::text", identifier(&column.name))).collect();
        let condition = self.condition.as_deref().unwrap_or("true");
        format!(
            "SELECT pg_catalog.json_build_array({})::text FROM {} WHERE {condition}",
            values.join(", "),
            self.table
        )
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

    /// Puts a batch into the stage. Text goes in uncast: a cast to varchar(n) would cut it in silence, while
    /// the assignment raises an error.
    pub fn fill_stage(&self, batch: &str) -> String {
        let values: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(place, column)| format!("(r.v ->> {place}){}", column.cast()))
            .collect();
        format!(
            "INSERT INTO {} SELECT {} FROM pg_catalog.json_array_elements({}::pg_catalog.json) AS r (v)",
            self.stage,
            values.join(", "),
            literal(batch)
        )
    }

    /// The sums of a RowDigest over the stage, each value brought back to the type it has here.
    pub fn stage_digest(&self) -> String {
        let values: Vec<String> = self.columns.iter().map(Column::text_as_here).collect();
        format!(
            "SELECT pg_catalog.count(*),
                    coalesce(pg_catalog.sum(('x' || pg_catalog.substr(h, 1, 16))::bit(64)::bigint::numeric), 0),
                    coalesce(pg_catalog.sum(('x' || pg_catalog.substr(h, 17, 16))::bit(64)::bigint::numeric), 0)
             FROM (SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(
                              pg_catalog.json_build_array({})::text, 'UTF8')), 'hex') AS h
                   FROM {}) hashed",
            values.join(", "),
            self.stage
        )
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
                    "SELECT pg_catalog.setval(q.name::regclass, greatest(m.high, pg_catalog.nextval(q.name::regclass)))
                     FROM (SELECT pg_catalog.pg_get_serial_sequence({}, {}) AS name) q,
                          (SELECT pg_catalog.max({}) AS high FROM {}) m
                     WHERE q.name IS NOT NULL",
                    literal(&self.table),
                    literal(&column.name),
                    identifier(&column.name),
                    self.stage,
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
        let pairs: Vec<String> =
            self.key.iter().map(|key| format!("t.{0} = s.{0}", identifier(key))).collect();
        pairs.join(" AND ")
    }

    /// By text: json has no equality, and 1.0 is not the 1.00 that was sent.
    fn same_row(&self) -> String {
        let pairs: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("t.{0}::text IS NOT DISTINCT FROM s.{0}::text", identifier(&column.name)))
            .collect();
        pairs.join(" AND ")
    }
}

impl Column {
    fn new(local: &Fact, there: Option<&Fact>) -> Self {
        let data_type = |fact: &Fact| fact.text("type").unwrap_or_default().to_owned();
        Self {
            name: local.name.clone(),
            local_type: data_type(local),
            remote_type: there.map(data_type).unwrap_or_default(),
            has_sequence_there: there.is_some_and(|there| {
                there.text("identity").is_some_and(|identity| !identity.is_empty())
                    || there.text("default").is_some_and(|default| default.starts_with("nextval("))
            }),
        }
    }

    fn cast(&self) -> String {
        if self.remote_type.starts_with("character") && !self.remote_type.ends_with("[]") {
            return String::new();
        }
        format!("::{}", self.remote_type)
    }

    /// A type of the system's own exists there too; one of the user's may not, and has its text.
    fn text_as_here(&self) -> String {
        let name = identifier(&self.name);
        if self.local_type == self.remote_type || self.local_type.contains(['.', '"']) {
            format!("{name}::text")
        } else {
            format!("{name}::{}::text", self.local_type)
        }
    }
}

fn list(names: &[String]) -> String {
    names.iter().map(identifier).collect::<Vec<_>>().join(", ")
}

/// The option's key, an event table's source_id, or the primary key.
fn key(table: &LocalTable, name: &str, compared: &Compared, options: &Options) -> Result<Vec<String>> {
    if let Some(key) = &options.key {
        return Ok(key.clone());
    }
    if table.is_event_table {
        return Ok(vec!["source_id".to_owned()]);
    }
    let primary = compared
        .local
        .iter()
        .find(|fact| fact.kind == Kind::Constraint && fact.table == name && fact.text("type") == Some("p"));
    match primary {
        Some(primary) => Ok(primary.list("columns").into_iter().map(str::to_owned).collect()),
        None => Err(DeployError::NoKey(name.to_owned()).into()),
    }
}

/// Shipments with referenced tables before those that reference them, by the foreign keys there.
/// Errors: 42830 if they go in a circle.
pub fn ordered(mut shipments: Vec<Shipment>, compared: &Compared) -> Result<Vec<Shipment>> {
    let tables: Vec<String> = shipments.iter().map(|shipment| shipment.table.clone()).collect();
    let references: Vec<(String, String)> = compared
        .remote
        .iter()
        .filter(|fact| fact.text("type") == Some("f") && !fact.flag("deferred"))
        .filter_map(|fact| Some((fact.table.clone(), fact.text("references")?.to_owned())))
        .collect();
    let order = in_reference_order(&tables, &references)
        .map_err(|cycle| DeployError::ReferenceCycle(cycle.join(", ")))?;
    shipments.sort_by_key(|shipment| order.iter().position(|table| *table == shipment.table));
    Ok(shipments)
}
