//! Flows that were decided and are not in the datapath yet.

use mn_datapath::FlowSpec;
use mn_flow::{Action, Cookie, FlowKey, FlowMask};

/// Flows in the order they were decided. It keeps what it has allocated.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The first `len` are flows; the others are there for their room.
    specs: Vec<FlowSpec>,
    len: usize,
}

impl Batch {
    pub(super) fn push(
        &mut self,
        cookie: Cookie,
        key: FlowKey,
        mask: FlowMask,
        actions: &[Action],
    ) {
        if let Some(spec) = self.specs.get_mut(self.len) {
            (spec.cookie, spec.key, spec.mask) = (cookie, key, mask);
            spec.actions.clear();
            spec.actions.extend_from_slice(actions);
        } else {
            self.specs.push(FlowSpec { cookie, key, mask, actions: actions.to_vec() });
        }
        self.len += 1;
    }

    /// Takes a flow out; whether it was there.
    pub(super) fn withdraw(&mut self, cookie: Cookie) -> bool {
        let specs = &mut self.specs[..self.len];
        let Some(at) = specs.iter().position(|spec| spec.cookie == cookie) else { return false };
        specs[at..].rotate_left(1);
        self.len -= 1;
        true
    }

    pub(super) fn flows(&self) -> &[FlowSpec] {
        &self.specs[..self.len]
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use mn_flow::PortNo;

    use super::*;

    fn push(batch: &mut Batch, number: u32) {
        let actions = [Action::Output(PortNo(number))];
        let cookie = Cookie(number.into());
        batch.push(cookie, FlowKey::default(), FlowMask::NONE, &actions);
    }

    fn outputs(batch: &Batch) -> Vec<(u64, Vec<Action>)> {
        batch.flows().iter().map(|spec| (spec.cookie.0, spec.actions.clone())).collect()
    }

    #[test]
    fn flows_keep_their_order_and_a_used_place_has_nothing_of_the_flow_before() {
        let mut batch = Batch::default();
        (1..=3).for_each(|number| push(&mut batch, number));
        assert!(batch.withdraw(Cookie(1)));
        assert!(!batch.withdraw(Cookie(1)), "it is gone");
        push(&mut batch, 4);
        let expected = [2_u32, 3, 4].map(|n| (n.into(), vec![Action::Output(PortNo(n))]));
        assert_eq!(outputs(&batch), expected);
        batch.clear();
        assert!(batch.flows().is_empty());
        push(&mut batch, 5);
        assert_eq!(outputs(&batch), [(5, vec![Action::Output(PortNo(5))])]);
    }
}
