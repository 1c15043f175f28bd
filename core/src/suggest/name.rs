//! What the name of a column says about its values.

/// The words of a name, in lower case: `orderId` and `order_id` are both order, id.
pub fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in name.chars() {
        let begins = letter.is_uppercase() && before.is_lowercase();
        if !letter.is_alphanumeric() || begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a column of this name is expected to tell rows apart.
pub fn is_key(name: &str) -> bool {
    const KEYS: [&str; 16] = [
        "id",
        "uuid",
        "guid",
        "key",
        "code",
        "number",
        "no",
        "nr",
        "sku",
        "isbn",
        "email",
        "slug",
        "serial",
        "token",
        "username",
        "reference",
    ];
    words(name).last().is_some_and(|last| KEYS.contains(&last.as_str()))
}

/// Whether times of this name may well lie ahead.
pub fn looks_ahead(name: &str) -> bool {
    const AHEAD: [&str; 20] = [
        "due",
        "expire",
        "expires",
        "expiry",
        "expiration",
        "valid",
        "until",
        "end",
        "ends",
        "to",
        "deadline",
        "scheduled",
        "planned",
        "next",
        "target",
        "eta",
        "departure",
        "arrival",
        "starts",
        "appointment",
    ];
    words(name).iter().any(|word| AHEAD.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_word_by_word() {
        assert_eq!(words("orderId"), ["order", "id"]);
        assert_eq!(words("Order ID"), ["order", "id"]);
        assert_eq!(words("_größe__max"), ["größe", "max"]);
        assert!(words("\"-\"").is_empty());
        assert!(is_key("customerId") && is_key("SKU") && !is_key("paid") && !is_key(""));
        assert!(looks_ahead("valid_until") && !looks_ahead("created_at") && !looks_ahead("weekend"));
    }
}
