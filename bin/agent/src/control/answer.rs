//! Questions to the agent.

use mn_agent_api::{Link, Request, Response, Status};

use super::{Ask, Control};
use crate::clock;

impl Control {
    pub(super) fn answer(&mut self, ask: Ask) {
        let response = match ask.request {
            Request::Status => Response::Status(self.status()),
            Request::Walk(request) => {
                self.state.walks.begin(request, ask.reply, clock::now());
                return;
            }
            // The datapath answers these: see `Handle::ask`.
            Request::Flows { .. }
            | Request::Connections { .. }
            | Request::Counters
            | Request::Activity => {
                Response::Error { reason: "the datapath is to be asked".to_owned() }
            }
        };
        // Whoever asked may have gone.
        drop(ask.reply.send(response));
    }

    fn status(&self) -> Status {
        let reports = || self.workers.iter().map(|worker| &worker.report);
        let state = &self.state;
        let link = match state.stale_since {
            None => Link::Connected,
            Some(since) => {
                let stale = clock::now().since(since).as_millis();
                Link::Stale { milliseconds: u64::try_from(stale).unwrap_or(u64::MAX) }
            }
        };
        Status {
            host: self.host.id,
            name: self.host.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: state.epoch.unwrap_or(0),
            pid: std::process::id(),
            link,
            revision: state.revision,
            ports: state.attached.iter().map(|(name, at)| (name.clone(), at.port)).collect(),
            peers: state.peers.len(),
            tunnel_mtu: self.own_mtu().map(|_| state.local.mtu),
            flows: reports().map(|report| report.flows.get()).sum::<u64>() as usize,
            unverified: reports().map(|report| report.unverified.get()).sum::<u64>() as usize,
            adopted: reports().map(|report| report.adopted.get()).sum(),
            replaced: reports().map(|report| report.replaced.get()).sum(),
            adoption_ms: reports().map(|report| report.adoption_ms.get()).max().unwrap_or(0),
            waiting: reports().map(|report| report.waiting.get()).sum::<u64>() as usize,
            // Each worker knows all of them.
            translations: reports().map(|report| report.translations.get()).max().unwrap_or(0)
                as usize,
        }
    }
}
