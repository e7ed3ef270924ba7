//! Members of pools are checked by the agents of the hosts they are on.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use mn_testbed::{LabError, Outcome, Vm, wait_for};
use serde_json::{Value, json};

use crate::cloud::{BACK0, BACK1, Cloud, FRONT0, FRONT1};

/// One interval of the monitors, a check, and what a crowded machine adds.
const SOON: Duration = Duration::from_secs(4);

/// A load balancer at the cloud's router, with one pool.
struct Balanced {
    cloud: Cloud,
    pool: String,
    monitor: String,
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
        Ok(Self { cloud, pool, monitor, members })
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

    fn change_monitor(&self, fields: &Value) -> Outcome {
        self.cloud.control().change(&format!("/health_monitors/{}", self.monitor), fields)
    }

    fn change_pool(&self, fields: &Value) -> Outcome {
        self.cloud.control().change(&format!("/pools/{}", self.pool), fields)
    }
}

/// Answers every request for a page with a status that can be changed. 0: with nothing at all.
fn serve_pages(vm: &Vm) -> Outcome<Arc<AtomicU16>> {
    let (listener, status) = (listen(vm)?, Arc::new(AtomicU16::new(200)));
    let shown = Arc::clone(&status);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1024];
            let asked = stream.read(&mut request).unwrap_or_default();
            let status = shown.load(Ordering::Relaxed);
            if status != 0 && request[..asked].starts_with(b"GET /alive HTTP/1.1\r\n") {
                // The checker may be gone by the time it is answered.
                drop(write!(stream, "HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n"));
            }
        }
    });
    Ok(status)
}

/// Answers every datagram, while the flag is not 0.
fn serve_datagrams(vm: &Vm) -> Outcome<Arc<AtomicU16>> {
    let bound = vm.namespace.enter(|| UdpSocket::bind(("::", 8080)))?;
    let socket = bound.map_err(LabError::machine("a socket at port 8080"))?;
    let answers = Arc::new(AtomicU16::new(1));
    let shown = Arc::clone(&answers);
    std::thread::spawn(move || {
        let mut octets = [0; 64];
        while let Ok((len, from)) = socket.recv_from(&mut octets) {
            if shown.load(Ordering::Relaxed) != 0 {
                drop(socket.send_to(&octets[..len], from));
            }
        }
    });
    Ok(answers)
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

#[test]
fn a_wrong_page_and_a_swallowed_datagram_are_found_and_what_mends_is_too() -> Outcome {
    let mut monitor = every_second("HTTP");
    monitor["urlPath"] = json!("/alive");
    monitor["expectedCodes"] = json!("200,301-304");
    let it = Balanced::start("health-pages", &monitor, &[FRONT0, BACK1], false)?;
    let vms = &it.cloud.vms;
    let (page, _other) = (serve_pages(&vms[FRONT0])?, serve_pages(&vms[BACK1])?);
    it.wait(1, "ACTIVE")?;
    for (status, verdict) in
        [(200, "ACTIVE"), (500, "INACTIVE"), (302, "ACTIVE"), (0, "INACTIVE"), (200, "ACTIVE")]
    {
        page.store(status, Ordering::Relaxed);
        it.soon(0, verdict)?;
    }
    // Another monitor takes its place, of which the members know nothing yet.
    let rest = it.cloud.control().rest();
    let datagrams = rest.create("/health_monitors", &every_second("UDP"))?;
    let up = json!({ "adminStateUp": true });
    it.cloud.control().change(&format!("/health_monitors/{datagrams}"), &up)?;
    it.change_pool(&json!({ "healthMonitorId": datagrams }))?;
    it.soon(0, "INACTIVE")?;
    let answers = serve_datagrams(&vms[FRONT0])?;
    it.soon(0, "ACTIVE")?;
    answers.store(0, Ordering::Relaxed);
    it.soon(0, "INACTIVE")?;
    answers.store(1, Ordering::Relaxed);
    it.soon(0, "ACTIVE")?;
    Ok(())
}

#[test]
fn a_status_outlives_the_agent_that_gave_it_and_goes_on_with_the_next() -> Outcome {
    let mut it = Balanced::start("health-dead", &every_second("TCP"), &[FRONT0, FRONT1], true)?;
    let near = listen(&it.cloud.vms[FRONT0])?;
    let far = listen(&it.cloud.vms[FRONT1])?;
    it.wait(0, "ACTIVE")?;
    it.wait(1, "ACTIVE")?;
    it.cloud.lab.process("hv0")?.kill();
    drop(far);
    it.soon(1, "INACTIVE")?;
    assert_eq!(it.status(0)?, "ACTIVE", "nobody says otherwise while its agent is dead");
    it.cloud.lab.start_agent(0)?;
    it.cloud.control().wait_active(&[&it.cloud.ports[FRONT0]])?;
    let until = Instant::now() + SOON;
    while Instant::now() < until {
        assert_eq!(it.status(0)?, "ACTIVE", "the next agent goes on from what there is");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(near);
    it.soon(0, "INACTIVE")
}

#[test]
fn a_monitor_that_is_set_down_says_nothing_and_an_address_that_nobody_has_is_dead() -> Outcome {
    let mut it = Balanced::start("health-down", &every_second("TCP"), &[BACK0], false)?;
    let _open = listen(&it.cloud.vms[BACK0])?;
    let nobody = json!({ "address": "10.1.1.99", "protocolPort": 8080 });
    let rest = it.cloud.control().rest();
    it.members.push(rest.create(&format!("/pools/{}/pool_members", it.pool), &nobody)?);
    it.wait(0, "ACTIVE")?;
    it.wait(1, "INACTIVE")?;
    it.change_monitor(&json!({ "adminStateUp": false }))?;
    it.soon(0, "NO_MONITOR")?;
    it.soon(1, "NO_MONITOR")?;
    it.change_monitor(&json!({ "adminStateUp": true }))?;
    it.soon(0, "ACTIVE")?;
    it.wait(1, "INACTIVE")?;
    it.change_pool(&json!({ "healthMonitorId": Value::Null }))?;
    it.soon(1, "ACTIVE")
}
