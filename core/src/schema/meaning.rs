//! SQL as servers print it, compared by meaning: the same expression has another text after it went through
//! pg_dump, and on another major version.
//!
//! What a server prints is far more regular than what people write, so a tree of brackets is enough; where a
//! difference is not known to mean nothing, the texts stay different.

mod tree;

use tree::Node::{self, Group, Leaf};
use tree::{leaf, parse, print};

/// The same text for expressions, queries and constraints of which it is known that they mean the same:
/// - names are without quotes where those mean nothing: which words are key words depends on the version;
/// - blanks and doubled parentheses do not count;
/// - a cast of an array stands at its elements, without parentheses around a cast that is cast again: `x IN ('a', 'b')`
///   on varchar is printed the one way before pg_dump and the other after;
/// - `(a AND b) AND c` is `a AND b AND c`, as the parser makes it, but for `x NOT IN (a, b, c)`;
/// - a query of one table names its columns without it: up to PostgreSQL 15 views name them with it;
/// - a subquery in an expression does not name its columns: pg_dump makes names of what had none;
/// - no AS before the other name of a table that is changed: newer versions leave it out;
/// - that XML is not indented need not be said.
///
/// What is nested deeper than a stack should be is compared as it stands.
pub fn canonical(sql: &str) -> String {
    let Some(mut nodes) = parse(sql) else { return sql.to_owned() };
    if nodes.last().is_some_and(|node| node.is(";")) {
        nodes.pop();
    }
    without_only_table(&mut nodes);
    let mut text = String::with_capacity(sql.len());
    print(&rewritten(nodes), &mut text);
    text
}

/// What no version prints otherwise: the constants, names and operators of an expression, in no order. Where these
/// differ, so does the meaning; where they are the same and the texts are not, nobody knows.
pub fn essence(sql: &str) -> Vec<String> {
    fn collect(nodes: &[Node], found: &mut Vec<String>) {
        for (place, node) in nodes.iter().enumerate() {
            match node {
                Group(_, inner) => collect(inner, found),
                // What stands before a dot may be left out.
                Leaf(_) if nodes.get(place + 1).is_some_and(|next| next.is(".")) => {}
                Leaf(_) if node.is_one_of(&[".", ",", ";", "AS"]) => {}
                Leaf(text) => found.push(text.to_ascii_lowercase()),
            }
        }
    }
    let mut found = Vec::new();
    collect(&parse(&canonical(sql)).unwrap_or_default(), &mut found);
    found.sort_unstable();
    found
}

fn rewritten(nodes: Vec<Node>) -> Vec<Node> {
    let mut nodes: Vec<Node> = nodes
        .into_iter()
        .map(|node| match node {
            Leaf(_) => node,
            Group(bracket, inner) => match (bracket, <[Node; 1]>::try_from(rewritten(inner))) {
                // `ROLLUP ((a, b))` is not `ROLLUP (a, b)`.
                ('(', Ok([Group('(', inner)])) if !inner.iter().any(|node| node.is(",")) => Group('(', inner),
                (_, Ok(inner)) => Group(bracket, inner.into()),
                (_, Err(inner)) => Group(bracket, inner),
            },
        })
        .collect();
    without_optional_as(&mut nodes);
    without_names_of_subqueries(&mut nodes);
    without_default_indentation(&mut nodes);
    with_casts_at_elements(&mut nodes);
    for (word, other) in [("AND", "OR"), ("OR", "AND")] {
        nodes = without_nested_conditions(nodes, word, other);
    }
    nodes
}

/// `(a AND b) AND c` without the parentheses, and so with OR.
fn without_nested_conditions(nodes: Vec<Node>, word: &str, other: &str) -> Vec<Node> {
    let is_chain = |nodes: &[Node]| {
        nodes.iter().any(|node| node.is(word))
            && !nodes.iter().any(|node| node.is_one_of(&[other, "BETWEEN", "SELECT", ","]))
    };
    if !is_chain(&nodes) {
        return nodes;
    }
    let operands = nodes.split(|node| node.is(word)).map(|operand| match operand {
        [Group('(', inner)] if is_chain(inner) => inner.as_slice(),
        _ => operand,
    });
    operands.collect::<Vec<_>>().join(&leaf(word))
}

/// `UPDATE s.t AS x`, `DELETE FROM s.t AS x` and `MERGE INTO s.t AS x` without AS, which older servers print.
fn without_optional_as(nodes: &mut Vec<Node>) {
    let mut place = 0;
    while place < nodes.len() {
        let is_after = |word: &str| place > 0 && nodes[place - 1].is(word);
        let is_changed = nodes[place].is("UPDATE")
            || (nodes[place].is("FROM") && is_after("DELETE"))
            || (nodes[place].is("INTO") && is_after("MERGE"));
        if is_changed {
            let is_node = |at: usize, text: &str| nodes.get(at).is_some_and(|node| node.is(text));
            let table = place + 1 + usize::from(is_node(place + 1, "ONLY"));
            let after = table + if is_node(table + 1, ".") { 3 } else { 1 };
            if is_node(after, "AS") {
                nodes.remove(after);
            }
        }
        place += 1;
    }
}

const SET_OPERATIONS: [&str; 3] = ["UNION", "INTERSECT", "EXCEPT"];

/// Where a clause of a query begins that comes after its FROM.
const AFTER_FROM: [&str; 12] = [
    "WHERE",
    "GROUP",
    "HAVING",
    "WINDOW",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "FOR",
    "UNION",
    "INTERSECT",
    "EXCEPT",
];

/// `x IN ( SELECT 'a'::text AS text)`: nobody can refer to that name, unlike to those of a query in FROM or WITH.
fn without_names_of_subqueries(nodes: &mut [Node]) {
    for place in 0..nodes.len() {
        let before = place.checked_sub(1).and_then(|before| nodes.get(before));
        let after = nodes.get(place + 1);
        let is_table = before
            .is_some_and(|node| node.is_one_of(&["FROM", "JOIN", "LATERAL", "AS", "MATERIALIZED"]))
            || after.is_some_and(Node::is_name);
        // A part of UNION and the like gives the whole its names.
        let is_part = before.is_some_and(|node| node.is_one_of(&SET_OPERATIONS) || node.is("ALL"))
            || after.is_some_and(|node| node.is_one_of(&SET_OPERATIONS));
        match &mut nodes[place] {
            Group('(', query)
                if !is_table && !is_part && query.first().is_some_and(|node| node.is("SELECT")) =>
            {
                without_names(query);
            }
            _ => {}
        }
    }
}

fn without_names(query: &mut Vec<Node>) {
    let mut kept = Vec::with_capacity(query.len());
    let mut rest = std::mem::take(query).into_iter();
    let mut is_select_list = false;
    while let Some(node) = rest.next() {
        if node.is("SELECT") {
            is_select_list = true;
        } else if node.is("FROM") || node.is_one_of(&AFTER_FROM) {
            is_select_list = false;
        } else if is_select_list && node.is("AS") {
            rest.next();
            continue;
        }
        kept.push(node);
    }
    *query = kept;
}

/// Only newer versions can indent XML, and say so where they do not.
fn without_default_indentation(nodes: &mut [Node]) {
    for place in 1..nodes.len() {
        let is_serialized = nodes[place - 1].is("XMLSERIALIZE");
        match &mut nodes[place] {
            Group('(', inner) if is_serialized && inner.ends_with(&[leaf("NO"), leaf("INDENT")]) => {
                inner.truncate(inner.len() - 2);
            }
            _ => {}
        }
    }
}

/// `(ARRAY[a, b])::type[]` becomes `ARRAY[a::type, b::type]`.
fn with_casts_at_elements(nodes: &mut Vec<Node>) {
    let mut place = 0;
    while place < nodes.len() {
        if let Some((array, length)) = array(&nodes[place..]) {
            nodes.splice(place..place + length, [leaf("ARRAY"), Group('[', array)]);
        }
        place += 1;
    }
}

/// The elements of an array with what they are cast to, and how many nodes that was.
fn array(nodes: &[Node]) -> Option<(Vec<Node>, usize)> {
    let (elements, length) = match nodes {
        [Group('(', array), ..] => (array_elements(array).filter(|_| array.len() == 2)?, 1),
        _ => (array_elements(nodes)?, 2),
    };
    let of_type = array_type(&nodes[length..]);
    let elements: Vec<&[Node]> = elements.split(|node| node.is(",")).collect();
    let is_nested = elements.iter().any(|element| element.first().is_none_or(|first| first.is("ARRAY")));
    // Of an array of arrays, or by a function of somebody's, the cast is not that of the elements.
    let of_type = of_type.filter(|of_type| !of_type.iter().any(|node| node.is(".")) && is_scalar(&elements));
    if length == 1 && (is_nested || of_type.is_none()) {
        // It stands in parentheses for another reason.
        return None;
    }
    let of_type = of_type.filter(|_| !is_nested);
    let cast: Vec<Vec<Node>> = elements.into_iter().map(|element| cast_to(element, of_type)).collect();
    Some((cast.join(&leaf(",")), length + of_type.map_or(0, |of_type| of_type.len() + 2)))
}

/// Whether the elements of an array, which are all of one type, are known to be no arrays: one of them is a number, or
/// a literal of a type of the server's own that is none.
fn is_scalar(elements: &[&[Node]]) -> bool {
    elements.iter().any(|element| match element {
        [Leaf(number)] => number.starts_with(|c: char| c.is_ascii_digit()),
        [Leaf(literal), cast, of_type @ ..] => {
            literal.starts_with('\'')
                && cast.is("::")
                && !of_type.is_empty()
                && of_type.iter().all(is_of_type)
        }
        [Group('(', inner), ..] if inner.iter().any(|node| node.is("COLLATE")) => true,
        _ => false,
    })
}

/// `ARRAY[…]`
fn array_elements(nodes: &[Node]) -> Option<&[Node]> {
    match nodes {
        [word, Group('[', elements), ..] if word.is("ARRAY") => Some(elements),
        _ => None,
    }
}

/// `::type[]`: the type of an element.
fn array_type(nodes: &[Node]) -> Option<&[Node]> {
    let (_, rest) = nodes.split_first().filter(|(cast, _)| cast.is("::"))?;
    let length = rest.iter().take_while(|node| is_of_type(node)).count();
    let is_array = matches!(rest.get(length), Some(Group('[', inner)) if inner.is_empty());
    (is_array && length > 0).then(|| &rest[..length])
}

fn is_of_type(node: &Node) -> bool {
    node.is_name() || node.is(".") || matches!(node, Group('(', _))
}

/// An element with its cast, which stands before its collation.
fn cast_to(element: &[Node], of_type: Option<&[Node]>) -> Vec<Node> {
    if let [Group('(', inner)] = element
        && let Some(collate) = inner.iter().position(|node| node.is("COLLATE"))
    {
        let (operand, collation) = inner.split_at(collate);
        return vec![Group('(', [&cast_to(operand, of_type), collation].concat())];
    }
    let Some(of_type) = of_type else { return without_cast_parentheses(element.to_vec()) };
    without_cast_parentheses([&[Group('(', element.to_vec()), leaf("::")], of_type].concat())
}

/// `(a)::x` is `a::x`, and `(a::x)::y` is `a::x::y`, where nothing stands before it.
fn without_cast_parentheses(expression: Vec<Node>) -> Vec<Node> {
    match expression.as_slice() {
        [Group('(', inner), cast, rest @ ..] if cast.is("::") => {
            let inner = without_cast_parentheses(inner.clone());
            let operand = inner.split(|node| node.is("::")).next().unwrap_or_default();
            let is_cast = inner[operand.len()..].iter().all(|node| node.is("::") || is_of_type(node));
            if !(is_operand(operand) && is_cast) {
                return [vec![Group('(', inner), cast.clone()], rest.to_vec()].concat();
            }
            [inner, vec![cast.clone()], rest.to_vec()].concat()
        }
        _ => expression,
    }
}

/// A literal, a name, or a call of a function.
fn is_operand(nodes: &[Node]) -> bool {
    let (last, names) = match nodes.split_last() {
        Some((last @ Group('(', _), names)) => (Some(last), names),
        _ => (None, nodes),
    };
    let is_literal = |node: &Node| match node {
        Leaf(text) => {
            text.ends_with('\'') || text.starts_with(|c: char| c.is_ascii_digit()) || text == "NULL"
        }
        Group(..) => false,
    };
    match names {
        [] => last.is_some(),
        [literal] if is_literal(literal) => last.is_none(),
        names => names.iter().all(|node| node.is_name() || node.is(".")),
    }
}

/// Of `SELECT t.a FROM s.t`, drops `t.` where it stands before a column.
fn without_only_table(nodes: &mut Vec<Node>) {
    let has_with = nodes.first().is_some_and(|node| node.is("WITH"));
    let Some(select) = nodes.iter().position(|node| node.is("SELECT")) else { return };
    let Some(from) = nodes.iter().position(|node| node.is("FROM")) else { return };
    if (select > 0 && !has_with) || nodes.iter().any(|node| node.is_one_of(&SET_OPERATIONS)) {
        return;
    }
    let is_after = |node: &Node| node.is_one_of(&AFTER_FROM) || node.is("TABLESAMPLE");
    let tables: Vec<&Node> = nodes[from + 1..].iter().take_while(|node| !is_after(node)).collect();
    let end = from + 1 + tables.len();
    if tables.iter().any(|node| node.is_one_of(&[",", "JOIN"])) {
        return;
    }
    let name = tables.into_iter().rev().find_map(|node| match node {
        // Without a name of its own it is called like the function.
        Leaf(name) if name == "XMLTABLE" => Some(leaf("xmltable")),
        Leaf(_) => Some(node.clone()),
        Group(..) => None,
    });
    if let Some(name) = name {
        // What stands in FROM itself are tables and types.
        let mut after = nodes.split_off(end);
        let tables = nodes.split_off(from);
        drop_prefix(nodes, &name);
        drop_prefix(&mut after, &name);
        nodes.extend(tables);
        nodes.extend(after);
    }
}

fn drop_prefix(nodes: &mut Vec<Node>, prefix: &Node) {
    let mut kept = Vec::with_capacity(nodes.len());
    let mut rest = std::mem::take(nodes).into_iter().peekable();
    while let Some(mut node) = rest.next() {
        if let Group('(' | '[', inner) = &mut node {
            let is_query = inner.first().is_some_and(|first| first.is_one_of(&["SELECT", "WITH", "VALUES"]));
            if !is_query {
                drop_prefix(inner, prefix);
            }
        }
        // A part of a longer name, or the schema of a type or collation.
        let is_other = kept
            .last()
            .is_some_and(|before: &Node| before.is_one_of(&[".", "::", "AS", "COLLATE", "RETURNING"]));
        if node == *prefix && !is_other && rest.peek().is_some_and(|next| next.is(".")) {
            let dot = rest.next();
            // `t.*` is the whole row, `t.+` an operator and `t.f(…)` a function of a schema.
            if rest.peek().is_some_and(Node::is_name) {
                let column = rest.next();
                if matches!(rest.peek(), Some(Group('(', _))) {
                    kept.push(node);
                    kept.extend(dot);
                }
                kept.extend(column);
                continue;
            }
            kept.push(node);
            kept.extend(dot);
            continue;
        }
        kept.push(node);
    }
    *nodes = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_of_varchar_values_means_the_same_before_and_after_pg_dump() {
        let before = "CHECK (((status)::text = ANY ((ARRAY['a'::character varying, 'b,c'::character varying])::text[])))";
        let after = "CHECK (((status)::text = ANY (ARRAY[('a'::character varying)::text, ('b,c'::character varying)::text])))";
        assert_eq!(canonical(before), canonical(after));
        assert_ne!(canonical(before), canonical(&after.replace("b,c", "d")));
        assert_ne!(canonical(before), canonical(&after.replace("ANY", "ALL")));
        assert_eq!(canonical(&canonical(before)), canonical(before));
    }

    #[test]
    fn what_means_something_else_stays_something_else() {
        for (one, other) in [
            ("SELECT a FROM t GROUP BY ROLLUP(a, b)", "SELECT a FROM t GROUP BY ROLLUP((a, b))"),
            ("SELECT a FROM t GROUP BY CUBE(a, b)", "SELECT a FROM t GROUP BY CUBE((a, b))"),
            (
                "SELECT x FROM ((SELECT a AS x, b AS y FROM t LIMIT 1) UNION ALL SELECT 3, 4) s",
                "SELECT x FROM ((SELECT a AS y, b AS x FROM t LIMIT 1) UNION ALL SELECT 3, 4) s",
            ),
            ("CHECK (((ARRAY[a, b])::text[] = c))", "CHECK ((ARRAY[(a)::text, (b)::text] = c))"),
            ("((ARRAY[1, 2])::s.ct[])", "(ARRAY[(1)::s.ct, (2)::s.ct])"),
            ("((ARRAY['{1}'::integer[]])::text[])", "(ARRAY[('{1}'::integer[])::text])"),
            (
                "SELECT a FROM public.t ORDER BY a COLLATE \"C\"",
                "SELECT a FROM public.t ORDER BY a COLLATE t.\"C\"",
            ),
            (
                "WITH users AS (SELECT 1) SELECT a FROM users",
                "WITH users AS (SELECT 1) SELECT a FROM users.users",
            ),
            (
                "SELECT a FROM json_to_record('{}') r(a money)",
                "SELECT a FROM json_to_record('{}') r(a r.money)",
            ),
            (
                "SELECT JSON_VALUE(a, '$' RETURNING money) FROM t",
                "SELECT JSON_VALUE(a, '$' RETURNING t.money) FROM t",
            ),
            ("SELECT (a OPERATOR(t.+) b) FROM t", "SELECT (a OPERATOR(+) b) FROM t"),
        ] {
            assert_ne!(canonical(one), canonical(other), "{one}");
        }
    }

    #[test]
    fn a_view_of_one_table_names_its_columns_with_it_or_without() {
        let with = " SELECT t.id,\n    \"position\"(t.a, 'x'::text) AS p\n   FROM s.t\n  WHERE (t.b > 0);";
        let without = " SELECT id,\n    position(a, 'x'::text) AS p\n   FROM s.t\n  WHERE (b > 0)";
        assert_eq!(canonical(with), canonical(without));
        for two in [
            "SELECT t.id FROM s.t JOIN s.u ON true",
            "SELECT t.id FROM s.t, s.u",
            "SELECT t.id FROM s.t UNION SELECT t.id FROM s.t",
        ] {
            assert!(canonical(two).starts_with("SELECT t . id"), "{two}");
        }
        let inner = canonical("SELECT (SELECT t.id FROM x t) FROM s.t");
        assert!(inner.contains("t . id"), "another t: {inner}");
        assert!(canonical("SELECT t.* FROM s.t").contains("t . *"));
        assert!(canonical("SELECT t.f(t.a) FROM s.t").contains("t . f (a)"));
        assert_ne!(canonical("SELECT t.a FROM s.t"), canonical("SELECT t.a FROM s.u t"));
    }

    #[test]
    fn the_only_table_is_found_after_a_with_list_and_before_a_sample() {
        let same = |old, new| assert_eq!(canonical(old), canonical(new));
        same(
            " WITH RECURSIVE t(n) AS (\n         VALUES (1)\n        UNION ALL\n         SELECT (t_1.n + 1)\n           FROM t t_1\n          WHERE (t_1.n < 6)\n        )\n SELECT t.n\n   FROM t;",
            " WITH RECURSIVE t(n) AS (\n         VALUES (1)\n        UNION ALL\n         SELECT (t_1.n + 1)\n           FROM t t_1\n          WHERE (t_1.n < 6)\n        )\n SELECT n\n   FROM t;",
        );
        same(
            " SELECT t.id\n   FROM s.t TABLESAMPLE bernoulli (10) REPEATABLE (7)\n  WHERE (t.n > 1);",
            " SELECT id\n   FROM s.t TABLESAMPLE bernoulli (10) REPEATABLE (7)\n  WHERE (n > 1);",
        );
        same(
            " SELECT f.a,\n    f.o\n   FROM ROWS FROM(generate_series(1, 3), unnest('{a}'::text[])) WITH ORDINALITY f(a, b, o);",
            " SELECT a,\n    o\n   FROM ROWS FROM(generate_series(1, 3), unnest('{a}'::text[])) WITH ORDINALITY f(a, b, o);",
        );
        same(
            "SELECT \"xmltable\".a FROM XMLTABLE(x) WHERE \"xmltable\".a",
            "SELECT a FROM XMLTABLE(x) WHERE a",
        );
        assert_ne!(
            canonical("SELECT 'x'::t.mood AS m FROM s.t"),
            canonical("SELECT 'x'::mood AS m FROM s.t")
        );
        assert!(canonical("WITH t AS (SELECT 1 AS n) SELECT t.n FROM t, s.u").contains("t . n"));
        assert!(canonical("WITH t AS (SELECT u.n FROM s.u) SELECT 1").contains("u . n"));
    }

    #[test]
    fn a_cast_of_an_array_stands_at_its_elements() {
        // As statistics are printed: with as few parentheses as can be.
        let before = "(v::text = ANY (ARRAY['a'::character varying, NULL::character varying]::text[]))";
        let after = "(v::text = ANY (ARRAY['a'::character varying::text, NULL::character varying::text]))";
        assert_eq!(canonical(before), canonical(after));
        let before = "(x = ANY ((ARRAY[(lower(a))::character varying(3), s.b, (c || 'd'::text), '-5'::integer])::text[]))";
        let after = "(x = ANY (ARRAY[((lower(a))::character varying(3))::text, (s.b)::text, ((c || 'd'::text))::text, ('-5'::integer)::text]))";
        assert_eq!(canonical(before), canonical(after));
        for (one, other) in [
            ("ARRAY[(a || b)::text]", "ARRAY[a || b::text]"),
            ("ARRAY[(- 1)::text]", "ARRAY[- 1::text]"),
            ("ARRAY[f(a)::text]", "ARRAY[f a::text]"),
            ("(ARRAY[a])::x[]", "(ARRAY[a])::y[]"),
            ("(ARRAY[a])::x[]", "(ARRAY[a])::x"),
            ("(ARRAY[ARRAY[a]])::x[]", "ARRAY[ARRAY[a]]"),
        ] {
            assert_ne!(canonical(one), canonical(other), "{one}");
        }
    }

    #[test]
    fn a_collation_stands_after_the_cast_of_its_element() {
        let before = "((v)::text = ANY ((ARRAY[('a'::character varying COLLATE \"C\"), 'b'::character varying])::text[]))";
        let after = "((v)::text = ANY (ARRAY[(('a'::character varying)::text COLLATE \"C\"), ('b'::character varying)::text]))";
        assert_eq!(canonical(before), canonical(after));
        assert_ne!(canonical(before), canonical(&after.replace("\"C\"", "\"D\"")));
    }

    #[test]
    fn conditions_in_a_row_need_no_parentheses() {
        // NOT IN with columns in the list.
        let before =
            "CHECK (((((v)::text <> (w)::text) AND ((v)::text <> 'b'::text)) AND ((v)::text <> (d)::text)))";
        let after =
            "CHECK ((((v)::text <> (w)::text) AND ((v)::text <> 'b'::text) AND ((v)::text <> (d)::text)))";
        assert_eq!(canonical(before), canonical(after));
        assert_eq!(canonical(&before.replace("AND", "OR")), canonical(&after.replace("AND", "OR")));
        for (one, other) in [
            ("((a AND b) OR c)", "(a AND b OR c)"),
            ("((a OR b) AND c)", "(a OR b AND c)"),
            ("(NOT (a AND b) AND c)", "(NOT a AND b AND c)"),
            ("(f(a AND b) AND c)", "(f a AND b AND c)"),
        ] {
            assert_ne!(canonical(one), canonical(other));
        }
    }

    #[test]
    fn a_subquery_in_an_expression_does_not_name_its_columns() {
        let before =
            "((n, v) IN ( SELECT 1,\n            'x'::text\n           FROM s.t\n          WHERE (t.n > 1)))";
        let after = "((n, v) IN ( SELECT 1,\n            'x'::text AS text\n           FROM s.t\n          WHERE (t.n > 1)))";
        assert_eq!(canonical(before), canonical(after));
        assert_eq!(
            canonical("SET (a, b) = ( SELECT 'a'::text)"),
            canonical("SET (a, b) = ( SELECT 'a'::text AS text)")
        );
        for named in [
            "SELECT s.x FROM ( SELECT 1 AS x) s",
            "SELECT 1 FROM s.t JOIN ( SELECT 1 AS x) s ON true",
            "SELECT 1 FROM s.t, LATERAL ( SELECT 1 AS x) s",
            "SELECT 1 FROM s.t, ( SELECT 1 AS x) s",
            "WITH s AS MATERIALIZED ( SELECT 1 AS x) SELECT 1",
            "WITH s AS ( SELECT 1 AS x) SELECT 1",
            "SELECT ( SELECT 1) AS x",
        ] {
            assert!(canonical(named).contains("AS x"), "{named}");
        }
    }

    #[test]
    fn a_table_that_is_changed_is_called_otherwise_with_as_or_without() {
        for change in
            ["UPDATE s.t AS x SET a = 1", "DELETE FROM ONLY t AS x", "MERGE INTO s.t AS x USING u ON true"]
        {
            assert_eq!(canonical(change), canonical(&change.replace(" AS", "")));
        }
        let rule =
            "CREATE RULE r AS\n    ON UPDATE TO s.t DO INSTEAD  INSERT INTO s.u AS x (f1)\n  VALUES (0)";
        assert_eq!(canonical(rule).matches(" AS ").count(), 2);
    }

    #[test]
    fn xml_that_is_not_indented_means_the_same_with_and_without_saying_so() {
        let old = " SELECT (XMLSERIALIZE(CONTENT 'good'::xml AS character(10)))::character(10) AS \"xmlserialize\";";
        let new = old.replace("(10)))", "(10) NO INDENT))");
        assert_eq!(canonical(old), canonical(&new));
        assert_ne!(canonical(old), canonical(&new.replace("NO ", "")));
    }

    #[test]
    fn quotes_that_mean_something_stay() {
        assert_ne!(canonical("\"A\""), canonical("A"));
        assert_ne!(canonical("\"true\""), canonical("true"));
        assert_ne!(canonical("'a b'"), canonical("'a  b'"));
        assert_ne!(canonical("'it''s'"), canonical("'it' 's'"));
        assert_eq!(canonical("\"scalar\""), canonical("scalar"));
        assert_ne!(canonical("E'a\\'b'"), canonical("E'a' b"));
    }

    #[test]
    fn nothing_is_lost_of_what_is_no_sql() {
        for odd in ["((a", "a))", "'open", "\"open", "[", "a ) b", "E'x\\", "ä ß"] {
            assert!(!canonical(odd).is_empty(), "{odd}");
        }
        assert_ne!(canonical("(a"), canonical("a"));
        let deep = "(".repeat(1_000_000);
        assert_eq!(canonical(&deep), deep);
    }

    #[test]
    fn the_essence_is_the_same_where_only_the_way_of_printing_may_differ() {
        let same = |a, b| essence(a) == essence(b);
        assert!(same("SUBSTRING(a FROM 1)", "\"substring\"(t.a from 1)"));
        for other in ["a > 1", "b > 0", "a < 0", "a > '0'"] {
            assert!(!same("a > 0", other), "{other}");
        }
        assert!(same("a - b", "b - a"), "so this is unknown, not changed");
    }
}
