//! Whether the catalogs are still what they were, without reading what they say.

use opdb_core::schema::catalog;

use super::error::SchemaError;
use crate::pg::error::Result;
use crate::pg::{own, session, spi};

/// What the catalogs of this database were at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Which transactions had committed. At the same moment everything is the same; a standby cannot tell.
    moment: Option<String>,
    /// A text that is another one after every change to the catalogs; nothing where the extension's owner may not
    /// read them all.
    stamp: Option<String>,
}

impl State {
    /// Errors: 0A000 for a catalog that opdb does not know and that holds something.
    pub fn now() -> Result<Self> {
        let moment = moment()?;
        check_catalogs("this database", |sql| spi::read(sql, &[], |row| row.get::<String>(1)))?;
        Ok(Self { moment, stamp: stamp()? })
    }

    /// Of facts that are of more than one moment.
    pub fn unknown() -> Self {
        Self { moment: None, stamp: None }
    }

    pub fn stamp(&self) -> Option<&str> {
        self.stamp.as_deref()
    }

    /// Whether nothing has changed since, as far as can be told.
    pub fn is_still(&self) -> Result<bool> {
        Ok(self.is_same_moment()? || stamp()? == self.stamp)
    }

    /// Whether no transaction has committed since.
    pub fn is_same_moment(&self) -> Result<bool> {
        Ok(self.moment.is_some() && moment()? == self.moment)
    }
}

fn moment() -> Result<Option<String>> {
    spi::on_latest_snapshot(|| {
        spi::read_value::<String>(
            "SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery()
                              AND pg_catalog.pg_current_xact_id_if_assigned() IS NULL
                    THEN pg_catalog.pg_current_snapshot()::text END",
            &[],
        )
    })
}

fn stamp() -> Result<Option<String>> {
    own::read_as_owner(|| {
        let is_superuser = spi::read_value::<bool>(
            "SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user",
            &[],
        )?;
        if is_superuser != Some(true) {
            return Ok(None);
        }
        session::pinned_with(&catalog::STAMP_SETTINGS, || {
            spi::on_latest_snapshot(|| spi::read_value::<String>(&catalog::stamp_sql(), &[]))
        })
    })
}

/// Errors: 0A000 for a catalog that opdb does not know and that holds something.
pub fn check_catalogs(place: &str, query: impl Fn(&str) -> Result<Vec<Option<String>>>) -> Result<()> {
    let known = catalog::COVERED.iter().chain(catalog::NOT_SCHEMA.iter().map(|(name, _)| name));
    let known: Vec<&str> = known.copied().collect();
    let unknown = query(&format!(
        "SELECT pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c
         WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND c.relkind = 'r' AND c.oid < 16384
           AND c.relname <> ALL ('{{{}}}')",
        known.join(", ")
    ))?;
    for catalog in unknown.into_iter().flatten() {
        if !query(&format!("SELECT 'x' FROM pg_catalog.{catalog} LIMIT 1"))?.is_empty() {
            return Err(SchemaError::UnknownCatalog { place: place.to_owned(), catalog }.into());
        }
    }
    Ok(())
}
