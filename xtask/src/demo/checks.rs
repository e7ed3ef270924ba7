//! What the demo claims, each claim checked with traffic.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use mn_testbed::{Capture, Lab, Outcome, Throughput};

use super::cloud::{Cloud, Member, block};
use super::outside::{FLOATING, SHARED, SHOP_PORT, STREET};
use super::report::Row;
use super::traffic::compare;

/// The outcome of a check: what was seen, or why it failed.
type Seen = Result<String, String>;

/// The smallest stream that counts as one: far below what any machine does, far above none.
const GIGABITS_MIN: f64 = 0.05;
/// How long a connection that does not come about is waited for.
const BLOCKED_AFTER: Duration = Duration::from_secs(1);

/// Runs all checks that leave the lab as it is.
pub fn run(lab: &Lab, cloud: &Cloud) -> Vec<Row> {
    println!("Checking:");
    let [web, app, db, log] = cloud.members.as_slice() else { return Vec::new() };
    let pinged = |from: &Member, to: &str| said(ping(from, to));
    let mut rows = vec![Row::of("DHCP: four VMs get their leases", || dhcp(lab, cloud))];
    rows.extend([
        Row::of("ping on one bridge, between hosts", || pinged(web, &app.v4)),
        Row::of("ping through the router, one host", || pinged(web, &db.v4)),
        Row::of("ping through the router, between hosts", || pinged(web, &log.v4)),
        Row::of("ping on one bridge, between hosts, IPv6", || pinged(web, &app.v6)),
        Row::of("ping through the router, between hosts, IPv6", || pinged(app, &db.v6)),
        Row::of("the router answers on its addresses", || {
            pinged(web, "10.1.1.1").and(pinged(log, "fd01:2::1"))
        }),
        Row::of("traceroute shows the router", || trace(web, &log.v4, "10.1.1.1")),
        Row::of("traceroute shows the router, IPv6", || trace(web, &log.v6, "fd01:1::1")),
        Row::of("whole frames fit: 1500 octets, not to be fragmented", || {
            said(web.vm.ping_with(&log.v4, 3, &["-M", "do", "-s", "1472"]).map(told))
        }),
        Row::of("between hosts, packets are in VXLAN", || said_of(tunnel(lab, web, app))),
        Row::of("TCP on one bridge, between hosts", || stream(web, app, &app.v4)),
        Row::of("TCP through the router, one host", || stream(web, db, &db.v4)),
        Row::of("TCP through the router, between hosts", || stream(app, db, &db.v4)),
        Row::of("TCP through the router, between hosts, IPv6", || stream(log, web, &web.v6)),
        Row::of("datagrams: both ends count the same, no octet differs", || {
            let shape = (1400, Duration::from_micros(500), Duration::from_secs(2));
            compare(web, log, shape, || Ok(())).map_err(|e| e.to_string())?.verdict()
        }),
        Row::of("the filter blocks TCP 8080 and nothing else", || said_of(filter(lab, cloud))),
        Row::of("a security group opens one port, and the way out", || {
            said_of(cloud.outside.guarded(web))
        }),
        Row::of("a floating address: reached from outside, TCP", || {
            let street = &cloud.outside.street;
            gigabits(street.stream_to(&web.vm, FLOATING, 2))
        }),
        Row::of("a floating address: what web sends comes from it", || {
            said_of(cloud.outside.is_seen_as(lab, web, FLOATING))
        }),
        Row::of("one address for the others (SNAT), one host", || {
            said_of(cloud.outside.is_seen_as(lab, db, SHARED))
        }),
        Row::of("one address for the others (SNAT), the answer at another host", || {
            said_of(cloud.outside.is_seen_as(lab, log, SHARED))
        }),
        Row::of("a second tenant has the same addresses, out of reach", || {
            said_of(strangers(cloud))
        }),
    ]);
    rows
}

/// Machines get their addresses, as they do when they start, and one reaches another on the other
/// host.
pub fn boot(lab: &Lab, cloud: &Cloud) -> Seen {
    let leases = dhcp(lab, cloud)?;
    let [web, _, _, log] = cloud.members.as_slice() else { return Ok(leases) };
    said(ping(web, &log.v4)).map(|_| leases)
}

/// Kills an agent in the middle of traffic, and starts it again.
pub fn survives_kill(mut lab: Lab, cloud: &Cloud) -> (Lab, Option<Row>) {
    let [web, app, ..] = cloud.members.as_slice() else { return (lab, None) };
    let row = Row::of("kill -9 of an agent in mid-traffic loses nothing", || {
        let shape = (400, Duration::from_millis(1), Duration::from_secs(3));
        let killed = compare(web, app, shape, || {
            lab.process("hv1")?.kill();
            lab.process("hv0")?.kill();
            Ok(())
        });
        let seen = killed.map_err(|e| e.to_string())?.verdict();
        lab.start_agent(0).and_then(|()| lab.start_agent(1)).map_err(|e| e.to_string())?;
        let again = said(ping(web, &app.v4))?;
        seen.map(|seen| format!("{seen}; agents back: {again}"))
    });
    (lab, Some(row))
}

/// Packet walks, as `midonet-cli walk` tells them: one that is filtered; then both directions
/// through the floating address, through the shared one, and into the security group.
pub fn walks(lab: &Lab, cloud: &Cloud) -> String {
    let [web, _, db, log] = cloud.members.as_slice() else { return String::new() };
    let outside = &cloud.outside;
    [
        format!("{} {} --proto tcp --dport 8080", web.port, log.v4),
        format!("{} {FLOATING} --proto tcp --dport 80 --both", outside.street_port),
        format!("{} {STREET} --proto tcp --dport 443 --both", db.port),
        format!("{} {} --proto tcp --dport {SHOP_PORT} --both", web.port, outside.shop.v4),
    ]
    .iter()
    .map(|walk| told_walk(lab, &format!("walk {walk}")))
    .collect()
}

fn told_walk(lab: &Lab, line: &str) -> String {
    match lab.control.cli(line) {
        Ok(text) => format!("$ midonet-cli -e {line}\n{text}\n\n"),
        // A packet that is dropped ends the walk with another code than 0; what it said counts.
        Err(error) => format!("$ midonet-cli -e {line}\n{error}\n\n"),
    }
}

fn dhcp(lab: &Lab, cloud: &Cloud) -> Seen {
    let mut seen = Vec::new();
    for member in &cloud.members {
        let lease = member.vm.dhcp(lab.directory(), 10).map_err(|e| e.to_string())?;
        let router = format!("{}.1", member.v4.rsplit_once('.').map_or("", |(net, _)| net));
        if lease.address != member.v4 || lease.routers != router || lease.mtu != "1500" {
            return Err(format!("{}: {lease:?}", member.vm.name));
        }
        seen.push(lease.address);
    }
    Ok(seen.join(" "))
}

fn ping(from: &Member, to: &str) -> Outcome<(bool, String)> {
    from.vm.ping(to, 5).map(told)
}

fn told(ping: mn_testbed::Ping) -> (bool, String) {
    let text = format!("{}/{} answered, mean {:.3} ms", ping.received, ping.sent, ping.mean_ms);
    (ping.is_whole(), text)
}

fn said(seen: Outcome<(bool, String)>) -> Seen {
    match seen {
        Ok((true, text)) => Ok(text),
        Ok((false, text)) => Err(text),
        Err(error) => Err(error.to_string()),
    }
}

fn said_of(seen: Outcome<Seen>) -> Seen {
    seen.map_err(|error| error.to_string())?
}

fn trace(from: &Member, to: &str, router: &str) -> Seen {
    let hops = from.vm.traceroute(to).map_err(|e| e.to_string())?;
    let text = hops.join(" → ");
    if hops == [router, to] { Ok(text) } else { Err(text) }
}

fn stream(from: &Member, to: &Member, address: &str) -> Seen {
    gigabits(from.vm.stream_to(&to.vm, address, 2))
}

fn gigabits(stream: Outcome<Throughput>) -> Seen {
    let stream = stream.map_err(|e| e.to_string())?;
    let text = format!("{:.2} Gbit/s", stream.gigabits_per_second);
    if stream.gigabits_per_second > GIGABITS_MIN { Ok(text) } else { Err(text) }
}

fn tunnel(lab: &Lab, from: &Member, to: &Member) -> Outcome<Seen> {
    let host = &lab.hosts[0].namespace;
    let capture = Capture::start(host, "uplink", "udp port 6677 or icmp", lab.directory())?;
    let ping = from.vm.ping(&to.v4, 5)?;
    let lines = capture.stop()?;
    let (inside, bare): (Vec<&String>, _) = lines
        .iter()
        .filter(|l| l.contains("ICMP echo") || l.contains("6677"))
        .partition(|l| l.contains("6677"));
    let text = format!("{} packets in the tunnel, {} outside of it", inside.len(), bare.len());
    Ok(if ping.is_whole() && inside.len() >= 10 && bare.is_empty() { Ok(text) } else { Err(text) })
}

fn filter(lab: &Lab, cloud: &Cloud) -> Outcome<Seen> {
    let (web, log) = (&cloud.members[0], &cloud.members[3]);
    let listen = |port: u16| {
        let bound = log.vm.namespace.enter(move || TcpListener::bind(("0.0.0.0", port)))?;
        bound.map_err(mn_testbed::LabError::machine(format!("listen on port {port}")))
    };
    let _open = (listen(8080)?, listen(8081)?);
    let to = log.v4.parse().expect("addresses of the demo are well formed");
    if web.vm.connects(to, 8080, BLOCKED_AFTER)? {
        return Ok(Err("a connection to port 8080 came about".to_owned()));
    }
    if !web.vm.connects(to, 8081, 4 * BLOCKED_AFTER)? {
        return Ok(Err("a connection to port 8081 did not come about".to_owned()));
    }
    // Take the rule away, and put it back.
    lab.control.cli(&format!("chain {} rule {} delete", cloud.chain, cloud.rule))?;
    let start = Instant::now();
    mn_testbed::wait_for("port 8080 opens without the rule", Duration::from_secs(3), || {
        web.vm.connects(to, 8080, BLOCKED_AFTER)
    })?;
    let opened = start.elapsed();
    block(lab, &cloud.chain)?;
    let start = Instant::now();
    mn_testbed::wait_for("port 8080 is blocked again", Duration::from_secs(3), || {
        web.vm.connects(to, 8080, BLOCKED_AFTER).map(|came| !came)
    })?;
    let tried = start.elapsed().saturating_sub(BLOCKED_AFTER);
    Ok(Ok(format!(
        "without the rule open after {} ms, with it blocked after {} ms",
        opened.as_millis(),
        tried.as_millis()
    )))
}

/// A stranger reaches its own neighbour between hosts, and nothing of the first tenant: the same
/// address leads to another VM, and the first tenant's VMs see no packet.
fn strangers(cloud: &Cloud) -> Outcome<Seen> {
    let (app, eve) = (&cloud.members[1], &cloud.strangers[0]);
    let before = app.vm.namespace.packets("eth0")?.0;
    let (own, own_text) = ping(eve, &cloud.strangers[1].v4)?;
    let other = eve.vm.ping(&cloud.members[3].v4, 3)?;
    let seen = app.vm.namespace.packets("eth0")?.0 - before;
    let text = format!(
        "own neighbour: {own_text}; the other's network: {}/{}; packets seen there: {seen}",
        other.received, other.sent
    );
    // A router advertisement or the like may come meanwhile; ten echo requests may not.
    Ok(if own && other.received == 0 && seen < 5 { Ok(text) } else { Err(text) })
}
