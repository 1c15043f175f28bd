use opdb_core::environment::KINDS;
use pgrx::PgSqlErrorCode;

use crate::pg::error::Report;

#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    #[error("unknown environment kind \"{0}\"")]
    UnknownKind(String),
    #[error("\"{0}\" is not a valid environment name")]
    InvalidName(String),
    #[error("{0} must be a JSON object")]
    NotAnObject(&'static str),
    #[error("{argument}: the value of \"{option}\" must be a string, a number or a boolean")]
    NotAScalar { argument: &'static str, option: String },
    #[error("the external address is the internal one")]
    SameAddress,
    #[error("the name \"{name}\" is too long for an environment with an external address: {} bytes, at most {longest} fit here", name.len())]
    NameTooLong { name: String, longest: usize },
    #[error("timeout must be longer than zero")]
    NoTime,
    #[error("option \"{0}\" is a credential")]
    CredentialInOptions(String),
    #[error("permission denied to register environment \"{0}\"")]
    NotAdmin(String),
    #[error("must be owner of the server of environment \"{0}\" to change it")]
    NotOwner(String),
    #[error("a foreign server \"{0}\" exists and is not of this environment")]
    ServerExists(String),
}

impl Report for EnvironmentError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::UnknownKind(_)
            | Self::NotAnObject(_)
            | Self::NotAScalar { .. }
            | Self::SameAddress
            | Self::NoTime => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::NameTooLong { .. } => PgSqlErrorCode::ERRCODE_NAME_TOO_LONG,
            Self::InvalidName(_) => PgSqlErrorCode::ERRCODE_INVALID_NAME,
            Self::CredentialInOptions(_) => PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME,
            Self::NotAdmin(_) | Self::NotOwner(_) => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::ServerExists(_) => PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnknownKind(_) => format!("Use one of: {}.", KINDS.join(", ")),
            Self::InvalidName(_) => {
                "Use 1 to 63 bytes without control characters, for example production.".into()
            }
            Self::NotAnObject("credentials") | Self::NotAScalar { argument: "credentials", .. } => {
                "For example '{\"user\": \"deployer\", \"password\": \"…\"}'.".into()
            }
            Self::NotAnObject("external") | Self::NotAScalar { argument: "external", .. } | Self::SameAddress => {
                "It holds what is different there, for example '{\"host\": \"db1\", \"external\": {\"host\": \"db.example.com\"}}'.".into()
            }
            Self::NameTooLong { .. } => "Choose a shorter one: the foreign server of that address is called after it.".into(),
            Self::NoTime => "For example interval '5 seconds'.".into(),
            Self::NotAnObject(_) | Self::NotAScalar { .. } => {
                "For example '{\"host\": \"db1\", \"port\": 5432, \"dbname\": \"events\"}'.".into()
            }
            Self::CredentialInOptions(_) => {
                "Server options can be read by everybody: pass it in the argument \"credentials\".".into()
            }
            Self::NotAdmin(_) => {
                "A new environment takes a foreign server: have a member of opdb_admin register it first."
                    .into()
            }
            Self::NotOwner(_) => {
                "To give it credentials of your own only, pass the kind and the options that it has \
                                  (\\des+ in psql shows them)."
                    .into()
            }
            Self::ServerExists(server) => {
                format!("Choose another environment name, or drop or rename the server \"{server}\".")
            }
        })
    }
}

crate::reported!(EnvironmentError);
