//! SQL as servers print it, compared by meaning: the same expression has another text after it went through
//! pg_dump, and on another major version.
//!
//! What a server prints is far more regular than what people write, so a tree of brackets is enough; where a
//! difference is not known to mean nothing, the texts stay different.

use std::iter::Peekable;
use std::str::Chars;

use super::fact::is_plain;

#[derive(Debug, Clone, PartialEq)]
enum Node {
    /// A name, key word, literal, number or operator.
    Leaf(String),
    /// What stands between brackets.
    Group(char, Vec<Node>),
}

use Node::{Group, Leaf};

/// The same text for expressions, queries and constraints of which it is known that they mean the same:
/// - names are without quotes where those mean nothing: which words are key words depends on the version;
/// - blanks and doubled parentheses do not count;
/// - a cast of an array stands at its elements: `x IN ('a', 'b')` on varchar is printed the one way before pg_dump
///   and the other after;
/// - a query of one table names its columns without it: up to PostgreSQL 15 views name them with it.
///
/// What is nested deeper than a stack should be is compared as it stands.
pub fn canonical(sql: &str) -> String {
    let Some(mut nodes) = parse(sql) else { return sql.to_owned() };
    if nodes.last() == Some(&leaf(";")) {
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
                Leaf(_) if nodes.get(place + 1) == Some(&leaf(".")) => {}
                Leaf(text) if [".", ",", ";"].contains(&text.as_str()) => {}
                Leaf(text) => found.push(text.to_ascii_lowercase()),
            }
        }
    }
    let mut found = Vec::new();
    collect(&parse(&canonical(sql)).unwrap_or_default(), &mut found);
    found.sort_unstable();
    found
}

fn leaf(text: &str) -> Node {
    Leaf(text.to_owned())
}

const MAX_DEPTH: usize = 1000;

fn parse(sql: &str) -> Option<Vec<Node>> {
    let mut open: Vec<(char, Vec<Node>)> = vec![(' ', Vec::new())];
    let mut letters = sql.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '(' | '[' if open.len() > MAX_DEPTH => return None,
            '(' | '[' => open.push((letter, Vec::new())),
            ')' | ']' if open.len() > 1 => {
                if let Some((bracket, inner)) = open.pop() {
                    push(&mut open, Group(bracket, inner));
                }
            }
            _ if letter.is_whitespace() => {}
            _ => {
                let token = token(letter, &mut letters);
                push(&mut open, Leaf(token));
            }
        }
    }
    // Brackets that are never closed: not SQL, but nothing of it may be lost.
    while open.len() > 1 {
        if let Some((bracket, inner)) = open.pop() {
            push(&mut open, leaf(&bracket.to_string()));
            inner.into_iter().for_each(|node| push(&mut open, node));
        }
    }
    open.pop().map(|(_, nodes)| nodes)
}

fn push(open: &mut [(char, Vec<Node>)], node: Node) {
    if let Some((_, nodes)) = open.last_mut() {
        nodes.push(node);
    }
}

fn token(first: char, letters: &mut Peekable<Chars>) -> String {
    match first {
        '\'' => format!("'{}'", quoted('\'', letters)),
        '"' => {
            let name = quoted('"', letters);
            let stays = !is_plain(&name.replace("\"\"", "\"")) || ["true", "false"].contains(&name.as_str());
            if stays { format!("\"{name}\"") } else { name }
        }
        // E'…', B'…' and X'…'
        'E' | 'B' | 'X' if letters.next_if_eq(&'\'').is_some() => {
            format!("{first}'{}'", quoted(if first == 'E' { '\\' } else { '\'' }, letters))
        }
        '.' | ',' | ';' => first.to_string(),
        _ if is_word(first) => run(first, letters, |c| is_word(c) || c == '$'),
        _ => run(first, letters, |c| !is_word(c) && !c.is_whitespace() && !"()[]'\".,;".contains(c)),
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn run(first: char, letters: &mut Peekable<Chars>, goes_on: impl Fn(char) -> bool) -> String {
    let mut text = String::from(first);
    while let Some(letter) = letters.next_if(|letter| goes_on(*letter)) {
        text.push(letter);
    }
    text
}

/// Up to the closing quote, doubled quotes as they stand. `\` stands for a literal with escapes.
fn quoted(kind: char, letters: &mut Peekable<Chars>) -> String {
    let quote = if kind == '\\' { '\'' } else { kind };
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        if letter == quote && letters.next_if_eq(&quote).is_none() {
            break;
        }
        text.push(letter);
        if letter == quote {
            text.push(letter);
        } else if letter == '\\' && kind == '\\' {
            text.extend(letters.next());
        }
    }
    text
}

fn print(nodes: &[Node], text: &mut String) {
    for node in nodes {
        if !text.is_empty() && !text.ends_with(['(', '[']) {
            text.push(' ');
        }
        match node {
            Leaf(token) => text.push_str(token),
            Group(bracket, inner) => {
                text.push(*bracket);
                print(inner, text);
                text.push(if *bracket == '(' { ')' } else { ']' });
            }
        }
    }
}

fn rewritten(nodes: Vec<Node>) -> Vec<Node> {
    let mut nodes: Vec<Node> = nodes
        .into_iter()
        .map(|node| match node {
            Leaf(_) => node,
            Group(bracket, inner) => match (bracket, <[Node; 1]>::try_from(rewritten(inner))) {
                ('(', Ok([Group('(', inner)])) => Group('(', inner),
                (_, Ok(inner)) => Group(bracket, inner.into()),
                (_, Err(inner)) => Group(bracket, inner),
            },
        })
        .collect();
    let mut place = 0;
    while place < nodes.len() {
        if let Some((elements, of_type, length)) = array_cast(&nodes[place..]) {
            let mut cast: Vec<Node> = elements.into_iter().flat_map(|e| cast_element(e, &of_type)).collect();
            cast.pop();
            nodes.splice(place..place + length, [leaf("ARRAY"), Group('[', cast)]);
        }
        place += 1;
    }
    nodes
}

/// `(ARRAY[…])::type[]`: the elements, the type of one, and how many nodes that is.
fn array_cast(nodes: &[Node]) -> Option<(Vec<Vec<Node>>, Vec<Node>, usize)> {
    let [Group('(', array), Leaf(cast), rest @ ..] = nodes else { return None };
    let [Leaf(word), Group('[', elements)] = array.as_slice() else { return None };
    if cast != "::" || word != "ARRAY" || elements.is_empty() {
        return None;
    }
    let length = rest.iter().position(|node| matches!(node, Group('[', inner) if inner.is_empty()))?;
    let is_type = |node: &Node| match node {
        Leaf(word) => word == "." || word.starts_with(|c: char| c.is_ascii_lowercase() || "_\"".contains(c)),
        Group(bracket, _) => *bracket == '(',
    };
    let elements: Vec<Vec<Node>> = elements.split(|node| *node == leaf(",")).map(<[Node]>::to_vec).collect();
    let is_nested = elements.iter().any(|element| element.first() == Some(&leaf("ARRAY")));
    (rest[..length].iter().all(is_type) && !is_nested && length > 0)
        .then(|| (elements, rest[..length].to_vec(), length + 3))
}

/// An element with its cast, and a comma after it.
fn cast_element(element: Vec<Node>, of_type: &[Node]) -> Vec<Node> {
    let mut cast = vec![Group('(', element), leaf("::")];
    cast.extend(of_type.iter().cloned());
    cast.push(leaf(","));
    cast
}

/// Of `SELECT t.a FROM s.t`, drops `t.` where it stands before a column.
fn without_only_table(nodes: &mut Vec<Node>) {
    if nodes.first() != Some(&leaf("SELECT")) {
        return;
    }
    let is_word = |node: &Node, words: &[&str]| matches!(node, Leaf(word) if words.contains(&word.as_str()));
    let mut places = nodes.iter().enumerate().filter(|(_, node)| is_word(node, &["FROM"]));
    let (Some((from, _)), None) = (places.next(), places.next()) else { return };
    const AFTER: [&str; 12] = [
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
    let tables = nodes[from + 1..].iter().take_while(|node| !is_word(node, &AFTER)).collect::<Vec<_>>();
    if nodes.iter().any(|node| is_word(node, &["UNION", "INTERSECT", "EXCEPT"]))
        || tables.iter().any(|node| is_word(node, &[",", "JOIN"]))
    {
        return;
    }
    let name = tables.iter().rev().find(|node| matches!(node, Leaf(_))).copied().cloned();
    if let Some(name) = name {
        drop_prefix(nodes, &name);
    }
}

fn drop_prefix(nodes: &mut Vec<Node>, prefix: &Node) {
    let mut kept = Vec::with_capacity(nodes.len());
    let mut rest = std::mem::take(nodes).into_iter().peekable();
    while let Some(mut node) = rest.next() {
        if let Group('(' | '[', inner) = &mut node {
            let is_query = matches!(inner.first(), Some(Leaf(word)) if ["SELECT", "WITH", "VALUES"].contains(&word.as_str()));
            if !is_query {
                drop_prefix(inner, prefix);
            }
        }
        let is_qualified = kept.last() == Some(&leaf("."));
        if node == *prefix && !is_qualified && rest.peek() == Some(&leaf(".")) {
            let dot = rest.next();
            // `t.*` is the whole row, and `t.f(…)` a function of a schema.
            if rest.peek().is_some_and(|after| matches!(after, Leaf(word) if word != "*")) {
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
