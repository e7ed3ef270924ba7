//! Licence expressions (SPDX 2.3 annex D), as far as manifests use them.

/// Whether an expression such as `MIT OR (Apache-2.0 AND Unicode-3.0)` can be satisfied with the
/// allowed licences. `/` between names is the old way of writing `OR`.
pub fn satisfied(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest, allowed) && rest.is_empty()
}

fn either(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut fine = both(words, allowed);
    while take(words, "OR") {
        // Both sides must be read, whatever the first one came to.
        fine |= both(words, allowed);
    }
    fine
}

fn both(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut fine = one(words, allowed);
    while take(words, "AND") {
        fine &= one(words, allowed);
    }
    fine
}

fn one(words: &mut &[&str], allowed: &[String]) -> bool {
    if take(words, "(") {
        let fine = either(words, allowed);
        return take(words, ")") && fine;
    }
    let Some((name, rest)) = words.split_first() else { return false };
    *words = rest;
    if !take(words, "WITH") {
        return allowed.iter().any(|a| a == name);
    }
    let Some((exception, rest)) = words.split_first() else { return false };
    *words = rest;
    let whole = format!("{name} WITH {exception}");
    allowed.iter().any(|a| a == name || *a == whole)
}

fn take(words: &mut &[&str], word: &str) -> bool {
    let Some((first, rest)) = words.split_first() else { return false };
    if *first != word {
        return false;
    }
    *words = rest;
    true
}

#[cfg(test)]
mod tests {
    use super::satisfied;

    #[test]
    fn an_expression_is_satisfied_when_its_logic_says_so() {
        let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned()];
        let rows = [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR GPL-3.0) AND Apache-2.0", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", false),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("(MIT", false),
            ("MIT MIT", false),
            ("", false),
        ];
        for (expression, fine) in rows {
            assert_eq!(satisfied(expression, &allowed), fine, "{expression}");
        }
    }
}
