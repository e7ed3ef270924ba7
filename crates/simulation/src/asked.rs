//! Questions for neighbours that a device answers: by a flow, where each like it gets the same.
//!
//! A machine asks when no agent lives, too. So the answer is made in the datapath: it turns the
//! question round, and a copy goes up, since a question also tells who asks. What becomes of the
//! answer on its way back is walked here, as of any packet of ours.

use mn_flow::{Field, Rewrite, Trace};
use mn_ids::PortId;
use mn_packet::ndp::NdMessage;
use mn_packet::{Layers, Mac, Network};

use crate::branch::Branch;
use crate::simulate::{Sim, Stop};
use crate::{Entry, StateView};

/// What answers a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Answerer {
    /// Where the address is.
    pub mac: Mac,
    /// It is a router's.
    pub router: bool,
}

/// A solicitation with the source's MAC and nothing else.
const SOLICITATION_LEN: usize = 32;

impl<S: StateView + ?Sized> Sim<'_, S> {
    /// Has a flow answer the question, if it can: the answer leaves by `port`, and has to arrive
    /// where the question came from and nowhere else, with nothing changed on its way.
    ///
    /// # Errors
    ///
    /// [`Stop::Answered`] where it does; what has to be loaded or waited for first. Otherwise the
    /// caller is to answer this packet alone.
    pub(crate) fn answer_by_flow(
        &mut self,
        branch: &mut Branch,
        port: PortId,
        answerer: Answerer,
    ) -> Result<(), Stop> {
        let Entry::Ingress(asked_at) = self.inputs.entry else { return Ok(()) };
        let single = branch.flooded.is_empty() && branch.mirrors.is_empty();
        let alone = single && self.buffers.deliveries.is_empty();
        if !alone || branch.packet.is_written() || !self.is_plain_question() {
            return Ok(());
        }
        let effects = self.buffers.effects.len();
        let steps = self.walk.as_ref().map_or(0, |walk| walk.steps.len());
        let mut back = branch.clone();
        back.packet.answer(answerer.mac);
        back.returns();
        let end = self.egress(&mut back, port);
        self.absorb(&back);
        match end {
            Ok(()) if self.came_back(&back, asked_at, answerer) => {
                self.buffers.deliveries[0].answerer = Some(answerer);
                return Err(Stop::Answered);
            }
            Err(stop @ (Stop::Load | Stop::AwaitNeighbor { .. } | Stop::AwaitLease { .. })) => {
                return Err(stop);
            }
            Ok(()) | Err(_) => {}
        }
        self.buffers.deliveries.clear();
        self.buffers.effects.truncate(effects);
        if let Some(walk) = &mut self.walk {
            walk.steps.truncate(steps);
        }
        Ok(())
    }

    /// Whether the one delivery is of the answer to who asked, as the datapath makes it.
    fn came_back(&self, back: &Branch, asked_at: PortId, answerer: Answerer) -> bool {
        let [delivery] = self.buffers.deliveries[..] else { return false };
        let Trace { written, .. } = back.packet.leave();
        let mut answer = self.packet.key;
        Rewrite::Answer { mac: answerer.mac, router: answerer.router }.apply(&mut answer);
        let others = [Field::Vlan, Field::InnerVlan, Field::NwTos];
        delivery.port == asked_at
            && delivery.headers == answer
            && delivery.hops == 0
            && !delivery.track
            && !others.into_iter().any(|field| written.contains(field))
    }

    /// Whether it is a question that the datapath can answer. Of a flow that an agent adopts there
    /// are only the headers; what was answered by it could be.
    fn is_plain_question(&self) -> bool {
        let key = &self.packet.key;
        let solicits = key.is_solicitation() && !key.nw_src.is_unspecified();
        if !key.is_arp_request() && !solicits {
            return false;
        }
        if self.packet.frame.is_empty() {
            return true;
        }
        match Layers::of(self.packet.frame).map(|layers| layers.network) {
            Ok(Network::Arp(_)) => true,
            Ok(Network::Ip(ip)) => {
                let with_mac = matches!(
                    NdMessage::parse(ip.payload),
                    Ok(Some(NdMessage::NeighborSolicitation { source_mac: Some(_), .. }))
                );
                with_mac && ip.payload.len() == SOLICITATION_LEN
            }
            Ok(Network::Other) | Err(_) => false,
        }
    }
}
