//! Comparing a table here with the one of the same name there.

use std::rc::Rc;

use super::Verdict;
use super::fix::{self, Fix, Misfit};
use super::types::{ColumnType, verdict};
use crate::schema::{Fact, Key, Kind, canonical};
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    TableStructure,
    ColumnTypes,
    Indexes,
    Constraints,
}

impl Aspect {
    pub fn as_str(self) -> &'static str {
        match self {
            Aspect::TableStructure => "table_structure",
            Aspect::ColumnTypes => "column_types",
            Aspect::Indexes => "indexes",
            Aspect::Constraints => "constraints",
        }
    }
}

/// One thing compared.
#[derive(Debug, Clone)]
pub struct Finding {
    pub table: String,
    pub aspect: Aspect,
    pub object: String,
    pub verdict: Verdict,
    pub local: Option<String>,
    pub remote: Option<String>,
    pub detail: String,
    /// Rows cannot be sent there as it stands, unless the data itself shows that they fit.
    pub blocking: bool,
    /// What would make it the same there.
    pub fix: Option<Fix>,
}

/// Of facts that are in the order of their tables, those of one table.
pub fn of_table<'f>(facts: &'f [Rc<Fact>], table: &str) -> &'f [Rc<Fact>] {
    let start = facts.partition_point(|fact| fact.relation() < table);
    let end = facts.partition_point(|fact| fact.relation() <= table);
    facts.get(start..end).unwrap_or_default()
}

/// A table and everything about it on both sides.
pub struct Pair<'a> {
    /// As facts call it.
    pub table: &'a str,
    /// As SQL does.
    pub sql: String,
    /// Quotes an identifier.
    pub quote: fn(&str) -> String,
    pub local: &'a [Rc<Fact>],
    /// A fact that is the same on both sides may be one and the same here.
    pub remote: &'a [Rc<Fact>],
    /// Columns whose values stay here: the other side gives its own.
    pub kept_here: &'a [String],
}

impl Pair<'_> {
    pub fn findings(&self) -> Vec<Finding> {
        if self.of(self.remote, Kind::Table).next().is_none() {
            return vec![Finding {
                blocking: true,
                ..self.finding(Aspect::TableStructure, self.table, Verdict::Missing, "no such table there")
            }];
        }
        let mut found = vec![self.structure()];
        found.extend(self.of(self.local, Kind::Column).map(|column| self.column(column)));
        found.extend(self.columns_only_there());
        found.extend(self.indexes());
        found.extend(self.constraints());
        found
    }

    /// A statement on a table speaks of its inheritance children too, and its constraints do not.
    fn structure(&self) -> Finding {
        let is_inherited = |facts| self.of(facts, Kind::Table).any(|table| table.flag("is_inherited"));
        let (verdict, detail) = match (is_inherited(self.local), is_inherited(self.remote)) {
            (true, _) => (Verdict::Incompatible, "other tables inherit from it here"),
            (_, true) => (Verdict::Incompatible, "other tables inherit from it there"),
            _ => (Verdict::Identical, "the table exists there"),
        };
        Finding {
            blocking: verdict == Verdict::Incompatible,
            ..self.finding(Aspect::TableStructure, self.table, verdict, detail)
        }
    }

    fn of<'f>(&self, facts: &'f [Rc<Fact>], kind: Kind) -> impl Iterator<Item = &'f Rc<Fact>> {
        of_table(facts, self.table).iter().filter(move |fact| fact.kind() == kind)
    }

    fn finding(&self, aspect: Aspect, object: &str, verdict: Verdict, detail: &str) -> Finding {
        Finding {
            table: self.table.to_owned(),
            aspect,
            object: object.to_owned(),
            verdict,
            local: None,
            remote: None,
            detail: detail.to_owned(),
            blocking: false,
            fix: None,
        }
    }

    fn is_in_primary_key(&self, remote: &Fact) -> bool {
        let is_primary = |fact: &&Rc<Fact>| fact.text("type") == Some("p");
        let mut keys = self.of(self.remote, Kind::Constraint).filter(is_primary);
        keys.any(|key| key.list("columns").contains(&remote.name()))
    }

    /// Whether something of that name is in the way there.
    fn is_taken_there(&self, name: &str) -> bool {
        let all = of_table(self.remote, self.table).iter();
        let mut named = all.filter(|fact| matches!(fact.kind(), Kind::Constraint | Kind::Index));
        named.any(|fact| fact.name() == name)
    }

    fn is_partitioned_there(&self) -> bool {
        self.of(self.remote, Kind::Table).any(|table| table.flag("partitioned"))
    }

    fn is_kept_here(&self, column: &Fact) -> bool {
        self.kept_here.iter().any(|name| name == column.name())
    }

    fn column(&self, local: &Rc<Fact>) -> Finding {
        let there = self.of(self.remote, Kind::Column).find(|column| column.name() == local.name());
        let sent = is_sent(local, there.map(Rc::as_ref), self.kept_here);
        let Some(remote) = there else {
            let detail = if sent { "the column does not exist there" } else { "the column is not sent" };
            return Finding {
                local: local.text("type").map(str::to_owned),
                blocking: sent,
                fix: if sent { fix::add_column(&self.sql, local, self.quote) } else { None },
                ..self.finding(Aspect::TableStructure, local.name(), Verdict::Missing, detail)
            };
        };
        if Rc::ptr_eq(local, remote) {
            let detail = if sent { "" } else { "the column is not sent" };
            return Finding {
                local: Some(described(local)),
                remote: Some(described(remote)),
                ..self.finding(Aspect::ColumnTypes, local.name(), Verdict::Identical, detail)
            };
        }
        let (from, to) = (column_type(local), column_type(remote));
        let of_types = verdict(&from, &to);
        let misfit = Misfit {
            from: &from,
            to: &to,
            refuses_type: of_types > Verdict::Widening,
            refuses_null: remote.flag("not_null") && !local.flag("not_null"),
            must_not_be_null: remote.text("identity").is_some_and(|it| !it.is_empty())
                || self.is_in_primary_key(remote),
            has_default_there: remote.text("default").is_some(),
            is_generated_there: remote.text("generated").is_some() && sent,
        };
        let mut verdict = of_types;
        let mut details = Vec::new();
        if misfit.refuses_null {
            verdict = verdict.max(Verdict::Narrowing);
            details.push("NULL is refused there");
        }
        if misfit.is_generated_there {
            verdict = Verdict::Incompatible;
            details.push("the column is generated there");
        }
        let unlike: Vec<&str> = unlike(local, remote).collect();
        if !unlike.is_empty() {
            verdict = verdict.max(Verdict::Widening);
        }
        match verdict {
            _ if !sent => details.push("the column is not sent"),
            Verdict::Narrowing if details.is_empty() => details.push("some values may be refused"),
            Verdict::Lossy => details.push("some values may be altered"),
            Verdict::Incompatible if details.is_empty() => {
                details.push("no conversion is known, or the type is defined otherwise there")
            }
            _ => {}
        }
        details.extend(&unlike);
        let fix = fix::alter_column(&self.sql, local.name(), &misfit, self.quote).filter(|_| sent);
        let has_other_collation = local.text("collation") != remote.text("collation");
        Finding {
            local: Some(described(local)),
            remote: Some(described(remote)),
            blocking: sent && verdict > Verdict::Widening,
            fix: fix.or_else(|| {
                (has_other_collation && from.text == to.text)
                    .then(|| fix::change_collation(&self.sql, local, self.quote))
            }),
            ..self.finding(Aspect::ColumnTypes, local.name(), verdict, &details.join("; "))
        }
    }

    fn columns_only_there(&self) -> impl Iterator<Item = Finding> {
        self.of(self.remote, Kind::Column)
            .filter(|remote| {
                let sent = !self.is_kept_here(remote);
                !(sent && self.of(self.local, Kind::Column).any(|local| local.name() == remote.name()))
            })
            .filter(|remote| needs_a_value(remote))
            .map(|remote| Finding {
                remote: Some(described(remote)),
                blocking: true,
                fix: Some(fix::allow_null(&self.sql, remote.name(), self.quote)),
                ..self.finding(
                    Aspect::TableStructure,
                    remote.name(),
                    Verdict::Incompatible,
                    "the column is NOT NULL without a default there and gets no value",
                )
            })
    }

    fn indexes(&self) -> Vec<Finding> {
        let remote: Vec<&Rc<Fact>> = self.of(self.remote, Kind::Index).collect();
        self.of(self.local, Kind::Index)
            .map(|index| {
                let same = remote.iter().find(|other| {
                    same_definition(other, index) && other.flag("unique") == index.flag("unique")
                });
                let (verdict, detail) = match same {
                    Some(_) => (Verdict::Identical, ""),
                    None => (Verdict::Missing, "no such index there; queries may be slower"),
                };
                let fix = || fix::create_index(&self.sql, index, self.is_partitioned_there(), self.quote);
                Finding {
                    fix: if same.is_none() && !self.is_taken_there(index.name()) { fix() } else { None },
                    local: index.text("definition").map(str::to_owned),
                    remote: same.and_then(|other| other.text("definition")).map(str::to_owned),
                    ..self.finding(Aspect::Indexes, index.name(), verdict, detail)
                }
            })
            .chain(remote.iter().filter(|other| other.flag("unique")).filter_map(|other| {
                let here = self
                    .of(self.local, Kind::Index)
                    .any(|index| index.flag("unique") && same_definition(other, index));
                (!here).then(|| Finding {
                    remote: other.text("definition").map(str::to_owned),
                    ..self.finding(Aspect::Indexes, other.name(), Verdict::Narrowing, ENFORCED_THERE)
                })
            }))
            .collect()
    }

    /// The table's constraints, and what its triggers guarantee like one.
    fn guarantees(&self, facts: &[Rc<Fact>]) -> Vec<Rc<Fact>> {
        let by_trigger =
            self.of(facts, Kind::Table).filter_map(|table| unique_by_trigger(table).map(Rc::new));
        self.of(facts, Kind::Constraint).cloned().chain(by_trigger).collect()
    }

    fn constraints(&self) -> Vec<Finding> {
        let definition = |fact: &Rc<Fact>| fact.text("definition").map(str::to_owned);
        let same = |a: &Rc<Fact>, b: &Rc<Fact>| {
            Rc::ptr_eq(a, b) || a.text("type") == b.text("type") && meaning(a) == meaning(b)
        };
        let (local, remote) = (self.guarantees(self.local), self.guarantees(self.remote));
        let here = local.iter().map(|constraint| {
            let there = remote.iter().find(|other| same(constraint, other));
            let (verdict, detail) = match there {
                Some(_) => (Verdict::Identical, ""),
                None => (Verdict::Missing, "not guaranteed there"),
            };
            let fix = || fix::add_constraint(&self.sql, constraint, self.is_partitioned_there(), self.quote);
            Finding {
                // What triggers do is no constraint.
                fix: if there.is_none()
                    && !constraint.flag("by_trigger")
                    && !self.is_taken_there(constraint.name())
                {
                    fix()
                } else {
                    None
                },
                local: definition(constraint),
                remote: there.and_then(definition),
                ..self.finding(Aspect::Constraints, constraint.name(), verdict, detail)
            }
        });
        let only_there = remote
            .iter()
            .filter(|other| !local.iter().any(|constraint| same(constraint, other)))
            .map(|other| Finding {
                remote: definition(other),
                ..self.finding(Aspect::Constraints, other.name(), Verdict::Narrowing, ENFORCED_THERE)
            });
        here.chain(only_there).collect()
    }
}

const ENFORCED_THERE: &str =
    "only there: a row that violates it stops the deployment, which then changes nothing";

/// Whether a column's values go there: not if that side decides for itself, nor if it computes them too.
pub fn is_sent(local: &Fact, there: Option<&Fact>, kept_here: &[String]) -> bool {
    let computed = |column: &Fact| column.text("generated").is_some();
    let is_computed_on_both = computed(local) && there.is_none_or(computed);
    !is_computed_on_both && !kept_here.iter().any(|name| name == local.name())
}

fn unique_by_trigger(table: &Fact) -> Option<Fact> {
    let columns = table.list("unique_by_trigger");
    (!columns.is_empty()).then(|| Fact {
        key: Key {
            kind: Kind::Constraint,
            name: format!("{} (by trigger)", columns.join(", ")),
            ..table.key.clone()
        },
        facets: [
            ("type".to_owned(), "u".into()),
            ("definition".to_owned(), format!("UNIQUE ({})", columns.join(", ")).into()),
            ("columns".to_owned(), columns.into()),
            ("by_trigger".to_owned(), true.into()),
        ]
        .into(),
        ..table.clone()
    })
}

/// Whether the table there holds every value of these columns at most once, by whatever means.
pub fn is_unique(facts: &[Rc<Fact>], table: &str, columns: &[String]) -> bool {
    let mut wanted: Vec<&str> = columns.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    let same = |mut found: Vec<&str>| {
        found.sort_unstable();
        found == wanted
    };
    of_table(facts, table).iter().any(|fact| match fact.kind() {
        Kind::Constraint => matches!(fact.text("type"), Some("p" | "u")) && same(fact.list("columns")),
        Kind::Index => {
            fact.flag("unique") && fact.flag("valid") && !fact.flag("partial") && same(fact.list("columns"))
        }
        Kind::Table => same(fact.list("unique_by_trigger")),
        _ => false,
    })
}

/// Key constraints are the same if their columns are; others if their text means the same.
fn meaning(constraint: &Fact) -> String {
    match constraint.text("type") {
        Some("p" | "u") => {
            let mut columns = constraint.list("columns");
            columns.sort_unstable();
            // What else a key says of its rows.
            let definition = constraint.text("definition").unwrap_or_default();
            let strict = definition.contains("NULLS NOT DISTINCT");
            format!(
                "{} {strict} {} {}",
                columns.join(","),
                constraint.flag("deferrable"),
                constraint.flag("deferred")
            )
        }
        _ => canonical(constraint.text("definition").unwrap_or_default()),
    }
}

fn same_definition(one: &Rc<Fact>, other: &Rc<Fact>) -> bool {
    if Rc::ptr_eq(one, other) {
        return true;
    }
    let meaning = |fact: &Fact| fact.text("definition").map(canonical);
    meaning(one) == meaning(other)
}

/// What of two columns differs without keeping values from fitting.
fn unlike(local: &Fact, remote: &Fact) -> impl Iterator<Item = &'static str> {
    let differs = |facet: &str| local.text(facet).map(canonical) != remote.text(facet).map(canonical);
    let is_generated = |column: &Fact| column.text("generated").is_some();
    let has_default = is_generated(local) || is_generated(remote);
    [
        (differs("collation"), "the collation differs"),
        (differs("database_collation"), "the databases sort text otherwise"),
        (differs("default") && !has_default, "the default differs"),
        (differs("identity"), "the identity differs"),
        (
            is_generated(local) && is_generated(remote) && differs("generated"),
            "it is computed otherwise there",
        ),
        (is_generated(local) && !is_generated(remote), "it is computed here and sent as a value"),
    ]
    .into_iter()
    .filter_map(|(is_unlike, what)| is_unlike.then_some(what))
}

fn needs_a_value(column: &Fact) -> bool {
    column.flag("not_null")
        && column.text("default").is_none()
        && column.text("generated").is_none()
        && column.text("identity").is_none_or(str::is_empty)
}

pub fn column_type(column: &Fact) -> ColumnType {
    let base = column.facets.get("base").filter(|base| base.is_object());
    ColumnType {
        text: column.text("type").unwrap_or_default().to_owned(),
        kind: column.text("type_kind").unwrap_or_default().to_owned(),
        labels: column.list("labels").into_iter().map(str::to_owned).collect(),
        definition: column.text("type_definition").map(str::to_owned),
        base: base.map(|base| Box::new(base_type(base))),
        checks: column.list("checks").into_iter().map(canonical).collect(),
    }
}

/// What a domain is over.
fn base_type(base: &Value) -> ColumnType {
    let text = |facet: &str| base[facet].as_str().unwrap_or_default().to_owned();
    let labels = base["labels"].as_array().into_iter().flatten();
    ColumnType {
        text: text("type"),
        kind: text("type_kind"),
        labels: labels.filter_map(Value::as_str).map(str::to_owned).collect(),
        ..ColumnType::default()
    }
}

fn described(column: &Fact) -> String {
    let nullable = if column.flag("not_null") { " NOT NULL" } else { "" };
    format!("{}{nullable}", column.text("type").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Facets;
    use serde_json::json;

    fn fact(kind: Kind, name: &str, facets: serde_json::Value) -> Rc<Fact> {
        let facets = facets.as_object().unwrap().clone().into_iter().collect();
        let key = Key { kind, schema: "s".into(), relation: "s.t".into(), name: name.into() };
        Rc::new(Fact { key, extension: None, facets, sql: Vec::new(), unknown: Facets::new() })
    }

    fn table(columns: &[(&str, &str, bool)]) -> Vec<Rc<Fact>> {
        let mut facts = vec![fact(Kind::Table, "t", json!({}))];
        facts.extend(columns.iter().map(|(name, data_type, not_null)| {
            fact(Kind::Column, name, json!({"type": data_type, "type_kind": "b", "not_null": not_null}))
        }));
        facts
    }

    fn blocking(local: &[Rc<Fact>], remote: &[Rc<Fact>], kept_here: &[String]) -> Vec<(String, Verdict)> {
        let pair = Pair {
            table: "s.t",
            sql: "s.t".to_owned(),
            quote: |name| name.to_owned(),
            local,
            remote,
            kept_here,
        };
        pair.findings()
            .into_iter()
            .filter(|finding| finding.blocking)
            .map(|finding| (finding.object, finding.verdict))
            .collect()
    }

    #[test]
    fn a_missing_table_blocks() {
        let local = table(&[("a", "text", true)]);
        assert_eq!(blocking(&local, &[], &[]), [("s.t".to_owned(), Verdict::Missing)]);
        assert!(blocking(&local, &local, &[]).is_empty());
    }

    #[test]
    fn a_column_only_here_blocks_unless_it_is_not_sent() {
        let (local, remote) =
            (table(&[("a", "text", true), ("b", "text", false)]), table(&[("a", "text", true)]));
        assert_eq!(blocking(&local, &remote, &[]), [("b".to_owned(), Verdict::Missing)]);
        assert!(blocking(&local, &remote, &["b".to_owned()]).is_empty());
    }

    #[test]
    fn a_column_only_there_blocks_if_it_needs_a_value() {
        let local = table(&[("a", "text", true)]);
        let nullable = table(&[("a", "text", true), ("b", "text", false)]);
        let required = table(&[("a", "text", true), ("b", "text", true)]);
        assert!(blocking(&local, &nullable, &[]).is_empty());
        assert_eq!(blocking(&local, &required, &[]), [("b".to_owned(), Verdict::Incompatible)]);
        // A column that exists on both sides but is not sent needs a default there just as well.
        assert_eq!(
            blocking(&required, &required, &["b".to_owned()]),
            [("b".to_owned(), Verdict::Incompatible)]
        );
    }

    #[test]
    fn a_narrower_column_and_a_stricter_null_block() {
        let local = table(&[("a", "text", false)]);
        assert_eq!(
            blocking(&local, &table(&[("a", "character varying(8)", false)]), &[]),
            [("a".to_owned(), Verdict::Narrowing)]
        );
        assert_eq!(
            blocking(&local, &table(&[("a", "text", true)]), &[]),
            [("a".to_owned(), Verdict::Narrowing)]
        );
    }
}
