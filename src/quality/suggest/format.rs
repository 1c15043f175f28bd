//! Which of the formats the values of a text column have.

use super::options::Options;
use super::profile::Profile;
use crate::pg::error::Result;
use crate::pg::spi;

pub struct Format {
    /// `format` or `castable`.
    pub rule: &'static str,
    pub argument: String,
    pub what: String,
    /// What the column's name must match; empty for any.
    name: String,
    condition: String,
}

pub struct Formats(Vec<Format>);

impl Formats {
    pub fn read() -> Result<Self> {
        let formats = spi::read(include_str!("../../../sql/quality/suggest_formats.sql"), &[], |row| {
            let is_format = spi::known::<String>(&row, 1)? == "format";
            Ok(Format {
                rule: if is_format { "format" } else { "castable" },
                argument: spi::known(&row, 2)?,
                name: spi::known(&row, 3)?,
                condition: spi::known(&row, 4)?,
                what: spi::known(&row, 5)?,
            })
        })?;
        Ok(Self(formats))
    }

    /// The first format that most of the listed values have.
    pub fn of(&self, profile: &Profile, options: &Options) -> Result<Option<&Format>> {
        let (values, rows): (Vec<String>, Vec<f64>) = profile.weights().into_iter().unzip();
        let all: f64 = rows.iter().sum();
        if values.is_empty() {
            return Ok(None);
        }
        let sums: Vec<String> = self.0.iter().map(Format::rows).collect();
        let sql = format!("SELECT ARRAY[{}] FROM unnest($1, $2) v (value, rows)", sums.join(", "));
        let name = profile.column.name.to_lowercase();
        let sums = spi::read_value::<Vec<f64>>(&sql, &[values.into(), rows.into(), name.into()])?
            .unwrap_or_default();
        let found = self.0.iter().zip(sums).find(|(_, rows)| *rows >= options.min_ratio * all);
        Ok(found.map(|(format, _)| format).filter(|format| !format.is_a_code(profile)))
    }
}

impl Format {
    pub fn condition(&self, value: &str) -> String {
        self.condition.replace("{value}", value)
    }

    /// How many rows of v have the format in a column whose name is $3.
    fn rows(&self) -> String {
        let named = if self.name.is_empty() { String::new() } else { format!("$3 ~ '{}' AND ", self.name) };
        format!("coalesce(sum(rows) FILTER (WHERE {named}({})), 0)", self.condition("value"))
    }

    /// Digits that are always as many are no number that anybody adds up.
    fn is_a_code(&self, profile: &Profile) -> bool {
        let mut lengths = profile.texts().into_iter().map(|(value, _)| value.len());
        let first = lengths.next().unwrap_or(0);
        matches!(self.argument.as_str(), "integer" | "bigint")
            && first > 3
            && lengths.all(|length| length == first)
    }
}
