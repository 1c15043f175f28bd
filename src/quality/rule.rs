//! The rules, and the SQL that evaluates them.

use serde_json::{Map, Value};

use super::error::QualityError;
use crate::pg::error::Result;
use crate::pg::expression;
use crate::pg::name::{identifier, literal};

/// What a rule checks, with its arguments read.
#[derive(Debug, Clone)]
pub enum Check {
    NotNull,
    NotBlank {
        placeholders: Vec<String>,
    },
    Unique,
    Range {
        min: Option<String>,
        max: Option<String>,
    },
    Length {
        min: Option<i64>,
        max: Option<i64>,
    },
    Regex {
        pattern: String,
    },
    AcceptedValues {
        values: Vec<String>,
    },
    ForeignKey {
        table: String,
        columns: Vec<String>,
    },
    /// Already checked to be one expression, in parentheses.
    Expression {
        expression: String,
    },
}

/// Two SQL aggregates of a rule: over how many values it could be evaluated, and how many of them passed.
pub struct Counts {
    pub evaluated: String,
    pub passed: String,
}

impl Check {
    pub const NAMES: [&'static str; 9] = [
        "not_null",
        "not_blank",
        "unique",
        "range",
        "length",
        "regex",
        "accepted_values",
        "foreign_key",
        "expression",
    ];

    pub fn name(&self) -> &'static str {
        match self {
            Check::NotNull => "not_null",
            Check::NotBlank { .. } => "not_blank",
            Check::Unique => "unique",
            Check::Range { .. } => "range",
            Check::Length { .. } => "length",
            Check::Regex { .. } => "regex",
            Check::AcceptedValues { .. } => "accepted_values",
            Check::ForeignKey { .. } => "foreign_key",
            Check::Expression { .. } => "expression",
        }
    }

    /// What the arguments of a rule are, for a person.
    pub fn arguments(rule: &str) -> &'static str {
        match rule {
            "not_blank" => "{\"placeholders\": [text, …]} (optional)",
            "range" => "{\"min\": value, \"max\": value} (at least one)",
            "length" => "{\"min\": integer, \"max\": integer} (at least one)",
            "regex" => "{\"pattern\": text}",
            "accepted_values" => "{\"values\": [text, …]}",
            "foreign_key" => "{\"table\": text, \"columns\": [text, …]}",
            "expression" => "{\"expression\": text}, and no columns",
            _ => "none",
        }
    }

    /// Reads a rule as it was added. Errors: 22023 for an unknown rule or wrong arguments, 42601 for an
    /// expression that is none.
    pub fn read(rule: &str, columns: &[String], args: &Map<String, Value>) -> Result<Self> {
        let name = Self::NAMES
            .into_iter()
            .find(|name| *name == rule)
            .ok_or_else(|| QualityError::UnknownRule(rule.to_owned()))?;
        let args = Args { rule: name, args };
        let check = args.read()?;
        match (&check, columns.len()) {
            (Check::Expression { .. }, 0) => {}
            (Check::Expression { .. }, _) => return Err(args.needs("no columns, its expression names them")),
            (_, 0) => return Err(args.needs("at least one column")),
            (Check::ForeignKey { columns: referenced, .. }, here) if referenced.len() != here => {
                return Err(args.needs("as many columns here as there"));
            }
            _ => {}
        }
        Ok(check)
    }

    /// The aggregates over one scan of `table`, which the query calls t (`unique` reads it once more, grouped).
    pub fn counts(&self, table: &str, columns: &[String]) -> Counts {
        let quoted: Vec<String> = columns.iter().map(|column| format!("t.{}", identifier(column))).collect();
        match self {
            Check::Unique => unique(table, columns),
            Check::ForeignKey { table: referenced, columns: theirs } => {
                let present: Vec<String> =
                    quoted.iter().map(|column| format!("{column} IS NOT NULL")).collect();
                let joined: Vec<String> = quoted
                    .iter()
                    .zip(theirs)
                    .map(|(here, there)| format!("r.{} = {here}", identifier(there)))
                    .collect();
                let exists = format!("EXISTS (SELECT FROM {referenced} r WHERE {})", joined.join(" AND "));
                filtered(&present.join(" AND "), &exists)
            }
            Check::Expression { expression } => filtered(&format!("{expression} IS NOT NULL"), expression),
            _ => {
                let cells: Vec<Counts> = quoted.iter().map(|column| self.cell(column)).collect();
                let sum = |part: fn(&Counts) -> &str| cells.iter().map(part).collect::<Vec<_>>().join(" + ");
                Counts { evaluated: sum(|cell| &cell.evaluated), passed: sum(|cell| &cell.passed) }
            }
        }
    }

    /// How many values a constraint of this kind speaks of: a key with a NULL in it is none.
    pub fn guaranteed(&self, columns: &[String], evaluated: String) -> String {
        match self {
            Check::Unique => {
                let present: Vec<String> =
                    columns.iter().map(|column| format!("t.{} IS NOT NULL", identifier(column))).collect();
                filtered(&present.join(" AND "), "true").evaluated
            }
            _ => evaluated,
        }
    }

    /// One column of a rule that looks at values one by one. Only not_null and not_blank charge a NULL;
    /// for the others it is no value to judge.
    fn cell(&self, column: &str) -> Counts {
        let present = format!("{column} IS NOT NULL");
        let text = format!("{column}::text");
        match self {
            Check::NotNull => filtered("true", &present),
            Check::NotBlank { placeholders } => {
                let filled = format!("coalesce({text} ~ '[^[:space:]]', false)");
                let real =
                    format!("pg_catalog.lower(pg_catalog.btrim({text})) <> ALL ({})", texts(placeholders));
                filtered(
                    "true",
                    &if placeholders.is_empty() { filled } else { format!("{filled} AND {real}") },
                )
            }
            Check::Range { min, max } => {
                let low = min.as_ref().map(|min| format!("{column} >= {}", literal(min)));
                let high = max.as_ref().map(|max| format!("{column} <= {}", literal(max)));
                filtered(&present, &both(low, high))
            }
            Check::Length { min, max } => {
                let low = min.map(|min| format!("pg_catalog.char_length({text}) >= {min}"));
                let high = max.map(|max| format!("pg_catalog.char_length({text}) <= {max}"));
                filtered(&present, &both(low, high))
            }
            Check::Regex { pattern } => filtered(&present, &format!("{text} ~ {}", literal(pattern))),
            Check::AcceptedValues { values } => {
                filtered(&present, &format!("{text} = ANY ({})", texts(values)))
            }
            Check::Unique | Check::ForeignKey { .. } | Check::Expression { .. } => filtered("true", "true"),
        }
    }
}

fn filtered(evaluated: &str, passed: &str) -> Counts {
    Counts {
        evaluated: format!("pg_catalog.count(*) FILTER (WHERE {evaluated})"),
        passed: format!("pg_catalog.count(*) FILTER (WHERE ({evaluated}) AND ({passed}))"),
    }
}

fn both(low: Option<String>, high: Option<String>) -> String {
    low.into_iter().chain(high).collect::<Vec<_>>().join(" AND ")
}

fn texts(values: &[String]) -> String {
    let list: Vec<String> = values.iter().map(literal).collect();
    format!("ARRAY[{}]::text[]", list.join(", "))
}

/// Of the rows whose key is complete, the distinct keys: only surplus copies are charged.
fn unique(table: &str, columns: &[String]) -> Counts {
    let names: Vec<String> = columns.iter().map(identifier).collect();
    let present: Vec<String> = names.iter().map(|name| format!("{name} IS NOT NULL")).collect();
    let groups = format!(
        "(SELECT pg_catalog.count(*) AS copies FROM {table} u WHERE {} GROUP BY {}) g",
        present.join(" AND "),
        names.join(", ")
    );
    Counts {
        evaluated: format!("(SELECT coalesce(pg_catalog.sum(g.copies), 0)::bigint FROM {groups})"),
        passed: format!("(SELECT pg_catalog.count(*) FROM {groups})"),
    }
}

/// The arguments of one rule.
struct Args<'a> {
    rule: &'static str,
    args: &'a Map<String, Value>,
}

impl Args<'_> {
    fn read(&self) -> Result<Check> {
        Ok(match self.rule {
            "not_null" => self.only(&[], Check::NotNull)?,
            "not_blank" => self.only(
                &["placeholders"],
                Check::NotBlank {
                    placeholders: self
                        .list("placeholders")?
                        .unwrap_or_default()
                        .iter()
                        .map(|p| p.to_lowercase())
                        .collect(),
                },
            )?,
            "unique" => self.only(&[], Check::Unique)?,
            "range" => self.only(&["min", "max"], self.range()?)?,
            "length" => self.only(&["min", "max"], self.length()?)?,
            "regex" => {
                let pattern = self.text("pattern").ok_or_else(|| self.needs("the argument \"pattern\""))?;
                self.only(&["pattern"], Check::Regex { pattern })?
            }
            "accepted_values" => {
                let values = self.list("values")?.ok_or_else(|| self.needs("the argument \"values\""))?;
                self.only(&["values"], Check::AcceptedValues { values })?
            }
            "foreign_key" => {
                let table = self.text("table").ok_or_else(|| self.needs("the argument \"table\""))?;
                let columns = self.list("columns")?.ok_or_else(|| self.needs("the argument \"columns\""))?;
                let table = crate::pg::name::of(crate::pg::name::find(&table)?)?.sql();
                self.only(&["table", "columns"], Check::ForeignKey { table, columns })?
            }
            _ => {
                let text =
                    self.text("expression").ok_or_else(|| self.needs("the argument \"expression\""))?;
                let expression = expression::parenthesised(&text)?;
                self.only(&["expression"], Check::Expression { expression })?
            }
        })
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
        let integer = |name: &str| match self.args.get(name) {
            None => Ok(None),
            Some(value) => {
                value.as_i64().map(Some).ok_or_else(|| self.needs("integers as \"min\" and \"max\""))
            }
        };
        let (min, max) = (integer("min")?, integer("max")?);
        if min.is_none() && max.is_none() {
            return Err(self.needs("\"min\" or \"max\""));
        }
        Ok(Check::Length { min, max })
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.args.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
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
        match self.args.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                Err(QualityError::UnknownArgument { rule: self.rule, argument: name.clone() }.into())
            }
            None => Ok(check),
        }
    }

    fn needs(&self, needs: &'static str) -> crate::pg::error::Failure {
        QualityError::Incomplete { rule: self.rule, needs }.into()
    }
}
