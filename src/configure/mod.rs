//! Settings of a database that are rows: whoever may change them is not whoever may set a session's settings, and who changed
//! them is known.

mod error;

use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use serde_json::{Value, json};

use crate::pg::error::{Result, required};
use crate::pg::{own, spi};
use error::ConfigureError;

/// A setting: its name, its default, what it must be, and what it is for.
struct Setting {
    name: &'static str,
    default: fn() -> Value,
    needs: &'static str,
    is_valid: fn(&Value) -> bool,
    description: &'static str,
}

const SETTINGS: [Setting; 4] = [
    Setting {
        name: "deploy.required_checks",
        default: || json!(crate::deploy::CHECKS),
        needs: "an array of names of checks",
        is_valid: |value| {
            let is_check =
                |name: &Value| name.as_str().is_some_and(|name| crate::deploy::CHECKS.contains(&name));
            value.as_array().is_some_and(|names| names.iter().all(is_check))
        },
        description: "Checks of pre_deployment_check that stop a deployment if they fail or are unknown.",
    },
    Setting {
        name: "deploy.max_error_rate",
        default: || json!(0.5),
        needs: "a number from 0 to 1",
        is_valid: |value| value.as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)),
        description: "The share of the last deployments to an environment (up to 20, within 24 hours, from 5 on) that may have failed.",
    },
    Setting {
        name: "deploy.max_kept_bytes",
        default: || json!(10_737_418_240_i64),
        needs: "a number of bytes",
        is_valid: |value| value.as_i64().is_some_and(|bytes| bytes >= 0),
        description: "How many bytes a deployment may keep on the target for its rollback.",
    },
    Setting {
        name: "deploy.keep_days",
        default: || json!(30),
        needs: "a number of days",
        is_valid: |value| value.as_i64().is_some_and(|days| (0..=36_500).contains(&days)),
        description: "For how many days what a rollback needs is kept on the target: the next deployment removes what is older.",
    },
];

/// Every setting that there is, with its default.
#[pg_extern(stable, parallel_safe)]
fn setting_defaults()
-> TableIterator<'static, (name!(name, String), name!(default_value, JsonB), name!(description, String))> {
    TableIterator::new(
        SETTINGS.iter().map(|setting| {
            (setting.name.to_owned(), JsonB((setting.default)()), setting.description.to_owned())
        }),
    )
}

/// Changes a setting of this database; NULL brings back its default.
///
/// opdb.settings shows what there is to set. Errors: 22004 for a NULL name, 42704 for an unknown one, 22023 for a value that
/// cannot be.
#[pg_extern(requires = ["configure_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn set_setting(name: Option<&str>, value: Option<JsonB>) -> std::result::Result<(), ErrorReport> {
    let name = required("name", name)?;
    let setting = find(name)?;
    let Some(JsonB(value)) = value else {
        own::write("DELETE FROM opdb.setting WHERE name = $1", &[name.into()])?;
        return Ok(());
    };
    if !(setting.is_valid)(&value) {
        return Err(ConfigureError::Invalid { name: name.to_owned(), needs: setting.needs }.into());
    }
    own::write(
        "INSERT INTO opdb.setting (name, value, changed_by) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = pg_catalog.clock_timestamp(),
                                          changed_by = excluded.changed_by",
        &[name.into(), JsonB(value).into(), own::caller()?.into()],
    )?;
    Ok(())
}

fn find(name: &str) -> Result<&'static Setting> {
    let found = SETTINGS.iter().find(|setting| setting.name == name);
    found.ok_or_else(|| ConfigureError::Unknown(name.to_owned()).into())
}

fn value(name: &str) -> Result<Value> {
    let setting = find(name)?;
    let sql = "SELECT value FROM opdb.setting WHERE name = $1";
    let set = own::read_latest(|| spi::read_value::<JsonB>(sql, &[setting.name.into()]))?;
    Ok(set.map_or_else(|| (setting.default)(), |set| set.0))
}

/// A setting that is a number.
pub fn number(name: &str) -> Result<f64> {
    Ok(value(name)?.as_f64().unwrap_or_default())
}

/// A setting that is a list of names.
pub fn list(name: &str) -> Result<Vec<String>> {
    let value = value(name)?;
    let names = value.as_array().into_iter().flatten();
    Ok(names.filter_map(Value::as_str).map(str::to_owned).collect())
}
