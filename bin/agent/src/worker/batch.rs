//! Flows that were decided and are not in the datapath yet.

use mn_datapath::FlowSpec;
use mn_flow::{Action, Cookie, FlowKey, FlowMask};

/// A flow that is to be installed.
#[derive(Debug)]
pub(super) struct Install {
    pub(super) spec: FlowSpec,
    /// The flow of the datapath whose place it takes.
    pub(super) over: Option<Cookie>,
}

/// Flows in the order they were decided. It keeps what it has allocated.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The first `len` are flows; the others are there for their room.
    installs: Vec<Install>,
    len: usize,
}

impl Batch {
    pub(super) fn push(
        &mut self,
        cookie: Cookie,
        key: FlowKey,
        mask: FlowMask,
        actions: &[Action],
        over: Option<Cookie>,
    ) {
        if let Some(install) = self.installs.get_mut(self.len) {
            install.over = over;
            let spec = &mut install.spec;
            (spec.cookie, spec.key, spec.mask) = (cookie, key, mask);
            spec.actions.clear();
            spec.actions.extend_from_slice(actions);
        } else {
            let spec = FlowSpec { cookie, key, mask, actions: actions.to_vec() };
            self.installs.push(Install { spec, over });
        }
        self.len += 1;
    }

    /// Takes a flow out, if it is here. What it was to take the place of is still in the datapath.
    pub(super) fn withdraw(&mut self, cookie: Cookie) -> Option<Withdrawn> {
        let installs = &mut self.installs[..self.len];
        let at = installs.iter().position(|install| install.spec.cookie == cookie)?;
        let over = installs[at].over;
        installs[at..].rotate_left(1);
        self.len -= 1;
        Some(Withdrawn { over })
    }

    /// The last flow takes the place of one that an earlier agent has left.
    pub(super) fn last_is_over(&mut self, cookie: Cookie) {
        if let Some(last) = self.installs[..self.len].last_mut() {
            last.over = Some(cookie);
        }
    }

    pub(super) fn flows(&self) -> &[Install] {
        &self.installs[..self.len]
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }
}

/// A flow that was not installed after all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Withdrawn {
    pub(super) over: Option<Cookie>,
}

#[cfg(test)]
mod tests {
    use mn_flow::PortNo;

    use super::*;

    fn push(batch: &mut Batch, number: u32) {
        let actions = [Action::Output(PortNo(number))];
        let cookie = Cookie(number.into());
        let over = (number == 1).then_some(Cookie(99));
        batch.push(cookie, FlowKey::default(), FlowMask::NONE, &actions, over);
    }

    fn outputs(batch: &Batch) -> Vec<(u64, Vec<Action>)> {
        let flows = batch.flows().iter().map(|install| &install.spec);
        flows.map(|spec| (spec.cookie.0, spec.actions.clone())).collect()
    }

    #[test]
    fn flows_keep_their_order_and_a_used_place_has_nothing_of_the_flow_before() {
        let mut batch = Batch::default();
        (1..=3).for_each(|number| push(&mut batch, number));
        assert_eq!(batch.withdraw(Cookie(1)), Some(Withdrawn { over: Some(Cookie(99)) }));
        assert_eq!(batch.withdraw(Cookie(1)), None, "it is gone");
        push(&mut batch, 4);
        assert!(batch.flows().iter().all(|install| install.over.is_none()));
        let expected = [2_u32, 3, 4].map(|n| (n.into(), vec![Action::Output(PortNo(n))]));
        assert_eq!(outputs(&batch), expected);
        batch.clear();
        assert!(batch.flows().is_empty());
        push(&mut batch, 5);
        assert_eq!(outputs(&batch), [(5, vec![Action::Output(PortNo(5))])]);
    }
}
