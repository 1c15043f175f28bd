//! As whom rules are evaluated.

use pgrx::pg_sys;

use super::error::QualityError;
use crate::pg::error::Result;
use crate::pg::name::Qualified;
use crate::pg::types::Regclass;
use crate::pg::{role, spi};

/// Rules may call functions, and whoever owns the table wrote them. They run as the owner, so that scoring
/// somebody's table, as a superuser does before a deployment, does not lend them the superuser's rights.
pub struct Scorer {
    /// `None`: as the caller, whom row security shows other rows than the owner.
    owner: Option<pg_sys::Oid>,
}

impl Scorer {
    /// Errors: 42501 if the caller may not read the table, or gives a `condition` of its own to be evaluated
    /// beside the rules without having the owner's rights.
    pub fn new(table: Regclass, name: &Qualified, condition: Option<&str>) -> Result<Self> {
        let row = spi::read_one(
            "SELECT c.relowner, pg_catalog.has_table_privilege(c.oid, 'SELECT'),
                    pg_catalog.pg_has_role(c.relowner, 'USAGE'), pg_catalog.row_security_active(c.oid)
             FROM pg_catalog.pg_class c WHERE c.oid = $1",
            &[table.into()],
            |row| {
                let flag = |column| row.get::<bool>(column).map(|flag| flag.unwrap_or(false));
                Ok((row.get::<pg_sys::Oid>(1)?, flag(2)?, flag(3)?, flag(4)?))
            },
        )?;
        let Some((owner, true, has_owners_rights, row_security)) = row else {
            return Err(QualityError::NotReadable(name.sql()).into());
        };
        if row_security {
            return Ok(Self { owner: None });
        }
        if condition.is_some() && !has_owners_rights {
            return Err(QualityError::ForeignCondition(name.sql()).into());
        }
        Ok(Self { owner })
    }

    pub fn run<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.owner {
            Some(owner) => role::acting_as(owner, work),
            None => work(),
        }
    }
}
