//! Layouts with address translation: a router between two networks that shares one address among
//! all, and gives one machine an address of its own.

use mn_testbed::{Lab, Outcome, Vm};
use serde_json::{Value, json};

use super::layout::Layout;

/// What all machines but one are known as.
const SHARED: &str = "203.0.113.1";
/// What that one is known as, and who it is.
const FLOATING: [&str; 2] = ["203.0.113.20", "10.5.1.20"];

/// Servers behind the router, on one host and on two. On two the answer comes in at another host
/// than the connection began on, which is told of the translation meanwhile.
pub fn layouts(lab: &mut Lab, near: &str, client: &Vm) -> Outcome<Vec<Layout>> {
    let street = draw_router(lab, near)?;
    let floats = vm(lab, "floats", 0, near, FLOATING[1])?;
    let beside = vm(lab, "street0", 0, &street, "10.5.3.11")?;
    let beyond = vm(lab, "street1", 1, &street, "10.5.3.12")?;
    for from in [client, &floats] {
        from.namespace.ip("route add 10.5.3.0/24 via 10.5.1.2")?;
    }
    let all = [
        ("ours: one host, SNAT", "veth", client, &beside, "10.5.3.11"),
        ("ours: two hosts, SNAT", "vxlan", client, &beyond, "10.5.3.12"),
        ("ours: one host, floating address", "veth", &floats, &beside, "10.5.3.11"),
        ("ours: two hosts, floating address", "vxlan", &floats, &beyond, "10.5.3.12"),
    ];
    let layout = |(name, base, client, server, address): (_, _, &Vm, &Vm, &str)| Layout {
        name,
        base: Some(base),
        reads_ports: false,
        client: client.namespace.clone(),
        server: server.namespace.clone(),
        address: address.to_owned(),
    };
    Ok(all.into_iter().map(layout).collect())
}

fn vm(lab: &mut Lab, name: &str, host: usize, bridge: &str, address: &str) -> Outcome<Vm> {
    let (vm, port) = lab.add_machine(name, host, bridge, address)?;
    lab.control.wait_active(&[&port])?;
    Ok(vm)
}

/// near ─ edge ─ street; the bridge of the street.
fn draw_router(lab: &Lab, near: &str) -> Outcome<String> {
    let control = &lab.control;
    let (edge, street) = (control.router("edge")?, control.bridge("street")?);
    control.uplink(near, &edge, &["10.5.1.2/24"])?;
    let up = control.uplink(&street, &edge, &["10.5.3.1/24"])?;
    let (pre, post) = (control.chain("pre")?, control.chain("post")?);
    let to = |address: &str, from: u16, to: u16| {
        json!([{
            "addressFrom": address, "addressTo": address, "portFrom": from, "portTo": to,
        }])
    };
    let ([public, own], all) = (FLOATING, to(SHARED, 1024, 65535));
    // Each comes before those that are there.
    let rules: [(&String, Value); 4] = [
        (&post, json!({ "type": "snat", "outPorts": [up], "natTargets": all })),
        (&post, json!({ "type": "snat", "nwSrcAddress": own, "natTargets": to(public, 0, 0) })),
        (&pre, json!({ "type": "rev_snat", "nwDstAddress": SHARED })),
        (&pre, json!({ "type": "dnat", "nwDstAddress": public, "natTargets": to(own, 0, 0) })),
    ];
    for (chain, mut rule) in rules {
        rule["flowAction"] = "accept".into();
        rule["dlType"] = 0x0800.into();
        control.rule(chain, &rule)?;
    }
    let filters = json!({ "inboundFilterId": pre, "outboundFilterId": post });
    control.change(&format!("/routers/{edge}"), &filters)?;
    Ok(street)
}
