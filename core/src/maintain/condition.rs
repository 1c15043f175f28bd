//! The conditions of a plan, as EXPLAIN (VERBOSE) prints them.

use std::iter::Peekable;
use std::str::Chars;

/// A column under the name that the plan has for its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub alias: String,
    pub name: String,
    /// `DESC`, `NULLS FIRST` and so on.
    pub order: String,
}

/// A column that a condition compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    pub column: Column,
    pub is_equality: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    /// A key word: the server prints them in capitals, and quotes a name in capitals.
    Word(String),
    Operator(String),
    Open,
    Close,
    Dot,
    Cast,
    /// Constants, parameters, brackets, commas.
    Other,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let token = match letter {
            '(' => Token::Open,
            ')' => Token::Close,
            '.' => Token::Dot,
            '"' | '\'' => {
                let text = quoted(letter, &mut letters);
                if letter == '"' { Token::Name(text) } else { Token::Other }
            }
            ':' if letters.next_if_eq(&':').is_some() => Token::Cast,
            _ if is_operator(letter) => Token::Operator(word(letter, &mut letters, is_operator)),
            _ if letter.is_alphabetic() || letter == '_' => {
                let word = word(letter, &mut letters, |c| c.is_alphanumeric() || c == '_' || c == '$');
                let is_word = word.chars().all(|c| c.is_ascii_uppercase());
                if is_word { Token::Word(word) } else { Token::Name(word) }
            }
            _ if letter.is_numeric() || letter == '$' => {
                word(letter, &mut letters, |c| c.is_alphanumeric() || c == '.');
                Token::Other
            }
            _ if letter.is_whitespace() => continue,
            _ => Token::Other,
        };
        tokens.push(token);
    }
    tokens
}

/// What begins with `first` and goes on as long as letters belong to it.
fn word(first: char, letters: &mut Peekable<Chars>, belongs: fn(char) -> bool) -> String {
    let mut word = String::from(first);
    while let Some(next) = letters.next_if(|next| belongs(*next)) {
        word.push(next);
    }
    word
}

fn is_operator(letter: char) -> bool {
    "+-*/<>=~!@#%^&|`?".contains(letter)
}

/// The rest of a quoted text; a doubled quote stands for one.
fn quoted(quote: char, letters: &mut Peekable<Chars>) -> String {
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        if letter != quote {
            text.push(letter);
        } else if letters.next_if_eq(&quote).is_some() {
            text.push(quote);
        } else {
            break;
        }
    }
    text
}

/// The columns that a condition compares as a B-tree can: alone on one side of a comparison.
pub fn uses(condition: &str) -> Vec<Use> {
    let tokens = tokens(condition);
    (0..tokens.len()).filter_map(|place| use_at(&tokens, place)).collect()
}

fn use_at(tokens: &[Token], place: usize) -> Option<Use> {
    let column = column_at(tokens, place)?;
    // Outwards through parentheses and casts, unless the parenthesis is a function's.
    let (mut before, mut after) = (place, place + 3);
    loop {
        match tokens.get(after) {
            Some(Token::Close) if before > 0 && tokens.get(before - 1) == Some(&Token::Open) => {
                if before > 1 && matches!(tokens.get(before - 2), Some(Token::Name(_))) {
                    return None;
                }
                (before, after) = (before - 1, after + 1);
            }
            Some(Token::Cast) => after = after_type(tokens, after + 1),
            _ => break,
        }
    }
    let is_equality = match tokens.get(after) {
        Some(Token::Operator(operator)) => comparison(operator)?,
        Some(Token::Word(word)) if word == "IS" => {
            (tokens.get(after + 1) == Some(&Token::Word("NULL".into()))).then_some(true)?
        }
        _ => match tokens.get(before.checked_sub(1)?) {
            Some(Token::Operator(operator)) => comparison(operator)?,
            _ => return None,
        },
    };
    Some(Use { column, is_equality })
}

fn comparison(operator: &str) -> Option<bool> {
    match operator {
        "=" => Some(true),
        "<" | "<=" | ">" | ">=" => Some(false),
        _ => None,
    }
}

/// `alias.column`, and neither a function nor a type.
fn column_at(tokens: &[Token], place: usize) -> Option<Column> {
    let [Token::Name(alias), Token::Dot, Token::Name(name)] = tokens.get(place..place + 3)? else {
        return None;
    };
    let before = place.checked_sub(1).and_then(|before| tokens.get(before));
    if matches!(before, Some(Token::Dot | Token::Cast)) || tokens.get(place + 3) == Some(&Token::Open) {
        return None;
    }
    Some(Column { alias: alias.clone(), name: name.clone(), order: String::new() })
}

/// The place after a type's name, with its length and its array brackets.
fn after_type(tokens: &[Token], mut place: usize) -> usize {
    while matches!(tokens.get(place), Some(Token::Name(_) | Token::Dot)) {
        place += 1;
    }
    if tokens.get(place) == Some(&Token::Open) {
        place += tokens.iter().skip(place).take_while(|token| **token != Token::Close).count() + 1;
    }
    while tokens.get(place) == Some(&Token::Other) {
        place += 1;
    }
    place
}

/// `alias.column` and how it is sorted; None for anything else that a plan may sort by.
pub fn sort_key(key: &str) -> Option<Column> {
    let tokens = tokens(key);
    let column = column_at(&tokens, 0)?;
    let words = tokens[3..].iter().map(|token| match token {
        Token::Word(word) if ["ASC", "DESC", "NULLS", "FIRST", "LAST"].contains(&word.as_str()) => {
            Some(word.as_str())
        }
        _ => None,
    });
    let order = words.collect::<Option<Vec<_>>>()?.join(" ");
    Some(Column { order, ..column })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(condition: &str) -> Vec<(String, bool)> {
        uses(condition)
            .into_iter()
            .map(|used| (format!("{}.{}", used.column.alias, used.column.name), used.is_equality))
            .collect()
    }

    #[test]
    fn columns_of_comparisons_are_found() {
        let cases: &[(&str, &[(&str, bool)])] = &[
            ("(t.a = $1)", &[("t.a", true)]),
            ("((t.a = $1) AND (t.b >= $2) AND ($3 > t.c))", &[("t.a", true), ("t.b", false), ("t.c", false)]),
            ("((t.name)::text = $1)", &[("t.name", true)]),
            ("((t.name)::character varying(10) = 'it''s (x.y = 1)'::text)", &[("t.name", true)]),
            ("(\"T x\".\"A \"\"b\" = ANY ('{1,2}'::integer[]))", &[("T x.A \"b", true)]),
            ("(o.customer = c.id)", &[("o.customer", true), ("c.id", true)]),
            ("((t.a IS NULL) OR (t.b IS NOT NULL))", &[("t.a", true)]),
            ("(lower(t.a) = $1)", &[]),
            ("(s.f(t.a) = $1)", &[]),
            ("((t.a + 1) = $1)", &[]),
            ("($1 = (t.a + 1))", &[]),
            ("(t.a ~~ $1)", &[]),
            ("(t.a <> $1)", &[]),
            ("(t.a = ($1)::public.kind)", &[("t.a", true)]),
            ("(t.a", &[]),
            ("", &[]),
        ];
        for (condition, expected) in cases {
            let expected: Vec<_> =
                expected.iter().map(|(column, equality)| ((*column).to_owned(), *equality)).collect();
            assert_eq!(found(condition), expected, "{condition}");
        }
    }
}
