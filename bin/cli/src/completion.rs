//! What may come next in a line.

use crate::alias::Aliases;
use crate::schema::{Collection, Field, ROOT, Type};
use crate::verb::Verb;

/// Words of the session that are about no object.
const SESSION_WORDS: &[&str] = &["walk", "sett", "cleart", "debug", "help", "exit", "quit"];

/// The words that may follow `before`, whole; the caller keeps those that begin as the user does.
#[must_use]
pub fn next_words(before: &[&str], aliases: Option<&Aliases>) -> Vec<String> {
    let mut at = At { of: &ROOT, owner: None, expects: Expects::Anything, verb: None };
    for word in before {
        at.take(word, aliases);
    }
    let mut words = at.words(aliases, before.is_empty());
    words.sort();
    words.dedup();
    words
}

/// Where a line has come to.
struct At {
    of: &'static Type,
    owner: Option<uuid::Uuid>,
    expects: Expects,
    verb: Option<Verb>,
}

enum Expects {
    /// A verb, a collection or a field.
    Anything,
    /// Which object of the collection, or a verb.
    Object(&'static Collection),
    /// Fields of this type, up to the end.
    Fields(&'static Type),
    /// A value of this field, then more of the same.
    Value(&'static Field, &'static Type),
}

impl At {
    fn take(&mut self, word: &str, aliases: Option<&Aliases>) {
        self.expects = match &self.expects {
            Expects::Value(_, of) => Expects::Fields(of),
            Expects::Fields(of) => match of.field(word) {
                Some(field) if self.verb != Some(Verb::Clear) => Expects::Value(field, of),
                _ => Expects::Fields(of),
            },
            Expects::Object(of) => self.take_object(of, word, aliases),
            Expects::Anything => self.take_any(word),
        };
    }

    fn take_any(&mut self, word: &str) -> Expects {
        if let Some(of) = self.of.collection(word) {
            return Expects::Object(of);
        }
        if self.verb.is_none()
            && let Some(verb) = Verb::of(word)
        {
            self.verb = Some(verb);
            return match verb {
                Verb::Set | Verb::Clear if self.owner.is_some() => Expects::Fields(self.of),
                _ => Expects::Anything,
            };
        }
        match self.of.field(word) {
            Some(field) if self.verb == Some(Verb::Set) => Expects::Value(field, self.of),
            _ => Expects::Anything,
        }
    }

    fn take_object(
        &mut self,
        of: &'static Collection,
        word: &str,
        aliases: Option<&Aliases>,
    ) -> Expects {
        if self.verb.is_none()
            && let Some(verb) = Verb::of(word)
        {
            self.verb = Some(verb);
            return match verb {
                Verb::List | Verb::Create => Expects::Fields(of.of),
                _ => Expects::Object(of),
            };
        }
        if let Some(field) = of.of.field(word) {
            return Expects::Value(field, of.of);
        }
        self.of = of.of;
        let find =
            |aliases: &Aliases| aliases.find(self.owner, word).or_else(|| aliases.find(None, word));
        self.owner = word.parse().ok().or_else(|| aliases.and_then(find)).or(self.owner);
        Expects::Anything
    }

    fn words(&self, aliases: Option<&Aliases>, first: bool) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let verbs = || Verb::WORDS.iter().filter(|_| self.verb.is_none());
        match &self.expects {
            Expects::Anything => {
                words.extend(verbs().map(|word| (*word).to_owned()));
                words.extend(self.of.collections.iter().map(|of| of.word.to_owned()));
                if matches!(self.verb, Some(Verb::Show | Verb::Set | Verb::Clear)) {
                    words.extend(self.of.fields.iter().map(|field| field.word.to_owned()));
                }
                if first {
                    words.extend(SESSION_WORDS.iter().map(|word| (*word).to_owned()));
                }
            }
            Expects::Object(of) => {
                words.extend(verbs().map(|word| (*word).to_owned()));
                let names = aliases.into_iter().flat_map(|aliases| aliases.names_in(self.owner));
                words.extend(names.filter(|name| is_of(name, of.of)).map(str::to_owned));
                words.extend(of.of.fields.iter().map(|field| field.word.to_owned()));
            }
            Expects::Fields(of) => {
                words.extend(of.fields.iter().map(|field| field.word.to_owned()));
            }
            Expects::Value(field, _) => {
                words.extend(field.choices().into_iter().map(str::to_owned));
                if let Some(wanted) = field.refers_to() {
                    let names = aliases.into_iter().flat_map(Aliases::names);
                    let last = |name: &str| name.rsplit(':').next().unwrap_or_default().to_owned();
                    words.extend(names.filter(|name| is_of(&last(name), wanted)));
                }
            }
        }
        words
    }
}

/// Whether an alias has the prefix of a type.
fn is_of(name: &str, of: &Type) -> bool {
    let crate::schema::Identity::Alias { prefix, .. } = of.identity else { return false };
    name.strip_prefix(prefix).is_some_and(|rest| rest.bytes().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn met() -> Aliases {
        let mut aliases = Aliases::default();
        let bridge = Uuid::from_u128(1);
        aliases.give(bridge, "bridge", None);
        aliases.give(Uuid::from_u128(2), "port", Some(bridge));
        aliases.give(Uuid::from_u128(3), "chain", None);
        aliases
    }

    #[test]
    fn a_line_is_completed_by_what_the_grammar_allows_there() {
        let aliases = met();
        #[rustfmt::skip]
        let cases: [(&[&str], &[&str], &[&str]); 8] = [
            // line so far                  some that may follow                some that may not
            (&[],                           &["list", "bridge", "sett"],        &["infilter", "port0"]),
            (&["list"],                     &["bridge", "host"],                &["show", "sett"]),
            (&["bridge"],                   &["bridge0", "create", "list"],     &["port0", "chain0"]),
            (&["bridge", "bridge0"],        &["port", "dhcp", "show", "set"],   &["bridge0"]),
            (&["bridge", "bridge0", "port"],&["port0", "list"],                 &["bridge0"]),
            (&["bridge", "bridge0", "set"], &["infilter", "state"],             &["dhcp"]),
            (&["bridge", "bridge0", "set", "infilter"], &["chain0"],            &["bridge0", "up"]),
            (&["bridge", "create", "state"], &["up", "down"],                   &["name"]),
        ];
        for (line, may, may_not) in cases {
            let words = next_words(line, Some(&aliases));
            assert!(
                may.iter().all(|word| words.contains(&(*word).to_owned())),
                "{line:?}: {words:?}"
            );
            assert!(
                !may_not.iter().any(|word| words.contains(&(*word).to_owned())),
                "{line:?}: {words:?}"
            );
        }
    }

    #[test]
    fn a_host_is_told_the_fields_of_a_binding() {
        let words = next_words(&["host", "host0", "add", "binding"], None);
        assert!(
            ["host", "interface", "port"].iter().all(|word| words.contains(&(*word).to_owned())),
            "{words:?}"
        );
    }
}
