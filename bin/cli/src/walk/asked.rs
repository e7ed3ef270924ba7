//! What is asked: which packet, from where.

use std::net::IpAddr;

use clap::{Args, Parser};
use mn_api_types::walk::WalkRequest;
use mn_packet::Mac;

use crate::refusal::Refusal;
use crate::session::Session;

/// Tell where a packet would go, step by step, without sending one.
#[derive(Args, Clone, Debug)]
#[command(
    next_help_heading = "Packet",
    after_help = "\
Examples:
  midonet-cli walk hv0/tap0 10.0.1.5
  midonet-cli walk 9ba1f5a2-… 8c11e0b3-… --proto tcp --dport 80
  midonet-cli walk hv0/tap0 10.0.1.5 --proto tcp --dport 80 --both
  midonet-cli walk hv0/tap0 2001:db8::5 --proto udp --sport 1000 --dport 53 --json"
)]
pub struct Asked {
    /// The port that the packet enters by, or HOST/INTERFACE.
    #[arg(help_heading = "Arguments")]
    pub from: String,
    /// The port that it is meant for, or an address.
    #[arg(help_heading = "Arguments")]
    pub to: String,
    /// icmp, tcp, udp, icmpv6 or a protocol's number [default: icmp of the addresses' version].
    #[arg(long, value_parser = protocol)]
    pub proto: Option<u8>,
    /// Source port of TCP or UDP.
    #[arg(long)]
    pub sport: Option<u16>,
    /// Destination port of TCP or UDP.
    #[arg(long)]
    pub dport: Option<u16>,
    /// Source address [default: that of the port, as far as it is known].
    #[arg(long)]
    pub src: Option<IpAddr>,
    /// Destination address, where TO is a port.
    #[arg(long)]
    pub dst: Option<IpAddr>,
    /// Source MAC.
    #[arg(long)]
    pub src_mac: Option<Mac>,
    /// Destination MAC.
    #[arg(long)]
    pub dst_mac: Option<Mac>,
    /// VLAN of the frame's tag.
    #[arg(long)]
    pub vlan: Option<u16>,
    /// Time to live or hop limit.
    #[arg(long, default_value_t = 64)]
    pub ttl: u8,
    /// Octets after the last header.
    #[arg(long, default_value_t = 0)]
    pub size: u16,
    /// Walk the answer too, from the state that the packet would leave.
    #[arg(long)]
    pub both: bool,
}

#[derive(Parser)]
#[command(name = "walk", no_binary_name = true, disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    asked: Asked,
}

impl Asked {
    /// Reads it from the words of a session's line.
    ///
    /// # Errors
    ///
    /// A sentence about what is missing or wrong.
    pub fn from_words(words: &[&str]) -> Result<Self, String> {
        let line = Line::try_parse_from(words).map_err(|error| {
            let text = error.to_string();
            let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage"));
            let told = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
            let told = told.trim_start_matches("error: ");
            format!("{told}; it is: walk FROM TO [--proto P] [--sport N] [--dport N] [--both]")
        })?;
        Ok(line.asked)
    }

    /// What the API is asked.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when a name means nothing, or the server cannot be asked.
    pub(crate) fn request(&self, session: &mut Session) -> Result<WalkRequest, Refusal> {
        let mut request = WalkRequest {
            src_addr: self.src,
            dst_addr: self.dst,
            src_mac: self.src_mac,
            dst_mac: self.dst_mac,
            vlan: self.vlan,
            protocol: self.proto,
            src_port: self.sport,
            dst_port: self.dport,
            ttl: self.ttl,
            payload_length: self.size,
            both: self.both,
            ..WalkRequest::default()
        };
        match self.from.split_once('/') {
            Some((host, interface)) => {
                request.host_id = Some(session.host(host)?);
                request.interface_name = Some(interface.to_owned());
            }
            None => request.from_port = Some(session.port(&self.from)?),
        }
        match self.to.parse::<IpAddr>() {
            Ok(addr) => request.dst_addr = Some(addr),
            Err(_) => request.to_port = Some(session.port(&self.to)?),
        }
        Ok(request)
    }
}

fn protocol(text: &str) -> Result<u8, String> {
    match text.to_ascii_lowercase().as_str() {
        "icmp" => Ok(1),
        "tcp" => Ok(6),
        "udp" => Ok(17),
        "icmpv6" | "icmp6" => Ok(58),
        number => number
            .parse()
            .map_err(|_| format!("{text} is no protocol: icmp, tcp, udp, icmpv6 or a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_asked_for_in_a_line() {
        let asked = Asked::from_words(&["hv0/tap0", "10.0.1.5", "--proto", "tcp", "--dport", "80"]);
        let asked = asked.unwrap();
        assert_eq!((asked.from.as_str(), asked.to.as_str()), ("hv0/tap0", "10.0.1.5"));
        assert_eq!((asked.proto, asked.dport, asked.ttl), (Some(6), Some(80), 64));
    }

    #[test]
    fn a_walk_that_makes_no_sense_is_refused_with_a_sentence() {
        let refused = Asked::from_words(&["hv0/tap0", "10.0.1.5", "--proto", "carp"]).unwrap_err();
        assert!(refused.contains("carp is no protocol"), "{refused}");
        let refused = Asked::from_words(&["hv0/tap0"]).unwrap_err();
        assert!(refused.contains("walk FROM TO"), "{refused}");
    }
}
