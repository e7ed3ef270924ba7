//! Limits of the agent. Every queue and table has one; how they relate is checked here.

use mn_time::Duration;

/// Flows one host's datapath holds.
pub const FLOWS_MAX: usize = 1 << 20;
/// Flows evicted in one go when the table is full: one in 64, and so few that packets do not wait
/// for it.
pub const fn evict_batch(flows: usize) -> usize {
    match flows / 64 {
        0 => 1,
        share if share > EVICT_MAX => EVICT_MAX,
        share => share,
    }
}
const EVICT_MAX: usize = 256;
/// Into how many looks the search for idle flows is divided, so that few leave at once.
pub const EXPIRE_LOOKS: usize = 20;
/// A flow that nobody used for this long leaves.
pub const IDLE_FOR: Duration = Duration::from_secs(60);
/// A flow that drops because of something that may mend itself stays this long.
pub const BRIEF_FOR: Duration = Duration::from_secs(2);
/// Upcalls taken from the ring in one go.
pub const UPCALLS_AT_ONCE: usize = 1024;
/// Upcalls that are decided about before the flows they make are activated: what comes meanwhile
/// waits as long as that takes.
pub const SERVE_BATCH: usize = 16;
/// Numbers that ports have in the datapath: those below this.
pub const PORT_NUMBERS: usize = 4096;
/// Packets that a token of the guides' settings stands for. Their capacities are packets in flight in
/// an agent to which each is some hundred microseconds of work; here it is less than ten.
pub const PACKETS_PER_TOKEN: u32 = 32;
/// Octets of a packet in flight; a longer one counts as several.
pub const OCTETS_PER_PACKET: usize = 2048;
/// Packets that wait for an answer, per worker.
pub const PENDING_MAX: usize = 4096;
/// Packets of one flow that wait for an answer.
pub const PENDING_PER_FLOW: usize = 64;
/// Octets of waiting packets, per worker.
pub const PENDING_OCTETS: usize = 16 << 20;
/// How long a packet waits for topology or a place.
pub const LOAD_FOR: Duration = Duration::from_secs(3);
/// How long packets wait for the place of a port that was bound a moment ago: what its host's agent
/// may take to attach it and to say so.
pub const PLACE_FOR: Duration = Duration::from_secs(1);
/// Copies of floods that wait for such a port, per worker.
pub const COPIES_MAX: usize = 256;
/// How long a packet waits for a neighbour: longer than [`ASK_EVERY`] × [`ASKS_MAX`], so that the
/// neighbour's silence is answered by its own verdict.
pub const NEIGHBOR_FOR: Duration = Duration::from_secs(4);
/// How long a packet waits in all, for one thing after another.
pub const WAIT_MAX: Duration = Duration::from_secs(7);
/// How often an unanswered request for a neighbour is repeated (contracts §3).
pub const ASK_EVERY: Duration = Duration::from_secs(1);
/// How many requests are sent (contracts §3).
pub const ASKS_MAX: u8 = 3;
/// How often it is looked at which neighbours and MACs flows use.
pub const USES_EVERY: Duration = Duration::from_secs(5);
/// How long a neighbour in use is believed without being heard of (agent-facts §12).
pub const REACHABLE_FOR: Duration = Duration::from_secs(60);
/// How long the agent of another host, which would have heard a neighbour, is given to turn out
/// dead: longer than its session lives without it.
pub const DOUBT_FOR: Duration = Duration::from_secs(36);
/// A neighbour that was not heard of for this long is taken out of the table by who wrote it.
pub const NEIGHBOR_IDLE_FOR: Duration = Duration::from_secs(300);
/// How long nothing is asked after nobody answered (contracts §3).
pub const QUIET_FOR: Duration = Duration::from_secs(20);
/// A learned MAC that no flow used for this long is forgotten.
pub const MAC_IDLE_FOR: Duration = Duration::from_secs(300);
/// Moves of one MAC within a second beyond which it is held where it is (contracts §4).
pub const MAC_MOVES_MAX: u8 = 5;
/// How long a MAC that moved too often stays where it is.
pub const MAC_HOLD_FOR: Duration = Duration::from_secs(10);
/// How long nothing more is said of an address that two machines claim.
pub const DUPLICATE_QUIET_FOR: Duration = Duration::from_secs(60);
/// Of how many such addresses something is said within that time.
pub const DUPLICATES_MAX: usize = 256;
/// ICMP errors and resets of our own per port and second, and at once (RFC 1812 §4.3.2.8).
pub const ERRORS_PER_SECOND: u32 = 100;
/// Flows of packets of one port, by default: half of what a datapath holds by default.
pub const FLOWS_PER_PORT: u32 = 1 << 17;
/// Ports that connections of one port are translated to, by default.
pub const NAT_PORTS_PER_PORT: u32 = 1 << 16;
/// MACs behind one port, by default.
pub const MACS_PER_PORT: u32 = 1 << 12;
/// Broadcast and multicast frames of one port, by default: so many a second, and half as many at
/// once.
pub const BROADCASTS_PER_PORT: u32 = 20_000;
/// Tracked connections that count as one port's, by default.
pub const CONNECTIONS_PER_PORT: u32 = 1 << 18;
/// How often tracked connections are looked at for their age.
pub const AGE_EVERY: Duration = Duration::from_secs(1);
/// How many of them in one go: a million within ten seconds.
pub const AGE_AT_ONCE: usize = 1 << 17;
/// How long an old flood key still delivers after a new one was published.
pub const RETIRE_AFTER: Duration = Duration::from_secs(5);
/// How long a translation of TCP is kept that nobody uses (RFC 5382 REQ-5).
pub const NAT_TCP_IDLE_FOR: Duration = Duration::from_secs(2 * 3600 + 240);
/// Likewise of TCP while nothing has answered, or one side has ended (RFC 5382 REQ-5).
pub const NAT_TRANSITORY_FOR: Duration = Duration::from_secs(240);
/// Likewise of UDP (RFC 4787 REQ-5).
pub const NAT_UDP_IDLE_FOR: Duration = Duration::from_secs(300);
/// Likewise of an echo (RFC 5508 REQ-2).
pub const NAT_ECHO_IDLE_FOR: Duration = Duration::from_secs(60);
/// Likewise of a TCP connection that both sides have ended, or one has reset: for what comes late.
pub const NAT_ENDED_FOR: Duration = Duration::from_secs(30);
/// A client's new connections stay with the member of its first one for a day (`LB-07`).
pub const PERSISTENCE_FOR: Duration = Duration::from_secs(24 * 3600);
/// How many clients each worker ties to members so; connections of more are balanced one by one.
pub const CLIENTS_MAX: usize = 1 << 16;
/// How many ended connections are looked at for a port that may be used again when none is free.
pub const NAT_REUSE_LOOKS: usize = 256;
/// How long the way of a connection with state is kept after its flow left, at least, where there
/// are several equal ones: as long as the longest translation.
pub const PATH_FOR: Duration = NAT_TCP_IDLE_FOR;
/// How often it is looked at what has become of a connection that other hosts were told of.
pub const SHARED_EVERY: Duration = Duration::from_secs(5);
/// How many such connections each worker follows; of more, others know only that they began.
pub const SHARED_MAX: usize = 1 << 18;
/// How many such ways each worker keeps.
pub const PATHS_MAX: usize = 1 << 18;
/// Blocks of ports that are leased in one go.
pub const NAT_BLOCKS_AT_ONCE: usize = 32;
/// A block of ports that no connection uses is given back after this long (agent-facts §14).
pub const NAT_BLOCK_IDLE_FOR: Duration = Duration::from_secs(300);
/// What was loaded and nothing has needed for this long is given up: no port here leads to it, no
/// flow read it, no packet asked for it.
pub const UNUSED_FOR: Duration = Duration::from_secs(600);
/// How many of the things held are looked at in one go.
pub const HOLDING_LOOKS: usize = 4096;
/// How many of them are given up in one go.
pub const GIVE_UP_AT_ONCE: usize = 64;
/// How long a packet waits for a block of ports.
pub const LEASE_FOR: Duration = Duration::from_secs(3);
/// How long a packet to a translated address waits for what another host may be telling of it: on
/// a network that delays by up to 50 ms most of what is told is there by then, and an answer that
/// finds it has taken less than 30 ms (ADR 0017).
pub const STATE_FOR: Duration = Duration::from_millis(25);
/// How long nothing is asked after all blocks were found to be leased.
pub const NAT_DENIED_FOR: Duration = Duration::from_secs(5);

const _: () = assert!(
    WAIT_MAX.as_millis() >= LOAD_FOR.as_millis() + NEIGHBOR_FOR.as_millis(),
    "a neighbour has its time after everything was loaded"
);
const _: () = assert!(
    OCTETS_PER_PACKET * PACKETS_PER_TOKEN as usize >= 65_536,
    "a token is enough for the longest packet"
);
const _: () = assert!(
    UNUSED_FOR.as_secs() > 10 * USES_EVERY.as_secs() + IDLE_FOR.as_secs(),
    "what is used is told many times before it could be given up"
);
const _: () = assert!(
    UNUSED_FOR.as_secs() > MAC_IDLE_FOR.as_secs()
        && UNUSED_FOR.as_secs() > NEIGHBOR_IDLE_FOR.as_secs(),
    "what this host learned of a device has aged before the device is given up"
);
const _: () = assert!(PENDING_PER_FLOW <= PENDING_MAX, "one flow fits the queue");
const _: () = assert!(
    NEIGHBOR_FOR.as_millis() > ASK_EVERY.as_millis() * ASKS_MAX as u128,
    "the last request has time to be answered"
);
