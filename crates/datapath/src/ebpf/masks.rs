//! The masks in use, and the order in which the programs try them.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};

use mn_datapath_abi::limits::{KEY_WORDS, MASKS_MAX};
use mn_datapath_abi::{Config, FlowKey as AbiKey};
use mn_flow::FlowMask;

use super::key;
use super::sys::Shared;
use crate::DatapathError;

/// Masks by number, each with how many flows have it.
pub struct Masks {
    config: Arc<Shared<Config>>,
    slots: Vec<Option<Slot>>,
    /// Numbers in use, the busiest first.
    order: Vec<u16>,
}

#[derive(Clone, Copy)]
struct Slot {
    mask: FlowMask,
    words: [u64; KEY_WORDS],
    flows: usize,
}

impl Masks {
    /// The masks an earlier agent had in use, as yet without flows.
    pub fn open(config: Arc<Shared<Config>>) -> Self {
        let now = config.read(0);
        let active = (now.order_active & 1) as usize;
        let mut slots = vec![None; MASKS_MAX];
        let len = (now.order_len[active] as usize).min(MASKS_MAX);
        let mut order = Vec::with_capacity(len);
        for number in &now.order[active][..len] {
            let Some(slot) = slots.get_mut(usize::from(*number)) else { continue };
            let words = now.mask[usize::from(*number)];
            let mask = key::mask_from_abi(&AbiKey::from_words(&words));
            *slot = Some(Slot { mask, words, flows: 0 });
            order.push(*number);
        }
        Self { config, slots, order }
    }

    pub const fn len_max(&self) -> usize {
        MASKS_MAX
    }

    pub fn find(&self, mask: FlowMask) -> Option<u16> {
        self.order.iter().copied().find(|number| self.get(*number) == Some(mask))
    }

    pub fn get(&self, number: u16) -> Option<FlowMask> {
        self.slots.get(usize::from(number))?.map(|slot| slot.mask)
    }

    /// The mask as words; none match anything for a number not in use.
    pub fn words(&self, number: u16) -> [u64; KEY_WORDS] {
        self.slots[usize::from(number)].map_or([0; KEY_WORDS], |slot| slot.words)
    }

    /// The number of a mask for one more flow.
    pub fn acquire(&mut self, mask: FlowMask) -> Result<u16, DatapathError> {
        let number = match self.find(mask) {
            Some(number) => number,
            None => self.add(mask)?,
        };
        if let Some(slot) = &mut self.slots[usize::from(number)] {
            slot.flows += 1;
        }
        Ok(number)
    }

    fn add(&mut self, mask: FlowMask) -> Result<u16, DatapathError> {
        let full = DatapathError::Full { table: "masks", max: MASKS_MAX };
        let free = self.slots.iter().position(Option::is_none).ok_or(full)?;
        let words = key::mask_to_abi(mask).words();
        for (n, word) in words.iter().enumerate() {
            self.config.word(0, Config::mask_at(free) + 8 * n).store(*word, Release);
        }
        self.slots[free] = Some(Slot { mask, words, flows: 0 });
        let number = u16::try_from(free).unwrap_or(u16::MAX);
        self.order.push(number);
        self.publish();
        Ok(number)
    }

    /// One flow less has the mask.
    pub fn release(&mut self, number: u16) {
        let Some(slot) = &mut self.slots[usize::from(number)] else { return };
        slot.flows -= 1;
        if slot.flows == 0 {
            self.slots[usize::from(number)] = None;
            self.order.retain(|other| *other != number);
            self.publish();
        }
    }

    /// One adopted flow has the mask; `false` if it is not in use.
    pub fn adopt(&mut self, number: u16) -> bool {
        match self.slots.get_mut(usize::from(number)) {
            Some(Some(slot)) => {
                slot.flows += 1;
                true
            }
            _ => false,
        }
    }

    /// Forgets masks without flows.
    pub fn drop_unused(&mut self) {
        let slots = &mut self.slots;
        self.order.retain(|number| {
            let slot = &mut slots[usize::from(*number)];
            let used = slot.is_some_and(|slot| slot.flows > 0);
            if !used {
                *slot = None;
            }
            used
        });
        self.publish();
    }

    /// Puts the masks with most use first.
    pub fn order_by(&mut self, used: &[u64]) {
        let use_of = |number: &u16| used.get(usize::from(*number)).copied().unwrap_or(0);
        let mut order = self.order.clone();
        order.sort_by_key(|number| std::cmp::Reverse(use_of(number)));
        if order != self.order {
            self.order = order;
            self.publish();
        }
    }

    /// Writes the order into the half that is not in use, then switches.
    fn publish(&self) {
        let next = self.config.half(0, Config::ORDER_ACTIVE_AT).load(Acquire) & 1 ^ 1;
        let octets: Vec<u8> = self.order.iter().flat_map(|number| number.to_ne_bytes()).collect();
        self.config.write_from(0, Config::order_at(next as usize), &octets);
        let len = u32::try_from(self.order.len()).unwrap_or(0);
        self.config.half(0, Config::order_len_at(next as usize)).store(len, Release);
        self.config.half(0, Config::ORDER_ACTIVE_AT).store(next, Release);
    }
}
