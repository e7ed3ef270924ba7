//! Bridges translate as routers do: machines of one network, on two hosts, in both IP versions.

use std::time::Duration;

use mn_testbed::Outcome;
use serde_json::{Value, json};

use crate::cloud::{Cloud, FRONT0, FRONT1};
use crate::street::translating;
use crate::talk::{Server, addr, comes_back, dial, is_answered, socket};

/// What FRONT1 is known as, and what FRONT0 is, on their bridge.
const FLOATING: [&str; 2] = ["10.1.1.99", "fd01:1::99"];
const SHARED: [&str; 2] = ["10.1.1.77", "fd01:1::77"];

/// A machine believes that an address is another's.
fn believe(cloud: &Cloud, vm: usize, address: &str, whose: usize) -> Outcome {
    let mac = &cloud.vms[whose].mac;
    let line = format!("neigh replace {address} lladdr {mac} dev eth0 nud permanent");
    cloud.vms[vm].namespace.ip(&line).map(drop)
}

/// Filters of the front bridge; rules go to their heads.
fn filters(cloud: &Cloud) -> Outcome<[String; 2]> {
    let control = cloud.control();
    let (inbound, outbound) = (control.chain("pre")?, control.chain("post")?);
    let filters = json!({ "inboundFilterId": inbound, "outboundFilterId": outbound });
    control.change(&format!("/bridges/{}", cloud.bridges[0]), &filters)?;
    Ok([inbound, outbound])
}

fn rule(cloud: &Cloud, chain: &str, mut rule: Value) -> Outcome {
    rule["flowAction"] = "accept".into();
    cloud.control().rule(chain, &rule).map(drop)
}

#[test]
fn a_bridge_gives_a_machine_a_second_address_and_hides_another_behind_one() -> Outcome {
    let cloud = Cloud::start("nat-bridge")?;
    let [inbound, outbound] = filters(&cloud)?;
    let servers = [Server::start(&cloud.vms[FRONT1].namespace, 7000)?];
    for version in [0, 1] {
        let (floating, shared) = (FLOATING[version], SHARED[version]);
        let own = [cloud.v4(FRONT1), cloud.v6(FRONT1)][version].clone();
        let asker = [cloud.v4(FRONT0), cloud.v6(FRONT0)][version].clone();
        let dl_type = [0x0800, 0x86dd][version];
        // Static, both ways.
        let to = json!({ "type": "dnat", "nwDstAddress": floating });
        rule(&cloud, &inbound, translating(to, &[(&own, &own, 0, 0)]))?;
        let from = json!({ "type": "snat", "nwSrcAddress": own, "nwDstAddress": asker });
        rule(&cloud, &outbound, translating(from, &[(floating, floating, 0, 0)]))?;
        believe(&cloud, FRONT0, floating, FRONT1)?;
        std::thread::sleep(Duration::from_millis(200));
        let ping = cloud.vms[FRONT0].ping(floating, 3)?;
        assert!(ping.is_whole(), "{floating}: {ping:?}");
        let mut stream = dial(&cloud.vms[FRONT0].namespace, floating, 7000)?;
        assert!(comes_back(&mut stream, 200_000), "{floating}");
        // Dynamic, towards the same machine: the answer comes in on the other host.
        let hidden =
            json!({ "type": "snat", "dlType": dl_type, "nwProto": 17, "nwSrcAddress": asker });
        rule(&cloud, &outbound, translating(hidden, &[(shared, shared, 1024, 65535)]))?;
        rule(&cloud, &inbound, json!({ "type": "rev_snat", "nwDstAddress": shared }))?;
        believe(&cloud, FRONT1, shared, FRONT0)?;
        std::thread::sleep(Duration::from_millis(200));
        for source in [5555, 5556] {
            let datagrams = socket(&cloud.vms[FRONT0].namespace, source, floating, 7000)?;
            assert!(is_answered(&datagrams), "{shared} from port {source}");
        }
        let peers = servers[0].peers();
        let hidden = peers.iter().filter(|peer| peer.ip() == addr(shared)).count();
        assert!(hidden >= 2, "who spoke to {own}: {peers:?}");
        assert!(comes_back(&mut stream, 1000), "the stream goes on");
    }
    Ok(())
}
