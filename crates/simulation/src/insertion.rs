//! Insertions of inspecting machines: what a protected machine sends and gets goes by way of them
//! (`SI-*`, agent-facts §24).
//!
//! Each time an inspecting machine sends a frame back is a walk of its own, which goes on where the
//! one before it left off: the tag's priority says in which direction the frame is on its way, and
//! the protected machine's MAC whose it is.

use mn_flow::{Conn, DropCause, Tag};
use mn_ids::{L2InsertionId, PortId};
use mn_packet::{EtherType, EthernetHeader, Mac, VlanId, VlanTag};
use mn_topology::snapshot::Lookup;
use mn_topology::{L2Insertion, Port};
use smallvec::SmallVec;

use crate::branch::Branch;
use crate::simulate::{Sim, Stop};
use crate::walk::Step;
use crate::{Effect, Known, StateView};

/// The type of heartbeats: IEEE 802's first for local experiments.
pub const HEARTBEAT: EtherType = EtherType(0x88b5);
/// Where heartbeats go to: nobody has it.
pub const HEARTBEAT_TO: Mac = Mac([0x02, b'h', b'e', b'a', b'r', b't']);

/// The direction of a frame past a protected port. The number is the priority of its tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Toward {
    /// The protected machine sent it.
    Network = 1,
    /// It is for the protected machine.
    Machine = 2,
}

impl Toward {
    /// The tag of a frame on its way through an inspecting machine.
    #[must_use]
    pub const fn tag(self, vlan: VlanId) -> VlanTag {
        VlanTag::from_wire((self as u16) << 13 | vlan.get())
    }
}

/// The frame that an inspecting machine has to send back.
#[must_use]
pub fn heartbeat(insertion: &L2Insertion) -> Vec<u8> {
    let vlan = VlanId::try_from(insertion.vlan);
    let header = EthernetHeader::untagged(insertion.heartbeat_mac(), HEARTBEAT_TO, HEARTBEAT);
    let vlan = vlan.map_or(VlanTag::NONE, |vlan| Toward::Network.tag(vlan));
    let mut payload = *b"are you there?                                ";
    payload[30..46].copy_from_slice(insertion.id.uuid().as_bytes());
    EthernetHeader { vlan, ..header }.frame(&payload)
}

type Insertions<'a> = SmallVec<[&'a L2Insertion; 4]>;

impl<'a, S: StateView + ?Sized> Sim<'a, S> {
    /// Sends a frame that passes a protected port to the first inspecting machine after `passed`.
    /// Whether it went there; otherwise it has passed all.
    pub(crate) fn divert(
        &mut self,
        branch: &mut Branch,
        port: &Port,
        toward: Toward,
        passed: Option<&L2Insertion>,
    ) -> Result<bool, Stop> {
        // A mirror's copy is for who watches, not for who inspects.
        if port.insertion_ids.is_empty() || !branch.mirrors.is_empty() {
            return Ok(false);
        }
        let mac = match toward {
            Toward::Network => branch.packet.eth_src(),
            Toward::Machine => branch.packet.eth_dst(),
        };
        let mut insertions = self.insertions(&port.insertion_ids)?;
        insertions.retain(|it| it.port_id == port.id && it.mac == mac);
        insertions.sort_unstable_by(|one, other| one.order(other));
        for insertion in insertions {
            if passed.is_some_and(|passed| insertion.order(passed).is_le()) {
                continue;
            }
            if self.serves(insertion)? {
                self.redirect(branch, insertion, toward)?;
                return Ok(true);
            }
            self.note(|| Step::NotInspected { insertion: insertion.id, open: insertion.fail_open });
            if !insertion.fail_open {
                return Err(DropCause::ServiceDown.into());
            }
        }
        Ok(false)
    }

    /// Takes in what an inspecting machine sends: it goes on from the protected port.
    pub(crate) fn inspected(&mut self, branch: &mut Branch, service: &Port) -> Result<(), Stop> {
        let insertions = self.insertions(&service.srv_insertion_ids)?;
        if self.hear_heartbeat(branch, &insertions) {
            return Err(DropCause::Consumed.into());
        }
        // What its connection was known by here it is known by on the way.
        branch.track = branch.packet.conn() == Conn::Forward;
        let (src, dst) = (branch.packet.eth_src(), branch.packet.eth_dst());
        let tag = branch.packet.vlan();
        let ways = [(Toward::Network, src), (Toward::Machine, dst)];
        let of_way = |insertion: &L2Insertion| {
            ways.into_iter().find(|(toward, mac)| {
                let fits = match VlanId::try_from(insertion.vlan) {
                    Ok(vlan) => tag == toward.tag(vlan),
                    Err(_) => true,
                };
                fits && *mac == insertion.mac
            })
        };
        let here = insertions.iter().filter(|it| it.srv_port_id == service.id);
        let mut fitting = here.filter_map(|it| Some((*it, of_way(it)?.0)));
        let found = match (fitting.clone().find(|(it, _)| it.vlan != 0), fitting.next()) {
            (Some(tagged), _) => Some(tagged),
            // Where nothing but the MACs says whose it is, they may say so of several.
            (None, only) => only.filter(|_| fitting.next().is_none()),
        };
        let Some((insertion, toward)) = found else {
            return Err(DropCause::NotInserted.into());
        };
        if insertion.vlan != 0 {
            let inner = branch.packet.inner_vlan();
            branch.packet.set_vlan(inner);
            branch.packet.set_inner_vlan(VlanTag::NONE);
        }
        self.note(|| Step::Inspected { insertion: insertion.id, port: insertion.port_id });
        let port = self.port(insertion.port_id)?;
        self.go_on(branch, port, toward, insertion)
    }

    fn insertions(&mut self, ids: &[L2InsertionId]) -> Result<Insertions<'a>, Stop> {
        let mut found = Insertions::new();
        let mut load = false;
        for id in ids {
            self.tag(Tag::L2Insertion(*id));
            match self.snapshot.l2_insertion(*id) {
                Lookup::Loaded(insertion) => found.push(insertion),
                Lookup::Absent => {}
                Lookup::NotLoaded => {
                    // All that is missing is asked for at once.
                    self.load(*id);
                    load = true;
                }
            }
        }
        if load { Err(Stop::Load) } else { Ok(found) }
    }

    /// Whether the inspecting machine is there. Nobody says so of one whose host is away.
    fn serves(&mut self, insertion: &L2Insertion) -> Result<bool, Stop> {
        let service = self.port(insertion.srv_port_id)?;
        if !service.admin_state_up || service.binding().is_none() {
            return Ok(false);
        }
        match self.state.serves(insertion.id) {
            Known::Is(serves) => Ok(serves),
            Known::Absent => Ok(false),
            Known::Unknown => Err(self.load(insertion.id)),
        }
    }

    /// Sends a frame out to an inspecting machine.
    fn redirect(
        &mut self,
        branch: &mut Branch,
        insertion: &L2Insertion,
        toward: Toward,
    ) -> Result<(), Stop> {
        if let Ok(vlan) = VlanId::try_from(insertion.vlan) {
            let outer = branch.packet.vlan();
            if outer.is_present() && branch.packet.inner_vlan().is_present() {
                // Keys have room for two tags.
                return Err(DropCause::VlanMismatch.into());
            }
            branch.packet.set_inner_vlan(outer);
            branch.packet.set_vlan(toward.tag(vlan));
        }
        let port: PortId = insertion.srv_port_id;
        self.note(|| Step::Redirected { insertion: insertion.id, port });
        let service = self.port(port)?;
        self.egress_to_service(branch, service)
    }

    /// Hears that a heartbeat came back. Each does: no flow takes it.
    fn hear_heartbeat(&mut self, branch: &mut Branch, insertions: &[&L2Insertion]) -> bool {
        if branch.packet.eth_type() != HEARTBEAT || branch.packet.eth_dst() != HEARTBEAT_TO {
            return false;
        }
        let src = branch.packet.eth_src();
        let of = insertions.iter().find(|it| it.heartbeat && it.heartbeat_mac() == src);
        let Some(insertion) = of else { return false };
        self.once = true;
        self.effect(Effect::Heartbeat { insertion: insertion.id });
        true
    }
}
