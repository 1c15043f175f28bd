//! The pattern that texts have in common.

use std::collections::{BTreeMap, HashMap};

/// Longer texts are no codes.
const MAX_CHARS: usize = 64;
const MAX_TOKENS: usize = 16;
/// And neither are sentences.
const MAX_BLANKS: usize = 2;
/// A pattern of more alternatives says little.
const MAX_SHAPES: usize = 3;

/// A piece of a text: a run of letters or digits, or one other character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Digits,
    Upper,
    Lower,
    /// Letters and digits in any order.
    Word,
    Other(char),
}

/// How finely texts are taken apart.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Grain {
    /// Digits, capitals and small letters apart.
    Fine,
    /// Words of letters and digits, such as hexadecimal numbers.
    Coarse,
}

/// An anchored regular expression (POSIX, as PostgreSQL has them) for at least `min_share` of the rows: texts of the
/// same shape become one alternative, of which there are at most three. `values` are texts with the rows they stand for.
/// None if the texts have nothing of the kind in common: free text, words, numbers of any length.
pub fn pattern(values: &[(String, f64)], min_share: f64) -> Option<String> {
    [Grain::Fine, Grain::Coarse].into_iter().find_map(|grain| pattern_of(values, min_share, grain))
}

fn pattern_of(values: &[(String, f64)], min_share: f64, grain: Grain) -> Option<String> {
    let mut shapes: HashMap<Vec<Kind>, Shape> = HashMap::new();
    for (value, rows) in values {
        if let Some(pieces) = pieces(value, grain) {
            let kinds = pieces.iter().map(|(kind, _)| *kind).collect();
            shapes.entry(kinds).or_default().add(&pieces, *rows);
        }
    }
    let total: f64 = values.iter().map(|(_, rows)| rows).sum();
    let mut shapes: Vec<(Vec<Kind>, Shape)> = shapes.into_iter().collect();
    shapes.sort_by(|(kinds, one), (others, other)| other.rows.total_cmp(&one.rows).then(kinds.cmp(others)));
    shapes.retain(|(_, shape)| shape.rows >= total / 100.0);
    shapes.truncate(MAX_SHAPES);
    let covered: f64 = shapes.iter().map(|(_, shape)| shape.rows).sum();
    // Several shapes that still do not fit all are some of many.
    let min_share = if shapes.len() > 1 { min_share.max(0.99) } else { min_share };
    let tells = shapes.iter().all(|(kinds, shape)| shape.tells_something(kinds, grain));
    if shapes.is_empty() || covered < min_share * total || !tells {
        return None;
    }
    let alternatives: Vec<String> = shapes.iter().map(|(_, shape)| shape.regex()).collect();
    Some(match alternatives.as_slice() {
        [one] => format!("^{one}$"),
        several => format!("^({})$", several.join("|")),
    })
}

/// None for what is no code: too long, empty, with letters that are not ASCII or with control characters.
fn pieces(value: &str, grain: Grain) -> Option<Vec<(Kind, String)>> {
    let mut pieces: Vec<(Kind, String)> = Vec::new();
    for character in value.chars() {
        let kind = match character {
            _ if !character.is_ascii() && (character.is_alphanumeric() || character.is_control()) => {
                return None;
            }
            _ if character.is_ascii_control() => return None,
            _ if character.is_ascii_alphanumeric() && grain == Grain::Coarse => Kind::Word,
            '0'..='9' => Kind::Digits,
            'A'..='Z' => Kind::Upper,
            'a'..='z' => Kind::Lower,
            other => Kind::Other(other),
        };
        match pieces.last_mut() {
            Some((last, text)) if *last == kind && !matches!(kind, Kind::Other(_)) => text.push(character),
            _ => pieces.push((kind, character.to_string())),
        }
    }
    let blanks = value.matches(' ').count();
    let fits = value.chars().count() <= MAX_CHARS
        && (1..=MAX_TOKENS).contains(&pieces.len())
        && blanks <= MAX_BLANKS;
    fits.then_some(pieces)
}

/// Texts of the same kinds of pieces.
#[derive(Debug, Default)]
struct Shape {
    rows: f64,
    runs: Vec<Run>,
}

impl Shape {
    fn add(&mut self, pieces: &[(Kind, String)], rows: f64) {
        self.rows += rows;
        self.runs.resize_with(pieces.len(), Run::default);
        for (run, (kind, text)) in self.runs.iter_mut().zip(pieces) {
            run.add(*kind, text, rows);
        }
    }

    /// Whether a text could easily not have the shape. Words of small letters, sentences and numbers of any length say
    /// nothing, and neither does a word of letters and digits unless it has one length.
    fn tells_something(&self, kinds: &[Kind], grain: Grain) -> bool {
        let has_digits = self.runs.iter().any(|run| run.has_digits);
        if kinds.contains(&Kind::Other(' ')) && !has_digits {
            return false;
        }
        let of_one_length = self.runs.iter().all(|run| run.shortest == run.longest);
        let length: usize = self.runs.iter().map(|run| run.longest).sum();
        match grain {
            Grain::Fine => kinds.len() > 1 || (of_one_length && length > 1),
            Grain::Coarse => has_digits && (kinds.len() > 1 || (of_one_length && length > 3)),
        }
    }

    fn regex(&self) -> String {
        self.runs.iter().map(|run| run.regex(self.rows)).collect()
    }
}

/// One piece of all texts of a shape.
#[derive(Debug, Default)]
struct Run {
    shortest: usize,
    longest: usize,
    has_digits: bool,
    has_upper: bool,
    has_lower: bool,
    /// Whether all letters are a to f.
    is_hexadecimal: bool,
    is_other: bool,
    texts: BTreeMap<String, f64>,
}

impl Run {
    fn add(&mut self, kind: Kind, text: &str, rows: f64) {
        let length = text.chars().count();
        let first = self.longest == 0;
        self.shortest = if first { length } else { self.shortest.min(length) };
        self.longest = self.longest.max(length);
        self.is_other = matches!(kind, Kind::Other(_));
        self.has_digits |= text.bytes().any(|byte| byte.is_ascii_digit());
        self.has_upper |= text.bytes().any(|byte| byte.is_ascii_uppercase());
        self.has_lower |= text.bytes().any(|byte| byte.is_ascii_lowercase());
        self.is_hexadecimal =
            (first || self.is_hexadecimal) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        *self.texts.entry(text.to_owned()).or_default() += rows;
    }

    fn regex(&self, rows: f64) -> String {
        if let Some(text) = self.constant(rows) {
            return text.chars().map(escaped).collect();
        }
        let count = match (self.shortest, self.longest) {
            (1, 1) => String::new(),
            (shortest, longest) if shortest == longest => format!("{{{shortest}}}"),
            (shortest, longest) => format!("{{{shortest},{longest}}}"),
        };
        format!("[{}]{count}", self.class())
    }

    fn class(&self) -> String {
        let (upper, lower) = match self.is_hexadecimal && self.has_digits {
            true => ("A-F", "a-f"),
            false => ("A-Z", "a-z"),
        };
        let parts = [(self.has_digits, "0-9"), (self.has_upper, upper), (self.has_lower, lower)];
        parts.iter().filter(|(has, _)| *has).map(|(_, part)| *part).collect()
    }

    /// The one text that stands here, but for one row in a hundred. Digits are never taken for it: this year's number
    /// will change.
    fn constant(&self, rows: f64) -> Option<&str> {
        let (text, seen) = self.texts.iter().max_by(|(_, one), (_, other)| one.total_cmp(other))?;
        let is_constant =
            self.is_other || (*seen >= 0.99 * rows && !text.bytes().any(|byte| byte.is_ascii_digit()));
        is_constant.then_some(text.as_str())
    }
}

fn escaped(character: char) -> String {
    match character {
        '\\' | '.' | '^' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' => {
            format!("\\{character}")
        }
        _ => character.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Option<String> {
        pattern(&texts.iter().map(|text| ((*text).to_owned(), 1.0)).collect::<Vec<_>>(), 0.95)
    }

    fn many(make: impl Fn(u32) -> String) -> Option<String> {
        pattern(&(0..1000).map(|number| (make(number), 1.0)).collect::<Vec<_>>(), 0.95)
    }

    #[test]
    fn codes_become_classes_and_constant_letters_stay() {
        assert_eq!(many(|n| format!("INV-{n:05}")).unwrap(), "^INV-[0-9]{5}$");
        assert_eq!(many(|n| format!("user{n}")).unwrap(), "^user[0-9]{1,3}$");
        assert_eq!(of(&["AB-12", "CD-345", "XYZ-1"]).unwrap(), "^[A-Z]{2,3}-[0-9]{1,3}$");
        assert_eq!(of(&["$1.50", "$2.75"]).unwrap(), "^\\$[0-9]\\.[0-9]{2}$");
        assert_eq!(of(&["DE", "FR", "US"]).unwrap(), "^[A-Z]{2}$");
        assert_eq!(many(|n| format!("{:05}", n + 1)).unwrap(), "^[0-9]{5}$");
    }

    #[test]
    fn a_few_shapes_are_alternatives_and_a_rare_one_is_left_out() {
        let found = many(|n| match n {
            0..5 => "?".repeat(n as usize + 1),
            _ if n % 2 == 0 => format!("A{n:04}"),
            _ => format!("B-{n:04}"),
        });
        assert_eq!(found.unwrap(), "^(B-[0-9]{4}|A[0-9]{4})$");
    }

    #[test]
    fn mixed_letters_and_digits_are_words() {
        let hash = |n: u32| {
            format!("{:08x}{:08x}", n.wrapping_mul(2_654_435_761), n.wrapping_mul(40_503) ^ 0xdead_beef)
        };
        assert_eq!(many(hash).unwrap(), "^[0-9a-f]{16}$");
        let id = |n: u32| format!("{:07x}-{:04x}", n.wrapping_mul(2_654_435_761) >> 4, (n * 77) & 0xffff);
        assert_eq!(many(id).unwrap(), "^[0-9a-f]{7}-[0-9a-f]{4}$");
    }

    #[test]
    fn free_text_names_and_numbers_have_no_pattern() {
        assert_eq!(many(|n| n.to_string()), None);
        assert_eq!(of(&["Anna Berg", "Otto Lang", "Emil Wolf"]), None);
        assert_eq!(many(|n| format!("a sentence of words {n}")), None);
        assert_eq!(of(&["anna", "bertram", "c"]), None);
        assert_eq!(of(&["Müller-1", "Weiß-2"]), None);
        assert_eq!(of(&["", ""]), None);
        assert_eq!(of(&["a\tb", "c\td"]), None);
        assert_eq!(of(&[]), None);
        let long = "x".repeat(65);
        assert_eq!(of(&[&long, &long]), None);
    }

    #[test]
    fn a_constant_with_a_misspelling_stays_constant() {
        let values: Vec<(String, f64)> = (0..1000)
            .map(|n| (if n < 3 { format!("inv-{n:05}") } else { format!("INV-{n:05}") }, 1.0))
            .collect();
        assert_eq!(pattern(&values, 0.95).unwrap(), "^INV-[0-9]{5}$");
        let values: Vec<(String, f64)> = (0..1000)
            .map(|n| (if n < 3 { format!("IMV-{n:05}") } else { format!("INV-{n:05}") }, 1.0))
            .collect();
        assert_eq!(pattern(&values, 0.95).unwrap(), "^INV-[0-9]{5}$");
    }
}
