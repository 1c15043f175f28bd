//! SQL text as a tree of brackets, and back.

use std::iter::Peekable;
use std::str::Chars;

use crate::schema::fact::is_plain;

#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A name, key word, literal, number or operator.
    Leaf(String),
    /// What stands between brackets.
    Group(char, Vec<Node>),
}

use Node::{Group, Leaf};

impl Node {
    pub fn is(&self, text: &str) -> bool {
        matches!(self, Leaf(leaf) if leaf == text)
    }

    pub fn is_one_of(&self, texts: &[&str]) -> bool {
        matches!(self, Leaf(leaf) if texts.contains(&leaf.as_str()))
    }

    /// A name or a type. Servers print key words in capitals.
    pub fn is_name(&self) -> bool {
        matches!(self, Leaf(leaf) if leaf.starts_with(|c: char| c.is_lowercase() || c == '_' || c == '"'))
    }
}

pub fn leaf(text: &str) -> Node {
    Leaf(text.to_owned())
}

const MAX_DEPTH: usize = 1000;

/// None where it is nested deeper than a stack should be.
pub fn parse(sql: &str) -> Option<Vec<Node>> {
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

pub fn print(nodes: &[Node], text: &mut String) {
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
