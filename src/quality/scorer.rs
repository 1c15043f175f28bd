//! As whom rules are evaluated.

use pgrx::pg_sys;

use super::error::QualityError;
use super::rule::Check;
use super::table::Table;
use crate::pg::error::Result;
use crate::pg::name::Qualified;
use crate::pg::types::Regclass;
use crate::pg::{role, session, spi};

/// Rules may call functions, and whoever owns the table wrote them. They run as the owner, so that scoring
/// somebody's table, as a superuser does before a deployment, does not lend them the superuser's rights.
pub struct Scorer {
    /// Where the names and operators of rules are looked up: the table's schema and those of its types, unless
    /// others can create there.
    schemas: Vec<String>,
    /// `None`: as the caller, whom row security shows other rows than the owner.
    owner: Option<pg_sys::Oid>,
}

impl Scorer {
    /// Errors: 0A000 if the policies hide rows from the owner that the caller sees, 42501 if the caller may not
    /// read the table, or gives a `condition` of its own to be evaluated beside the rules without having the
    /// owner's rights.
    pub fn new(table: &Table, condition: Option<&str>) -> Result<Self> {
        let name = &table.name;
        let row = spi::read_one(
            "SELECT c.relowner, pg_catalog.has_table_privilege(c.oid, 'SELECT'),
                    pg_catalog.pg_has_role(c.relowner, 'USAGE'), pg_catalog.row_security_active(c.oid),
                    c.relrowsecurity AND c.relforcerowsecurity,
                    c.relkind = 'f' OR EXISTS (
                        SELECT FROM pg_catalog.pg_class m WHERE m.oid = ANY ($2) AND m.relkind = 'f')
                    OR c.relkind = 'v' AND EXISTS (
                        SELECT FROM pg_catalog.pg_options_to_table(c.reloptions) o
                        WHERE o.option_name = 'security_invoker' AND o.option_value::boolean)
             FROM pg_catalog.pg_class c WHERE c.oid = $1",
            &[
                table.relation.into(),
                table.members.iter().map(|member| member.relation.0).collect::<Vec<_>>().into(),
            ],
            |row| {
                let flag = |column| row.get::<bool>(column).map(|flag| flag.unwrap_or(false));
                Ok((row.get::<pg_sys::Oid>(1)?, flag(2)?, flag(3)?, flag(4)?, flag(5)?, flag(6)?))
            },
        )?;
        let Some((owner, true, has_owners_rights, row_security, is_forced, shows_others)) = row else {
            return Err(QualityError::NotReadable(name.sql()).into());
        };
        if shows_others && !has_owners_rights {
            return Err(QualityError::ReadAsOwner(name.sql()).into());
        }
        let schemas = session::trusted(&schemas(table.relation, name)?, owner.unwrap_or(pg_sys::InvalidOid))?;
        if row_security {
            return Ok(Self { schemas, owner: None });
        }
        if is_forced {
            return Err(QualityError::ForcedRowSecurity(name.sql()).into());
        }
        if condition.is_some() && !has_owners_rights {
            return Err(QualityError::ForeignCondition(name.sql()).into());
        }
        Ok(Self { schemas, owner })
    }

    /// Errors: 42501 if the role that the rules of the table are evaluated as may not call what a rule calls.
    pub fn check_may_evaluate(&self, table: &Table, check: &Check) -> Result<()> {
        let Some(owner) = self.owner.filter(|_| check.calls_opdb()) else { return Ok(()) };
        let role = spi::read_value::<String>(
            "SELECT r.rolname::text FROM pg_catalog.pg_roles r
             WHERE r.oid = $1 AND NOT (pg_catalog.has_schema_privilege(r.oid, 'opdb', 'USAGE')
                                       AND pg_catalog.has_function_privilege(r.oid, 'opdb.has_format(text, text)', 'EXECUTE')
                                       AND pg_catalog.has_function_privilege(r.oid, 'opdb.json_valid(jsonb, jsonb)', 'EXECUTE')
                                       AND pg_catalog.has_function_privilege(r.oid, 'opdb.is_castable(text, text)', 'EXECUTE'))",
            &[owner.into()],
        )?;
        match role {
            Some(owner) => Err(QualityError::OwnerMayNot { table: table.name.sql(), owner }.into()),
            None => Ok(()),
        }
    }

    /// Errors: 42501 if row security hides rows from the caller.
    pub fn check_sees_all(&self, table: &Table) -> Result<()> {
        match self.owner {
            Some(_) => Ok(()),
            None => Err(QualityError::HiddenRows(table.name.sql()).into()),
        }
    }

    /// Errors: 42501 unless the caller has the rights of the table's owner, and sees every row.
    pub fn check_is_owner(&self, table: &Table) -> Result<()> {
        self.check_sees_all(table)?;
        super::check_owner(table.relation, &table.name)
    }

    /// Whether the caller may see other rows than the owner, who sees all.
    pub fn is_limited(&self) -> bool {
        self.owner.is_none()
    }

    /// Whether the relations that hold the table's rows can be read one by one and show the same rows as the table does:
    /// rights and policies that are looked at are those of the relation that a query names.
    pub fn may_read_members(&self, table: &Table) -> Result<bool> {
        let Some(owner) = self.owner else { return Ok(false) };
        if table.has_virtual_columns() && table.members.len() > 1 {
            return Ok(false);
        }
        let members: Vec<pg_sys::Oid> = table.members.iter().map(|member| member.relation.0).collect();
        let may = spi::read_value::<bool>(
            "SELECT coalesce(pg_catalog.bool_and(pg_catalog.has_table_privilege($1, c.oid, 'SELECT')
                                                 AND NOT c.relrowsecurity
                                                 AND pg_catalog.has_schema_privilege($1, c.relnamespace, 'USAGE')), true)
             FROM pg_catalog.pg_class c WHERE c.oid = ANY ($2) AND c.oid <> $3",
            &[owner.into(), members.into(), table.relation.into()],
        )?;
        Ok(may == Some(true))
    }

    pub fn run<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let schemas: Vec<&str> = self.schemas.iter().map(String::as_str).collect();
        session::with_schemas(&schemas, || match self.owner {
            Some(owner) => role::acting_as(owner, work),
            None => work(),
        })
    }
}

fn schemas(table: Regclass, name: &Qualified) -> Result<Vec<String>> {
    let of_types = spi::read(
        "SELECT DISTINCT n.nspname::text
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
         WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname NOT IN ('pg_catalog', $2)
         ORDER BY 1",
        &[table.into(), name.schema.as_str().into()],
        |row| row.get::<String>(1),
    )?;
    Ok([name.schema.clone()].into_iter().chain(of_types.into_iter().flatten()).collect())
}
