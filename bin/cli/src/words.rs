//! A line, split into words as a shell does.

use std::fmt;

/// A word and where it begins in its line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Word {
    pub text: String,
    /// In octets from the start of the line; what a syntax error quotes begins here.
    pub at: usize,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A quote that is not closed, or a backslash at the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("Syntax error: unmatched quote")]
pub struct Unmatched;

/// Splits a line. Quotes keep blanks, a backslash keeps any character, except within single quotes.
///
/// # Errors
///
/// [`Unmatched`] when the line ends within quotes.
pub fn split(line: &str) -> Result<Vec<Word>, Unmatched> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote = None;
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_with(|| Word { text: String::new(), at });
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None | Some('"'), '\\') => word.text.push(chars.next().ok_or(Unmatched)?.1),
            (_, c) => word.text.push(c),
        }
    }
    if quote.is_some() {
        return Err(Unmatched);
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        #[rustfmt::skip]
        let cases: [(&str, Result<&[&str], Unmatched>); 9] = [
            ("",                              Ok(&[])),
            ("  list   router ",              Ok(&["list", "router"])),
            (r#"chain create name "a b""#,    Ok(&["chain", "create", "name", "a b"])),
            ("name 'it is \"so\"'",           Ok(&["name", "it is \"so\""])),
            (r"name Edge\ Router",            Ok(&["name", "Edge Router"])),
            (r#"name """#,                    Ok(&["name", ""])),
            (r"name 'C:\x'",                  Ok(&["name", r"C:\x"])),
            ("name \"open",                   Err(Unmatched)),
            (r"name \",                       Err(Unmatched)),
        ];
        for (line, want) in cases {
            let words = split(line).map(|words| words.into_iter().map(|w| w.text).collect());
            assert_eq!(words, want.map(|w| w.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()));
        }
    }

    #[test]
    fn a_word_knows_where_it_began() {
        let words = split("vtep  \"vtep0\" delete").unwrap();
        assert_eq!(words.iter().map(|word| word.at).collect::<Vec<_>>(), [0, 6, 14]);
    }
}
