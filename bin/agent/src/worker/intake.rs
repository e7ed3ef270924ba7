//! Upcalls on their way from the datapath's ring to a decision.

use std::time::Duration;

use mn_agent_core::limits;
use mn_datapath::{Offload, Upcall, UpcallReason, Upcalls};
use mn_flow::{DropCause, FlowKey};
use mn_time::Instant;

use super::Worker;

/// What is known of a packet that waits in line, besides its frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    reason: UpcallReason,
    key: FlowKey,
    offload: Offload,
    at: Instant,
}

impl Worker {
    /// Takes what the ring has into the lines of the ports; waits for the first of it.
    pub(super) fn take_in(&mut self, upcalls: &mut dyn Upcalls, wait: Duration) {
        let polled = upcalls.poll(limits::UPCALLS_AT_ONCE, wait, &mut |upcall| self.queue(&upcall));
        if let Err(error) = polled {
            tracing::error!(worker = self.number, %error, "the datapath's queue cannot be read");
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    fn queue(&mut self, upcall: &Upcall<'_>) {
        let &Upcall { reason, key, frame, offload, at } = upcall;
        self.report.upcalls.add(1);
        if !self.intake.offer(key.in_port, Asked { reason, key, offload, at }, frame) {
            *self.drops.entry((key.in_port, DropCause::UpcallLimit)).or_default() += 1;
        }
    }

    /// Decides about some packets, the ports in turn. What comes meanwhile is taken in at once, so
    /// that it waits for its port's turn and not behind another's flood.
    pub(super) fn serve(&mut self, upcalls: &mut dyn Upcalls) {
        let mut frame = std::mem::take(&mut self.frame);
        for _ in 0..limits::SERVE_BATCH {
            let Some((_, asked)) = self.intake.next(&mut frame) else { break };
            let Asked { reason, key, offload, at } = asked;
            self.upcall(&Upcall { reason, key, frame: &frame, offload, at });
            self.take_in(upcalls, Duration::ZERO);
        }
        self.frame = frame;
    }
}
