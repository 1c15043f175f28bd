//! The kinds of rules, and what their arguments say.

mod args;
mod cell;

use num_rational::BigRational;
use num_traits::One;
use opdb_core::quality::drift::Method;
use opdb_core::quality::{Dimension, parse_decimal};
use serde_json::{Map, Value};

pub use args::FILTER;
pub use cell::{Cell, Evaluated, castable};

use super::error::QualityError;
use crate::pg::error::Result;
use crate::pg::spi;

/// How a rule's result is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A validated constraint guarantees it: nothing had to be read.
    Constraint,
    /// The rows were read.
    Measured,
}

/// A rule of a table, implied by it or added to it.
#[derive(Debug, Clone)]
pub struct Rule {
    pub rule_id: Option<i64>,
    /// What somebody called it.
    pub name: Option<String>,
    pub dimension: Dimension,
    /// What kind of rule it is.
    pub kind: String,
    /// What to evaluate, or why the rule cannot be evaluated any more (its column is gone, say).
    pub check: std::result::Result<Check, String>,
    pub columns: Vec<String>,
    /// Only rows for which this holds are looked at; in parentheses.
    pub filter: Option<String>,
    pub weight: BigRational,
    pub threshold: Option<BigRational>,
    pub is_warning: bool,
    /// It must hold in full, whatever the threshold.
    pub is_primary_key: bool,
    pub evidence: Evidence,
}

impl Rule {
    pub fn new(dimension: Dimension, check: Check, columns: Vec<String>, evidence: Evidence) -> Self {
        Self {
            rule_id: None,
            name: None,
            dimension,
            kind: check.name().to_owned(),
            check: Ok(check),
            columns,
            filter: None,
            weight: BigRational::one(),
            threshold: None,
            is_warning: false,
            is_primary_key: false,
            evidence,
        }
    }

    /// A row condition; `columns` only says what it is about.
    pub fn expression(dimension: Dimension, condition: &str, columns: &[&str]) -> Result<Self> {
        let expression = crate::pg::expression::parenthesised(condition)?;
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Ok(Self::new(dimension, Check::Expression { expression }, columns, Evidence::Measured))
    }

    /// Whether `unique` means what a primary key means: of rows with a NULL, or of several with the same key, not one
    /// is right. Elsewhere only what is surplus is wrong, and a NULL is no key.
    pub fn is_key(&self) -> bool {
        self.dimension == Dimension::Integrity
    }

    /// What the rule is, for a person.
    pub fn label(&self) -> String {
        let what = match self.columns.is_empty() {
            true => self.kind.clone(),
            false => format!("{} {}", self.kind, self.columns.join(", ")),
        };
        match (&self.name, self.rule_id) {
            (Some(name), Some(id)) => format!("rule {id} \"{name}\" ({what})"),
            (_, Some(id)) => format!("rule {id} ({what})"),
            (_, None) => format!("implied rule ({what})"),
        }
    }
}

/// What a rule checks, with its arguments read.
#[derive(Debug, Clone)]
pub enum Check {
    NotNull,
    NotBlank {
        /// In lower case, without white space around them.
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
    Format {
        format: String,
    },
    Castable {
        data_type: String,
    },
    JsonSchema {
        schema: Value,
    },
    /// No infinity, and no NaN.
    Finite,
    ForeignKey(ReferencedKey),
    /// Already checked to be one expression, in parentheses.
    Expression {
        expression: String,
    },
    Reconcile {
        /// One value each, in parentheses.
        query: String,
        against: Against,
    },
    Freshness {
        max_age: String,
    },
    RowCount {
        min: Option<i64>,
        max: Option<i64>,
        max_change: Option<BigRational>,
    },
    Distribution {
        method: Method,
        max: BigRational,
        baseline: Option<i64>,
    },
}

/// What a foreign key refers to.
#[derive(Debug, Clone)]
pub struct ReferencedKey {
    /// As it stands in SQL.
    pub table: String,
    pub columns: Vec<String>,
    /// An index says that no key is there twice.
    pub is_unique: bool,
    /// The types and collations of the columns, each as one text.
    types: Vec<String>,
    /// The collations, as they stand in SQL.
    collations: Vec<Option<String>>,
}

impl ReferencedKey {
    pub fn new(table: String, columns: Vec<String>, is_unique: bool) -> Result<Self> {
        let found = spi::read_now(
            "SELECT pg_catalog.concat_ws(' ', a.atttypid, a.attcollation),
                    (SELECT pg_catalog.format('%I.%I', n.nspname, l.collname)
                     FROM pg_catalog.pg_collation l JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace
                     WHERE l.oid = a.attcollation)
             FROM pg_catalog.unnest($2) WITH ORDINALITY c (name, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = pg_catalog.to_regclass($1) AND a.attname = c.name
             ORDER BY c.place",
            &[table.as_str().into(), columns.clone().into()],
            |row| Ok((spi::known::<String>(&row, 1)?, row.get::<String>(2)?)),
        )?;
        let (types, collations) = found.into_iter().unzip();
        Ok(Self { table, columns, is_unique, types, collations })
    }
}

/// With what a total is compared.
#[derive(Debug, Clone)]
pub enum Against {
    /// Another query here, in parentheses.
    Here(String),
    /// A query on another environment.
    Environment { name: String, query: String },
}

/// How a rule is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Value by value or row by row, together with all others.
    Row,
    /// Over groups of rows, in a pass for each set of columns.
    Group,
    /// Over the table as a whole.
    Table,
}

impl Check {
    /// The names of all kinds, and what their arguments are, for a person.
    const KINDS: [(&'static str, &'static str); 17] = [
        ("not_null", "none"),
        ("not_blank", "{\"placeholders\": [text, …]} (optional)"),
        ("unique", "none"),
        ("range", "{\"min\": value, \"max\": value} (at least one)"),
        ("length", "{\"min\": integer, \"max\": integer} (at least one)"),
        ("regex", "{\"pattern\": text}"),
        ("accepted_values", "{\"values\": [text, …]}"),
        ("format", "{\"format\": text}"),
        ("castable", "{\"type\": text}"),
        ("json_schema", "{\"schema\": object}"),
        ("finite", "none"),
        ("foreign_key", "{\"table\": text, \"columns\": [text, …]}"),
        ("expression", "{\"expression\": text}, and no columns"),
        (
            "reconcile",
            "{\"query\": text, \"against\": text} or {\"query\": text, \"environment\": text, \"against\": text \
             (the same query)}, and no columns",
        ),
        ("freshness", "{\"max_age\": interval}"),
        (
            "row_count",
            "{\"min\": integer, \"max\": integer, \"max_change\": ratio} (at least one), and no columns",
        ),
        (
            "distribution",
            "{\"method\": \"psi\" or \"ks\", \"max\": number (0.2 and 0.1), \"baseline\": run_id} (all optional)",
        ),
    ];

    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::KINDS.into_iter().map(|(name, _)| name)
    }

    pub fn name(&self) -> &'static str {
        match self {
            Check::NotNull => "not_null",
            Check::NotBlank { .. } => "not_blank",
            Check::Unique => "unique",
            Check::Range { .. } => "range",
            Check::Length { .. } => "length",
            Check::Regex { .. } => "regex",
            Check::AcceptedValues { .. } => "accepted_values",
            Check::Format { .. } => "format",
            Check::Castable { .. } => "castable",
            Check::JsonSchema { .. } => "json_schema",
            Check::Finite => "finite",
            Check::ForeignKey(_) => "foreign_key",
            Check::Expression { .. } => "expression",
            Check::Reconcile { .. } => "reconcile",
            Check::Freshness { .. } => "freshness",
            Check::RowCount { .. } => "row_count",
            Check::Distribution { .. } => "distribution",
        }
    }

    /// What the arguments of a kind of rule are, for a person.
    pub fn arguments(rule: &str) -> &'static str {
        Self::KINDS.into_iter().find(|(name, _)| *name == rule).map_or("none", |(_, arguments)| arguments)
    }

    pub fn scope(&self) -> Scope {
        match self {
            Check::Unique => Scope::Group,
            Check::Reconcile { .. }
            | Check::Freshness { .. }
            | Check::RowCount { .. }
            | Check::Distribution { .. } => Scope::Table,
            _ => Scope::Row,
        }
    }

    /// Whether it takes functions of opdb's to evaluate it, which not every role may call.
    pub fn calls_opdb(&self) -> bool {
        matches!(self, Check::Format { .. } | Check::JsonSchema { .. })
            || cfg!(feature = "pg15") && matches!(self, Check::Castable { .. })
    }

    /// Whether no value that is infinite, or no number, passes.
    pub fn is_between_numbers(&self) -> bool {
        let is_number = |bound: &String| parse_decimal(bound).is_some();
        matches!(self, Check::Range { min: Some(min), max: Some(max) } if is_number(min) && is_number(max))
    }

    /// Whether some of the rows say something about all of them.
    pub fn can_be_sampled(&self) -> bool {
        self.scope() == Scope::Row || matches!(self, Check::Reconcile { .. })
    }

    /// Whether it is a yes or no, which a share cannot make up for.
    pub fn is_verdict(&self) -> bool {
        matches!(self, Check::Freshness { .. } | Check::RowCount { .. } | Check::Distribution { .. })
    }

    /// Reads a rule as it was added. Errors: 22023 for an unknown rule or wrong arguments, 42601 for an
    /// expression that is none.
    pub fn read(rule: &str, columns: &[String], args: &Map<String, Value>) -> Result<Self> {
        let name = Self::names()
            .find(|name| *name == rule)
            .ok_or_else(|| QualityError::UnknownRule(rule.to_owned()))?;
        args::read(name, columns, args)
    }
}
