//! Real programs that make traffic in VMs: ping, traceroute, iperf3.

use std::net::IpAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::control::wait_for;
use crate::namespace::finish;
use crate::{LabError, Outcome, Vm};

/// What `ping` counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ping {
    pub sent: u32,
    pub received: u32,
    /// The median is not told by ping; this is its mean, in milliseconds.
    pub mean_ms: f64,
}

impl Ping {
    /// Whether every request was answered.
    pub fn is_whole(&self) -> bool {
        self.sent > 0 && self.sent == self.received
    }
}

/// What iperf3 measured.
#[derive(Clone, Copy, Debug)]
pub struct Throughput {
    /// At the receiver.
    pub gigabits_per_second: f64,
    /// Octets of payload that the receiver counted.
    pub octets: u64,
}

impl Vm {
    /// Sends `count` echo requests and waits for the answers. After the last request ping waits
    /// for its interval, 0.2 s, or a second when nothing came at all.
    ///
    /// # Errors
    /// When ping cannot run at all; answers that do not come are no error.
    pub fn ping(&self, to: &str, count: u32) -> Outcome<Ping> {
        self.ping_with(to, count, &[])
    }

    /// As [`Vm::ping`], with more arguments for ping.
    ///
    /// # Errors
    /// As [`Vm::ping`].
    pub fn ping_with(&self, to: &str, count: u32, more: &[&str]) -> Outcome<Ping> {
        let count = count.to_string();
        let mut command = self.namespace.command("ping");
        command.args(["-n", "-q", "-i", "0.2", "-W", "1", "-c", &count]).args(more).arg(to);
        let out = command.output().map_err(LabError::machine("run ping"))?;
        let text = String::from_utf8_lossy(&out.stdout);
        parse_ping(&text).ok_or_else(|| {
            let said = String::from_utf8_lossy(&out.stderr);
            LabError::unexpected(format!("ping {to}"), format!("{text}{said}"))
        })
    }

    /// The addresses that answer on the way, in order; `*` for one that does not.
    ///
    /// # Errors
    /// When traceroute cannot run.
    pub fn traceroute(&self, to: &str) -> Outcome<Vec<String>> {
        let mut command = self.namespace.command("traceroute");
        command.args(["-n", "-q", "1", "-w", "3", "-m", "8", to]);
        let text = finish(&mut command)?;
        let hops = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
        Ok(hops.map(str::to_owned).collect())
    }

    /// A TCP stream to another VM, measured by iperf3.
    ///
    /// # Errors
    /// When a connection cannot be made or iperf3 fails.
    pub fn stream_to(&self, other: &Self, address: &str, seconds: u32) -> Outcome<Throughput> {
        let mut server = other.serve_iperf()?;
        let (seconds, mut command) = (seconds.to_string(), self.namespace.command("iperf3"));
        command.args(["-c", address, "-t", &seconds, "-J", "--connect-timeout", "3000"]);
        let outcome = finish(&mut command);
        server.kill().and_then(|()| server.wait()).map_err(LabError::machine("end iperf3"))?;
        let value: Value = serde_json::from_str(&outcome?)
            .map_err(|e| LabError::unexpected("iperf3's report", e.to_string()))?;
        let received = &value["end"]["sum_received"];
        Ok(Throughput {
            gigabits_per_second: received["bits_per_second"].as_f64().unwrap_or_default() / 1e9,
            octets: received["bytes"].as_u64().unwrap_or_default(),
        })
    }

    fn serve_iperf(&self) -> Outcome<Child> {
        let mut command = self.namespace.command("iperf3");
        command.args(["-s", "-1"]).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(LabError::machine("start iperf3"))?;
        wait_for("iperf3 listens", Duration::from_secs(5), || {
            Ok(self.namespace.run("ss -Hltn")?.contains(":5201"))
        })?;
        Ok(child)
    }

    /// Whether a TCP connection to this address comes about in time. A first packet that was lost
    /// is sent again after a second.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn connects(&self, to: IpAddr, port: u16, patience: Duration) -> Outcome<bool> {
        let to = std::net::SocketAddr::new(to, port);
        self.namespace.enter(move || std::net::TcpStream::connect_timeout(&to, patience).is_ok())
    }
}

/// Reads ping's summary: `5 packets transmitted, 5 received, …` and `rtt min/avg/max/mdev = …`.
fn parse_ping(text: &str) -> Option<Ping> {
    let summary = text.lines().find(|l| l.contains("packets transmitted"))?;
    let number = |word: &str| {
        let part = summary.split(',').find(|p| p.contains(word))?;
        part.split_whitespace().next()?.parse().ok()
    };
    let mean = text.lines().find(|l| l.starts_with("rtt")).and_then(|l| l.split('/').nth(4));
    Some(Ping {
        sent: number("transmitted")?,
        received: number("received")?,
        mean_ms: mean.and_then(|m| m.parse().ok()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_ping_is_read() {
        let text = "PING 10.0.0.2 (10.0.0.2) 56(84) bytes of data.\n\n--- statistics ---\n\
            5 packets transmitted, 4 received, +1 errors, 20% packet loss, time 204ms\n\
            rtt min/avg/max/mdev = 0.041/0.055/0.070/0.010 ms\n";
        assert_eq!(parse_ping(text), Some(Ping { sent: 5, received: 4, mean_ms: 0.055 }));
        let none = "3 packets transmitted, 0 received, 100% packet loss, time 400ms\n";
        assert!(!parse_ping(none).unwrap().is_whole());
        assert_eq!(parse_ping("connect: Network is unreachable"), None);
    }
}
