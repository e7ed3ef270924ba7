//! Inspecting machines on real traffic, over two hosts: in order, both directions, what they drop;
//! machines that die or hang, with and without fail-open.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mn_testbed::{Outcome, Wire, wait_for};
use serde_json::{Value, json};

use crate::cloud::{BACK1, Cloud, FRONT0, FRONT1};

const SOON: Duration = Duration::from_secs(10);

/// A machine that sends back what it hears, while it is willing.
struct Inspector {
    port: String,
    willing: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Inspector {
    /// On a host, on a bridge of its own.
    fn start(cloud: &Cloud, name: &str, host: usize) -> Outcome<Self> {
        let bridge = cloud.control().bridge(name)?;
        let (wire, port) = cloud.lab.add_wire(name, host, &bridge)?;
        cloud.control().wait_active(&[&port])?;
        let (willing, ends) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (will, end, see) = (Arc::clone(&willing), Arc::clone(&ends), Arc::clone(&seen));
        let thread = thread::spawn(move || inspect(&wire, &will, &end, &see));
        Ok(Self { port, willing, seen, ends, thread })
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How many frames of IP it saw with this tag.
    fn count(&self, priority: u16, vlan: u16) -> usize {
        let [high, low] = (priority << 13 | vlan).to_be_bytes();
        let tag = [0x81, 0, high, low];
        let is_ip = |frame: &[u8]| matches!(frame[16..18], [8, 0] | [0x86, 0xdd]);
        self.seen().iter().filter(|frame| frame[12..16] == tag && is_ip(frame)).count()
    }

    fn forget(&self) {
        self.seen().clear();
    }

    fn be(&self, willing: bool) {
        self.willing.store(willing, Ordering::Relaxed);
    }

    /// It dies, and its interface with it.
    fn die(self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}

fn inspect(wire: &Wire, willing: &AtomicBool, ends: &AtomicBool, seen: &Mutex<Vec<Vec<u8>>>) {
    while !ends.load(Ordering::Relaxed) {
        wire.hears(Duration::from_millis(50), |frame| {
            let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            seen.push(frame.to_vec());
            if willing.load(Ordering::Relaxed) {
                // A frame that the tap does not take is lost, as on any wire.
                drop(wire.send(frame));
            }
            false
        });
    }
}

/// Has a VM's frames inspected; the insertion's path.
fn insert(cloud: &Cloud, vm: usize, inspector: &Inspector, more: &Value) -> Outcome<String> {
    let mut insertion = json!({ "portId": cloud.ports[vm], "srvPortId": inspector.port,
        "mac": cloud.vms[vm].mac });
    for (field, value) in more.as_object().into_iter().flatten() {
        insertion[field] = value.clone();
    }
    let id = cloud.control().rest().create("/l2insertions", &insertion)?;
    let path = format!("/l2insertions/{id}");
    wait_for("the inspector is there", SOON, || is(cloud, &path, "ACTIVE"))?;
    Ok(path)
}

fn is(cloud: &Cloud, path: &str, status: &str) -> Outcome<bool> {
    Ok(cloud.control().rest().get(path)?["status"] == status)
}

#[test]
fn two_inspectors_see_both_directions_in_order_and_what_one_drops_arrives_nowhere() -> Outcome {
    let cloud = Cloud::start("inspectors")?;
    let (near, far) = (Inspector::start(&cloud, "near", 0)?, Inspector::start(&cloud, "far", 1)?);
    let second = insert(&cloud, FRONT0, &near, &json!({ "vlan": 10, "position": 2 }))?;
    insert(&cloud, FRONT0, &far, &json!({ "vlan": 20, "position": 1 }))?;
    for to in [cloud.v4(FRONT1), cloud.v6(FRONT1), cloud.v4(BACK1)] {
        cloud.wait_reaches(FRONT0, &to)?;
        near.forget();
        far.forget();
        cloud.assert_reaches(FRONT0, &to)?;
        // Three requests and three replies, and whatever neighbours ask meanwhile.
        for (inspector, vlan) in [(&near, 10), (&far, 20)] {
            for priority in [1, 2] {
                let count = inspector.count(priority, vlan);
                assert!(
                    (3..9).contains(&count),
                    "{to}: {count} in VLAN {vlan}, priority {priority}"
                );
            }
            assert_eq!(inspector.count(1, 30 - vlan), 0, "another's VLAN");
        }
    }
    // The first drops: the second sees nothing, nor does the other machine.
    let to = cloud.v4(FRONT1);
    far.be(false);
    near.forget();
    cloud.assert_does_not_reach(FRONT0, &to)?;
    assert_eq!(near.count(1, 10), 0, "the first has the lowest position");
    // Then the order is changed.
    cloud.control().change(&second, &json!({ "position": 0 }))?;
    near.forget();
    cloud.assert_does_not_reach(FRONT0, &to)?;
    assert!(near.count(1, 10) >= 2, "now it is the first");
    far.be(true);
    cloud.wait_reaches(FRONT0, &to)?;
    // Who is not protected is not seen.
    far.forget();
    near.forget();
    cloud.assert_reaches(FRONT1, &cloud.v4(BACK1))?;
    assert_eq!((near.count(1, 10), far.count(1, 20)), (0, 0));
    // Taken out, they see nothing of the machine either.
    cloud.control().rest().delete(&second)?;
    wait_for("nobody sees the machine any more", Duration::from_secs(5), || {
        near.forget();
        cloud.assert_reaches(FRONT0, &to)?;
        Ok(near.count(1, 10) == 0)
    })?;
    near.die();
    far.die();
    Ok(())
}

#[test]
fn an_inspector_that_dies_stops_its_machine_unless_it_fails_open() -> Outcome {
    let cloud = Cloud::start("inspector-dies")?;
    let to = cloud.v4(FRONT1);
    let inspector = Inspector::start(&cloud, "guard", 1)?;
    let path = insert(&cloud, FRONT0, &inspector, &json!({ "vlan": 10 }))?;
    cloud.wait_reaches(FRONT0, &to)?;
    inspector.die();
    wait_for("it is known to be away", SOON, || {
        cloud.vms[FRONT0].ping(&to, 1)?;
        is(&cloud, &path, "INACTIVE")
    })?;
    cloud.assert_does_not_reach(FRONT0, &to)?;
    let walk = cloud.control().cli(&format!("walk {} {to}", cloud.ports[FRONT0]))?;
    assert!(walk.contains("service-down"), "{walk}");
    cloud.control().change(&path, &json!({ "failOpen": true }))?;
    cloud.wait_reaches(FRONT0, &to)?;
    cloud.assert_reaches(FRONT0, &to)?;
    Ok(())
}

#[test]
fn an_inspector_that_hangs_is_found_out_by_heartbeats_and_taken_back_when_it_answers() -> Outcome {
    let cloud = Cloud::start("inspector-hangs")?;
    let to = cloud.v4(FRONT1);
    let inspector = Inspector::start(&cloud, "guard", 1)?;
    let path = insert(&cloud, FRONT0, &inspector, &json!({ "vlan": 10, "failOpen": true }))?;
    cloud.wait_reaches(FRONT0, &to)?;
    // Its link is up all the while: without heartbeats nobody knows.
    inspector.be(false);
    thread::sleep(Duration::from_secs(3));
    assert!(is(&cloud, &path, "ACTIVE")?);
    cloud.assert_does_not_reach(FRONT0, &to)?;
    cloud.control().change(&path, &json!({ "heartbeat": true }))?;
    wait_for("heartbeats are missed", SOON, || is(&cloud, &path, "INACTIVE"))?;
    cloud.wait_reaches(FRONT0, &to)?;
    inspector.be(true);
    wait_for("heartbeats come back", SOON, || is(&cloud, &path, "ACTIVE"))?;
    wait_for("it inspects again", SOON, || {
        inspector.forget();
        cloud.vms[FRONT0].ping(&to, 1)?;
        Ok(inspector.count(1, 10) > 0)
    })?;
    cloud.assert_reaches(FRONT0, &to)?;
    // And without fail-open a machine that hangs stops everything, and says so.
    cloud.control().change(&path, &json!({ "failOpen": false }))?;
    inspector.be(false);
    wait_for("heartbeats are missed again", SOON, || is(&cloud, &path, "INACTIVE"))?;
    cloud.assert_does_not_reach(FRONT0, &to)?;
    inspector.die();
    Ok(())
}
