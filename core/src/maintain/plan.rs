//! What a plan asks of the tables that it reads, from EXPLAIN (FORMAT JSON, VERBOSE).

use std::collections::BTreeSet;

use serde_json::Value;

use super::condition::{Column, Use, sort_key, uses};

/// A plan, as far as indexes matter.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Of the whole statement, in the planner's units.
    pub cost: f64,
    pub scans: Vec<Scan>,
    /// The indexes that it uses, by name.
    pub indexes: BTreeSet<String>,
    uses: Vec<Use>,
    /// The columns that the plan sorts by, one list a sort.
    sorts: Vec<Vec<Column>>,
}

/// A table that is read, under the name that the plan's conditions have for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scan {
    pub schema: String,
    pub relation: String,
    pub alias: String,
}

/// A column of an index, and how it is sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub column: String,
    pub order: String,
}

/// More candidates for one table and statement are not worth planning.
const MAX_CANDIDATES: usize = 8;
const CONDITIONS: [&str; 6] =
    ["Filter", "Index Cond", "Recheck Cond", "Hash Cond", "Merge Cond", "Join Filter"];

impl Plan {
    /// None if this is not what EXPLAIN (FORMAT JSON) prints.
    pub fn read(explained: &Value) -> Option<Self> {
        let root = explained.get(0)?.get("Plan")?;
        let mut plan = Self {
            cost: root.get("Total Cost")?.as_f64()?,
            scans: Vec::new(),
            indexes: BTreeSet::new(),
            uses: Vec::new(),
            sorts: Vec::new(),
        };
        plan.add(root);
        plan.scans.sort();
        plan.scans.dedup();
        Some(plan)
    }

    fn add(&mut self, node: &Value) {
        let text = |key: &str| node.get(key).and_then(Value::as_str);
        let scan = (text("Schema"), text("Relation Name"), text("Alias"));
        if let (Some(schema), Some(relation), Some(alias)) = scan
            && text("Node Type") != Some("ModifyTable")
        {
            let owned = |text: &str| text.to_owned();
            self.scans.push(Scan { schema: owned(schema), relation: owned(relation), alias: owned(alias) });
        }
        self.indexes.extend(text("Index Name").map(str::to_owned));
        self.uses.extend(CONDITIONS.iter().filter_map(|key| text(key)).flat_map(uses));
        let keys = node.get("Sort Key").and_then(Value::as_array);
        self.sorts.extend(keys.map(|keys| sorted(keys)));
        let children = node.get("Plans").and_then(Value::as_array);
        children.into_iter().flatten().for_each(|child| self.add(child));
    }

    /// Column lists of B-trees that might make the statement's reading of one table cheaper: single columns and pairs,
    /// what is compared for equality before what is not. `aliases` are the table's, with those of its partitions.
    pub fn candidates(&self, aliases: &BTreeSet<&str>) -> Vec<Vec<Key>> {
        let equalities = self.compared(aliases, true);
        let ranges = self.compared(aliases, false);
        let sorts = self.sorted(aliases);
        let first_sorted: Vec<Key> = sorts
            .iter()
            .map(|sort| sort[0].clone())
            .map(|key| if key.order == "DESC" { key.ascending() } else { key })
            .collect();
        let mut of_equalities = pairs(&equalities, &equalities);
        of_equalities.retain(|pair| pair[0] < pair[1]);
        let single = |keys: &[Key]| keys.iter().map(|key| vec![key.clone()]).collect::<Vec<_>>();
        let all = [
            single(&equalities),
            of_equalities,
            pairs(&equalities, &ranges),
            pairs(&equalities, &first_sorted),
            single(&ranges),
            sorts,
        ];
        let mut candidates = unique(all.into_iter().flatten());
        candidates.truncate(MAX_CANDIDATES);
        candidates
    }

    fn compared(&self, aliases: &BTreeSet<&str>, is_equality: bool) -> Vec<Key> {
        let uses = self.uses.iter().filter(|used| used.is_equality == is_equality);
        unique(uses.filter(|used| is_alias(&used.column.alias, aliases)).map(|used| key(&used.column)))
    }

    /// What each sort begins with, as far as it is the table's, two columns at most. An index is read both ways.
    fn sorted(&self, aliases: &BTreeSet<&str>) -> Vec<Vec<Key>> {
        let of_table = |sort: &Vec<Column>| -> Vec<Key> {
            let columns = sort.iter().take_while(|column| is_alias(&column.alias, aliases)).take(2);
            let keys: Vec<Key> = columns.map(key).collect();
            match keys.iter().all(|key| key.order == "DESC") {
                true => keys.into_iter().map(Key::ascending).collect(),
                false => keys,
            }
        };
        self.sorts.iter().map(of_table).filter(|sort| !sort.is_empty()).collect()
    }
}

impl Key {
    fn ascending(self) -> Self {
        Self { order: String::new(), ..self }
    }
}

fn key(column: &Column) -> Key {
    Key { column: column.name.clone(), order: column.order.clone() }
}

fn pairs(firsts: &[Key], seconds: &[Key]) -> Vec<Vec<Key>> {
    let others = |first: &Key| {
        let first = first.clone();
        let other = seconds.iter().filter(|second| second.column != first.column).cloned();
        other.map(|second| vec![first.clone(), second]).collect::<Vec<_>>()
    };
    firsts.iter().flat_map(others).collect()
}

fn unique<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.fold(Vec::new(), |mut found, item| {
        if !found.contains(&item) {
            found.push(item);
        }
        found
    })
}

/// A join names a partitioned table by its own alias, where the plan scans partitions under that alias and a number.
fn is_alias(alias: &str, aliases: &BTreeSet<&str>) -> bool {
    let is_numbered = |scanned: &&str| {
        let number = scanned.strip_prefix(alias).and_then(|rest| rest.strip_prefix('_'));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    aliases.contains(alias) || aliases.iter().any(is_numbered)
}

/// The columns that a sort begins with, up to the first thing that is more than a column.
fn sorted(keys: &[Value]) -> Vec<Column> {
    keys.iter().map_while(|key| sort_key(key.as_str()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan(node: Value) -> Plan {
        Plan::read(&json!([{ "Plan": node }])).unwrap()
    }

    fn columns(candidates: Vec<Vec<Key>>) -> Vec<String> {
        let key = |key: Key| format!("{} {}", key.column, key.order).trim().to_owned();
        candidates.into_iter().map(|keys| keys.into_iter().map(key).collect::<Vec<_>>().join(", ")).collect()
    }

    #[test]
    fn candidates_are_equalities_then_a_range_or_a_sort() {
        let plan = plan(json!({
            "Node Type": "Limit", "Total Cost": 12.5, "Plans": [{
                "Node Type": "Sort", "Sort Key": ["t.at DESC", "lower(t.x)"], "Plans": [{
                    "Node Type": "Seq Scan", "Schema": "s", "Relation Name": "t", "Alias": "t",
                    "Filter": "((t.a = $1) AND (t.b = $2) AND (t.n > 5) AND (u.other = 3))"
                }]
            }]
        }));
        assert_eq!(plan.cost, 12.5);
        assert_eq!(
            columns(plan.candidates(&BTreeSet::from(["t"]))),
            ["a", "b", "a, b", "a, n", "b, n", "a, at", "b, at", "n"]
        );
        assert!(plan.candidates(&BTreeSet::from(["v"])).is_empty());
    }

    #[test]
    fn partitions_are_scanned_under_numbered_names() {
        let scan = |alias: &str| {
            json!({
                "Node Type": "Index Scan", "Schema": "s", "Relation Name": alias, "Alias": alias, "Index Name": alias,
                "Filter": format!("({alias}.a = 1)")
            })
        };
        let plan = plan(json!({
            "Node Type": "Hash Join", "Total Cost": 1, "Hash Cond": "(x.k = y.k)", "Plans": [scan("x_1"), scan("x_2")]
        }));
        assert_eq!(columns(plan.candidates(&BTreeSet::from(["x_1", "x_2"]))), ["k", "a", "a, k"]);
        assert_eq!(plan.indexes, BTreeSet::from(["x_1".to_owned(), "x_2".to_owned()]));
    }

    #[test]
    fn what_is_no_plan_is_none() {
        for value in [json!(null), json!([]), json!([{"Plan": {}}]), json!({"Plan": {"Total Cost": 1}})] {
            assert_eq!(Plan::read(&value), None);
        }
    }
}
