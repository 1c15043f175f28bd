//! The table that rows are set aside in.

use super::Move;
use crate::pg::error::Result;
use crate::pg::{session, spi};
use crate::quality::error::QualityError;

impl Move<'_> {
    /// Makes the table for what is set aside, or gives it the columns that the other one has got since.
    pub(super) fn prepare(&self) -> Result<()> {
        let aside = self.aside.sql();
        let exists = spi::read_one_now(
            "SELECT pg_catalog.to_regclass($1) IS NOT NULL",
            &[aside.as_str().into()],
            |row| spi::known::<bool>(&row, 1),
        )?;
        if exists != Some(true) {
            spi::write(
                &format!(
                    "CREATE TABLE {aside} (
                         quarantine_run_id bigint NOT NULL,
                         quarantine_key    jsonb NOT NULL,
                         quarantine_rules  text[] NOT NULL,
                         quarantined_at    timestamptz NOT NULL DEFAULT pg_catalog.now())"
                ),
                &[],
            )?;
        }
        self.check_aside()?;
        let missing = self.missing_columns()?;
        if !missing.is_empty() {
            let add: Vec<String> = missing.iter().map(|column| format!("ADD COLUMN {column}")).collect();
            spi::write(&format!("ALTER TABLE {aside} {}", add.join(", ")), &[])?;
        }
        Ok(())
    }

    /// For each of the columns what it takes to have it in the table for what is set aside, if it is not there.
    ///
    /// Errors: 42804 if it is there, and another value could become of one that is copied to it.
    fn missing_columns(&self) -> Result<Vec<String>> {
        let (names, types): (Vec<String>, Vec<String>) =
            self.columns().map(|column| (column.name.clone(), column.base_type.clone())).unzip();
        // Types are written as they are where the table was read.
        let found = session::with_schemas(&[], || {
            spi::read_now(
                "SELECT pg_catalog.format('%I %s', a.attname, w.type)
                        || coalesce((SELECT pg_catalog.format(' COLLATE %I.%I', n.nspname, c.collname)
                                     FROM pg_catalog.pg_collation c
                                     JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
                                     WHERE c.oid = a.attcollation), ''),
                        a.attname::text, w.type, pg_catalog.format_type(b.atttypid, b.atttypmod),
                        a.attcollation = b.attcollation
                 FROM ROWS FROM (pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[])) w (name, type)
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = $1 AND a.attname = w.name AND NOT a.attisdropped
                 LEFT JOIN pg_catalog.pg_attribute b ON b.attrelid = $2::regclass AND b.attname = w.name
                                                    AND NOT b.attisdropped
                 ORDER BY a.attnum",
                &[self.table.relation.into(), self.aside.sql().into(), names.into(), types.into()],
                |row| {
                    let texts = (spi::known::<String>(&row, 1)?, spi::known(&row, 2)?, spi::known::<String>(&row, 3)?);
                    Ok((texts, row.get::<String>(4)?, row.get::<bool>(5)?))
                },
            )
        })?;
        let mut missing = Vec::new();
        for ((definition, column, wanted), is, same_collation) in found {
            match is {
                None => missing.push(definition),
                Some(is) if is == wanted && same_collation == Some(true) => {}
                Some(is) => {
                    let quarantine = self.aside.sql();
                    return Err(QualityError::OtherColumn { quarantine, column, is, wanted }.into());
                }
            }
        }
        Ok(missing)
    }

    /// Errors: 42501 if what has the name of the table for what is set aside belongs to somebody else, or if more would
    /// happen to a row there than to be kept.
    fn check_aside(&self) -> Result<()> {
        let is_fit = spi::read_one_now(
            "SELECT c.relkind = 'r' AND c.relpersistence = 'p' AND NOT c.relispartition AND NOT c.relhasrules
                    AND NOT c.relrowsecurity AND c.relowner = o.relowner
                    AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid)
             FROM pg_catalog.pg_class c, pg_catalog.pg_class o WHERE c.oid = $1::regclass AND o.oid = $2",
            &[self.aside.sql().into(), self.table.relation.into()],
            |row| spi::known::<bool>(&row, 1),
        )?;
        match is_fit {
            Some(true) => Ok(()),
            _ => Err(QualityError::UnfitQuarantine(self.aside.sql()).into()),
        }
    }
}
