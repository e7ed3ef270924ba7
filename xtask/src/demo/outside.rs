//! What the demo has beyond the tenant's own network: a street that knows nothing of the inside, a
//! floating address, one address for all others, and a machine behind a security group.

use std::net::{IpAddr, TcpListener};
use std::time::Duration;

use mn_testbed::{Capture, Lab, LabError, Outcome, Vm};

use super::cloud::Member;

/// The machine on the street, which the router's port 198.51.100.1 leads to.
pub const STREET: &str = "198.51.100.9";
/// What `web` is known as on the street. On no port.
pub const FLOATING: &str = "203.0.113.5";
/// What everybody else is known as.
pub const SHARED: &str = "203.0.113.2";
/// The machine behind the security group, on the bridge of `web`.
const SHOP: &str = "10.1.1.13";
/// The port it may be reached at.
pub const SHOP_PORT: u16 = 80;

pub struct Outside {
    pub street: Vm,
    pub shop: Member,
    /// Where the street's machine is plugged in.
    pub street_port: String,
}

impl Outside {
    /// Draws it all with `midonet-cli`: `web` is the machine with the floating address, of which
    /// the inside address is given.
    pub fn draw(lab: &mut Lab, router: &str, front: &str, web: &str) -> Outcome<Self> {
        let control = lab.control.clone();
        let cli = |line: &str| control.cli(line);
        let bridge = cli("create bridge name street")?;
        let up = cli(&format!("router {router} add port addresses 198.51.100.1/24"))?;
        let down = cli(&format!("bridge {bridge} add port"))?;
        cli(&format!(
            "router {router} add route type normal src 0.0.0.0/0 dst 198.51.100.0/24 port {up} weight 100"
        ))?;
        control.link(&up, &down)?;
        let (pre, post) = (cli("create chain name pre")?, cli("create chain name post")?);
        let leaving = format!("out-ports {up} ethertype 2048");
        for rule in [
            format!(
                "{pre} add rule pos 1 ethertype 2048 dst {FLOATING} type dnat action accept target {web}"
            ),
            format!("{pre} add rule pos 2 ethertype 2048 dst {SHARED} type rev_snat action accept"),
            format!(
                "{post} add rule pos 1 {leaving} src {web} type snat action accept target {FLOATING}"
            ),
            format!(
                "{post} add rule pos 2 {leaving} type snat action accept target {SHARED}:1024--1"
            ),
        ] {
            cli(&format!("chain {rule}"))?;
        }
        cli(&format!("router {router} set infilter {pre} outfilter {post}"))?;
        let (street, street_port) = lab.add_machine("street", 0, &bridge, STREET)?;
        let (vm, port) = lab.add_machine("shop", 1, front, SHOP)?;
        draw_security_group(lab, &port)?;
        lab.control.wait_active(&[&street_port, &port])?;
        let shop = Member { vm, port, v4: SHOP.to_owned(), v6: String::new() };
        Ok(Self { street, shop, street_port })
    }

    /// The shop takes connections at one port alone, and opens any itself.
    pub fn guarded(&self, web: &Member) -> Outcome<Result<String, String>> {
        let listen = |port: u16| {
            let bound =
                self.shop.vm.namespace.enter(move || TcpListener::bind(("0.0.0.0", port)))?;
            bound.map_err(LabError::machine(format!("listen on port {port}")))
        };
        let _open = (listen(SHOP_PORT)?, listen(SHOP_PORT + 1)?);
        let to: IpAddr = SHOP.parse().expect("addresses of the demo are well formed");
        let allowed = web.vm.connects(to, SHOP_PORT, Duration::from_secs(4))?;
        let other = web.vm.connects(to, SHOP_PORT + 1, Duration::from_secs(1))?;
        let asked = web.vm.ping(SHOP, 3)?.received;
        let asks = self.shop.vm.ping(&web.v4, 3)?;
        let text = format!(
            "port {SHOP_PORT}: {}, port {}: {}, pings to it {asked}/3, from it {}/{}",
            reached(allowed),
            SHOP_PORT + 1,
            reached(other),
            asks.received,
            asks.sent
        );
        let right = allowed && !other && asked == 0 && asks.is_whole();
        Ok(if right { Ok(text) } else { Err(text) })
    }

    /// A machine pings the street, which sees it come from an address and from no other.
    pub fn is_seen_as(
        &self,
        lab: &Lab,
        from: &Member,
        address: &str,
    ) -> Outcome<Result<String, String>> {
        let seen = Capture::start(&self.street.namespace, "eth0", "icmp", lab.directory())?;
        let ping = from.vm.ping(STREET, 5)?;
        let lines = seen.stop()?;
        let requests: Vec<&String> = lines.iter().filter(|l| l.contains("echo request")).collect();
        let translated = requests.iter().filter(|l| l.contains(&format!("{address} >"))).count();
        let text = format!(
            "{}/{} answered, {translated} of {} came from {address}",
            ping.received,
            ping.sent,
            requests.len()
        );
        let right = ping.is_whole() && translated >= 5 && translated == requests.len();
        Ok(if right { Ok(text) } else { Err(text) })
    }
}

const fn reached(connected: bool) -> &'static str {
    if connected { "open" } else { "closed" }
}

fn draw_security_group(lab: &Lab, port: &str) -> Outcome {
    let cli = |line: &str| lab.control.cli(line);
    let (to, from) = (cli("create chain name to-shop")?, cli("create chain name from-shop")?);
    let open = format!("flow fwd-flow valid yes ethertype 2048 proto 6 dst-port {SHOP_PORT}");
    for rule in [
        format!("{to} add rule pos 1 ethertype 2054 type accept"),
        format!("{to} add rule pos 2 flow return-flow type accept"),
        format!("{to} add rule pos 3 {open} type accept"),
        format!("{to} add rule pos 4 type drop"),
        format!("{from} add rule pos 1 flow return-flow type accept"),
    ] {
        cli(&format!("chain {rule}"))?;
    }
    cli(&format!("port {port} set infilter {from} outfilter {to}")).map(drop)
}
