//! What changed, for those who ask whether that concerns them.

use std::collections::HashSet;

use mn_flow::Tag;

/// Tags that were touched.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    exact: HashSet<Tag>,
    /// The routes again: they touch what they overlap.
    routes: Vec<Tag>,
}

impl Touched {
    /// A change of these.
    #[must_use]
    pub fn by(tags: &[Tag]) -> Self {
        let routes = tags.iter().filter(|tag| matches!(tag, Tag::Route { .. })).copied().collect();
        Self { exact: tags.iter().copied().collect(), routes }
    }

    /// Whether it concerns somebody who read this.
    #[must_use]
    pub fn touches(&self, read: &Tag) -> bool {
        self.exact.contains(read)
            || matches!(read, Tag::Route { .. })
                && self.routes.iter().any(|route| route.touches(read))
    }

    /// Whether it concerns somebody who read these.
    #[must_use]
    pub fn touches_any(&self, read: &[Tag]) -> bool {
        !self.exact.is_empty() && read.iter().any(|tag| self.touches(tag))
    }
}

#[cfg(test)]
mod tests {
    use mn_ids::Id;

    use super::*;

    #[test]
    fn a_route_touches_what_it_overlaps_and_everything_else_what_is_equal() {
        let router = Id::random();
        let route = |addr: &str, len| Tag::Route { router, addr: addr.parse().unwrap(), len };
        let (port, other) = (Tag::Port(Id::random()), Tag::Port(Id::random()));
        let touched = Touched::by(&[port, route("2001:db8::", 32)]);
        assert!(touched.touches(&port) && !touched.touches(&other));
        assert!(touched.touches_any(&[other, route("2001:db8:1::1", 128)]));
        assert!(!touched.touches_any(&[other, route("2001:db9::1", 128)]));
        assert!(!Touched::default().touches_any(&[port]));
    }
}
