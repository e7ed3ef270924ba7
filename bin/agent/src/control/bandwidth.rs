//! How much this host's ports carry, as their policies of service quality say.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use mn_datapath::{Bandwidth, PortBandwidth};
use mn_flow::PortNo;
use mn_topology::BandwidthLimit;

use super::Control;

/// What the datapath was told of each port.
pub(super) type Told = BTreeMap<PortNo, PortBandwidth>;

impl Control {
    /// Tells the datapath what is another than before. While a port's policy is not loaded it stays
    /// as it is, as an earlier agent may have left it.
    pub(super) fn reconcile_bandwidths(&mut self) {
        let state = &mut self.state;
        for (port, number) in &state.local.ports {
            let Some(wanted) = state.snapshot.bandwidth_of(*port) else { continue };
            let wanted = PortBandwidth {
                sent: in_octets(wanted.sent),
                received: in_octets(wanted.received),
            };
            if state.bandwidths.get(number) == Some(&wanted) {
                continue;
            }
            match self.datapath.set_bandwidth(*number, wanted) {
                Ok(()) => {
                    tracing::debug!(%port, ?wanted, "the bandwidth of a port is set");
                    state.bandwidths.insert(*number, wanted);
                }
                Err(error) => tracing::error!(%error, %port, "its bandwidth cannot be limited"),
            }
        }
    }
}

/// A limit as the datapath has it. A kilobit is 1,000 bits: 125 octets.
fn in_octets(limit: Option<BandwidthLimit>) -> Bandwidth {
    let kilobits = |value: NonZeroU32| u64::from(value.get());
    limit.map_or_else(Bandwidth::default, |limit| Bandwidth {
        kbps: limit.kbps.get(),
        burst: kilobits(limit.burst_kb) * 125,
    })
}
