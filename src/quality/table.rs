//! What a scan must know of the table that it scores.

use std::collections::HashSet;

use super::error::QualityError;
use super::rule::{Check, Evidence, Rule};
use crate::pg::error::Result;
use crate::pg::name::{self, Qualified, identifier};
use crate::pg::types::Regclass;
use crate::pg::{lock, spi};
use pgrx::pg_sys;

/// A function takes at most 100 arguments.
const COLUMNS_AT_ONCE: usize = 45;

/// In SQL, whether an index `i` keeps its columns from ever being the same in two rows, as they compare by their own
/// collations and the operators of their types.
pub const KEEPS_UNIQUE: &str = "i.indisunique AND i.indisvalid AND i.indimmediate
    AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT EXISTS (
    SELECT FROM ROWS FROM (pg_catalog.unnest(i.indkey::int2[]), pg_catalog.unnest(i.indcollation::oid[]),
                           pg_catalog.unnest(i.indclass::oid[])) WITH ORDINALITY k (attnum, coll, class, place)
    JOIN pg_catalog.pg_opclass o ON o.oid = k.class
    LEFT JOIN pg_catalog.pg_opclass d ON d.opcmethod = o.opcmethod AND d.opcintype = o.opcintype AND d.opcdefault
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE k.place <= i.indnkeyatts
      AND (k.coll <> a.attcollation
           OR o.opcfamily IS DISTINCT FROM d.opcfamily
              AND NOT (o.opcnamespace = 'pg_catalog'::pg_catalog.regnamespace
                       AND o.opcname IN ('text_pattern_ops', 'varchar_pattern_ops', 'bpchar_pattern_ops'))))";

/// A relation that can be scored, and the relations that hold its rows.
pub struct Table {
    pub relation: Regclass,
    pub name: Qualified,
    pub columns: Vec<Column>,
    /// What tells one row from the others.
    pub key: Key,
    /// The relations that are read: the table itself, or its partitions and children.
    pub members: Vec<Member>,
    /// What it is, if it is no table: the result says so.
    pub other_than_table: Option<&'static str>,
    /// Whether what its constraints say is true of every row that a query on it reads.
    pub constraints_hold: bool,
}

/// A relation with rows of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub relation: Regclass,
    pub name: Qualified,
    /// Rows have a place, `ctid`, by which they can be found again.
    pub is_heap: bool,
}

#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    /// Known to be true of every row.
    pub not_null: bool,
    /// Declared so, whether it is true of every row or not.
    pub is_declared_not_null: bool,
    /// Computed when it is read.
    pub is_virtual: bool,
    /// Its type and collation, as one text.
    pub full_type: String,
    /// Its type, or that below it if it is a domain, as SQL.
    pub base_type: String,
    is_domain: bool,
    /// What compares two of its values, if that is not what is found as `=`.
    equality: Option<String>,
    /// Its type is composite: in SQL such a value "is NULL" if all of its fields are.
    is_record: bool,
    /// Its type is a composite type or an enum, which can be changed without a change of any row.
    has_own_type: bool,
    pub kind: Kind,
    /// date, timestamp or timestamptz.
    pub is_time: bool,
    /// numeric or floating point.
    pub can_be_nan: bool,
    /// Any type of numbers.
    pub is_number: bool,
    pub is_text: bool,
    /// Values that are equal are so byte for byte.
    pub is_bytewise: bool,
    /// Its type's hash is the same for the same value on every server.
    pub is_hashable: bool,
    /// Texts that stand for a missing value, as its `not_blank` rules say.
    pub placeholders: Vec<String>,
    /// What a rule that is measured in the same pass demands of every row.
    pub required: Option<Required>,
    /// The two numbers between which a rule that is measured in the same pass wants all values.
    pub bounds: Option<Check>,
}

/// What a row without which is not fine, whatever other rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Required {
    NotNull,
    /// A value that says something.
    Filled,
}

/// What of a column's values can be missing beside NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Jsonb,
    Json,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The primary key, or else a unique key without NULL.
    Columns(Vec<String>),
    /// Where a row is, as long as nobody updates it; the table too if there are several.
    Place { with_table: bool },
    /// All of the row: nothing else is known of a view's.
    Row,
}

impl Column {
    pub fn sql(&self) -> String {
        format!("t.{}", identifier(&self.name))
    }

    /// One of its values, as one that operators are found for: there are none for a domain over an enum.
    pub fn comparable(&self, value: &str) -> String {
        if self.is_domain { format!("{value}::{}", self.base_type) } else { value.to_owned() }
    }

    /// That two of its values are equal.
    pub fn equal(&self, a: &str, b: &str) -> String {
        let equality = self.equality.as_deref().unwrap_or("=");
        format!("{} {equality} {}", self.comparable(a), self.comparable(b))
    }

    /// As text.
    pub fn text(&self) -> String {
        if self.is_text { self.sql() } else { format!("{}::text", self.sql()) }
    }

    pub fn sql_is_not_null(&self) -> String {
        match self.is_record {
            true => format!("{} IS DISTINCT FROM NULL", self.sql()),
            false => format!("{} IS NOT NULL", self.sql()),
        }
    }

    pub fn sql_is_null(&self) -> String {
        match self.is_record {
            true => format!("{} IS NOT DISTINCT FROM NULL", self.sql()),
            false => format!("{} IS NULL", self.sql()),
        }
    }

    /// What is equal exactly if the values are, and is sorted fast.
    pub fn grouped(&self) -> String {
        if self.is_bytewise { format!("{} COLLATE \"C\"", self.sql()) } else { self.sql() }
    }

    /// What its hash is taken of: enums hash by OID, and some types not at all. A cast to text could be a user's.
    pub fn hashed(&self) -> String {
        match self.is_hashable {
            true => self.sql(),
            false => format!("pg_catalog.format('%L', {})", self.sql()),
        }
    }
}

impl Table {
    /// Looks a relation up, and keeps it from being altered until the transaction ends.
    ///
    /// Errors: 42809 for what has no rows or is the system's or temporary.
    pub fn read(relation: Regclass) -> Result<Self> {
        lock::against_alter(relation);
        let name = name::of(relation)?;
        let kind = RelationKind::of(relation, &name)?;
        let members = locked_members(relation, &name, &kind)?;
        let has_children = members.len() > 1 || kind.kind == 'p';
        let all_heaps = members.iter().all(|member| member.is_heap);
        let constraints_hold = all_heaps && matches!((kind.kind, kind.has_children), ('p', _) | ('r', false));
        let columns = columns(relation, constraints_hold)?;
        let key = match key_columns(relation, constraints_hold)? {
            Some(columns) => Key::Columns(columns),
            None if all_heaps => Key::Place { with_table: has_children },
            None => Key::Row,
        };
        let other_than_table = match kind.kind {
            'v' => Some("a view"),
            'm' => Some("a materialized view"),
            'f' => Some("a foreign table"),
            _ => None,
        };
        Ok(Self { relation, name, columns, key, members, other_than_table, constraints_hold })
    }

    /// Whether what the catalogs say of the table is true of the rows that the calling statement sees. It is not if the
    /// table was altered since, while its lock was waited for, perhaps: of one that was rewritten it sees no rows at all.
    pub fn fits_snapshot(&self) -> Result<bool> {
        let members: Vec<pg_sys::Oid> = self.members.iter().map(|member| member.relation.0).collect();
        let sql = include_str!("../../sql/quality/catalog_state.sql");
        let state = || spi::read_value::<String>(sql, &[self.relation.into(), members.clone().into()]);
        Ok(state()? == spi::on_latest_snapshot(state)?)
    }

    /// Of a table with partitions or children, the condition that a row is of one of those that are known.
    pub fn condition_of_members(&self) -> Option<String> {
        let is_alone = matches!(&self.members[..], [member] if member.relation == self.relation);
        let oids: Vec<String> =
            self.members.iter().map(|member| member.relation.0.to_u32().to_string()).collect();
        (!is_alone).then(|| format!("(tableoid = ANY ('{{{}}}'::pg_catalog.oid[]))", oids.join(",")))
    }

    /// All of a row as jsonb, which takes no document of the type json as it is: not every one can be one of jsonb.
    pub fn row_as_jsonb(&self) -> String {
        if self.columns.iter().all(|column| column.kind != Kind::Json) {
            return "pg_catalog.to_jsonb(t.*)".to_owned();
        }
        let field = |column: &Column| {
            let value = if column.kind == Kind::Json { column.text() } else { column.sql() };
            format!("{}, {value}", name::literal(&column.name))
        };
        let objects = self.columns.chunks(COLUMNS_AT_ONCE).map(|some| {
            let fields: Vec<String> = some.iter().map(field).collect();
            format!("pg_catalog.jsonb_build_object({})", fields.join(", "))
        });
        objects.collect::<Vec<_>>().join(" || ")
    }

    /// Whether values can become others without any row being written.
    pub fn has_own_types(&self) -> bool {
        self.columns.iter().any(|column| column.has_own_type)
    }

    /// Whether partitions may compute columns in ways of their own, which only a query on them shows.
    pub fn has_virtual_columns(&self) -> bool {
        self.columns.iter().any(|column| column.is_virtual)
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Lets every rule about a column know what rules in the same pass demand of it: it need not look for that again.
    pub fn learn_demands(&mut self, rules: &[Rule]) {
        for rule in rules.iter().filter(|rule| rule.filter.is_none() && rule.evidence == Evidence::Measured) {
            for column in self.columns.iter_mut().filter(|column| rule.columns.contains(&column.name)) {
                match &rule.check {
                    Ok(Check::NotNull) => column.required = column.required.max(Some(Required::NotNull)),
                    Ok(Check::NotBlank { .. }) => {
                        column.required = column.required.max(Some(Required::Filled))
                    }
                    Ok(check) if column.can_be_nan && check.is_between_numbers() => {
                        column.bounds = Some(check.clone());
                    }
                    _ => {}
                }
            }
        }
    }

    /// Lets every rule about a column know the texts that its `not_blank` rules take for missing.
    pub fn learn_placeholders(&mut self, rules: &[Rule]) {
        for rule in rules {
            let Ok(Check::NotBlank { placeholders }) = &rule.check else { continue };
            let named: HashSet<&String> = rule.columns.iter().collect();
            for column in self.columns.iter_mut().filter(|column| named.contains(&column.name)) {
                column.placeholders.extend(placeholders.iter().cloned());
            }
        }
        for column in &mut self.columns {
            column.placeholders.sort();
            column.placeholders.dedup();
        }
    }
}

struct RelationKind {
    kind: char,
    has_children: bool,
}

impl RelationKind {
    fn of(relation: Regclass, name: &Qualified) -> Result<Self> {
        let row = spi::read_one_now(
            "SELECT c.relkind::text, EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid AND NOT i.inhdetachpending),
                    CASE WHEN c.relkind IN ('i', 'I') THEN 'an index'
                         WHEN c.relkind = 'S' THEN 'a sequence'
                         WHEN c.relkind = 'c' THEN 'a composite type'
                         WHEN c.relkind NOT IN ('r', 'p', 'v', 'm', 'f') THEN 'another kind of relation'
                         WHEN c.relpersistence = 't' THEN 'a temporary table'
                         WHEN n.nspname LIKE 'pg\\_%' OR n.nspname IN ('information_schema', 'opdb')
                         THEN 'a table of the system' END
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1",
            &[relation.into()],
            |row| {
                let kind = spi::known::<String>(&row, 1)?;
                Ok((kind, spi::known::<bool>(&row, 2)?, row.get::<String>(3)?))
            },
        )?;
        match row {
            Some((_, _, Some(what))) => Err(QualityError::NotScorable { relation: name.sql(), what }.into()),
            Some((kind, has_children, None)) => {
                Ok(Self { kind: kind.chars().next().unwrap_or('r'), has_children })
            }
            None => Err(name::NameError::NoRelation(name.sql()).into()),
        }
    }
}

/// The members, as they are once they are locked: one that was waited for can be no member any more.
fn locked_members(relation: Regclass, name: &Qualified, kind: &RelationKind) -> Result<Vec<Member>> {
    let mut found = members(relation, name, kind)?;
    loop {
        found.iter().for_each(|member| lock::against_alter(member.relation));
        let again = members(relation, name, kind)?;
        if again == found {
            return Ok(found);
        }
        found = again;
    }
}

/// The relations below a partitioned table or a parent that have rows, and itself.
fn members(relation: Regclass, name: &Qualified, kind: &RelationKind) -> Result<Vec<Member>> {
    if !kind.has_children {
        let member = Member { relation, name: name.clone(), is_heap: matches!(kind.kind, 'r' | 'm') };
        return Ok(if kind.kind == 'p' { Vec::new() } else { vec![member] });
    }
    spi::read_now(
        "WITH RECURSIVE tree AS (
             SELECT $1::oid AS oid
             UNION
             SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid
             WHERE NOT i.inhdetachpending)
         SELECT c.oid::regclass, n.nspname::text, c.relname::text, c.relkind = 'r' AND c.relam = 2
         FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'f')
           -- The server leaves the temporary children of other sessions out.
           AND (c.relpersistence <> 't' OR n.oid = pg_catalog.pg_my_temp_schema())
         ORDER BY n.nspname, c.relname",
        &[relation.into()],
        |row| {
            let name = Qualified { schema: spi::known(&row, 2)?, name: spi::known(&row, 3)? };
            Ok(Member { relation: spi::known(&row, 1)?, name, is_heap: spi::known(&row, 4)? })
        },
    )
}

fn columns(relation: Regclass, constraints_hold: bool) -> Result<Vec<Column>> {
    spi::read_now(
        "SELECT a.attname::text,
                a.attnotnull, a.attgenerated = 'v', pg_catalog.concat_ws(' ', a.atttypid, a.attcollation),
                b.typtype <> 'b' OR coalesce((SELECT i.typtype <> 'b' FROM pg_catalog.pg_type i WHERE i.oid = b.typelem), false),
                $2 AND a.attnotnull AND NOT EXISTS (
                    SELECT FROM pg_catalog.pg_constraint o
                    WHERE o.conrelid = a.attrelid AND o.contype = 'n' AND o.conkey = ARRAY[a.attnum]
                      AND NOT o.convalidated),
                CASE WHEN b.typcategory = 'S' THEN 'text'
                     WHEN b.oid IN ('jsonb'::regtype, 'json'::regtype) THEN b.typname::text ELSE '' END,
                b.oid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype),
                b.oid IN ('numeric'::regtype, 'float4'::regtype, 'float8'::regtype),
                b.oid IN ('numeric'::regtype, 'float4'::regtype, 'float8'::regtype, 'int2'::regtype, 'int4'::regtype,
                          'int8'::regtype),
                b.oid IN ('text'::regtype, 'varchar'::regtype),
                b.oid IN ('text'::regtype, 'varchar'::regtype) AND coalesce(l.collisdeterministic, true),
                b.typtype = 'b' AND b.typelem = 0 AND b.typnamespace = 'pg_catalog'::regnamespace AND EXISTS (
                    SELECT FROM pg_catalog.pg_opclass c
                    JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod AND m.amname = 'hash'
                    JOIN pg_catalog.pg_amproc p ON p.amprocfamily = c.opcfamily AND p.amproclefttype = c.opcintype
                                               AND p.amproclefttype = p.amprocrighttype AND p.amprocnum = 2
                    WHERE c.opcintype = b.oid AND c.opcdefault),
                pg_catalog.format_type(b.oid, CASE WHEN e.modifier >= 0 THEN e.modifier ELSE a.atttypmod END),
                b.typtype = 'c', d.typtype = 'd',
                (SELECT pg_catalog.format('OPERATOR(%I.%s)', n.nspname, q.oprname)
                 FROM pg_catalog.pg_opclass c
                 JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod AND m.amname IN ('btree', 'hash')
                 JOIN pg_catalog.pg_amop p ON p.amopfamily = c.opcfamily AND p.amoplefttype = c.opcintype
                                          AND p.amoprighttype = c.opcintype
                                          AND p.amopstrategy = CASE m.amname WHEN 'btree' THEN 3 ELSE 1 END
                 JOIN pg_catalog.pg_operator q ON q.oid = p.amopopr
                 JOIN pg_catalog.pg_namespace n ON n.oid = q.oprnamespace
                 WHERE c.opcintype = b.oid AND c.opcdefault AND n.nspname <> 'pg_catalog'
                 ORDER BY m.amname LIMIT 1)
         FROM pg_catalog.pg_attribute a
         JOIN pg_catalog.pg_type d ON d.oid = a.atttypid
         JOIN LATERAL (
             WITH RECURSIVE base AS (
                 SELECT d.oid, d.typtype, d.typbasetype, d.typtypmod
                 UNION ALL
                 SELECT y.oid, y.typtype, y.typbasetype, greatest(base.typtypmod, y.typtypmod)
                 FROM base JOIN pg_catalog.pg_type y ON y.oid = base.typbasetype WHERE base.typtype = 'd')
             SELECT oid, typtypmod AS modifier FROM base WHERE typtype <> 'd') e ON true
         JOIN pg_catalog.pg_type b ON b.oid = e.oid
         LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
         WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        &[relation.into(), constraints_hold.into()],
        |row| {
            let kind = match spi::known::<String>(&row, 7)?.as_str() {
                "text" => Kind::Text,
                "jsonb" => Kind::Jsonb,
                "json" => Kind::Json,
                _ => Kind::Other,
            };
            Ok(Column {
                name: spi::known(&row, 1)?,
                is_declared_not_null: spi::known(&row, 2)?,
                is_virtual: spi::known(&row, 3)?,
                full_type: spi::known(&row, 4)?,
                has_own_type: spi::known(&row, 5)?,
                not_null: spi::known(&row, 6)?,
                kind,
                is_time: spi::known(&row, 8)?,
                can_be_nan: spi::known(&row, 9)?,
                is_number: spi::known(&row, 10)?,
                is_text: spi::known(&row, 11)?,
                is_bytewise: spi::known(&row, 12)?,
                is_hashable: spi::known(&row, 13)?,
                base_type: spi::known(&row, 14)?,
                is_record: spi::known(&row, 15)?,
                is_domain: spi::known(&row, 16)?,
                equality: row.get(17)?,
                placeholders: Vec::new(),
                required: None,
                bounds: None,
            })
        },
    )
}

/// The primary key, or the first unique key of columns that are never NULL.
fn key_columns(relation: Regclass, constraints_hold: bool) -> Result<Option<Vec<String>>> {
    let key = spi::read_now(
        &format!("SELECT ARRAY(SELECT a.attname::text
                      FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
                      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                      WHERE k.place <= i.indnkeyatts ORDER BY k.place)
         FROM pg_catalog.pg_index i
         WHERE i.indrelid = $1 AND $2 AND {KEEPS_UNIQUE}
           AND NOT EXISTS (SELECT FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
                           JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                           WHERE k.place <= i.indnkeyatts
                             AND (NOT a.attnotnull OR EXISTS (
                                 SELECT FROM pg_catalog.pg_constraint o
                                 WHERE o.conrelid = a.attrelid AND o.contype = 'n' AND o.conkey = ARRAY[a.attnum]
                                   AND NOT o.convalidated)))
         ORDER BY i.indisprimary, i.indexrelid DESC"),
        &[relation.into(), constraints_hold.into()],
        |row| spi::known::<Vec<String>>(&row, 1),
    )?;
    Ok(key.into_iter().next_back())
}
