//! The arguments of a rule, read from JSON.

use num_rational::BigRational;
use num_traits::Zero;
use opdb_core::format::Format;
use opdb_core::quality::drift::Method;
use opdb_core::quality::parse_decimal;
use serde_json::{Map, Value};

use super::{Against, Check, ReferencedKey};
use crate::pg::error::{Failure, Result};
use crate::pg::types::Regclass;
use crate::pg::{expression, name, spi};
use crate::quality::error::QualityError;
use crate::quality::json_schema;
use crate::quality::table::KEEPS_UNIQUE;

/// The condition under which a rule of any kind looks at a row.
pub const FILTER: &str = "where";

pub fn read(rule: &'static str, columns: &[String], args: &Map<String, Value>) -> Result<Check> {
    let args = Args { rule, args };
    let check = args.read()?;
    match (&check, columns.len()) {
        (Check::Expression { .. } | Check::Reconcile { .. } | Check::RowCount { .. }, 0) => {}
        (Check::Expression { .. }, _) => return Err(args.needs("no columns, its expression names them")),
        (Check::Reconcile { .. } | Check::RowCount { .. }, _) => return Err(args.needs("no columns")),
        (_, 0) => return Err(args.needs("at least one column")),
        (Check::Freshness { .. } | Check::Distribution { .. }, 2..) => {
            return Err(args.needs("one column"));
        }
        (Check::ForeignKey(key), here) if key.columns.len() != here => {
            return Err(args.needs("as many columns here as there"));
        }
        _ => {}
    }
    let takes_no_filter = matches!(check, Check::Reconcile { .. } | Check::RowCount { .. });
    if takes_no_filter && args.args.contains_key(FILTER) {
        return Err(args.needs("no \"where\": it looks at the whole table"));
    }
    Ok(check)
}

/// The arguments of one rule.
struct Args<'a> {
    rule: &'static str,
    args: &'a Map<String, Value>,
}

impl Args<'_> {
    fn read(&self) -> Result<Check> {
        match self.rule {
            "not_null" => self.only(&[], Check::NotNull),
            "not_blank" => {
                let placeholders = self.list("placeholders")?.unwrap_or_default();
                let placeholders = placeholders.iter().map(|text| text.trim().to_lowercase()).collect();
                self.only(&["placeholders"], Check::NotBlank { placeholders })
            }
            "unique" => self.only(&[], Check::Unique),
            "range" => self.only(&["min", "max"], self.range()?),
            "length" => self.only(&["min", "max"], self.length()?),
            "regex" => self.only(&["pattern"], Check::Regex { pattern: self.required("pattern")? }),
            "accepted_values" => {
                let values = self.list("values")?.ok_or_else(|| self.needs("the argument \"values\""))?;
                self.only(&["values"], Check::AcceptedValues { values })
            }
            "format" => self.format(),
            "castable" => self.only(&["type"], Check::Castable { data_type: self.required("type")? }),
            "finite" => self.only(&[], Check::Finite),
            "json_schema" => self.json_schema(),
            "foreign_key" => self.foreign_key(),
            "expression" => {
                let expression = self.expression("expression")?;
                self.only(&["expression"], Check::Expression { expression })
            }
            "reconcile" => self.reconcile(),
            "freshness" => {
                let max_age = self.required("max_age")?;
                self.only(&["max_age"], Check::Freshness { max_age })
            }
            "row_count" => self.row_count(),
            _ => self.distribution(),
        }
    }

    fn range(&self) -> Result<Check> {
        let scalar = |name: &str| match self.args.get(name) {
            None => Ok(None),
            Some(_) => {
                self.text(name).map(Some).ok_or_else(|| self.needs("numbers or texts as \"min\" and \"max\""))
            }
        };
        let (min, max) = (scalar("min")?, scalar("max")?);
        if min.is_none() && max.is_none() {
            return Err(self.needs("\"min\" or \"max\""));
        }
        Ok(Check::Range { min, max })
    }

    fn length(&self) -> Result<Check> {
        let (min, max) = (self.integer("min")?, self.integer("max")?);
        if min.is_none() && max.is_none() {
            return Err(self.needs("\"min\" or \"max\""));
        }
        Ok(Check::Length { min, max })
    }

    fn format(&self) -> Result<Check> {
        let format = self.required("format")?;
        if Format::from_name(&format).is_none() {
            return Err(QualityError::UnknownFormat(format).into());
        }
        self.only(&["format"], Check::Format { format })
    }

    fn json_schema(&self) -> Result<Check> {
        let schema = match self.args.get("schema") {
            Some(schema @ (Value::Object(_) | Value::Bool(_))) => schema.clone(),
            _ => return Err(self.needs("a JSON Schema as \"schema\"")),
        };
        json_schema::check_schema(&schema)?;
        self.only(&["schema"], Check::JsonSchema { schema })
    }

    fn foreign_key(&self) -> Result<Check> {
        let table = self.required("table")?;
        let columns = self.list("columns")?.ok_or_else(|| self.needs("the argument \"columns\""))?;
        let table = name::find(&table)?;
        let is_unique = is_unique(table, &columns)?;
        let key = ReferencedKey::new(name::of(table)?.sql(), columns, is_unique)?;
        self.only(&["table", "columns"], Check::ForeignKey(key))
    }

    fn reconcile(&self) -> Result<Check> {
        let query = self.required("query")?;
        let against = match (self.text("environment"), self.text("against")) {
            (Some(name), against) => {
                Against::Environment { name, query: against.unwrap_or_else(|| query.clone()) }
            }
            (None, Some(against)) => Against::Here(scalar_query(&against)?),
            (None, None) => return Err(self.needs("\"against\" or \"environment\"")),
        };
        let query = scalar_query(&query)?;
        self.only(&["query", "against", "environment"], Check::Reconcile { query, against })
    }

    fn row_count(&self) -> Result<Check> {
        let (min, max) = (self.integer("min")?, self.integer("max")?);
        let max_change = self.number("max_change")?;
        if min.is_none() && max.is_none() && max_change.is_none() {
            return Err(self.needs("\"min\", \"max\" or \"max_change\""));
        }
        self.only(&["min", "max", "max_change"], Check::RowCount { min, max, max_change })
    }

    fn distribution(&self) -> Result<Check> {
        let method = match self.text("method").as_deref() {
            None | Some("psi") => Method::Psi,
            Some("ks") => Method::Ks,
            Some(_) => return Err(self.needs("\"psi\" or \"ks\" as \"method\"")),
        };
        let max = self.number("max")?.unwrap_or_else(|| method.default_max());
        let baseline = self.integer("baseline")?;
        self.only(&["method", "max", "baseline"], Check::Distribution { method, max, baseline })
    }

    fn expression(&self, name: &'static str) -> Result<String> {
        expression::parenthesised(&self.required(name)?)
    }

    fn required(&self, name: &'static str) -> Result<String> {
        self.text(name)
            .ok_or_else(|| QualityError::MissingArgument { rule: self.rule, argument: name }.into())
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.args.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

    fn integer(&self, name: &str) -> Result<Option<i64>> {
        match self.args.get(name) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| self.needs("integers as numbers")),
        }
    }

    fn number(&self, name: &str) -> Result<Option<BigRational>> {
        if !self.args.contains_key(name) {
            return Ok(None);
        }
        let number = self.text(name).and_then(|text| parse_decimal(&text));
        match number.filter(|number| *number >= BigRational::zero()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.needs("numbers that are not negative")),
        }
    }

    fn list(&self, name: &str) -> Result<Option<Vec<String>>> {
        let Some(value) = self.args.get(name) else {
            return Ok(None);
        };
        let items = value.as_array().ok_or_else(|| self.needs("an array of texts"))?;
        let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        texts.map(Some).ok_or_else(|| self.needs("an array of texts"))
    }

    fn only(&self, known: &[&str], check: Check) -> Result<Check> {
        match self.args.keys().find(|name| !known.contains(&name.as_str()) && *name != FILTER) {
            Some(name) => {
                Err(QualityError::UnknownArgument { rule: self.rule, argument: name.clone() }.into())
            }
            None => Ok(check),
        }
    }

    fn needs(&self, needs: &'static str) -> Failure {
        QualityError::Incomplete { rule: self.rule, needs }.into()
    }
}

/// A query that returns one value, as an expression.
fn scalar_query(query: &str) -> Result<String> {
    let query = query.trim().trim_end_matches(';');
    expression::parenthesised(&format!("({query}\n)"))
}

/// Whether an index guarantees that these columns, or some of them, are never the same in two rows.
fn is_unique(table: Regclass, columns: &[String]) -> Result<bool> {
    let found = spi::read_value::<bool>(
        &format!("SELECT EXISTS (
             SELECT FROM pg_catalog.pg_index i
             WHERE i.indrelid = $1 AND {KEEPS_UNIQUE}
               AND NOT EXISTS (
                   SELECT FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
                   JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                   WHERE k.place <= i.indnkeyatts AND a.attname <> ALL ($2)))
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class c ON c.oid = h.inhparent
                         WHERE h.inhparent = $1 AND c.relkind = 'r')"),
        &[table.into(), columns.to_vec().into()],
    )?;
    Ok(found == Some(true))
}
