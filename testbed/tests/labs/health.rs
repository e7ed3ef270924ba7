//! Members of pools are checked by the agents of the hosts they are on.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use mn_testbed::{LabError, Outcome, Vm, wait_for};
use serde_json::{Value, json};

use crate::cloud::{BACK0, BACK1, Cloud, FRONT0, FRONT1};

/// One interval of the monitors, a check, and what a crowded machine adds.
const SOON: Duration = Duration::from_secs(4);

/// A load balancer at the cloud's router, with one pool.
struct Balanced {
    cloud: Cloud,
    members: Vec<String>,
}

impl Balanced {
    /// A pool with these machines as members at port 8080; the virtual address is 203.0.113.2, or
    /// one of IPv6.
    fn start(name: &str, monitor: &Value, vms: &[usize], v6: bool) -> Outcome<Self> {
        let cloud = Cloud::start(name)?;
        let rest = cloud.control().rest();
        let balancer = rest.create("/load_balancers", &json!({}))?;
        let router = format!("/routers/{}", cloud.router);
        cloud.control().change(&router, &json!({ "loadBalancerId": balancer }))?;
        let monitor = rest.create("/health_monitors", monitor)?;
        let path = format!("/health_monitors/{monitor}");
        cloud.control().change(&path, &json!({ "adminStateUp": true }))?;
        let pool = json!({ "loadBalancerId": balancer, "lbMethod": "ROUND_ROBIN",
            "healthMonitorId": monitor });
        let pool = rest.create("/pools", &pool)?;
        let vip = if v6 { "2001:db8::2" } else { "203.0.113.2" };
        rest.create(
            &format!("/pools/{pool}/vips"),
            &json!({ "address": vip, "protocolPort": 80 }),
        )?;
        let mut members = Vec::new();
        for vm in vms {
            let address = if v6 { cloud.v6(*vm) } else { cloud.v4(*vm) };
            let member = json!({ "address": address, "protocolPort": 8080 });
            members.push(rest.create(&format!("/pools/{pool}/pool_members"), &member)?);
        }
        Ok(Self { cloud, members })
    }

    fn status(&self, member: usize) -> Outcome<String> {
        let path = format!("/pool_members/{}", self.members[member]);
        let shown = self.cloud.control().rest().get(&path)?;
        Ok(shown["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the API says so of a member; how long that took.
    fn wait(&self, member: usize, status: &str) -> Outcome<Duration> {
        let since = Instant::now();
        let what = format!("member {member} is {status}");
        wait_for(&what, Duration::from_secs(20), || Ok(self.status(member)? == status))?;
        Ok(since.elapsed())
    }

    /// Asserts that the API says so of a member within one interval.
    #[track_caller]
    fn soon(&self, member: usize, status: &str) -> Outcome {
        let took = self.wait(member, status)?;
        assert!(took <= SOON, "member {member} was {status} after {took:?} only");
        Ok(())
    }
}

fn every_second(kind: &str) -> Value {
    json!({ "type": kind, "delay": 1, "timeout": 1, "maxRetries": 1 })
}

/// Listens and takes no connection: the kernel does. Closed when dropped.
fn listen(vm: &Vm) -> Outcome<TcpListener> {
    let bound = vm.namespace.enter(|| TcpListener::bind(("::", 8080)))?;
    bound.map_err(LabError::machine("listen on port 8080"))
}

#[test]
fn a_member_is_active_while_its_port_is_open_on_either_host_behind_either_network() -> Outcome {
    let members = [FRONT0, FRONT1, BACK0, BACK1];
    let it = Balanced::start("health", &every_second("TCP"), &members, false)?;
    let vms = &it.cloud.vms;
    for nth in 0..members.len() {
        it.wait(nth, "INACTIVE")?;
    }
    let first = listen(&vms[FRONT0])?;
    it.soon(0, "ACTIVE")?;
    let mut others = Vec::new();
    for (nth, vm) in members.into_iter().enumerate().skip(1) {
        others.push(listen(&vms[vm])?);
        it.soon(nth, "ACTIVE")?;
    }
    drop(first);
    it.soon(0, "INACTIVE")?;
    assert_eq!(it.status(1)?, "ACTIVE", "the others are as they were");
    Ok(())
}
