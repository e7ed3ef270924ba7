//! The way of state messages between hosts: datagrams between tunnel addresses.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// The port of state messages at every tunnel address.
pub const STATE_PORT: u16 = 6688;

/// What carries state messages. Anything may get lost, come twice or late on it.
pub trait StatePath: Send + Sync {
    /// Listens at these addresses of this host, and at no others.
    ///
    /// # Errors
    ///
    /// One of them is not there. The others are listened at.
    fn listen(&self, locals: &[IpAddr]) -> io::Result<()>;

    /// Sends a datagram from one of the addresses listened at.
    ///
    /// # Errors
    ///
    /// The host's network refuses it.
    fn send(&self, from: IpAddr, to: IpAddr, datagram: &[u8]) -> io::Result<()>;

    /// Waits for a datagram, until the time is over or [`Self::wake`] is called. What does not fit
    /// the buffer is cut off.
    ///
    /// # Errors
    ///
    /// Waiting is not possible.
    fn receive(&self, wait: Duration, buffer: &mut [u8]) -> io::Result<Option<(IpAddr, usize)>>;

    /// Ends a wait, this one or the next.
    fn wake(&self);
}

/// Datagrams of UDP.
#[derive(Debug)]
pub struct UdpPath {
    sockets: Mutex<HashMap<IpAddr, Arc<UdpSocket>>>,
    bell: EventFd,
}

impl UdpPath {
    /// Listens nowhere yet.
    ///
    /// # Errors
    ///
    /// This process has too many files open.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self { sockets: Mutex::default(), bell: EventFd::from_value_and_flags(0, flags)? })
    }

    fn all(&self) -> Vec<Arc<UdpSocket>> {
        self.sockets.lock().map_or_else(|_| Vec::new(), |all| all.values().cloned().collect())
    }
}

impl StatePath for UdpPath {
    fn listen(&self, locals: &[IpAddr]) -> io::Result<()> {
        let Ok(mut sockets) = self.sockets.lock() else { return Ok(()) };
        sockets.retain(|local, _| locals.contains(local));
        let mut result = Ok(());
        for local in locals {
            if sockets.contains_key(local) {
                continue;
            }
            let opened = UdpSocket::bind(SocketAddr::new(*local, STATE_PORT))
                .and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
            match opened {
                Ok(socket) => drop(sockets.insert(*local, Arc::new(socket))),
                Err(error) => result = Err(error),
            }
        }
        drop(sockets);
        self.wake();
        result
    }

    fn send(&self, from: IpAddr, to: IpAddr, datagram: &[u8]) -> io::Result<()> {
        let socket = self.sockets.lock().ok().and_then(|all| all.get(&from).cloned());
        let socket = socket.ok_or(ErrorKind::AddrNotAvailable)?;
        socket.send_to(datagram, SocketAddr::new(to, STATE_PORT)).map(drop)
    }

    fn receive(&self, wait: Duration, buffer: &mut [u8]) -> io::Result<Option<(IpAddr, usize)>> {
        let sockets = self.all();
        let mut watched = vec![PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
        watched.extend(sockets.iter().map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)));
        // Rounded up: a wait that ends too early would be begun again and again.
        let millis = wait.as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        match poll(&mut watched, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        // There may be nothing to take.
        let _ = self.bell.read();
        for socket in &sockets {
            // Errors are of earlier datagrams that found no agent: acknowledgements see to that.
            if let Ok((len, from)) = socket.recv_from(buffer) {
                return Ok(Some((from.ip(), len)));
            }
        }
        Ok(None)
    }

    fn wake(&self) {
        // It can only be full of rings.
        let _ = self.bell.write(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_go_from_address_to_address_and_a_bell_ends_the_wait() {
        let path = UdpPath::new().unwrap();
        let [one, two]: [IpAddr; 2] = ["127.66.88.1", "127.66.88.2"].map(|it| it.parse().unwrap());
        path.listen(&[one, two]).unwrap();
        path.send(one, two, b"hello").unwrap();
        let mut buffer = [0; 64];
        let mut received = None;
        for _ in 0..100 {
            received = path.receive(Duration::from_millis(50), &mut buffer).unwrap();
            if received.is_some() {
                break;
            }
        }
        assert_eq!((received, &buffer[..5]), (Some((one, 5)), &b"hello"[..]));
        path.wake();
        let begun = std::time::Instant::now();
        assert_eq!(path.receive(Duration::from_secs(20), &mut buffer).unwrap(), None);
        assert!(begun.elapsed() < Duration::from_secs(10));
        path.listen(&[one]).unwrap();
        assert!(path.send(two, one, b"hello").is_err(), "it is not listened at any more");
        assert!(path.listen(&["192.0.2.77".parse().unwrap()]).is_err(), "no address of ours");
    }
}
