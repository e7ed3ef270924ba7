//! DHCP, asked by ISC's client.

use mn_testbed::{Attachment, DhcpV6, Lab, Outcome, Plan};
use serde_json::json;

#[test]
fn a_real_client_gets_its_address_router_dns_mtu_and_routes_on_veth_and_tap() -> Outcome {
    let mut lab = Lab::start(&Plan::new("dhcp"))?;
    let control = lab.control.clone();
    let (bridge, router) = (control.bridge("front")?, control.router("edge")?);
    control.uplink(&bridge, &router, &["10.1.1.1/24"])?;
    let subnet = json!({
        "subnetPrefix": "10.1.1.0", "subnetLength": 24, "defaultGateway": "10.1.1.1",
        "serverAddr": "10.1.1.2", "dnsServerAddrs": ["10.1.1.53", "10.1.1.54"],
        "interfaceMTU": 1400, "enabled": true,
        "opt121Routes": [{
            "destinationPrefix": "10.9.0.0", "destinationLength": 16, "gatewayAddr": "10.1.1.7",
        }],
    });
    control.rest().create(&format!("/bridges/{bridge}/dhcp"), &subnet)?;
    for (number, how) in [(11, Attachment::Veth), (12, Attachment::Tap)] {
        let vm = lab.add_vm(&format!("vm{number}"), number - 11, how)?;
        let address = format!("10.1.1.{number}");
        let host = json!({ "macAddr": vm.mac, "ipAddr": address, "name": vm.name });
        control.rest().create(&format!("/bridges/{bridge}/dhcp/10.1.1.0_24/hosts"), &host)?;
        let port = lab.plug(&vm, number - 11, &bridge)?;
        control.wait_active(&[&port])?;
        let lease = vm.dhcp(lab.directory(), 10)?;
        assert_eq!((lease.address, lease.routers), (address, "10.1.1.1".to_owned()));
        assert_eq!((lease.dns, lease.mtu), ("10.1.1.53 10.1.1.54".to_owned(), "1400".to_owned()));
        assert!(
            lease.classless_routes.starts_with("16 10 9 10 1 1 7"),
            "{}",
            lease.classless_routes
        );
        assert!(vm.ping("10.1.1.1", 3)?.is_whole());
    }
    let nobody = lab.add_vm("nobody", 0, Attachment::Veth)?;
    let port = lab.plug(&nobody, 0, &bridge)?;
    control.wait_active(&[&port])?;
    assert!(nobody.dhcp(lab.directory(), 3).is_err(), "an unknown MAC got a lease");
    Ok(())
}

#[test]
fn a_real_client_gets_its_ipv6_address_or_only_name_servers() -> Outcome {
    let mut lab = Lab::start(&Plan::new("dhcpv6"))?;
    let control = lab.control.clone();
    let bridge = control.bridge("front")?;
    let subnet = json!({
        "prefix": "fd00:1::", "prefixLength": 64, "dnsServerAddrs": ["2001:db8::53"],
    });
    control.rest().create(&format!("/bridges/{bridge}/dhcpV6"), &subnet)?;
    let hosts = format!("/bridges/{bridge}/dhcpV6/fd00:1::_64/hostsV6");
    let mut vms = Vec::new();
    for (number, how) in [(0, Attachment::Veth), (1, Attachment::Tap)] {
        let vm = lab.add_vm(&format!("vm{number}"), number, how)?;
        let port = lab.plug(&vm, number, &bridge)?;
        control.wait_active(&[&port])?;
        vms.push(vm);
    }
    let address = "fd00:1::10";
    let host = json!({ "clientId": vms[0].mac, "fixedAddress": address, "name": vms[0].name });
    control.rest().create(&hosts, &host)?;
    let lease = vms[0].dhcp_v6(lab.directory(), DhcpV6::Stateful, 10)?;
    assert_eq!((lease.address.as_str(), lease.dns.as_str()), (address, "2001:db8::53"));
    let stateless = vms[1].dhcp_v6(lab.directory(), DhcpV6::Stateless, 10)?;
    assert_eq!((stateless.address.as_str(), stateless.dns.as_str()), ("", "2001:db8::53"));
    let refused = vms[1].dhcp_v6(lab.directory(), DhcpV6::Stateful, 3);
    assert!(refused.is_err(), "an unknown client got an address");
    Ok(())
}
