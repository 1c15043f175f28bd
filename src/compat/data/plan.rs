//! What is compared of a table, and the SQL that each side runs for it.

use opdb_core::compat::digest::Suspects;
use opdb_core::compat::form::{Form, Side, row_hash, text_sample};
use opdb_core::compat::table::{column_type, is_unique, of_table};
use opdb_core::schema::{Fact, Kind};

use std::rc::Rc;

use super::options::Options;
use crate::compat::error::CompatError;
use crate::compat::{Compared, LocalTable, columns, primary_key};
use crate::pg::error::Result;
use crate::pg::name::{Qualified, identifier, literal};
use crate::pg::remote::Remote;

/// A column of both sides.
pub struct Column {
    pub name: String,
    pub form: Form,
}

impl Column {
    /// A member of a JSON object in text: the name, and a text of the column as JSON.
    pub fn member(&self, text: &str) -> String {
        let name = format!("{}: ", serde_json::Value::from(self.name.as_str()));
        format!("{} || coalesce(({})::text, 'null')", literal(&name), self.form.json(text))
    }

    /// As a column of the table, which is called t everywhere.
    fn sql(&self) -> String {
        format!("t.{}", identifier(&self.name))
    }

    pub fn sketch(&self, side: Side) -> String {
        self.form.sketch(side, &self.sql())
    }

    pub fn text(&self, side: Side) -> String {
        self.form.text(side, &self.sql())
    }
}

/// The first page of a part of a table, and the page after its last; none if that is the last of the table.
pub type Pages = (i64, Option<i64>);

fn on(pages: Option<Pages>) -> String {
    pages.map_or(String::new(), |(first, end)| {
        let end = end.map_or(String::new(), |end| format!(" AND t.ctid < '({end},0)'::tid"));
        format!(" AND t.ctid >= '({first},0)'::tid{end}")
    })
}

/// How a table is compared.
pub struct Plan {
    pub table: Qualified,
    pub columns: Vec<Column>,
    /// Where the columns of the key stand among the columns; none if nothing tells rows apart.
    pub key: Option<Vec<usize>>,
    pub condition: String,
    /// What is not compared because it stands on one side only, in words.
    pub one_sided: Vec<String>,
    /// Why rows are not told apart by a key.
    pub without_key: Option<String>,
    /// Nothing but the caller says that the key tells rows apart.
    pub is_key_claimed: bool,
    /// What a statement there may take, where that is not the usual.
    pub statement_timeout: Option<String>,
}

impl Plan {
    /// Errors: 42P01 if the table does not exist there, 42703 for a column in the options that is not on both sides or if
    /// there are no such columns, 42P16 for a key that may be NULL.
    pub fn new(
        table: &LocalTable,
        compared: &Compared,
        environment: &str,
        options: &Options,
    ) -> Result<Self> {
        compared.check_exists_there(table, environment)?;
        options.check_condition(&table.name.sql())?;
        let label = table.name.label();
        let (here, there) = (
            Vec::from_iter(columns(&compared.local, &label)),
            Vec::from_iter(columns(&compared.remote, &label)),
        );
        let in_both = |name: &String| find(&here, name).is_some() && find(&there, name).is_some();
        let named = options.key.iter().chain(&options.columns).flatten().chain(&options.exclude_columns);
        if let Some(column) = named.into_iter().find(|name| !in_both(name)) {
            return Err(CompatError::UnknownColumn { table: table.name.sql(), column: column.clone() }.into());
        }
        let mut kept_here = table.kept_here();
        kept_here.retain(|name| options.key.as_ref().is_none_or(|key| !key.contains(name)));
        let (key, without_key) = key(table, compared, options, &here, &there)?;
        let is_wanted = |name: &str| {
            let is = |list: &Vec<String>| list.iter().any(|it| it == name);
            key.as_ref().is_some_and(is)
                || (options.columns.as_ref().is_none_or(is)
                    && !is(&options.exclude_columns)
                    && !is(&kept_here))
        };
        let columns: Vec<Column> = here
            .iter()
            .filter(|local| is_wanted(local.name()))
            .filter_map(|local| Some((local, find(&there, local.name())?)))
            .map(|(local, remote)| {
                let (from, to) = (column_type(local), column_type(remote));
                let form =
                    if options.as_written { Form::as_written(&from, &to) } else { Form::new(&from, &to) };
                Column { name: local.name().to_owned(), form }
            })
            .collect();
        if columns.is_empty() {
            return Err(CompatError::NoCommonColumns {
                table: table.name.sql(),
                environment: environment.to_owned(),
            }
            .into());
        }
        let one_sided =
            if options.columns.is_some() { Vec::new() } else { one_sided(&here, &there, &is_wanted) };
        let place = |name: &String| columns.iter().position(|column| column.name == *name);
        let key = key.map(|key| key.iter().filter_map(place).collect());
        let condition = options.condition.clone().unwrap_or_else(|| "true".to_owned());
        let statement_timeout = options.statement_timeout.clone();
        Ok(Self {
            table: table.name.clone(),
            columns,
            key,
            condition,
            one_sided,
            without_key,
            is_key_claimed: options.key.is_some(),
            statement_timeout,
        })
    }

    /// The hashes that must be the same on both sides: of each column's type, and of text.
    pub fn hash_samples(&self) -> String {
        let samples = self.columns.iter().map(|column| column.form.hash_sample());
        let samples = samples.map(|sample| sample.unwrap_or_else(text_sample));
        let samples = samples.collect::<Vec<_>>().join(", ");
        format!("SELECT pg_catalog.array_to_string(ARRAY[{}, {samples}], ',')", text_sample())
    }

    /// Takes columns by their text whose type is hashed otherwise there, by what `hash_samples` gives on both sides. Returns
    /// whether all are hashed alike. Errors: 0A000 if not even text is.
    pub fn trust(&mut self, here: &str, there: &str) -> Result<bool> {
        let (mut here, mut there) = (here.split(','), there.split(','));
        if here.next() != there.next() {
            return Err(CompatError::HashesUnlike(self.table.sql()).into());
        }
        let mut are_alike = true;
        for (column, (here, there)) in self.columns.iter_mut().zip(here.zip(there)) {
            if here != there {
                column.form.distrust_hash();
                are_alike = false;
            }
        }
        Ok(are_alike)
    }

    /// `part` of each column, as a list.
    pub fn list(&self, part: impl Fn(usize, &Column) -> String) -> String {
        let parts: Vec<String> =
            self.columns.iter().enumerate().map(|(place, column)| part(place, column)).collect();
        parts.join(", ")
    }

    /// A transaction of its own there, so that what is read is of now and no horizon is held back.
    pub fn begin(&self, remote: &Remote, settings: &[(&str, &str)]) {
        remote.restart();
        remote.set_local(settings);
        if let Some(timeout) = &self.statement_timeout {
            remote.set_local(&[("statement_timeout", timeout)]);
        }
    }

    /// How many pages the table has there, if it has any of its own.
    pub fn pages(&self) -> String {
        format!(
            "SELECT CASE c.relkind WHEN 'r' THEN pg_catalog.pg_relation_size(c.oid)
                        / pg_catalog.current_setting('block_size')::int ELSE 0 END
             FROM pg_catalog.pg_class c WHERE c.oid = {}::pg_catalog.regclass",
            literal(self.table.sql())
        )
    }

    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().flatten().filter_map(|place| self.columns.get(*place))
    }

    pub fn key_names(&self) -> Vec<&str> {
        self.key_columns().map(|column| column.name.as_str()).collect()
    }

    fn row_hash(&self, side: Side) -> String {
        row_hash(self.columns.iter().flat_map(|column| column.form.hash_parts(side, &column.sql())))
    }

    /// Of the key, or of the whole row where there is none.
    fn key_hash(&self, side: Side) -> String {
        match self.key {
            None => self.row_hash(side),
            Some(_) => {
                let hashes: Vec<String> = self
                    .key_columns()
                    .enumerate()
                    .map(|(place, column)| column.form.bucket_hash(side, &column.sql(), place + 1))
                    .collect();
                format!("({})", hashes.join(" # "))
            }
        }
    }

    fn from(&self, side: Side, suspects: Option<&Suspects>) -> String {
        let condition = &self.condition;
        let table = self.table.sql();
        match suspects {
            Some(suspects) if !suspects.are_most() => {
                let list: Vec<String> = suspects.buckets.iter().map(i64::to_string).collect();
                format!(
                    "FROM {table} t WHERE {condition} AND {} & {} = ANY ('{{{}}}'::bigint[])",
                    self.key_hash(side),
                    suspects.of - 1,
                    list.join(",")
                )
            }
            _ => format!("FROM {table} t WHERE {condition}"),
        }
    }

    /// The number of rows and the sum of their hashes, of some pages or of all.
    pub fn total(&self, side: Side, pages: Option<Pages>) -> String {
        format!(
            "SELECT 0::bigint, pg_catalog.count(*), pg_catalog.sum({}) {}{}",
            self.row_hash(side),
            self.from(side, None),
            on(pages)
        )
    }

    /// The same for each of so many buckets.
    pub fn digests(&self, side: Side, of: i64, within: Option<&Suspects>, pages: Option<Pages>) -> String {
        format!(
            "SELECT {} & {}, pg_catalog.count(*), pg_catalog.sum({}) {}{} GROUP BY 1",
            self.key_hash(side),
            of - 1,
            self.row_hash(side),
            self.from(side, within),
            on(pages)
        )
    }

    /// The keys of suspects as text, with the hash of the row.
    pub fn keys(&self, side: Side, suspects: &Suspects) -> String {
        let texts: Vec<String> =
            self.key_columns().map(|column| column.form.key_text(side, &column.sql())).collect();
        let key = match texts.as_slice() {
            [key] => key.clone(),
            keys => format!("ARRAY[{}]::text", keys.join(", ")),
        };
        format!("SELECT {key} AS k, {} AS h {}", self.row_hash(side), self.from(side, Some(suspects)))
    }

    /// The rows of suspects, each column as text in one form, where no key tells them apart.
    pub fn whole_rows(&self, side: Side, suspects: &Suspects) -> String {
        let texts =
            self.list(|place, column| format!("{} AS c{place}", column.form.key_text(side, &column.sql())));
        format!("SELECT {texts} {}", self.from(side, Some(suspects)))
    }

    /// From lists of keys (see [`Plan::key_lists`]) to the rows of a side, each with the number of its key.
    pub fn lookup(&self, side: Side, keys: &[String]) -> String {
        let (mut lists, mut names, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (column, list)) in self.key_columns().zip(keys).enumerate() {
            lists.push(format!("pg_catalog.unnest({}::text[])", literal(list)));
            names.push(format!("k{place}"));
            conditions.push(column.form.has_key(side, &column.sql(), &format!("k.k{place}")));
        }
        format!(
            "FROM ROWS FROM ({}) WITH ORDINALITY k ({}, i) JOIN (SELECT * FROM {} t WHERE {}) t ON {}",
            lists.join(", "),
            names.join(", "),
            self.table.sql(),
            self.condition,
            conditions.join(" AND ")
        )
    }

    /// For keys that are called c.k, what they are grouped by so that each comes once, however it is written; none if there
    /// is only one way.
    pub fn one_of_each_key(&self) -> Option<String> {
        if !self.key_columns().any(|column| column.form.has_many_key_texts()) {
            return None;
        }
        let count = self.key_columns().count();
        let parts = self.key_columns().enumerate().map(|(place, column)| match count {
            1 => column.form.group("c.k"),
            _ => column.form.group(&format!("(c.k::text[])[{}]", place + 1)),
        });
        Some(parts.collect::<Vec<_>>().join(", "))
    }

    /// From a spool of keys, a list for each column of the key, as an array of the text that an array has.
    pub fn key_lists(&self) -> String {
        let places = 1..=self.key_columns().count();
        let lists: Vec<String> = match places.end() {
            1 => vec!["pg_catalog.array_agg(k)::text".to_owned()],
            _ => places.map(|place| format!("pg_catalog.array_agg((k::text[])[{place}])::text")).collect(),
        };
        format!("SELECT ARRAY[{}] FROM spool", lists.join(", "))
    }
}

/// A JSON object as text, from an array of its members, of which those that are NULL are left out. To aggregate a list of
/// VALUES would prepare that list anew for each row.
pub fn object(members: &str) -> String {
    format!("'{{' || pg_catalog.array_to_string({members}, ', ') || '}}'")
}

fn find<'f>(columns: &[&'f Fact], name: &str) -> Option<&'f Fact> {
    columns.iter().find(|column| column.name() == name).copied()
}

/// Columns without a counterpart that nobody left out.
fn one_sided(here: &[&Fact], there: &[&Fact], is_wanted: &impl Fn(&str) -> bool) -> Vec<String> {
    let only = |one: &[&Fact], other: &[&Fact], place: &str| -> Vec<String> {
        one.iter()
            .filter(|column| find(other, column.name()).is_none() && is_wanted(column.name()))
            .map(|column| format!("column {} is only {place}", identifier(column.name())))
            .collect()
    };
    [only(here, there, "here"), only(there, here, "there")].concat()
}

/// What tells rows apart on both sides, or why nothing does.
type Key = (Option<Vec<String>>, Option<String>);

/// A statement on a table speaks of the tables that inherit from it too, and its key does not.
fn is_inherited(facts: &[Rc<Fact>], label: &str) -> bool {
    of_table(facts, label).iter().any(|fact| fact.kind() == Kind::Table && fact.flag("is_inherited"))
}

fn key(
    table: &LocalTable,
    compared: &Compared,
    options: &Options,
    here: &[&Fact],
    there: &[&Fact],
) -> Result<Key> {
    let label = table.name.label();
    let may_be_null = |name: &String| {
        let not_null = |columns: &[&Fact]| find(columns, name).is_some_and(|column| column.flag("not_null"));
        !(not_null(here) && not_null(there))
    };
    if let Some(key) = &options.key {
        if let Some(column) = key.iter().find(|name| may_be_null(name)) {
            return Err(CompatError::KeyMayBeNull { table: table.name.sql(), column: column.clone() }.into());
        }
        return Ok((Some(key.clone()), None));
    }
    let key = match table.is_event_table {
        true => Some(vec!["source_id".to_owned()]),
        false => primary_key(&compared.local, &label),
    };
    let Some(key) = key else { return Ok((None, Some("it has no primary key here".to_owned()))) };
    if is_inherited(&compared.local, &label) || is_inherited(&compared.remote, &label) {
        return Ok((None, Some("other tables inherit from it".to_owned())));
    }
    let list = key.join(", ");
    if key.iter().any(|name| find(there, name).is_none()) {
        return Ok((None, Some(format!("its key ({list}) is not there"))));
    }
    if !is_unique(&compared.remote, &label, &key) || key.iter().any(may_be_null) {
        return Ok((None, Some(format!("its key ({list}) is not unique there"))));
    }
    Ok((Some(key), None))
}
