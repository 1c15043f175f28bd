//! The options of `opdb.partition_table`: its own, and those of `opdb.manage_partitions`.

use serde_json::Value;

use super::error::ConvertError;
use crate::partition::options::Options;
use crate::pg::error::Result;

pub const HELP: &str = "Options are batch_rows (rows that are copied in one transaction, 10000), weaker_keys (boolean: widen \
    unique keys by the column), wait_seconds (how long to wait for others at a time, 60), and width, unit, storage and \
    analyze as for manage_partitions.";

/// Those that manage_partitions does not have.
pub const OWN: [&str; 3] = ["batch_rows", "weaker_keys", "wait_seconds"];

pub struct ConvertOptions {
    /// Rows that are copied in one transaction.
    pub batch_rows: i64,
    /// Whether unique keys may be widened by the column.
    pub weaker_keys: bool,
    /// How long the procedure waits for others until it gives up.
    pub wait_seconds: i64,
    pub partitions: Options,
}

impl ConvertOptions {
    /// Errors: 22023 for an unknown option or a value that cannot be.
    pub fn read(options: &Value) -> Result<Self> {
        let mut rest = options.clone();
        let mut own = |option: &str| {
            rest.as_object_mut().and_then(|object| object.remove(option)).filter(|value| !value.is_null())
        };
        let [batch_rows, weaker_keys, wait_seconds] = OWN.map(&mut own);
        let partitions = Options::read(&rest)?;
        let of_retention = [
            partitions.archive_schema.is_some(),
            partitions.archive_tablespace.is_some(),
            partitions.archive_environment.is_some(),
            partitions.retention_width.is_some(),
        ];
        if of_retention.contains(&true) {
            let needs = "left to manage_partitions, when the table is partitioned";
            return Err(ConvertError::InvalidOption { option: "retention", needs }.into());
        }
        Ok(Self {
            batch_rows: number("batch_rows", batch_rows, 10_000)?,
            weaker_keys: weaker_keys.map_or(Ok(false), |value| {
                value
                    .as_bool()
                    .ok_or(ConvertError::InvalidOption { option: "weaker_keys", needs: "true or false" })
            })?,
            wait_seconds: number("wait_seconds", wait_seconds, 60)?,
            partitions,
        })
    }
}

fn number(option: &'static str, value: Option<Value>, default: i64) -> Result<i64> {
    let Some(value) = value else { return Ok(default) };
    let number = value.as_i64().filter(|number| (1..=1_000_000).contains(number));
    Ok(number.ok_or(ConvertError::InvalidOption { option, needs: "a whole number from 1 to 1000000" })?)
}
