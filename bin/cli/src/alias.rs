//! Aliases: short names that a session gives to the objects it meets.

use std::collections::HashMap;

use uuid::Uuid;

/// The aliases of a session. Each object keeps its first one.
///
/// A name is a prefix and a number, counted from 0 for each prefix and owner in the order of first sight.
#[derive(Debug, Default)]
pub struct Aliases {
    by_id: HashMap<Uuid, Alias>,
    by_name: HashMap<(Option<Uuid>, String), Uuid>,
    counted: HashMap<(Option<Uuid>, &'static str), usize>,
}

#[derive(Debug)]
struct Alias {
    owner: Option<Uuid>,
    number: usize,
    name: String,
}

impl Aliases {
    /// Whether the object has a name.
    #[must_use]
    pub fn knows(&self, id: Uuid) -> bool {
        self.by_id.contains_key(&id)
    }

    /// The name of an object among those of its owner; made at first sight.
    pub fn give(&mut self, id: Uuid, prefix: &'static str, owner: Option<Uuid>) -> &str {
        let alias = self.by_id.entry(id).or_insert_with(|| {
            let count = self.counted.entry((owner, prefix)).or_default();
            let (number, name) = (*count, format!("{prefix}{count}"));
            *count += 1;
            self.by_name.insert((owner, name.clone()), id);
            Alias { owner, number, name }
        });
        &alias.name
    }

    /// The name from the root: `router0:port1`.
    #[must_use]
    pub fn full(&self, id: Uuid) -> Option<String> {
        let alias = self.by_id.get(&id)?;
        match alias.owner {
            None => Some(alias.name.clone()),
            Some(owner) => Some(format!("{}:{}", self.full(owner)?, alias.name)),
        }
    }

    /// The number in an object's name, if it has one.
    #[must_use]
    pub fn number(&self, id: Uuid) -> Option<usize> {
        self.by_id.get(&id).map(|alias| alias.number)
    }

    /// The object of a name, which may have several parts, within an owner or the root.
    #[must_use]
    pub fn find(&self, owner: Option<Uuid>, name: &str) -> Option<Uuid> {
        name.split(':').try_fold(owner, |owner, part| {
            Some(Some(*self.by_name.get(&(owner, part.to_owned()))?))
        })?
    }

    /// Every name from the root, for completion.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.by_id.keys().filter_map(|id| self.full(*id))
    }

    /// The names within an owner.
    pub fn names_in(&self, owner: Option<Uuid>) -> impl Iterator<Item = &str> + '_ {
        let within = self.by_name.keys().filter(move |(of, _)| *of == owner);
        within.map(|(_, name)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Uuid = Uuid::from_u128(1);
    const BRIDGE: Uuid = Uuid::from_u128(2);

    #[test]
    fn names_are_counted_from_zero_for_each_owner() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.give(ROUTER, "router", None), "router0");
        assert_eq!(aliases.give(BRIDGE, "bridge", None), "bridge0");
        for (n, owner) in [(3, ROUTER), (4, ROUTER), (5, BRIDGE)] {
            aliases.give(Uuid::from_u128(n), "port", Some(owner));
        }
        assert_eq!(aliases.full(Uuid::from_u128(4)).as_deref(), Some("router0:port1"));
        assert_eq!(aliases.full(Uuid::from_u128(5)).as_deref(), Some("bridge0:port0"));
    }

    #[test]
    fn an_object_keeps_its_first_name_and_is_found_by_it() {
        let mut aliases = Aliases::default();
        aliases.give(ROUTER, "router", None);
        assert_eq!(aliases.give(ROUTER, "router", None), "router0");
        let port = Uuid::from_u128(3);
        aliases.give(port, "port", Some(ROUTER));
        assert_eq!(aliases.find(None, "router0:port0"), Some(port));
        assert_eq!(aliases.find(Some(ROUTER), "port0"), Some(port));
        assert_eq!(aliases.find(None, "port0"), None);
        assert_eq!(aliases.find(None, "router7:port0"), None);
    }
}
