//! Where the values of each column would go, and whether those that are there now fit.

use opdb_core::compat::Verdict;
use opdb_core::compat::evidence::{Measure, measure, misfit};
use opdb_core::compat::table::{column_type, is_sent};
use opdb_core::compat::types::{self, ColumnType};
use opdb_core::schema::Fact;
use serde_json::Value;

use super::error::CompatError;
use super::{Compared, LocalTable, columns};
use crate::pg::error::Result;
use crate::pg::name::identifier;
use crate::pg::spi;

/// Columns that are asked about in one scan: each takes three columns of the answer.
const COLUMNS_PER_SCAN: usize = 400;

/// Columns that are called otherwise there.
#[derive(Default)]
pub struct Renames(Vec<(String, String)>);

impl Renames {
    /// From an object of names there by names here. Errors: 22023 if it is none.
    pub fn read(mapping: &Value) -> Result<Self> {
        let pairs = mapping.as_object().and_then(|object| {
            object.iter().map(|(here, there)| Some((here.clone(), there.as_str()?.to_owned()))).collect()
        });
        pairs.map(Self).ok_or_else(|| CompatError::InvalidMapping.into())
    }

    fn name_there<'a>(&'a self, here: &'a str) -> &'a str {
        self.0.iter().find(|(name, _)| name == here).map_or(here, |(_, there)| there)
    }

    /// Errors: 42703 for a name that there is not, 42701 for a column there that two would go to.
    fn check(&self, table: &str, here: &[&Fact], there: &[&Fact]) -> Result<()> {
        let is_in = |columns: &[&Fact], name: &str| columns.iter().any(|column| column.name() == name);
        for (from, to) in &self.0 {
            for (is_known, column, place) in
                [(is_in(here, from), from, "here"), (is_in(there, to), to, "there")]
            {
                if !is_known {
                    let (table, column) = (table.to_owned(), column.clone());
                    return Err(CompatError::NoSuchColumn { table, column, place }.into());
                }
            }
            let comers = here.iter().filter(|column| self.name_there(column.name()) == to);
            if comers.count() > 1 {
                return Err(CompatError::MappedTwice { table: table.to_owned(), column: to.clone() }.into());
            }
        }
        Ok(())
    }
}

/// A column here and the one it goes to.
pub struct Mapping {
    pub local_column: String,
    pub local_type: String,
    pub remote_column: Option<String>,
    pub remote_type: Option<String>,
    pub verdict: Verdict,
    /// How a value is converted, in SQL.
    pub conversion: Option<String>,
    pub evidence: String,
    /// Whether every value that is there now fits; unknown where only the other server can tell, or nobody asked.
    pub fits: Option<bool>,
    question: Option<Question>,
}

/// What the data can tell of a column.
struct Question {
    /// True for a value that does not fit.
    misfit: String,
    measure: Option<Measure>,
    /// Whether a value that is no misfit fits.
    is_conclusive: bool,
}

impl Compared {
    /// How each column of the table fares there, with what the data says where the types leave it open and somebody wants
    /// to know. With a `condition` (in parentheses), of the rows for which it holds.
    ///
    /// Errors: as [`Renames::check`]; with data, 42501 without SELECT on the table.
    pub fn mapping(
        &self,
        table: &LocalTable,
        kept_here: &[String],
        renames: &Renames,
        data: Data,
    ) -> Result<Vec<Mapping>> {
        let label = table.name.label();
        let here: Vec<&Fact> = columns(&self.local, &label).collect();
        let there: Vec<&Fact> = columns(&self.remote, &label).collect();
        renames.check(&table.name.sql(), &here, &there)?;
        let mut mapping: Vec<Mapping> = here
            .iter()
            .map(|local| {
                let name = renames.name_there(local.name());
                Mapping::new(local, there.iter().find(|column| column.name() == name).copied(), kept_here)
            })
            .collect();
        if let Data::Asked(condition) = data {
            let mut open: Vec<&mut Mapping> = mapping.iter_mut().filter(|it| it.question.is_some()).collect();
            for part in open.chunks_mut(COLUMNS_PER_SCAN) {
                add_evidence(&table.name.sql(), condition.unwrap_or("true"), part)?;
            }
        }
        Ok(mapping)
    }
}

/// Whether the values themselves are looked at.
#[derive(Clone, Copy)]
pub enum Data<'a> {
    Asked(Option<&'a str>),
    NotAsked,
}

impl Mapping {
    fn new(local: &Fact, there: Option<&Fact>, kept_here: &[String]) -> Self {
        let (from, to) = (column_type(local), there.map(column_type));
        let sent = is_sent(local, there, kept_here);
        let of_types = to.as_ref().map_or(Verdict::Missing, |to| types::verdict(&from, to));
        let refuses_null = there.is_some_and(|there| there.flag("not_null")) && !local.flag("not_null");
        let mut verdict = of_types;
        if refuses_null {
            verdict = verdict.max(Verdict::Narrowing);
        }
        if sent && there.is_some_and(|there| there.text("generated").is_some()) {
            verdict = Verdict::Incompatible;
        }
        let (evidence, fits) = match (sent, verdict) {
            (false, _) => ("not sent: the environment gives its own value", Some(true)),
            (true, Verdict::Identical | Verdict::Widening) => ("every value fits by its type", Some(true)),
            (true, Verdict::Missing) => ("the column does not exist there", Some(false)),
            (true, Verdict::Incompatible) => {
                ("no conversion is known, or the type is defined otherwise there", Some(false))
            }
            (true, Verdict::Lossy) => ("values may be altered, and nothing tells which", None),
            _ => ("only the environment can tell: staging there tries every value", None),
        };
        let is_open = fits.is_none();
        let question = to.as_ref().filter(|_| is_open).and_then(|to| {
            Question::new(&identifier(local.name()), (&from, to), of_types > Verdict::Widening, refuses_null)
        });
        Self {
            local_column: local.name().to_owned(),
            conversion: to.as_ref().and_then(|to| conversion(local.name(), &from, to, of_types)),
            local_type: from.text,
            remote_column: there.map(|there| there.name().to_owned()),
            remote_type: to.map(|to| to.text),
            verdict,
            evidence: evidence.to_owned(),
            fits,
            question,
        }
    }
}

/// The cast, where there is anything to convert.
fn conversion(column: &str, from: &ColumnType, to: &ColumnType, verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Incompatible | Verdict::Missing => None,
        _ if from.text == to.text => Some(identifier(column)),
        _ => Some(format!("{}::{}", identifier(column), to.text)),
    }
}

impl Question {
    fn new(
        column: &str,
        (from, to): (&ColumnType, &ColumnType),
        is_type_open: bool,
        refuses_null: bool,
    ) -> Option<Self> {
        let of_type = if is_type_open { misfit(column, from, to) } else { None };
        let is_conclusive = of_type.is_some() || !is_type_open;
        let of_null = refuses_null.then(|| format!("{column} IS NULL"));
        let conditions: Vec<String> = of_type.into_iter().chain(of_null).collect();
        (!conditions.is_empty()).then(|| Self {
            misfit: format!("({})", conditions.join(") OR (")),
            measure: if is_type_open { measure(column, from, to) } else { None },
            is_conclusive,
        })
    }
}

/// Counts, in one scan, the values that do not fit, shows one of each column's, and measures them.
fn add_evidence(table: &str, condition: &str, open: &mut [&mut Mapping]) -> Result<()> {
    let counts: Vec<String> = open
        .iter()
        .filter_map(|column| {
            let (name, question) = (identifier(&column.local_column), column.question.as_ref()?);
            let (misfit, measure) = (&question.misfit, question.measure.as_ref());
            Some(format!(
                "pg_catalog.count(*) FILTER (WHERE {misfit}), \
                 pg_catalog.left(pg_catalog.min(pg_catalog.format('%s', {name})) \
                 FILTER (WHERE ({misfit}) AND {name} IS DISTINCT FROM NULL), 60), {}",
                measure.map_or("NULL::text".to_owned(), |measure| format!("({})::text", measure.sql))
            ))
        })
        .collect();
    let sql = format!("SELECT pg_catalog.count(*), {} FROM {table} WHERE {condition}", counts.join(", "));
    let found = spi::read_one(&sql, &[], |row| {
        let columns = (0..counts.len()).map(|place| {
            let first = 2 + 3 * place;
            Ok((
                row.get::<i64>(first)?.unwrap_or(0),
                row.get::<String>(first + 1)?,
                row.get::<String>(first + 2)?,
            ))
        });
        Ok((row.get::<i64>(1)?.unwrap_or(0), columns.collect::<pgrx::spi::Result<Vec<_>>>()?))
    })?;
    let Some((rows, columns)) = found else {
        return Ok(());
    };
    for (column, (misfits, example, measured)) in open.iter_mut().zip(columns) {
        let Some(question) = column.question.as_ref() else { continue };
        let measured =
            question.measure.as_ref().zip(measured).map(|(measure, value)| measure.describe(&value));
        let with_measure = |text: String| match &measured {
            Some(measured) => format!("{text}; {measured}"),
            None => text,
        };
        (column.fits, column.evidence) = match (misfits, example) {
            // The values that are there are not NULL, and nobody knows of the rest.
            (0, _) if !question.is_conclusive => continue,
            (0, _) => (Some(true), with_measure(format!("safe for this data: all {rows} rows fit"))),
            (_, Some(example)) => (
                Some(false),
                with_measure(format!("{misfits} of {rows} rows do not fit, for example {example}")),
            ),
            (_, None) => (Some(false), format!("{misfits} of {rows} rows are NULL, which is refused there")),
        };
    }
    Ok(())
}
