//! What `register_environment` is given, as options for foreign servers.

use serde_json::{Map, Value};

use crate::pg::error::Result;

use super::error::EnvironmentError;
use super::server::{self, Options};

/// What is asked of libpq where the user's options do not say: to give up an attempt to connect after ten
/// seconds, and a server that vanished without a word after two minutes.
const DEFAULTS: [(&str, &str); 4] = [
    ("connect_timeout", "10"),
    ("keepalives_idle", "60"),
    ("keepalives_interval", "10"),
    ("keepalives_count", "6"),
];
const CREDENTIALS: [&str; 6] = ["user", "password", "sslpassword", "passfile", "sslkey", "sslcert"];
const EXTERNAL: &str = "external";

/// The options of the addresses of an environment.
pub struct Addresses {
    pub internal: Options,
    pub external: Option<Options>,
}

impl Addresses {
    pub fn read(options: &Value) -> Result<Self> {
        let mut base = object("options", options)?.clone();
        let Some(external) = base.remove(EXTERNAL) else {
            return Ok(Self { internal: with_defaults(pairs("options", &base)?)?, external: None });
        };
        let changes = object(EXTERNAL, &external)?;
        let internal = with_defaults(pairs("options", &base)?)?;
        // libpq prefers hostaddr to host: another host would lead to the old place.
        if changes.contains_key("host") {
            base.remove("hostaddr");
        }
        base.extend(changes.clone());
        let external = with_defaults(pairs(EXTERNAL, &base)?)?;
        if server::same(&internal, &external) {
            return Err(EnvironmentError::SameAddress.into());
        }
        Ok(Self { internal, external: Some(external) })
    }
}

/// Options for a user mapping.
pub fn credentials(value: &Value) -> Result<Options> {
    pairs("credentials", object("credentials", value)?)
}

fn with_defaults(mut options: Options) -> Result<Options> {
    if let Some((credential, _)) = options.iter().find(|(name, _)| CREDENTIALS.contains(&name.as_str())) {
        return Err(EnvironmentError::CredentialInOptions(credential.clone()).into());
    }
    for (name, value) in DEFAULTS {
        if !options.iter().any(|(given, _)| given == name) {
            options.push((name.into(), value.into()));
        }
    }
    Ok(options)
}

fn object<'a>(argument: &'static str, value: &'a Value) -> Result<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| EnvironmentError::NotAnObject(argument).into())
}

fn pairs(argument: &'static str, object: &Map<String, Value>) -> Result<Options> {
    let pair = |(option, value): (&String, &Value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return Err(EnvironmentError::NotAScalar { argument, option: option.clone() }.into()),
        };
        Ok((option.clone(), text))
    };
    object.iter().map(pair).collect()
}
