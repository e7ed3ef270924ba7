//! Two programs that talk, and who each of them thinks the other is.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mn_testbed::{LabError, Namespace, Outcome, Vm, wait_for};

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long it is waited for what must not come.
pub const IMPATIENCE: Duration = Duration::from_millis(700);

/// Sends back what it is told, over TCP and UDP, for as long as the test lives.
pub struct Server(Arc<Mutex<Vec<SocketAddr>>>);

impl Server {
    /// Listens to a port of a namespace, in both IP versions.
    pub fn start(at: &Namespace, port: u16) -> Outcome<Self> {
        let bound = at.enter(move || {
            let any = ("::", port);
            TcpListener::bind(any).and_then(|tcp| UdpSocket::bind(any).map(|udp| (tcp, udp)))
        })?;
        let (tcp, udp) = bound.map_err(LabError::machine(format!("listen on port {port}")))?;
        let peers = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&peers);
        std::thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                note(&seen, stream.peer_addr());
                std::thread::spawn(move || echo(stream));
            }
        });
        let seen = Arc::clone(&peers);
        std::thread::spawn(move || {
            let mut octets = [0; 2048];
            while let Ok((len, from)) = udp.recv_from(&mut octets) {
                note(&seen, Ok(from));
                // What is not answered is what the test waits for.
                let _sent = udp.send_to(&octets[..len], from);
            }
        });
        Ok(Self(peers))
    }

    /// Who has spoken to it, in order.
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn note(peers: &Mutex<Vec<SocketAddr>>, from: std::io::Result<SocketAddr>) {
    if let Ok(from) = from {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        peers.lock().unwrap_or_else(PoisonError::into_inner).push(from);
    }
}

fn echo(mut stream: TcpStream) {
    let mut octets = [0; 16 << 10];
    while let Ok(len @ 1..) = stream.read(&mut octets) {
        if stream.write_all(&octets[..len]).is_err() {
            break;
        }
    }
}

pub fn addr(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Waits until a machine reaches an address: rules and neighbours are known then.
pub fn wait_reaches(vm: &Vm, to: &str) -> Outcome {
    wait_for(&format!("{} reaches {to}", vm.name), Duration::from_secs(15), || {
        Ok(vm.ping(to, 1)?.is_whole())
    })
}

/// A TCP connection.
pub fn dial(from: &Namespace, to: &str, port: u16) -> Outcome<TcpStream> {
    let to = SocketAddr::new(addr(to), port);
    let stream = from.enter(move || {
        let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok::<_, std::io::Error>(stream)
    })?;
    stream.map_err(LabError::machine(format!("connect to {to}")))
}

/// Whether so many octets come back as they were said.
pub fn comes_back(stream: &mut TcpStream, len: usize) -> bool {
    let said: Vec<u8> = (0..len).map(|n| (n * 7 + n / 251) as u8).collect();
    said.chunks(8 << 10).all(|said| {
        let mut heard = vec![0; said.len()];
        stream.write_all(said).is_ok() && stream.read_exact(&mut heard).is_ok() && heard == said
    })
}

/// Which of these connections bring nothing back.
pub fn silent(streams: &mut [TcpStream]) -> Vec<usize> {
    let silent = |(_, stream): &mut (usize, &mut TcpStream)| !comes_back(stream, 100);
    streams.iter_mut().enumerate().filter_map(|mut it| silent(&mut it).then_some(it.0)).collect()
}

/// A UDP socket that speaks to one address alone.
pub fn socket(from: &Namespace, source: u16, to: &str, port: u16) -> Outcome<UdpSocket> {
    let to = SocketAddr::new(addr(to), port);
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = from.enter(move || {
        let socket = UdpSocket::bind((any, source))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(IMPATIENCE))?;
        Ok::<_, std::io::Error>(socket)
    })?;
    socket.map_err(LabError::machine(format!("a socket to {to}")))
}

/// Whether a datagram is answered; one that was lost is sent again.
pub fn is_answered(socket: &UdpSocket) -> bool {
    let mut octets = [0; 16];
    (0..4).any(|_| socket.send(b"said").is_ok() && socket.recv(&mut octets).is_ok_and(|n| n == 4))
}
