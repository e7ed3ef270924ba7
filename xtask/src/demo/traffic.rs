//! Traffic whose two ends are compared: datagrams with numbers and checksums, and the counters of
//! both interfaces.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use mn_testbed::{Arrivals, Outcome, Probe};

use super::cloud::Member;

/// What one run of numbered datagrams came to.
pub struct Compared {
    pub sent: u64,
    pub lost: u64,
    pub doubled: usize,
    pub damaged: u64,
    /// Packets that the sender's interface sent more than the receiver's received.
    pub counters_differ: i64,
    pub longest_gap: Duration,
}

impl Compared {
    /// Whether everything arrived once and whole, and the counters say the same: a few packets of
    /// neighbour discovery are on both sides besides.
    pub fn verdict(&self) -> Result<String, String> {
        let text = format!(
            "{} sent, {} lost, {} doubled, {} damaged; counters differ by {}; longest gap {:.0} ms",
            self.sent,
            self.lost,
            self.doubled,
            self.damaged,
            self.counters_differ,
            self.longest_gap.as_secs_f64() * 1e3
        );
        let whole = self.sent > 0 && self.lost == 0 && self.doubled == 0 && self.damaged == 0;
        if whole && self.counters_differ.abs() <= 10 { Ok(text) } else { Err(text) }
    }
}

/// Sends numbered datagrams for a while, does something in the middle, and compares both ends.
pub fn compare(
    from: &Member,
    to: &Member,
    (size, every, during): (usize, Duration, Duration),
    in_the_middle: impl FnOnce() -> Outcome,
) -> Outcome<Compared> {
    let address: SocketAddr =
        format!("{}:7000", to.v4).parse().expect("addresses of the demo are well formed");
    let arrivals = Arrivals::listen(&to.vm.namespace, address)?;
    let sent_before = from.vm.namespace.packets("eth0")?.1;
    let received_before = to.vm.namespace.packets("eth0")?.0;
    let probe = Probe::start(&from.vm.namespace, address, size, every)?;
    sleep(during / 2);
    in_the_middle()?;
    sleep(during / 2);
    let sent = probe.stop();
    let received = arrivals.stop();
    let sent_packets = from.vm.namespace.packets("eth0")?.1 - sent_before;
    let received_packets = to.vm.namespace.packets("eth0")?.0 - received_before;
    Ok(Compared {
        sent,
        lost: received.lost(sent),
        doubled: received.doubled(),
        damaged: received.damaged,
        counters_differ: sent_packets.cast_signed() - received_packets.cast_signed(),
        longest_gap: received.longest_gap,
    })
}
