//! JSON Schema on jsonb values, read where they are stored.

mod stored;

use std::cell::RefCell;
use std::rc::Rc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::json::Jsonb;
use jsonschema::json::Node as _;
use jsonschema::json::jsonb::take_pending_error;
use jsonschema::{PatternOptions, ReferencingError, ValidationError, ValidationOptions};
use opdb_core::json_schema::is_too_complex;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use serde_json::Value;

use crate::pg::error::Report;
use crate::pg::jsonb::with_container;
use crate::pg::types::RawJsonb;
use stored::{Stored, StoredNode};

/// Compiled schemas that a backend keeps, so that a statement with several rules compiles each once.
const MAX_KEPT: usize = 8;
/// Steps back that a pattern with look-around or back references may take on one text: some tens of milliseconds.
/// Other patterns take time in proportion to the text.
const MAX_BACKTRACKING: usize = 1_000_000;
/// What is shown of an error: a schema can be as long as its author likes.
const MAX_SHOWN: usize = 300;

type Validator = jsonschema::Validator<Stored>;

#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("invalid JSON Schema{}: {reason}", place(.path))]
    Invalid { path: String, reason: String },
    #[error("JSON Schema refers to \"{0}\": references outside the schema are not fetched")]
    OutsideReference(String),
    #[error("JSON Schema refers to \"{0}\", which is not in the schema")]
    MissingReference(String),
    #[error("unknown \"$schema\": \"{0}\"")]
    UnknownDraft(String),
    #[error("the JSON Schema is nested too deeply")]
    TooDeep,
    #[error("the JSON Schema is too complex")]
    TooComplex,
}

/// Whether a jsonb value is valid against a JSON Schema.
///
/// The draft is that of the schema's $schema (drafts 4, 6, 7, 2019-09, 2020-12; without it 2020-12). `format` is
/// checked, an unknown one passes. References to another document are not fetched. Numbers are compared exactly. A text
/// on which a `pattern` takes more than a million steps back is not known to match, so `instance` is not valid.
/// Result: NULL for NULL.
/// Errors: 22023 for an invalid schema, with the place in it, or one that refers outside itself; 54000 for one that is
/// nested more than 128 levels deep or whose unevaluatedProperties and unevaluatedItems lead through too many
/// references; 54001 for an instance that is nested too deeply.
/// Source: JSON Schema 2020-12, <https://json-schema.org/specification>.
#[pg_extern(immutable, strict, parallel_safe)]
fn json_valid(schema: RawJsonb, instance: RawJsonb) -> Result<bool, ErrorReport> {
    let validator = with_container(schema, compiled)?;
    Ok(with_container(instance, |instance| validator.is_valid(StoredNode::root(instance))))
}

/// Whether `json_valid` would take `schema`: for a rule that is added.
pub fn check_schema(schema: &Value) -> Result<(), SchemaError> {
    compile(schema).map(drop)
}

/// The bytes of a schema's jsonb value, and what became of them.
type Kept = (Box<[u8]>, Rc<Validator>);

thread_local! {
    /// The one used last first.
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

fn compiled(schema: &[u8]) -> Result<Rc<Validator>, SchemaError> {
    let known = KEPT.with_borrow_mut(|kept| {
        let place = kept.iter().position(|(bytes, _)| **bytes == *schema)?;
        kept[..=place].rotate_right(1);
        Some(Rc::clone(&kept[0].1))
    });
    if let Some(validator) = known {
        return Ok(validator);
    }
    let validator = Rc::new(compile(&to_value(schema)?)?);
    KEPT.with_borrow_mut(|kept| {
        kept.truncate(MAX_KEPT - 1);
        kept.insert(0, (schema.into(), Rc::clone(&validator)));
    });
    Ok(validator)
}

/// What is nested deeper than serde_json reads comes back cut off, with a word about it.
fn to_value(container: &[u8]) -> Result<Value, SchemaError> {
    let value = Jsonb::root(container).to_value().into_owned();
    take_pending_error().map_or(Ok(value), |_| Err(SchemaError::TooDeep))
}

fn compile(schema: &Value) -> Result<Validator, SchemaError> {
    if is_too_complex(schema) {
        return Err(SchemaError::TooComplex);
    }
    #[cfg(feature = "pg_test")]
    tests::COMPILED.with(|compiled| compiled.set(compiled.get() + 1));
    ValidationOptions::default()
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(MAX_BACKTRACKING))
        .offline()
        .build(schema)
        .map_err(|error| SchemaError::from_crate(&error))
}

impl SchemaError {
    fn from_crate(error: &ValidationError) -> Self {
        match error.kind() {
            ValidationErrorKind::Referencing(ReferencingError::Unretrievable { uri, .. }) => {
                Self::OutsideReference(shown(uri))
            }
            ValidationErrorKind::Referencing(ReferencingError::PointerToNowhere { pointer }) => {
                Self::MissingReference(shown(&format!("#{pointer}")))
            }
            ValidationErrorKind::Referencing(ReferencingError::NoSuchAnchor { anchor }) => {
                Self::MissingReference(shown(&format!("#{anchor}")))
            }
            ValidationErrorKind::Referencing(ReferencingError::UnknownSpecification { specification }) => {
                Self::UnknownDraft(shown(specification))
            }
            _ => Self::Invalid {
                path: shown(error.instance_path().as_str()),
                reason: shown(&error.to_string()),
            },
        }
    }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn place(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" at {path}") }
}

impl Report for SchemaError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::TooDeep | Self::TooComplex => PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            _ => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Invalid { path, .. } if path.ends_with("/type") => {
                "A type is null, boolean, integer, number, string, array, object, or a list of them.".into()
            }
            Self::Invalid { .. } => {
                "The place is a JSON Pointer into the schema; without one it is the schema itself.".into()
            }
            Self::OutsideReference(_) => "Put the definition into the schema's \"$defs\", with its \"$id\", and refer to that.".into(),
            Self::MissingReference(_) => "A reference is \"#/$defs/name\", \"#anchor\", or the \"$id\" of a part of the schema.".into(),
            Self::UnknownDraft(_) => {
                "Drafts are known as http://json-schema.org/draft-04/schema#, …/draft-06/schema#, …/draft-07/schema#, \
                 https://json-schema.org/draft/2019-09/schema and https://json-schema.org/draft/2020-12/schema."
                    .into()
            }
            Self::TooDeep => "A schema may be nested 128 levels deep: put its parts into \"$defs\" and refer to them.".into(),
            Self::TooComplex => {
                "unevaluatedProperties and unevaluatedItems follow every reference beside them: refer to less, or say \
                 additionalProperties or items."
                    .into()
            }
        })
    }
}

crate::reported!(SchemaError);

#[cfg(any(test, feature = "pg_test"))]
#[pg_schema]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;

    use pgrx::prelude::*;

    use crate::pg::spi;

    thread_local! {
        pub static COMPILED: Cell<usize> = const { Cell::new(0) };
    }

    #[pg_test]
    fn a_scan_compiles_each_of_its_schemas_once() {
        let valid = spi::read_value::<i64>(
            r#"SELECT pg_catalog.count(*) FROM pg_catalog.generate_series(1, 200000) i
               WHERE opdb.json_valid('{"type": "integer"}', pg_catalog.to_jsonb(i))
                 AND opdb.json_valid('{"minimum": 100001}', pg_catalog.to_jsonb(i))"#,
            &[],
        );
        assert_eq!(valid.unwrap(), Some(100_000));
        assert_eq!(COMPILED.get(), 2);
    }

    #[pg_test]
    fn a_backend_keeps_the_schemas_it_used_last() {
        let check = |minimum: i32| {
            let schema = format!("SELECT opdb.json_valid('{{\"minimum\": {minimum}}}', '5')");
            spi::read_value::<bool>(&schema, &[]).unwrap()
        };
        let compiled = || COMPILED.get();
        for minimum in 0..8 {
            assert_eq!(check(minimum), Some(minimum <= 5));
        }
        assert_eq!(compiled(), 8);
        check(0);
        check(100);
        assert_eq!(compiled(), 9, "0 was kept");
        check(0);
        assert_eq!(compiled(), 9, "0 was used lately");
        check(1);
        assert_eq!(compiled(), 10, "1 was the one used longest ago");
    }
}
