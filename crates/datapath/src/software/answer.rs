//! Questions for neighbours turned into their answers.

use std::ops::Range;

use mn_packet::ndp::{NdMessage, NeighborAdvertisement};
use mn_packet::{Arp, IcmpHeader, Mac};

use super::packet::{Ip, Packet};
use super::rewrite::{Covered, End, Misfit};

/// A solicitation's message with one option: header, target, and the source's MAC.
const SOLICITATION_LEN: usize = IcmpHeader::LEN + 16 + 8;
const TARGET_AT: usize = IcmpHeader::LEN;
const OPTION_AT: usize = TARGET_AT + 16;
/// The source's MAC, of one unit of eight octets.
const SOURCE_MAC: [u8; 2] = [1, 1];
/// Where type and code stand, and the flags, and the option.
const CHANGED: [Range<usize>; 3] = [0..2, 4..8, OPTION_AT..SOLICITATION_LEN];

impl Packet {
    /// Whether [`Self::answer`] can answer it.
    pub fn is_question(&self) -> bool {
        self.key.is_arp_request() || self.solicitation().is_some()
    }

    /// A solicitation from an address, with the source's MAC and no other option: where its message
    /// begins.
    fn solicitation(&self) -> Option<(Ip, usize)> {
        let ip = self.ip?;
        let at = ip.transport_at.filter(|at| ip.end - at == SOLICITATION_LEN)?;
        let plain = self.frame[at + OPTION_AT..].starts_with(&SOURCE_MAC);
        let asks = self.key.is_solicitation() && !self.key.nw_src.is_unspecified();
        (asks && plain).then_some((ip, at))
    }

    /// Turns a question into its answer.
    pub fn answer(&mut self, mac: Mac, router: bool) -> Result<(), Misfit> {
        if self.key.is_arp_request() {
            self.answer_arp(mac)?;
        } else {
            let (ip, at) = self.solicitation().ok_or(Misfit)?;
            self.answer_solicitation(ip, at, mac, router);
        }
        self.frame.copy_within(6..12, 0);
        self.frame[6..12].copy_from_slice(&mac.0);
        Ok(())
    }

    fn answer_arp(&mut self, mac: Mac) -> Result<(), Misfit> {
        let request = Arp::parse(&self.frame[self.network_at..]).map_err(|_| Misfit)?;
        let mut reply = Vec::with_capacity(Arp::LEN);
        request.reply(mac).emit(&mut reply);
        self.frame[self.network_at..self.network_at + Arp::LEN].copy_from_slice(&reply);
        Ok(())
    }

    fn answer_solicitation(&mut self, ip: Ip, at: usize, mac: Mac, router: bool) {
        let target: [u8; 16] = self.octets(at + TARGET_AT);
        let (src_at, _) = End::Source.address(false);
        let (dst_at, _) = End::Destination.address(false);
        let (src_at, dst_at) = (self.network_at + src_at, self.network_at + dst_at);
        let (src, dst): ([u8; 16], [u8; 16]) = (self.octets(src_at), self.octets(dst_at));
        // The source only changes its place in the sum.
        self.update_transport(ip, Covered::Pseudo, &dst, &target);
        self.frame[src_at..src_at + 16].copy_from_slice(&target);
        self.frame[dst_at..dst_at + 16].copy_from_slice(&src);
        let told = NdMessage::NeighborAdvertisement(NeighborAdvertisement {
            target: target.into(),
            router,
            solicited: true,
            overrides: true,
            target_mac: Some(mac),
        });
        let message = told.message(target.into(), src.into());
        let changed: Vec<usize> = CHANGED.into_iter().flatten().collect();
        let old: Vec<u8> = changed.iter().map(|place| self.frame[at + place]).collect();
        let new: Vec<u8> = changed.iter().map(|place| message[*place]).collect();
        self.update_transport(ip, Covered::Message, &old, &new);
        for (place, octet) in changed.iter().zip(new) {
            self.frame[at + place] = octet;
        }
    }

    fn octets(&self, at: usize) -> [u8; 16] {
        self.frame[at..at + 16].try_into().unwrap_or_default()
    }
}
