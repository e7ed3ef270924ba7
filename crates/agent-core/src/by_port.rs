//! Something for each port, by its number: numbers of ports are small.

use mn_flow::PortNo;

use crate::limits::PORT_NUMBERS;

/// A value for each port; the default one where nobody has set another.
#[derive(Debug)]
pub(crate) struct ByPort<T>(Vec<T>);

impl<T> Default for ByPort<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> ByPort<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// What a port has, if there ever was anything.
    pub(crate) fn get(&self, port: PortNo) -> Option<&T> {
        self.0.get(port.0 as usize)
    }

    /// Likewise.
    pub(crate) fn get_mut(&mut self, port: PortNo) -> Option<&mut T> {
        self.0.get_mut(port.0 as usize)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (PortNo, &mut T)> {
        (0..).map(PortNo).zip(&mut self.0)
    }
}

impl<T: Default> ByPort<T> {
    /// What a port has, made now where there was nothing; `None` for a number that no port has.
    pub(crate) fn entry(&mut self, port: PortNo) -> Option<&mut T> {
        let index = port.0 as usize;
        if index >= PORT_NUMBERS {
            return None;
        }
        if index >= self.0.len() {
            self.0.resize_with(index + 1, T::default);
        }
        self.0.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_the_default_until_it_is_set_and_a_number_that_no_port_has_has_nothing() {
        let mut counts = ByPort::<u32>::new();
        assert_eq!(counts.get(PortNo(3)), None);
        *counts.entry(PortNo(3)).unwrap() += 2;
        assert_eq!(
            [PortNo(2), PortNo(3)].map(|port| counts.get(port).copied()),
            [Some(0), Some(2)]
        );
        let beyond = PortNo(u32::try_from(PORT_NUMBERS).unwrap());
        assert_eq!(counts.entry(beyond), None);
        assert_eq!(counts.entry(PortNo(u32::MAX)), None);
        assert_eq!(counts.iter_mut().map(|(port, _)| port.0).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}
