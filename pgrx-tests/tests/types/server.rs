//! What a server makes of every value of every type in every other type.

use std::collections::HashMap;
use std::fmt::Write;

use opdb_core::compat::table::column_type;
use opdb_core::compat::types::ColumnType;
use opdb_core::schema::{Facets, Fact, Key, Kind};
use opdb_core::session::PINNED;
use opdb_e2e::cluster::{Cluster, Installation};
use opdb_e2e::psql::{execute, rows};
use postgres::Client;

use crate::catalogue::{DEFINITIONS, Sameness, TYPES};

/// What became of a value that was converted and converted back.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Outcomes {
    pub fit: i64,
    pub altered: i64,
    pub refused: i64,
}

pub struct Server {
    client: Client,
    _cluster: Cluster,
    columns: Vec<ColumnType>,
    /// Without modifiers, and of a domain what it is a domain over.
    bases: Vec<String>,
    /// Pairs of bases that have a cast; of the others the text form is read.
    casts: HashMap<(String, String), bool>,
}

impl Server {
    pub fn start(texts: &[String]) -> Self {
        let cluster =
            Cluster::start_temporary(&Installation::from_env().unwrap(), &[("fsync", "off")]).unwrap();
        let mut client = cluster.connect_as_superuser("postgres").unwrap();
        execute(&mut client, DEFINITIONS);
        for (setting, value) in PINNED {
            execute(&mut client, &format!("SELECT set_config('{setting}', '{value}', false)"));
        }
        let mut table = "CREATE TABLE public.one (".to_owned();
        for (number, (name, _)) in TYPES.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(table, "{comma}c{number} {name}").unwrap();
        }
        execute(&mut client, &format!("{table})"));
        let columns = columns(&mut client);
        let bases = bases(&mut client);
        let mut server = Self { client, _cluster: cluster, columns, bases, casts: HashMap::new() };
        server.find_casts();
        for number in 0..TYPES.len() {
            server.fill(number, texts);
        }
        // A table is emptied fastest in the transaction that made it.
        execute(&mut server.client, "BEGIN; CREATE TEMP TABLE outcome (id int, outcome text)");
        server
    }

    pub fn column(&self, number: usize) -> &ColumnType {
        &self.columns[number]
    }

    fn find_casts(&mut self) {
        let literals: Vec<String> = self.bases.iter().map(|base| literal(base)).collect();
        let sql = format!(
            "WITH base AS (
                 SELECT DISTINCT name, t.oid, CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END AS element
                 FROM unnest(ARRAY[{}]) name JOIN pg_type t ON t.oid = name::regtype)
             SELECT a.name, b.name, a.oid = b.oid OR EXISTS (
                 SELECT FROM pg_cast WHERE castsource = a.oid AND casttarget = b.oid
                     OR castsource = a.element AND casttarget = b.element)
             FROM base a, base b",
            literals.join(", ")
        );
        for row in rows(&mut self.client, &sql) {
            self.casts.insert((row[0].clone(), row[1].clone()), row[2] == "t");
        }
    }

    fn fill(&mut self, number: usize, texts: &[String]) {
        let (name, base) = (TYPES[number].0, &self.bases[number]);
        let literals: Vec<String> = texts.iter().map(|text| literal(text)).collect();
        execute(
            &mut self.client,
            &format!(
                "CREATE TEMP TABLE v{number} (id serial, v {name});
                 DO $fill$
                 DECLARE candidate text;
                 BEGIN
                     FOREACH candidate IN ARRAY ARRAY[NULL, {}] LOOP
                         BEGIN
                             -- A value that was rounded beyond the limits of its type, and cannot be read, is none.
                             EXECUTE format('INSERT INTO v{number} (v) SELECT %L::{base} RETURNING v::text::{base}',
                                            candidate);
                         EXCEPTION WHEN others THEN NULL;
                         END;
                     END LOOP;
                 END $fill$;
                 DELETE FROM v{number} a USING v{number} b WHERE a.v::text = b.v::text AND a.id > b.id",
                literals.join(", ")
            ),
        );
    }

    /// Characters of the longest text of a value.
    pub fn longest(&mut self, number: usize) -> i64 {
        rows(&mut self.client, &format!("SELECT max(length(v::text)) FROM v{number}"))[0][0].parse().unwrap()
    }

    pub fn has_values(&mut self, number: usize) -> bool {
        rows(&mut self.client, &format!("SELECT count(v) > 0 FROM v{number}"))[0][0] == "t"
    }

    /// As INSERT would make of it: modifiers are assigned, and do not cut like an explicit cast.
    fn conversion(&self, expression: &str, from: usize, to: usize) -> String {
        let (base, to_base) = (&self.bases[from], &self.bases[to]);
        let has_cast = self.casts[&(base.clone(), to_base.clone())];
        let value =
            if base == TYPES[from].0 { expression.to_owned() } else { format!("({expression})::{base}") };
        // How many bits a number has is up to the type that it is cast to.
        let is_bits = to_base == "\"bit\"" && base.ends_with("int") | base.ends_with("integer");
        match (has_cast, is_bits) {
            (true, true) => format!("{value}::{}", TYPES[to].0),
            (true, false) => format!("{value}::{to_base}"),
            (false, _) => format!("{value}::text::{to_base}"),
        }
    }

    /// Converts every value of one type to another and back.
    pub fn convert(&mut self, from: usize, to: usize) -> Outcomes {
        let same = match TYPES[from].1 {
            Sameness::Equal => "value.v IS NOT DISTINCT FROM back",
            Sameness::Text => "value.v::text IS NOT DISTINCT FROM back::text",
        };
        let sql = include_str!("conversion.sql")
            .replace("/*to*/", TYPES[to].0)
            .replace("/*from*/", TYPES[from].0)
            .replace("/*values*/", &format!("v{from}"))
            .replace("/*convert*/", &self.conversion("value.v", from, to))
            .replace("/*convert back*/", &self.conversion("there", to, from))
            .replace("/*same*/", same)
            .replace("/*blanks*/", &blanks_cut(&self.columns[from], &self.columns[to]));
        execute(&mut self.client, "TRUNCATE outcome");
        execute(&mut self.client, &sql);
        let count = |outcome: &str| format!("count(*) FILTER (WHERE outcome = '{outcome}')");
        let sql =
            format!("SELECT {}, {}, {} FROM outcome", count("fits"), count("altered"), count("refused"));
        let counts: Vec<i64> =
            rows(&mut self.client, &sql)[0].iter().map(|count| count.parse().unwrap()).collect();
        Outcomes { fit: counts[0], altered: counts[1], refused: counts[2] }
    }

    /// The same with another TimeZone; what became of values in UTC is still known.
    pub fn convert_in_zone(&mut self, from: usize, to: usize, zone: &str) -> Outcomes {
        execute(&mut self.client, &format!("SAVEPOINT zone; SET LOCAL TimeZone = '{zone}'"));
        let outcomes = self.convert(from, to);
        execute(&mut self.client, "ROLLBACK TO zone; RELEASE zone");
        outcomes
    }

    pub fn examples(&mut self, from: usize) -> String {
        let sql = format!(
            "SELECT string_agg(example, '; ') FROM (
                 SELECT concat(outcome, ' ', string_agg(quote_literal(left(v::text, 70)), ' ' ORDER BY id)
                        FILTER (WHERE number <= 4)) AS example
                 FROM (SELECT *, row_number() OVER (PARTITION BY outcome ORDER BY id) AS number FROM outcome) o
                 JOIN v{from} USING (id) GROUP BY outcome) examples"
        );
        rows(&mut self.client, &sql)[0][0].clone()
    }

    /// Values of which `condition` does not say whether they fit.
    pub fn misjudged(&mut self, from: usize, condition: &str) -> String {
        let sql = format!(
            "SELECT string_agg(concat(outcome, ' ', quote_literal(left(v::text, 70))), '; ') FROM v{from} JOIN outcome USING (id)
             WHERE (({condition}) IS TRUE) <> (outcome <> 'fits')"
        );
        rows(&mut self.client, &sql)[0][0].clone()
    }

    /// Must not fail.
    pub fn measured(&mut self, from: usize, aggregate: &str) {
        rows(&mut self.client, &format!("SELECT {aggregate} FROM v{from}"));
    }
}

/// Blanks beyond the limit of a varchar are cut in silence, as the SQL standard has it; for the verdict such a text is
/// one that is too long.
fn blanks_cut(from: &ColumnType, to: &ColumnType) -> String {
    let real = |of: &ColumnType| of.base.as_deref().unwrap_or(of).text.clone();
    let (from, to) = (real(from), real(to));
    match (to.starts_with("character varying("), from.ends_with("[]"), to.ends_with("[]")) {
        (true, false, false) => {
            "length(there::text) < length(value.v::text) AND rtrim(there::text) = rtrim(value.v::text)"
                .to_owned()
        }
        (true, true, true) => "replace(value.v::text, ' ', '') = replace(back::text, ' ', '')".to_owned(),
        _ => "false".to_owned(),
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The types as the comparison of tables gets to know them.
fn columns(client: &mut Client) -> Vec<ColumnType> {
    let details =
        include_str!("../../../sql/compat/details.sql").replace("/*tables*/", "SELECT 'public', 'one'");
    let types = rows(
        client,
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
         WHERE attrelid = 'public.one'::regclass AND attnum > 0 ORDER BY attnum",
    );
    let facets: HashMap<String, Facets> = rows(client, &details)
        .into_iter()
        .filter(|row| row[0] == "column")
        .map(|row| (row[3].clone(), serde_json::from_str(&row[5]).unwrap()))
        .collect();
    types
        .into_iter()
        .map(|row| {
            let mut facets = facets[&row[0]].clone();
            facets.insert("type".to_owned(), row[1].clone().into());
            let key = Key {
                kind: Kind::Column,
                schema: "public".into(),
                relation: "public.one".into(),
                name: row[0].clone(),
            };
            column_type(&Fact { key, extension: None, facets, sql: Vec::new(), unknown: Facets::new() })
        })
        .collect()
}

fn bases(client: &mut Client) -> Vec<String> {
    let sql = "WITH RECURSIVE base AS (
            SELECT attnum, atttypid AS type FROM pg_attribute WHERE attrelid = 'public.one'::regclass AND attnum > 0
            UNION ALL
            SELECT attnum, typbasetype FROM base JOIN pg_type ON pg_type.oid = type WHERE typtype = 'd')
        SELECT format_type(type, -1) FROM base JOIN pg_type ON pg_type.oid = type WHERE typtype <> 'd' ORDER BY attnum";
    rows(client, sql).concat()
}
