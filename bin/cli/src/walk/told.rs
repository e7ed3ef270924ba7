//! A walk, told to people.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use mn_api_types::walk::{
    Balanced, Delivery, Headers, Held, InstalledFlow, LostRoute, MemberAt, Named, RouteAt, RuleAt,
    Step, Translated, TunnelHeader, Verdict, VerdictKind, Walk,
};

/// Whether the reader sees colours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Paint {
    Plain,
    Colour,
}

/// One line of the tale: what happened, where, and how.
struct Row {
    what: &'static str,
    place: String,
    detail: String,
    /// What belongs to it, one line each.
    more: Vec<String>,
}

impl Row {
    fn new(what: &'static str, place: String, detail: String) -> Self {
        Self { what, place, detail, more: Vec::new() }
    }
}

/// Tells a walk: the packet, the steps, the verdict, and the flow that is installed for it.
#[must_use]
pub fn told(walk: &Walk, paint: Paint) -> String {
    let by = walk.simulated_by.as_ref().map_or_else(|| "the cluster".to_owned(), name);
    let mut text = format!(
        "{}\nsimulated by {by}, topology at revision {}\n",
        headers(&walk.packet),
        walk.revision
    );
    for note in &walk.notes {
        line(&mut text, &format!("note: {note}"));
    }
    let rows: Vec<Row> = walk.steps.iter().map(row).collect();
    let what = rows.iter().map(|row| row.what.len()).max().unwrap_or_default();
    let place = rows.iter().map(|row| row.place.chars().count()).max().unwrap_or_default();
    for (number, row) in rows.iter().enumerate() {
        let number = number + 1;
        let Row { what: happened, place: at, detail, more } = row;
        let told = format!("{number:>3}  {happened:<what$}  {at:<place$}  {detail}");
        line(&mut text, &painted(&told, colour_of(happened), paint));
        for (index, more_text) in more.iter().enumerate() {
            let branch = if index + 1 == more.len() { "└" } else { "├" };
            line(&mut text, &format!("{:indent$}{branch} {more_text}", "", indent = 5 + what + 2));
        }
    }
    verdict(&mut text, &walk.verdict, paint);
    list(&mut text, "reads", &walk.mask.join(" "));
    list(&mut text, "actions", &walk.actions.join(", "));
    flow(&mut text, walk, paint);
    if let Some(answer) = &walk.answer {
        line(&mut text, "");
        line(&mut text, "the answer:");
        text.push_str(&told(&answer.0, paint));
    }
    text.trim_end().to_owned()
}

fn row(step: &Step) -> Row {
    match step {
        Step::Enter(at) => Row::new("enter", name(&at.device), format!("by {}", name(&at.port))),
        Step::Leave(at) => Row::new("leave", name(&at.device), format!("by {}", name(&at.port))),
        Step::ChainAsked(asked) => {
            let by = asked.rule.as_ref().map_or_else(|| "no rule decided".to_owned(), rule);
            Row::new("chain", name(&asked.chain), format!("{}: {by}", asked.result))
        }
        Step::Translated(asked) => {
            let by = asked.rule.as_ref().map(rule).unwrap_or_default();
            Row::new("nat", asked.result.clone(), format!("{}{by}", translated(asked)))
        }
        Step::Balanced(asked) => balanced(asked),
        Step::BridgeLookup(looked) => {
            let mac = looked.mac.map(|mac| mac.to_string()).unwrap_or_default();
            let ports: Vec<_> = looked.ports.iter().map(name).collect();
            let how = if looked.flooded { "flooded to" } else { "is at" };
            Row::new("lookup", name(&looked.bridge), format!("{mac} {how} {}", ports.join(", ")))
        }
        Step::RouteLookup(looked) => {
            let chosen = looked.chosen.as_ref().map_or_else(|| "no route".to_owned(), route);
            let by = looked.chosen_by.as_ref().map(|by| format!(" (by {by})")).unwrap_or_default();
            let mut row = Row::new("route", name(&looked.router), chosen + &by);
            row.more.extend(looked.lost.iter().map(lost));
            row
        }
        Step::NextHop(hop) => {
            let addr = address(hop.addr);
            let mac = hop.mac.map_or_else(|| "not known yet".to_owned(), |mac| mac.to_string());
            Row::new("next hop", name(&hop.router), format!("{addr} is {mac}"))
        }
        Step::Rewritten(changed) => {
            Row::new("rewrite", String::new(), difference(&changed.before, &changed.after))
        }
        Step::Mirrored(copied) => {
            let to = format!("copied to {}", name(&copied.port));
            Row::new("mirror", name(&copied.mirror), to)
        }
        Step::Held(held) => Row::new("qos", name(&held.port), quality(held)),
        Step::Inspected(told) => {
            let port = told.port.as_ref().map(name).unwrap_or_default();
            Row::new("insertion", name(&told.insertion), format!("{} {port}", told.result))
        }
        Step::Tunneled(sent) => {
            let to = sent.host.as_ref().map(name).unwrap_or_default();
            Row::new("tunnel", to, tunnel(&sent.tunnel))
        }
        Step::Deliver(to) => {
            let at = to.host.as_ref().map(name).unwrap_or_default();
            let interface = to.interface_name.as_deref().unwrap_or("no interface");
            Row::new("deliver", at, format!("{} on {interface}", name(&to.port)))
        }
        Step::Answered(by) => Row::new("answer", name(&by.device), by.with.clone()),
        Step::Dropped(why) => {
            let by = why.rule.as_ref().map(|by| format!(" ({})", rule(by))).unwrap_or_default();
            Row::new("drop", why.cause.clone(), format!("{}{by}", why.reason))
        }
    }
}

/// `10.0.1.5:40000 becomes 203.0.113.2:7001, `, or nothing where nothing changed.
fn translated(asked: &Translated) -> String {
    let (Some(from), Some(to)) = (asked.from_addr, asked.to_addr) else { return String::new() };
    let end = |addr: IpAddr, port: Option<u16>| {
        port.map_or_else(|| addr.to_string(), |port| SocketAddr::new(addr, port).to_string())
    };
    format!("{} becomes {}, ", end(from, asked.from_port), end(to, asked.to_port))
}

/// What a policy does to the packet.
fn quality(held: &Held) -> String {
    let mut does = Vec::new();
    if let Some(dscp) = held.dscp {
        does.push(format!("marked DSCP {dscp}"));
    }
    if let (Some(kbps), Some(burst)) = (held.max_kbps, held.max_burst_kb) {
        does.push(format!("at most {kbps} kbit/s, {burst} kbit at once"));
    }
    format!("{}: {}", name(&held.policy), does.join(", "))
}

/// `203.0.113.2:80`, `new: 10.0.1.5:8080 (by weight)`, and who gets no new connections.
fn balanced(asked: &Balanced) -> Row {
    let at = asked.vip_addr.map(|addr| SocketAddr::new(addr, asked.vip_port).to_string());
    let member = |member: &MemberAt| match member.addr {
        Some(addr) => SocketAddr::new(addr, member.port).to_string(),
        None => member.id.to_string(),
    };
    let reason = |member: &MemberAt| {
        member.reason.as_ref().map(|reason| format!(" is {reason}")).unwrap_or_default()
    };
    let mut told = asked.result.clone();
    if let Some(chosen) = &asked.member {
        told.push_str(&format!(": {}{}", member(chosen), reason(chosen)));
    }
    if let Some(by) = &asked.chosen_by {
        told.push_str(&format!(" (by {by})"));
    }
    let mut row = Row::new("balance", at.unwrap_or_default(), told);
    let others = asked.others.iter();
    row.more.extend(others.map(|other| format!("not {}:{}", member(other), reason(other))));
    row
}

fn verdict(text: &mut String, verdict: &Verdict, paint: Paint) {
    let kind = verdict.kind.word().to_uppercase();
    let mut told = format!("verdict  {kind}");
    if let Some(reason) = &verdict.reason {
        told.push_str(&format!(": {reason}"));
    }
    let cause = verdict.drop_cause.as_ref().map(|cause| format!(" [{cause}]"));
    told.push_str(&cause.unwrap_or_default());
    if let Some(by) = &verdict.rule {
        told.push_str(&format!(", {}", rule(by)));
    }
    let colour = match verdict.kind {
        VerdictKind::Dropped => RED,
        VerdictKind::Waiting => YELLOW,
        _ => GREEN,
    };
    line(text, &painted(&told, Some(colour), paint));
    for delivery in &verdict.deliveries {
        line(text, &format!("         {}", delivered(delivery)));
    }
    for copy in &verdict.copies {
        line(text, &format!("  copy   {}", delivered(copy)));
    }
}

fn delivered(delivery: &Delivery) -> String {
    let mut told = format!("to {}", name(&delivery.port));
    if let Some(host) = &delivery.host {
        told.push_str(&format!(" on {}", name(host)));
    }
    if let Some(interface) = &delivery.interface_name {
        told.push_str(&format!(" ({interface})"));
    }
    if let Some(header) = &delivery.tunnel {
        told.push_str(&format!(", {}", tunnel(header)));
    }
    told.push_str(&format!(": {}", headers(&delivery.packet)));
    told
}

fn flow(text: &mut String, walk: &Walk, paint: Paint) {
    let Some(flow) = &walk.flow else {
        let why = match (&walk.simulated_by, &walk.entered_at) {
            (Some(by), Some(at)) if by.id == at.id => "none is installed for such packets",
            (_, Some(at)) => &format!("not looked at: such packets enter on {}", name(at)),
            (_, None) => "not looked at: such packets enter on no host",
        };
        list(text, "flow", why);
        return;
    };
    let idle = flow.idle_ms.map(|ms| format!(", idle {ms} ms")).unwrap_or_default();
    let InstalledFlow { cookie, packets, bytes, .. } = flow;
    let counted = format!("{packets} packets, {bytes} octets{idle}");
    let opinion = match (flow.agrees, &flow.difference) {
        (true, _) => "agrees with the walk".to_owned(),
        (false, Some(difference)) => format!("DIFFERS from the walk: {difference}"),
        (false, None) => "DIFFERS from the walk".to_owned(),
    };
    let colour = if flow.agrees { GREEN } else { RED };
    let told = format!("flow     cookie {cookie:#x}: {counted}; {opinion}");
    line(text, &painted(&told, Some(colour), paint));
    list(text, "", &flow.actions.join(", "));
}

fn list(text: &mut String, word: &str, what: &str) {
    if !what.is_empty() {
        line(text, &format!("{word:<7}  {what}"));
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

fn name(named: &Named) -> String {
    let called = named.name.clone().filter(|name| !name.is_empty());
    format!("{} {}", named.kind, called.unwrap_or_else(|| named.id.to_string()))
}

fn rule(rule: &RuleAt) -> String {
    let kind = rule.kind.as_deref().unwrap_or("rule");
    let place = rule.position.map(|position| format!(" {position}")).unwrap_or_default();
    let of = rule.chain.as_ref().map(|chain| format!(" of {}", name(chain))).unwrap_or_default();
    format!("rule{place}{of} ({kind}, {})", rule.id)
}

fn route(route: &RouteAt) -> String {
    let RouteAt { src, dst, kind, weight, .. } = route;
    let mut told = format!("{src} -> {dst} {}", kind.to_lowercase());
    if let Some(gateway) = route.gateway {
        told.push_str(&format!(" via {gateway}"));
    }
    if let Some(port) = &route.port {
        told.push_str(&format!(" {}", name(port)));
    }
    told.push_str(&format!(" weight {weight}"));
    told
}

fn lost(lost: &LostRoute) -> String {
    format!("lost ({}): {}", lost.reason, route(&lost.route))
}

fn tunnel(header: &TunnelHeader) -> String {
    let TunnelHeader { key, outer_src, outer_dst } = header;
    if outer_src.is_none() && outer_dst.is_none() {
        // A cluster node does not know which of their addresses hosts use.
        return format!("key {key} ({key:#x})");
    }
    format!("key {key} ({key:#x}), {} > {}", address(*outer_src), address(*outer_dst))
}

fn address(addr: Option<IpAddr>) -> String {
    addr.map_or_else(|| "?".to_owned(), |addr| addr.to_string())
}

/// A packet in one line.
fn headers(headers: &Headers) -> String {
    let words: Vec<String> = described(headers).into_iter().map(|(_, text)| text).collect();
    words.join(" ")
}

/// What changed, each header before and after.
fn difference(before: &Headers, after: &Headers) -> String {
    let changes = described(before).into_iter().zip(described(after));
    let changes = changes.filter(|(before, after)| before != after);
    let told = changes.map(|((_, before), (_, after))| format!("{before} => {after}"));
    told.collect::<Vec<_>>().join("; ")
}

/// The headers in groups that are read together.
fn described(headers: &Headers) -> [(&'static str, String); 5] {
    let arrow = |a: Option<String>, b: Option<String>| match (a, b) {
        (None, None) => String::new(),
        (a, b) => {
            format!("{} > {}", a.unwrap_or_else(|| "?".into()), b.unwrap_or_else(|| "?".into()))
        }
    };
    let mut l2 =
        arrow(headers.src_mac.map(|m| m.to_string()), headers.dst_mac.map(|m| m.to_string()));
    for tag in [headers.vlan, headers.inner_vlan].into_iter().flatten() {
        let _ = write!(l2, " vlan {tag}");
    }
    let l3 =
        arrow(headers.src_addr.map(|a| a.to_string()), headers.dst_addr.map(|a| a.to_string()));
    let proto = match (headers.protocol, headers.ether_type) {
        (Some(1), _) => "icmp".to_owned(),
        (Some(6), _) => "tcp".to_owned(),
        (Some(17), _) => "udp".to_owned(),
        (Some(58), _) => "icmpv6".to_owned(),
        (Some(other), _) => format!("proto {other}"),
        (None, 0x0806) => "arp".to_owned(),
        (None, other) => format!("type {other:#06x}"),
    };
    let mut l4 =
        arrow(headers.src_port.map(|p| p.to_string()), headers.dst_port.map(|p| p.to_string()));
    if let (Some(kind), Some(code)) = (headers.icmp_type, headers.icmp_code) {
        l4 = format!("type {kind} code {code}");
    }
    let ttl = headers.ttl.map(|ttl| format!("ttl {ttl}")).unwrap_or_default();
    [("mac", l2), ("address", l3), ("protocol", proto), ("port", l4), ("ttl", ttl)]
}

const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;

fn colour_of(what: &str) -> Option<u8> {
    match what {
        "drop" => Some(RED),
        "deliver" | "answer" => Some(GREEN),
        _ => None,
    }
}

fn painted(text: &str, colour: Option<u8>, paint: Paint) -> String {
    match (paint, colour) {
        (Paint::Colour, Some(colour)) => format!("\x1b[{colour}m{}\x1b[0m", text.trim_end()),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
