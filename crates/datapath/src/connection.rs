//! Tracked connections: what is followed of them, and when they are over.
//!
//! A zone follows the connections of one virtual device on one host. Both directions of a
//! connection meet in one entry of a zone, found by the two ends whichever is the source. This is
//! the definition that `bpf/connection.h` is compared with.

use std::net::Ipv6Addr;
use std::time::Duration;

use mn_flow::{Conn, FlowKey, Fragment, PortNo, TcpClass, Zone};
use mn_packet::{EtherType, IpProtocol};
use mn_time::Instant;

/// What a packet's connection is found by, from its sender to its receiver.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tuple {
    /// IPv4-mapped for IPv4.
    pub src: Ipv6Addr,
    pub dst: Ipv6Addr,
    /// Of an echo the identifier, as both ports; 0 where a protocol has no ports.
    pub src_port: u16,
    pub dst_port: u16,
    pub protocol: IpProtocol,
    /// The number of the outer tag, if there is one.
    pub vlan: Option<u16>,
}

impl Tuple {
    /// What a packet of this key is found by; `None` for one of no connection, and for an ICMP
    /// error, which is found by what it quotes.
    #[must_use]
    pub fn of(key: &FlowKey) -> Option<Self> {
        let own_icmp = match key.eth_type {
            EtherType::IPV4 => IpProtocol::ICMP,
            EtherType::IPV6 => IpProtocol::ICMPV6,
            _ => return None,
        };
        let is_icmp = key.nw_proto == own_icmp;
        if key.eth_dst.is_multicast()
            || key.class.neighbor_discovery
            || key.class.fragment == Fragment::Later
            || is_icmp && is_quoting(own_icmp, key.icmp_type())
        {
            return None;
        }
        let (src_port, dst_port) = match key.nw_proto {
            protocol if protocol.has_ports() => (key.tp_src, key.tp_dst),
            _ if is_icmp => (key.tp_dst, key.tp_dst),
            _ => (0, 0),
        };
        Some(Self {
            src: key.nw_src,
            dst: key.nw_dst,
            src_port,
            dst_port,
            protocol: key.nw_proto,
            vlan: key.vlan.is_present().then(|| key.vlan.wire() & 0xfff),
        })
    }

    /// The tuple of the answers.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            ..self
        }
    }
}

/// Whether an ICMP message of this type belongs to the connection of the packet it quotes.
#[must_use]
pub(crate) fn is_quoting(protocol: IpProtocol, ty: u8) -> bool {
    match protocol {
        IpProtocol::ICMP => matches!(ty, 3 | 11 | 12),
        _ => matches!(ty, 1..=4),
    }
}

/// How far a connection has come. The number is part of the datapath's ABI.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum ConnState {
    /// TCP: opened, and nothing has come back.
    SynSent = 1,
    /// TCP: answered, and the answer not yet acknowledged.
    SynReceived = 2,
    Established = 3,
    /// TCP: it was there before it was tracked, and nothing has come back since.
    PickedUp = 4,
    /// TCP: one side has ended.
    FinWait = 5,
    /// TCP: both have.
    TimeWait = 6,
    /// TCP: one side has reset it.
    Closed = 7,
    /// UDP: nothing has come back.
    UdpNew = 8,
    /// UDP: it was answered.
    UdpStream = 9,
    /// ICMP of either version.
    Icmp = 10,
    /// Any other protocol, by its addresses.
    Other = 11,
}

impl ConnState {
    /// Every state, by number from 1 on.
    pub const ALL: [Self; 11] = [
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::PickedUp,
        Self::FinWait,
        Self::TimeWait,
        Self::Closed,
        Self::UdpNew,
        Self::UdpStream,
        Self::Icmp,
        Self::Other,
    ];

    /// The state with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Its name, as operators read and write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SynSent => "tcp-syn-sent",
            Self::SynReceived => "tcp-syn-recv",
            Self::Established => "tcp-established",
            Self::PickedUp => "tcp-unacknowledged",
            Self::FinWait => "tcp-fin-wait",
            Self::TimeWait => "tcp-time-wait",
            Self::Closed => "tcp-close",
            Self::UdpNew => "udp",
            Self::UdpStream => "udp-stream",
            Self::Icmp => "icmp",
            Self::Other => "generic",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Which way a packet of a connection goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// As the first one went.
    Forward,
    Return,
}

/// How far a connection has come, and who has ended it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    pub state: ConnState,
    /// TCP: who has sent FIN, forward first.
    pub fins: [bool; 2],
    /// TCP: who has reset it last.
    pub reset_by: Option<Direction>,
}

impl Progress {
    /// A connection whose first packet this is.
    #[must_use]
    pub fn begin(protocol: IpProtocol, tcp: TcpClass) -> Self {
        let state = match protocol {
            IpProtocol::TCP if tcp == TcpClass::Syn => ConnState::SynSent,
            IpProtocol::TCP => ConnState::PickedUp,
            IpProtocol::UDP => ConnState::UdpNew,
            IpProtocol::ICMP | IpProtocol::ICMPV6 => ConnState::Icmp,
            _ => ConnState::Other,
        };
        let mut begun = Self { state, fins: [false; 2], reset_by: None };
        begun.see(Direction::Forward, tcp);
        begun
    }

    /// Whether a segment opens a new connection with the ends of this one, which is about to end.
    #[must_use]
    pub fn begins_anew(&self, tcp: TcpClass) -> bool {
        let closing =
            matches!(self.state, ConnState::FinWait | ConnState::TimeWait | ConnState::Closed);
        closing && tcp == TcpClass::Syn
    }

    /// A packet went by. Seeing one twice is as seeing it once.
    pub fn see(&mut self, direction: Direction, tcp: TcpClass) {
        match self.state {
            ConnState::UdpNew if direction == Direction::Return => {
                self.state = ConnState::UdpStream;
            }
            ConnState::UdpNew | ConnState::UdpStream | ConnState::Icmp | ConnState::Other => {}
            _ => self.see_tcp(direction, tcp),
        }
    }

    /// Sequence numbers are not followed, so a forged reset may come by. It costs nothing: who was
    /// said to have reset the connection, and speaks on, has not.
    fn see_tcp(&mut self, direction: Direction, tcp: TcpClass) {
        match tcp {
            TcpClass::Rst => {
                self.reset_by = Some(direction);
                self.state = ConnState::Closed;
                return;
            }
            TcpClass::Fin => self.fins[usize::from(direction == Direction::Return)] = true,
            TcpClass::Syn | TcpClass::Other => {}
        }
        if self.state == ConnState::Closed {
            if self.reset_by != Some(direction) {
                return;
            }
            self.reset_by = None;
            self.state = ConnState::Established;
        }
        self.state = match (self.fins, self.state, direction) {
            ([true, true], ..) => ConnState::TimeWait,
            ([true, false] | [false, true], ..) => ConnState::FinWait,
            (_, ConnState::SynSent, Direction::Return) => ConnState::SynReceived,
            (_, ConnState::PickedUp, Direction::Return) => ConnState::Established,
            (_, ConnState::SynReceived, Direction::Forward) if tcp == TcpClass::Other => {
                ConnState::Established
            }
            (_, state, _) => state,
        };
    }
}

/// One tracked connection, in one zone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Connection {
    pub zone: Zone,
    /// Of its forward direction.
    pub tuple: Tuple,
    pub state: ConnState,
    /// The port whose share of connections it counts in.
    pub port: PortNo,
    pub made_at: Instant,
    /// When a packet of either direction was seen last.
    pub used_at: Instant,
}

impl Connection {
    /// What a packet of this tuple, which it was found by, is to it.
    #[must_use]
    pub fn says(&self, tuple: &Tuple, tcp: TcpClass) -> Conn {
        let progress = Progress { state: self.state, fins: [false; 2], reset_by: None };
        match () {
            () if progress.begins_anew(tcp) => Conn::None,
            () if self.tuple == *tuple => Conn::Forward,
            () => Conn::Return,
        }
    }
}

/// Whose connections the packets of a port belong to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tracking {
    /// The zone of its device; 0: none.
    pub zone: Zone,
    /// The most connections that count as the port's; 0: no limit.
    pub connections_max: u32,
}

/// How long connections stay without a packet, by state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts([Duration; ConnState::ALL.len()]);

impl Timeouts {
    /// How long a connection in this state stays.
    #[must_use]
    pub const fn of(&self, state: ConnState) -> Duration {
        self.0[state as usize - 1]
    }

    /// Sets how long a connection in this state stays.
    pub const fn set(&mut self, state: ConnState, timeout: Duration) {
        self.0[state as usize - 1] = timeout;
    }

    /// The same for all states.
    #[must_use]
    pub const fn all(timeout: Duration) -> Self {
        Self([timeout; ConnState::ALL.len()])
    }

    /// Whether a connection is over.
    #[must_use]
    pub fn is_over(&self, connection: &Connection, now: Instant) -> bool {
        now.since(connection.used_at) >= self.of(connection.state)
    }
}

impl Default for Timeouts {
    /// Those of Linux's own connection tracking, which operators know; all above what RFC 5382
    /// (TCP), RFC 4787 (UDP) and RFC 5508 (ICMP) ask for.
    fn default() -> Self {
        let seconds = |state| match state {
            ConnState::SynSent | ConnState::FinWait | ConnState::TimeWait => 120,
            ConnState::UdpStream => 180,
            ConnState::SynReceived | ConnState::Icmp => 60,
            ConnState::Established => 5 * 24 * 3600,
            ConnState::PickedUp => 300,
            ConnState::Closed => 10,
            ConnState::UdpNew => 120,
            ConnState::Other => 600,
        };
        Self(ConnState::ALL.map(|state| Duration::from_secs(seconds(state))))
    }
}

/// What one step of ageing came to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Aged {
    /// Connections looked at.
    pub looked_at: usize,
    /// Those of them that were over.
    pub removed: usize,
    /// The table has been gone through to its end; the next step begins anew.
    pub whole: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Forward, Return};
    use TcpClass::{Fin, Other, Rst, Syn};

    /// The state after these segments, the first of which opens the connection.
    fn after(segments: &[(Direction, TcpClass)]) -> ConnState {
        let mut progress = Progress::begin(IpProtocol::TCP, segments[0].1);
        for (direction, tcp) in &segments[1..] {
            progress.see(*direction, *tcp);
            let once = progress;
            progress.see(*direction, *tcp);
            assert_eq!(progress, once, "seen twice is seen once");
        }
        progress.state
    }

    #[test]
    fn a_connection_opens_and_closes_step_by_step() {
        let all = [
            ((Forward, Syn), ConnState::SynSent),
            ((Return, Other), ConnState::SynReceived),
            ((Forward, Other), ConnState::Established),
            ((Return, Other), ConnState::Established),
            ((Return, Fin), ConnState::FinWait),
            ((Forward, Other), ConnState::FinWait),
            ((Forward, Fin), ConnState::TimeWait),
            ((Return, Other), ConnState::TimeWait),
        ];
        for count in 1..=all.len() {
            let segments: Vec<_> = all[..count].iter().map(|(segment, _)| *segment).collect();
            assert_eq!(after(&segments), all[count - 1].1, "after {count}");
        }
    }

    #[test]
    fn a_refused_connection_is_closed_and_may_begin_anew() {
        let refused = [(Forward, Syn), (Return, Rst)];
        assert_eq!(after(&refused), ConnState::Closed);
        let mut progress = Progress::begin(IpProtocol::TCP, Syn);
        assert!(!progress.begins_anew(Syn), "a retransmission");
        progress.see(Return, Rst);
        assert!(progress.begins_anew(Syn) && !progress.begins_anew(Other));
    }

    #[test]
    fn who_speaks_on_after_a_reset_has_not_reset_it() {
        let established = [(Forward, Syn), (Return, Other), (Forward, Other)];
        let reset = [&established[..], &[(Return, Rst)]].concat();
        assert_eq!(after(&reset), ConnState::Closed);
        let late = [&reset[..], &[(Forward, Other)]].concat();
        assert_eq!(after(&late), ConnState::Closed, "it was on its way");
        let forged = [&reset[..], &[(Return, Other)]].concat();
        assert_eq!(after(&forged), ConnState::Established);
    }

    #[test]
    fn a_connection_from_before_is_established_once_it_is_answered() {
        assert_eq!(after(&[(Forward, Other)]), ConnState::PickedUp);
        assert_eq!(after(&[(Forward, Other), (Return, Other)]), ConnState::Established);
    }

    #[test]
    fn a_datagram_that_is_answered_makes_a_stream() {
        let mut progress = Progress::begin(IpProtocol::UDP, Other);
        progress.see(Forward, Other);
        assert_eq!(progress.state, ConnState::UdpNew);
        progress.see(Return, Other);
        assert_eq!(progress.state, ConnState::UdpStream);
    }

    #[test]
    fn states_are_found_by_number_and_by_name() {
        for state in ConnState::ALL {
            assert_eq!(ConnState::from_code(state as u8), Some(state));
            assert_eq!(ConnState::from_name(state.name()), Some(state));
        }
        assert_eq!((ConnState::from_code(0), ConnState::from_code(12)), (None, None));
    }
}
