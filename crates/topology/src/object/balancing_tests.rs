//! What can be stored of load balancing.

use core::net::IpAddr;
use core::num::NonZeroU16;

use mn_ids::{HealthMonitorId, Id, LoadBalancerId, Object, OnDelete, PoolId, VipId};

use super::*;

fn member(address: &str) -> PoolMember {
    PoolMember {
        id: Id::random(),
        pool_id: Id::random(),
        admin_state_up: true,
        address: address.parse().unwrap(),
        protocol_port: NonZeroU16::new(80).unwrap(),
        weight: core::num::NonZeroU32::MIN,
    }
}

#[test]
fn a_member_has_an_address_that_a_server_can_have() {
    for address in ["10.0.0.1", "2001:db8::1", "fe80::1", "169.254.1.1"] {
        assert_eq!(member(address).validate(), Ok(()), "{address}");
    }
    for address in ["0.0.0.0", "::", "127.0.0.1", "::1", "224.0.0.1", "ff02::1", "255.255.255.255"]
    {
        let wrong = member(address).validate().unwrap_err();
        assert_eq!((wrong.field, wrong.value.as_str()), ("address", address));
    }
}

#[test]
fn what_was_stored_short_reads_with_what_goes_without_saying() {
    let (pool, id) = (PoolId::random(), Id::random());
    let json =
        format!(r#"{{"id":"{id}","pool_id":"{pool}","address":"10.0.0.1","protocol_port":80}}"#);
    let expected = PoolMember { id, pool_id: pool, ..member("10.0.0.1") };
    assert_eq!(serde_json::from_str::<PoolMember>(&json).unwrap(), expected);

    let pool: Pool = serde_json::from_str(&format!(r#"{{"id":"{pool}"}}"#)).unwrap();
    assert_eq!((pool.protocol, pool.lb_method), (LbProtocol::Tcp, LbMethod::RoundRobin));
    assert!(pool.admin_state_up);
}

#[test]
fn ports_weights_and_times_of_zero_cannot_be_stored() {
    let id = VipId::random();
    let vip = |port: u32, limit: u32| {
        let json = format!(
            r#"{{"id":"{id}","pool_id":"{id}","address":"10.0.0.1","protocol_port":{port},"connection_limit":{limit}}}"#
        );
        serde_json::from_str::<Vip>(&json)
    };
    assert!(vip(80, 1).is_ok());
    assert!(vip(0, 1).is_err() && vip(80, 0).is_err() && vip(65536, 1).is_err());
    let monitor = |delay: u32| {
        let json =
            format!(r#"{{"id":"{id}","type":"tcp","delay":{delay},"timeout":1,"max_retries":1}}"#);
        serde_json::from_str::<HealthMonitor>(&json)
    };
    assert!(monitor(1).is_ok_and(|monitor| !monitor.admin_state_up));
    assert!(monitor(0).is_err());
}

#[test]
fn a_monitor_asks_for_a_page_and_knows_a_good_answer() {
    let id = HealthMonitorId::random();
    let json = format!(
        r#"{{"id":"{id}","type":"http","url_path":"/ready?x=1","expected_codes":"200,301-304","delay":1,"timeout":1,"max_retries":3}}"#
    );
    let monitor: HealthMonitor = serde_json::from_str(&json).unwrap();
    let again = serde_json::to_string(&monitor).unwrap();
    assert_eq!(serde_json::from_str::<HealthMonitor>(&again).unwrap(), monitor);
    let Check::Http { url_path, expected_codes } = monitor.check else { panic!() };
    assert_eq!(
        (url_path.as_str(), expected_codes.to_string().as_str()),
        ("/ready?x=1", "200,301-304")
    );
    let good: Vec<u16> = (100..600).filter(|code| expected_codes.has(*code)).collect();
    assert_eq!(good, [200, 301, 302, 303, 304]);
}

#[test]
fn paths_and_statuses_that_make_no_request_are_refused() {
    for path in ["", "ready", "/a b", "/a\r\nHost: x", "/ä", &"/".repeat(1025)] {
        assert!(path.parse::<UrlPath>().is_err(), "{path:?}");
    }
    let many = vec!["200"; 33].join(",");
    for codes in ["", "99", "600", "2", "20x", "+20", "304-301", "200,", "200-201-202", &many] {
        assert!(codes.parse::<ExpectedCodes>().is_err(), "{codes:?}");
    }
}

#[test]
fn a_router_with_a_load_balancer_cannot_be_deleted_and_what_a_pool_has_goes_with_it() {
    let of = |references: Vec<Reference>| -> Vec<(String, OnDelete)> {
        references.into_iter().map(|it| (it.field, it.on_delete)).collect()
    };
    let field = |name: &str, on_delete| (name.to_owned(), on_delete);
    let balancer = LoadBalancer {
        id: LoadBalancerId::random(),
        admin_state_up: true,
        router_id: Some(Id::random()),
    };
    assert_eq!(of(balancer.references()), [field("router_id", OnDelete::Refuse)]);
    let pool = Pool {
        id: Id::random(),
        load_balancer_id: Some(balancer.id),
        health_monitor_id: Some(Id::random()),
        admin_state_up: true,
        protocol: LbProtocol::Udp,
        lb_method: LbMethod::ConsistentHash,
        ip_version: Some(IpVersion::of(IpAddr::from([10, 0, 0, 1]))),
    };
    let expected =
        [field("load_balancer_id", OnDelete::Cascade), field("health_monitor_id", OnDelete::Clear)];
    assert_eq!(of(pool.references()), expected);
    assert_eq!(of(member("10.0.0.1").references()), [field("pool_id", OnDelete::Cascade)]);
}
