//! Router advertisements, heard by kernels that make their own addresses of them.

use std::net::Ipv6Addr;
use std::time::Duration;

use mn_testbed::{Attachment, Lab, Outcome, Plan, Vm, wait_for};
use serde_json::json;

/// The address that a machine with this MAC makes of a prefix (RFC 4291 appendix A).
fn eui_64(prefix: &str, mac: &str) -> Ipv6Addr {
    let network: Ipv6Addr = prefix.parse().expect("a prefix of the test");
    let octets: Vec<u8> =
        mac.split(':').filter_map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    let [a, b, c, d, e, f] = octets[..] else { panic!("{mac} is no MAC") };
    let own = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from_bits(network.to_bits() | u128::from(own))
}

/// Waits until a machine has the address; nobody gave it one.
fn makes(vm: &Vm, address: Ipv6Addr) -> Outcome {
    wait_for(&format!("{} makes itself {address}", vm.name), Duration::from_secs(20), || {
        Ok(vm.address_like(address.into())? == Some(address.into()))
    })
}

#[test]
fn kernels_make_addresses_of_what_a_router_advertises_and_reach_other_networks_by_it() -> Outcome {
    let mut lab = Lab::start(&Plan::new("slaac"))?;
    let control = lab.control.clone();
    let router = control.router("edge")?;
    let (front, back) = (control.bridge("front")?, control.bridge("back")?);
    let inside = control.uplink(&front, &router, &["fd01:1::1/64"])?;
    control.uplink(&back, &router, &["fd01:2::1/64"])?;
    let mut vms = Vec::new();
    for (number, how) in [(0, Attachment::Veth), (1, Attachment::Tap)] {
        let vm = lab.add_vm(&format!("front{number}"), number, how)?;
        let port = lab.plug(&vm, number, &front)?;
        control.wait_active(&[&port])?;
        vms.push(vm);
    }
    let far = lab.add_vm("back1", 1, Attachment::Veth)?;
    far.address("fd01:2::12/64")?;
    far.gateway("fd01:2::1")?;
    let port = lab.plug(&far, 1, &back)?;
    control.wait_active(&[&port])?;
    for vm in &vms {
        assert_eq!(vm.address_like(Ipv6Addr::LOCALHOST.into())?, None, "nothing is advertised yet");
    }
    control.change(&format!("/ports/{inside}"), &json!({ "raMode": "slaac" }))?;
    for vm in &vms {
        let address = eui_64("fd01:1::", &vm.mac);
        makes(vm, address)?;
        let routes = vm.namespace.ip("-6 route show default")?;
        assert!(routes.contains("via fe80::") && routes.contains("proto ra"), "{routes}");
        assert!(vm.ping("fd01:2::12", 3)?.is_whole(), "{} through the router", vm.name);
        assert!(far.ping(&address.to_string(), 3)?.is_whole(), "and back to {address}");
    }
    let other = eui_64("fd01:1::", &vms[1].mac).to_string();
    assert!(vms[0].ping(&other, 3)?.is_whole(), "the other host's machine");
    // A router that stops is no default router any more.
    control.change(&format!("/ports/{inside}"), &json!({ "raMode": null }))?;
    wait_for("the default route is gone", Duration::from_secs(10), || {
        Ok(vms[0].namespace.ip("-6 route show default")?.trim().is_empty())
    })
}
