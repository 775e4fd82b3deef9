//! Splits a line into words, as a Unix shell would.

/// The words of a line: separated by blanks, unless quoted with `'`, `"` or a backslash. `None` when a quote is open.
pub fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().push(characters.next()?),
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(character);
            }
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together() {
        let split = |line| words(line).expect("closed quotes");
        assert_eq!(split("  put  k v "), ["put", "k", "v"]);
        assert_eq!(split(r#"put "two words" 'and "more"' a\ b"#), ["put", "two words", "and \"more\"", "a b"]);
        assert_eq!(split(r#"put k "" x"y"z"#), ["put", "k", "", "xyz"]);
        assert_eq!(split(r#"put "a\"b" 'a\b'"#), ["put", "a\"b", "a\\b"]);
        assert!(split("").is_empty());
        assert_eq!(words("put 'k"), None);
        assert_eq!(words("put k\\"), None);
    }
}
