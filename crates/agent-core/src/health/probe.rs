//! One check: a conversation with a member, from its first packet to what it came to.

use mn_packet::{
    EthernetHeader, IpPacket, IpProtocol, Ipv4Header, Layers, Mac, TcpFlags, TcpHeader, UdpHeader,
    eth_type_of, from_v6, ip_packet,
};
use mn_simulation::CheckKey;
use mn_time::{Duration, Instant};
use mn_topology::Check;

/// What was sent and has no answer is sent again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// What of an answer is read for its status: `HTTP/1.1 200`.
const STATUS_LEN: usize = 12;
const WINDOW: u16 = 8192;
/// What a member is sent over UDP. Anything it answers is good.
const DATAGRAM: &[u8] = b"midonet health check\r\n";

/// What makes a check pass.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Goal {
    /// The connection is accepted.
    Accepted,
    /// The page comes with one of these statuses.
    Page { request: Vec<u8>, check: Check },
    /// Some datagram comes back.
    Datagram,
}

impl Goal {
    /// What a monitor's check wants of this member.
    #[must_use]
    pub fn of(check: &Check, key: &CheckKey) -> Self {
        match check {
            Check::Tcp => Self::Accepted,
            Check::Udp => Self::Datagram,
            Check::Http { url_path, .. } => {
                let host = match from_v6(key.member.addr) {
                    std::net::IpAddr::V4(addr) => format!("{addr}:{}", key.member.port),
                    std::net::IpAddr::V6(addr) => format!("[{addr}]:{}", key.member.port),
                };
                let request = format!(
                    "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: midonet\r\nAccept: */*\r\nConnection: \
                     close\r\n\r\n",
                    url_path.as_str()
                );
                Self::Page { request: request.into_bytes(), check: check.clone() }
            }
        }
    }

    /// What carries such a check.
    #[must_use]
    pub const fn protocol(check: &Check) -> IpProtocol {
        match check {
            Check::Tcp | Check::Http { .. } => IpProtocol::TCP,
            Check::Udp => IpProtocol::UDP,
        }
    }
}

/// Where the conversation is.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Stage {
    /// The first packet was sent.
    Begun,
    /// The page was asked for; what came of it so far.
    Asked { next: u32, got: Vec<u8> },
}

/// A check under way.
#[derive(Clone, Debug)]
pub struct Probe {
    key: CheckKey,
    goal: Goal,
    stage: Stage,
    /// Our first sequence number.
    isn: u32,
    again_at: Instant,
    until: Instant,
}

impl Probe {
    /// A check that has to be done after `timeout`. The frames to send are added to `out`: their
    /// Ethernet addresses are the router's to write.
    pub fn start(
        key: CheckKey,
        goal: Goal,
        isn: u32,
        (now, timeout): (Instant, Duration),
        out: &mut Vec<Vec<u8>>,
    ) -> Self {
        let stage = Stage::Begun;
        let probe =
            Self { key, goal, stage, isn, again_at: now + AGAIN_AFTER, until: now + timeout };
        out.push(probe.present());
        probe
    }

    /// The conversation.
    #[must_use]
    pub const fn key(&self) -> &CheckKey {
        &self.key
    }

    /// When it has to be looked at again.
    #[must_use]
    pub fn due_at(&self) -> Instant {
        self.again_at.min(self.until)
    }

    /// Time has passed: what has no answer is sent again; after the time allowed the check has
    /// failed.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) -> Option<bool> {
        if self.until <= now {
            self.hang_up(out);
            return Some(false);
        }
        if self.again_at <= now {
            self.again_at = now + AGAIN_AFTER;
            out.push(self.present());
        }
        None
    }

    /// Gives up: the member is told, if it may hold a connection.
    pub fn hang_up(&self, out: &mut Vec<Vec<u8>>) {
        if let Stage::Asked { next, .. } = self.stage {
            out.push(self.segment(TcpFlags::RST | TcpFlags::ACK, self.sent(), next, &[]));
        }
    }

    /// A frame from the member. Whether the check has passed, once that is known. Checksums are not
    /// looked at: on one machine they are not computed.
    pub fn hear(&mut self, frame: &[u8], out: &mut Vec<Vec<u8>>) -> Option<bool> {
        let layers = Layers::of(frame).ok()?;
        let ip = layers.ip()?;
        match self.goal {
            Goal::Datagram => UdpHeader::split(ip.payload).ok().map(|_| true),
            Goal::Accepted | Goal::Page { .. } => self.hear_segment(ip, out),
        }
    }

    fn hear_segment(&mut self, ip: &IpPacket<'_>, out: &mut Vec<Vec<u8>>) -> Option<bool> {
        let (header, data) = TcpHeader::split(ip.payload).ok()?;
        let acknowledged = header.flags.has(TcpFlags::ACK) && header.ack == self.sent();
        let stage = &self.stage;
        if header.flags.has(TcpFlags::RST) {
            // Only a reset that knows our numbers is the member's.
            let known = match stage {
                Stage::Begun => acknowledged,
                Stage::Asked { next, .. } => header.seq == *next,
            };
            return known.then_some(false);
        }
        match stage {
            Stage::Begun => {
                let accepted = header.flags.has(TcpFlags::SYN) && acknowledged;
                if accepted { self.accepted(header.seq.wrapping_add(1), out) } else { None }
            }
            Stage::Asked { .. } => self.read(&header, data, out),
        }
    }

    /// The member accepts the connection; its next octet has this number.
    fn accepted(&mut self, next: u32, out: &mut Vec<Vec<u8>>) -> Option<bool> {
        if self.goal == Goal::Accepted {
            // Refused before it is complete: the server behind the socket is not bothered.
            out.push(self.segment(TcpFlags::RST, self.sent(), 0, &[]));
            return Some(true);
        }
        self.stage = Stage::Asked { next, got: Vec::new() };
        out.push(self.present());
        None
    }

    /// Reads the answer as far as its status.
    fn read(&mut self, header: &TcpHeader, data: &[u8], out: &mut Vec<Vec<u8>>) -> Option<bool> {
        let Stage::Asked { next, got } = &mut self.stage else { return None };
        if header.flags.has(TcpFlags::SYN) || header.seq != *next {
            // What comes late, twice or too early is sent again by the member.
            return None;
        }
        got.extend(data.iter().take(STATUS_LEN - got.len()));
        let fin = header.flags.has(TcpFlags::FIN);
        *next = next.wrapping_add(data.len() as u32).wrapping_add(fin.into());
        let passed = if got.len() == STATUS_LEN {
            let good = status(got).is_some_and(|status| match &self.goal {
                Goal::Page { check: Check::Http { expected_codes, .. }, .. } => {
                    expected_codes.has(status)
                }
                Goal::Page { .. } | Goal::Accepted | Goal::Datagram => false,
            });
            Some(good)
        } else {
            fin.then_some(false)
        };
        if passed.is_some() {
            self.hang_up(out);
        } else if !data.is_empty() {
            let Stage::Asked { next, .. } = self.stage else { return None };
            out.push(self.segment(TcpFlags::ACK, self.sent(), next, &[]));
        }
        passed
    }

    /// The number of our next octet.
    fn sent(&self) -> u32 {
        let asked = match (&self.stage, &self.goal) {
            (Stage::Asked { .. }, Goal::Page { request, .. }) => request.len() as u32,
            _ => 0,
        };
        self.isn.wrapping_add(1).wrapping_add(asked)
    }

    /// What waits for an answer.
    fn present(&self) -> Vec<u8> {
        match (&self.goal, &self.stage) {
            (Goal::Datagram, _) => {
                let (src, dst) = (from_v6(self.key.own.addr), from_v6(self.key.member.addr));
                let header = UdpHeader { src: self.key.own.port, dst: self.key.member.port };
                self.frame(IpProtocol::UDP, &header.datagram(src, dst, DATAGRAM))
            }
            (Goal::Page { request, .. }, Stage::Asked { next, .. }) => {
                let flags = TcpFlags::ACK | TcpFlags::PSH;
                self.segment(flags, self.isn.wrapping_add(1), *next, request)
            }
            _ => self.segment(TcpFlags::SYN, self.isn, 0, &[]),
        }
    }

    fn segment(&self, flags: TcpFlags, seq: u32, ack: u32, data: &[u8]) -> Vec<u8> {
        let (src, dst) = (from_v6(self.key.own.addr), from_v6(self.key.member.addr));
        let (own, member) = (self.key.own.port, self.key.member.port);
        let header = TcpHeader { src: own, dst: member, seq, ack, flags, window: WINDOW };
        self.frame(IpProtocol::TCP, &header.segment(src, dst, data))
    }

    fn frame(&self, protocol: IpProtocol, message: &[u8]) -> Vec<u8> {
        let (src, dst) = (from_v6(self.key.own.addr), from_v6(self.key.member.addr));
        let packet = ip_packet(src, dst, Ipv4Header::TTL, protocol, message);
        EthernetHeader::untagged(Mac::ZERO, Mac::ZERO, eth_type_of(src)).frame(&packet)
    }
}

/// The status of an answer that begins like this (RFC 9112 §4).
fn status(start: &[u8]) -> Option<u16> {
    let code = start.strip_prefix(b"HTTP/1.")?;
    let (minor, code) = code.split_first()?;
    let code = code.strip_prefix(b" ").filter(|_| minor.is_ascii_digit())?;
    std::str::from_utf8(code).ok()?.parse().ok()
}
