//! The software engine in a bench, its clock virtual.

use std::time::Duration;

use mn_flow::{Action, PortNo, TunnelOrigin};

use mn_time::Instant;

use super::bench::{Asked, Bench};
use crate::software::{Sent, Software};
use crate::{Datapath, Followed, Interface, Offload};

/// See the module.
#[derive(Debug)]
pub struct SoftwareBench {
    engine: Software,
    workers: usize,
}

impl SoftwareBench {
    /// A fresh engine with so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let engine = Software::new(workers);
        // A clock that has run for a while, as real ones have.
        engine.advance(Duration::from_secs(1000));
        Self { engine, workers }
    }
}

impl Bench for SoftwareBench {
    fn datapath(&self) -> &dyn Datapath {
        &self.engine
    }

    fn interface(&mut self, port: PortNo, mtu: u32) -> Interface {
        Interface { ifindex: 1000 + port.0, peer_redirect: false, mtu }
    }

    fn receive(&mut self, port: PortNo, frame: &[u8], offload: Offload) -> Vec<Sent> {
        self.engine.receive(port, frame, offload);
        self.engine.take_sent()
    }

    fn receive_tunnelled(
        &mut self,
        origin: TunnelOrigin,
        frame: &[u8],
        offload: Offload,
    ) -> Vec<Sent> {
        self.engine.receive_tunnelled(origin, frame, offload);
        self.engine.take_sent()
    }

    fn execute(&mut self, frame: &[u8], actions: &[Action]) -> Vec<Sent> {
        self.engine.execute(frame, Offload::default(), actions).expect("it executes anything");
        self.engine.take_sent()
    }

    fn asked(&mut self) -> Vec<Asked> {
        let mut asked = Vec::new();
        for worker in 0..self.workers {
            let mut upcalls = self.engine.upcalls(worker).expect("the worker exists");
            let each = &mut |upcall: crate::Upcall<'_>| {
                asked.push(Asked {
                    reason: upcall.reason,
                    key: upcall.key,
                    frame: upcall.frame.to_vec(),
                    offload: upcall.offload,
                });
            };
            upcalls.poll(usize::MAX, Duration::ZERO, each).expect("it can be polled");
        }
        asked
    }

    fn followed(&mut self) -> Vec<Followed> {
        let mut all = Vec::new();
        for worker in 0..self.workers {
            let mut upcalls = self.engine.upcalls(worker).expect("the worker exists");
            upcalls.followed(&mut |followed| all.push(followed));
        }
        all
    }

    fn beat(&mut self) {
        self.engine.heartbeat(self.engine.now()).expect("it takes heartbeats");
    }

    fn now(&self) -> Instant {
        self.engine.now()
    }

    fn pass(&mut self, time: Duration) {
        self.engine.advance(time);
    }

    fn forget_fragments(&mut self) -> usize {
        self.engine.forget_fragments()
    }

    fn takes_gso(&self) -> bool {
        true
    }

    fn takes_partial_checksums(&self) -> bool {
        true
    }
}
