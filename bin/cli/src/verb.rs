//! The verbs of the grammar.

/// What to do with an object or a collection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    Show,
    List,
    Create,
    Delete,
    Set,
    Clear,
    Describe,
}

impl Verb {
    /// The words that completion offers.
    pub const WORDS: &[&str] =
        &["list", "show", "create", "add", "delete", "set", "clear", "describe"];

    /// The verb that a word means. Some may be shortened.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        let short = |whole: &str, least: usize| word.len() >= least && whole.starts_with(word);
        match word {
            "create" | "add" => Some(Self::Create),
            "set" => Some(Self::Set),
            "clear" | "unset" => Some(Self::Clear),
            _ if short("show", 1) => Some(Self::Show),
            _ if short("list", 1) => Some(Self::List),
            _ if short("delete", 3) => Some(Self::Delete),
            _ if short("describe", 4) => Some(Self::Describe),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_verbs_may_be_shortened() {
        #[rustfmt::skip]
        let cases = [
            ("l", Some(Verb::List)),       ("lis", Some(Verb::List)),     ("lists", None),
            ("s", Some(Verb::Show)),       ("sho", Some(Verb::Show)),     ("", None),
            ("del", Some(Verb::Delete)),   ("de", None),                  ("deleted", None),
            ("desc", Some(Verb::Describe)),("add", Some(Verb::Create)),   ("cre", None),
            ("set", Some(Verb::Set)),      ("se", None),                  ("sett", None),
            ("clear", Some(Verb::Clear)),  ("unset", Some(Verb::Clear)),  ("cl", None),
        ];
        for (word, verb) in cases {
            assert_eq!(Verb::of(word), verb, "{word}");
        }
    }
}
