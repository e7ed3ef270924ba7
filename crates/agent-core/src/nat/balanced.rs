//! How many connections of load balancers are remembered, by virtual address and by member.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::Ipv6Addr;

use mn_simulation::nat::{NatBinding, Service};
use mn_topology::DeviceId;

/// Counts of the connections among a worker's translations that were balanced.
#[derive(Debug, Default)]
pub(super) struct Balanced {
    /// All that go to an address, ended ones too: their answers may come late.
    addrs: HashMap<(DeviceId, Ipv6Addr), u32>,
    /// Those that are not known to have ended.
    members: HashMap<Service, u32>,
    vips: HashMap<Service, u32>,
}

impl Balanced {
    /// A translation is remembered; whether it is the first to its member's address.
    pub(super) fn begin(&mut self, binding: &NatBinding) -> bool {
        let Some([member, _]) = binding.balanced() else { return false };
        self.go_on(binding);
        let there = self.addrs.entry((member.device, member.end.addr)).or_default();
        *there += 1;
        *there == 1
    }

    /// One is forgotten.
    pub(super) fn forget(&mut self, binding: &NatBinding, had_ended: bool) {
        let Some([member, _]) = binding.balanced() else { return };
        if !had_ended {
            self.end(binding);
        }
        take_one(&mut self.addrs, (member.device, member.end.addr));
    }

    /// The connection of one has ended.
    pub(super) fn end(&mut self, binding: &NatBinding) {
        let Some([member, vip]) = binding.balanced() else { return };
        take_one(&mut self.members, member);
        take_one(&mut self.vips, vip);
    }

    /// The connection of one begins, or goes on after all.
    pub(super) fn go_on(&mut self, binding: &NatBinding) {
        let Some([member, vip]) = binding.balanced() else { return };
        *self.members.entry(member).or_default() += 1;
        *self.vips.entry(vip).or_default() += 1;
    }

    pub(super) fn is_to(&self, device: DeviceId, member: Ipv6Addr) -> bool {
        self.addrs.contains_key(&(device, member))
    }

    pub(super) fn of_member(&self, member: &Service) -> u32 {
        self.members.get(member).copied().unwrap_or(0)
    }

    pub(super) fn of_vip(&self, vip: &Service) -> u32 {
        self.vips.get(vip).copied().unwrap_or(0)
    }
}

fn take_one<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}
