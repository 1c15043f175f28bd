//! What CREATE INDEX would call an index that is given no name.

/// The longest name PostgreSQL keeps, in bytes.
const MAX_BYTES: usize = 63;

/// `table_column_column_idx`, cut as the server does it (`makeObjectName` in src/backend/commands/indexcmds.c), and the
/// names with a number behind it that are tried where that is taken.
pub fn index_names(table: &str, columns: &[String]) -> impl Iterator<Item = String> {
    let columns = columns.join("_");
    let labels = std::iter::once("idx".to_owned()).chain((1_u64..).map(|number| format!("idx{number}")));
    labels.map(move |label| shortened(table, &columns, &label))
}

/// Cuts the longer of the two names until all fits.
fn shortened(table: &str, columns: &str, label: &str) -> String {
    let room = MAX_BYTES.saturating_sub(label.len() + 2);
    let (mut first, mut second) = (table.len(), columns.len());
    while first + second > room {
        if first > second { first -= 1 } else { second -= 1 }
    }
    format!("{}_{}_{label}", clipped(table, first), clipped(columns, second))
}

/// The first bytes of a text, without a part of a letter at the end.
fn clipped(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::index_names;

    fn name(table: &str, columns: &[&str], place: usize) -> Option<String> {
        let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
        index_names(table, &columns).nth(place)
    }

    #[test]
    fn names_are_the_servers() {
        assert_eq!(name("t", &["a", "b"], 0).unwrap(), "t_a_b_idx");
        assert_eq!(name("t", &["a"], 2).unwrap(), "t_a_idx2");
        let long = name(&"t".repeat(63), &[&"c".repeat(63)], 0).unwrap();
        assert_eq!(long, format!("{}_{}_idx", "t".repeat(29), "c".repeat(29)));
        assert_eq!(name(&"é".repeat(31), &["column"], 0).unwrap(), format!("{}_column_idx", "é".repeat(26)));
    }
}
