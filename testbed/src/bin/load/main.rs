//! A small load tool: what the bench measures with, the same for every layout.
//!
//! ```text
//! load serve --listen 10.0.0.2:7000            answers every kind of client, until killed
//! load rr    --to 10.0.0.2:7000 --seconds 2    TCP: one octet there, one back, again
//! load crr   --to 10.0.0.2:7000 --seconds 2    TCP: connect, one octet each way, close by RST
//! load pps   --to 10.0.0.2:7000 --seconds 2 --size 22    UDP one way, as many as go
//! load flows --to 10.0.0.2:7000 --seconds 2 --rate 50000 --from 10.0.1.64
//!                                              UDP one way, every datagram a new flow
//! load first --to 10.0.0.2:7000 --count 100    UDP round trips, each from a new port
//! ```
//!
//! Each client prints one line of JSON. `--cpu N` pins it: without that, figures vary by a factor
//! of four on machines whose cores wake each other slowly.

mod flows;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, sendto};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// Measures a path between two hosts.
#[derive(Parser)]
struct Load {
    /// The CPU to run on.
    #[arg(long, global = true)]
    cpu: Option<usize>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answers clients until killed.
    Serve {
        #[arg(long)]
        listen: SocketAddr,
        /// Milliseconds between two looks at the datagrams that came. A receiver that sleeps until
        /// the next one is woken for each, which is work for whoever sends: with 0 it does.
        #[arg(long, default_value_t = 0)]
        nap: u64,
    },
    /// TCP requests and answers of one octet, a second.
    Rr(Timed),
    /// TCP connections with one octet each way, a second.
    Crr(Timed),
    /// UDP datagrams one way, a second, as the receiver counts them.
    Pps {
        #[command(flatten)]
        timed: Timed,
        /// Octets of payload; 22 make a frame of 64 with its FCS.
        #[arg(long, default_value_t = 22)]
        size: usize,
    },
    /// UDP datagrams of new flows, at a rate.
    Flows(flows::Flows),
    /// The round trip of the first datagram of a flow.
    First {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long, default_value_t = 100)]
        count: u16,
    },
}

#[derive(Args)]
struct Timed {
    #[arg(long)]
    to: SocketAddr,
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

fn main() -> ExitCode {
    let load = Load::parse();
    let result = pin(load.cpu).and_then(|()| match load.command {
        Command::Serve { listen, nap } => serve(listen, Duration::from_millis(nap)),
        Command::Rr(timed) => rr(&timed),
        Command::Crr(timed) => crr(&timed),
        Command::Pps { timed, size } => pps(&timed, size),
        Command::Flows(words) => flows::flows(&words),
        Command::First { to, count } => first(to, count),
    });
    match result {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn pin(cpu: Option<usize>) -> io::Result<()> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// A datagram with this first octet asks for the number of datagrams received since the last ask.
const ASK: u8 = b'?';
/// A datagram with this first octet is sent back.
const ECHO: u8 = b'!';
/// How long an answer may take before it is asked for again, or counted as lost.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

fn serve(listen: SocketAddr, nap: Duration) -> io::Result<Value> {
    let listener = TcpListener::bind(listen)?;
    let socket = UdpSocket::bind(listen)?;
    // A burst must not be lost in the receiver's own queue: that is not the path. The limit that
    // the kernel has for others is a fifth of a megabyte.
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &(32 << 20))?;
    let received = Arc::new(AtomicU64::new(0));
    thread::spawn(move || count_datagrams(&socket, nap, &received));
    // One thread serves one connection after the other: a thread each would measure the scheduler.
    loop {
        let (stream, _) = listener.accept()?;
        // The client ends it, by a reset in the case of `crr`.
        drop(answer(stream));
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut octet = [0];
    loop {
        stream.read_exact(&mut octet)?;
        stream.write_all(&octet)?;
    }
}

fn count_datagrams(socket: &UdpSocket, nap: Duration, received: &AtomicU64) {
    let mut datagrams = vec![[0; 2048]; BATCH];
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    loop {
        let mut parts: Vec<[io::IoSliceMut<'_>; 1]> =
            datagrams.iter_mut().map(|datagram| [io::IoSliceMut::new(datagram)]).collect();
        // The first is waited for; what came with it is taken with it.
        let waits = if nap.is_zero() { MsgFlags::MSG_WAITFORONE } else { MsgFlags::MSG_DONTWAIT };
        let fd = socket.as_raw_fd();
        let Ok(results) = recvmmsg(fd, &mut headers, parts.iter_mut(), waits, None) else {
            thread::sleep(nap);
            continue;
        };
        for result in results {
            let datagram = result.iovs().next().unwrap_or_default();
            match datagram.first() {
                Some(&ASK) => {
                    let count = received.swap(0, Ordering::Relaxed);
                    reply(socket, &count.to_be_bytes(), result.address);
                }
                Some(&ECHO) => reply(socket, datagram, result.address),
                _ => drop(received.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }
}

fn reply(socket: &UdpSocket, datagram: &[u8], to: Option<SockaddrStorage>) {
    if let Some(to) = to {
        // What is not answered is asked again, or counted as lost.
        let _ = sendto(socket.as_raw_fd(), datagram, &to, MsgFlags::empty());
    }
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, Duration::from_secs(3))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])
}

fn per_second(count: u64, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

fn rr(timed: &Timed) -> io::Result<Value> {
    let mut stream = connect(timed.to)?;
    exchange(&mut stream)?;
    let (begun, limit) = (Instant::now(), Duration::from_secs_f64(timed.seconds));
    let mut times = Vec::with_capacity(1 << 18);
    while begun.elapsed() < limit {
        let sent = Instant::now();
        exchange(&mut stream)?;
        times.push(sent.elapsed());
    }
    let rate = per_second(times.len() as u64, begun);
    times.sort_unstable();
    Ok(json!({ "rr_per_s": rate, "p50_us": micros(&times, 50), "p99_us": micros(&times, 99) }))
}

fn crr(timed: &Timed) -> io::Result<Value> {
    let (begun, limit) = (Instant::now(), Duration::from_secs_f64(timed.seconds));
    let mut count = 0;
    while begun.elapsed() < limit {
        let mut stream = connect(timed.to)?;
        exchange(&mut stream)?;
        // A reset leaves no TIME_WAIT behind, so ports do not run out.
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger)?;
        count += 1;
    }
    Ok(json!({ "crr_per_s": per_second(count, begun) }))
}

fn udp_to(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    Ok(socket)
}

/// What the receiver has counted since the last time, asked until it answers.
fn ask(to: SocketAddr) -> io::Result<u64> {
    let socket = udp_to(to)?;
    for _ in 0..10 {
        socket.send(&[ASK])?;
        let mut count = [0; 8];
        if socket.recv(&mut count).is_ok() {
            return Ok(u64::from_be_bytes(count));
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not answer"))
}

/// Datagrams handed to the kernel at once.
const BATCH: usize = 64;

fn pps(timed: &Timed, size: usize) -> io::Result<Value> {
    let socket = udp_to(timed.to)?;
    ask(timed.to)?;
    let payload = vec![b'.'; size.max(1)];
    let parts = [io::IoSlice::new(&payload)];
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let (begun, limit) = (Instant::now(), Duration::from_secs_f64(timed.seconds));
    let mut sent = 0;
    while begun.elapsed() < limit {
        let batch = std::iter::repeat_n(&parts, BATCH);
        let none: [Option<SockaddrStorage>; BATCH] = [const { None }; BATCH];
        match sendmmsg(socket.as_raw_fd(), &mut headers, batch, none, [], MsgFlags::empty()) {
            Ok(results) => sent += results.count() as u64,
            Err(nix::errno::Errno::ENOBUFS | nix::errno::Errno::ECONNREFUSED) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let elapsed = begun.elapsed().as_secs_f64();
    thread::sleep(Duration::from_millis(100));
    let received = ask(timed.to)?;
    Ok(json!({ "sent": sent, "received": received, "pps": received as f64 / elapsed }))
}

fn first(to: SocketAddr, count: u16) -> io::Result<Value> {
    let mut first = Vec::new();
    let mut second = Vec::new();
    let mut lost = 0;
    for _ in 0..count {
        let socket = udp_to(to)?;
        match (round_trip(&socket), round_trip(&socket)) {
            (Ok(a), Ok(b)) => {
                first.push(a);
                second.push(b);
            }
            _ => lost += 1,
        }
        thread::sleep(Duration::from_millis(2));
    }
    first.sort_unstable();
    second.sort_unstable();
    Ok(json!({
        "first_p50_us": micros(&first, 50), "first_p99_us": micros(&first, 99),
        "second_p50_us": micros(&second, 50), "second_p99_us": micros(&second, 99),
        "lost": lost,
    }))
}

fn round_trip(socket: &UdpSocket) -> io::Result<Duration> {
    let sent = Instant::now();
    socket.send(&[ECHO])?;
    socket.recv(&mut [0; 8])?;
    Ok(sent.elapsed())
}

/// A percentile of sorted times, in microseconds; null where there are none.
fn micros(sorted: &[Duration], percent: usize) -> Option<f64> {
    let index = (sorted.len() * percent / 100).min(sorted.len().checked_sub(1)?);
    Some(sorted[index].as_secs_f64() * 1e6)
}
