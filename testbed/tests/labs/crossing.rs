//! The world of two ways out: machines inside on one host, a gateway on each of two others, and
//! beyond them a machine whose answers take whichever way it likes.

use mn_testbed::{Attachment, Control, Lab, Namespace, Outcome, Plan, Vm};
use serde_json::json;

use crate::asked::metric;
use crate::street::{FAR, SHARED, settle, translating};
use crate::talk::wait_reaches;

/// The host of the machine inside, and those of the gateways.
pub const HOME: usize = 0;
pub const GATEWAYS: [usize; 2] = [1, 2];
/// A host that has nothing yet.
pub const SPARE: usize = 3;
/// Where agents tell what they count.
const METRICS: &str = "127.0.0.1:7302";

/// Inside: 10.0.1.0/24, fd01::/64, known outside as [`SHARED`]. Way 1: 172.16.1.0/24,
/// fd16:1::/64; way 2 likewise; our port is .2, the router of others .1.
pub struct Crossing {
    pub lab: Lab,
    /// .11 of the inside, on [`HOME`], and its port.
    pub vm: Vm,
    pub vm_port: String,
    /// Our router's ports to them.
    pub ups: [String; 2],
    /// The chains of our router before and after it routes.
    pub pre: String,
    pub post: String,
    /// [`FAR`]: beyond both.
    pub far: Namespace,
}

impl Crossing {
    /// Sets everything up with so many hosts. Packets leave by the first way, answers come by the
    /// second.
    pub fn start(name: &str, hosts: usize) -> Outcome<Self> {
        let mut lab =
            Lab::start(&Plan { hosts, agent: &["--metrics", METRICS], ..Plan::new(name) })?;
        let control = lab.control.clone();
        let (router, bridge) = (control.router("edge")?, control.bridge("inside")?);
        control.uplink(&bridge, &router, &["10.0.1.1/24", "fd01::1/64"])?;
        let far = lab.namespace("far")?;
        let ups = [way(&mut lab, &router, &far, 1)?, way(&mut lab, &router, &far, 2)?];
        let vm = lab.add_vm("vm", HOME, Attachment::Veth)?;
        furnish(&vm)?;
        let vm_port = lab.plug(&vm, HOME, &bridge)?;
        control.wait_active(&[&vm_port, &ups[0], &ups[1]])?;
        let (pre, post) = translate(&control, &router, &ups)?;
        for address in FAR {
            let length = if address.contains(':') { 128 } else { 32 };
            far.ip(&format!("addr add {address}/{length} dev lo"))?;
        }
        let crossing = Self { lab, vm, vm_port, ups, pre, post, far };
        crossing.answer_by(2)?;
        for address in FAR {
            wait_reaches(&crossing.vm, address)?;
        }
        Ok(crossing)
    }

    /// The machine beyond sends by this way, 1 or 2, what it answers and what it begins: from
    /// [`FAR`], which both ways lead to.
    pub fn answer_by(&self, way: usize) -> Outcome {
        let gateways = [("-4", format!("192.168.{way}.1")), ("-6", format!("fd92:{way}::1"))];
        for ((family, via), own) in gateways.into_iter().zip(FAR) {
            let route = format!("default via {via} dev eth{way} src {own}");
            self.far.ip(&format!("{family} route replace {route}"))?;
        }
        Ok(())
    }

    /// Our port to a way is taken up or down, as an operator does when a gateway is gone.
    pub fn take_up(&self, way: usize, up: bool) -> Outcome {
        let path = format!("/ports/{}", self.ups[way - 1]);
        self.lab.control.change(&path, &json!({ "adminStateUp": up }))
    }

    /// A host loses its network and its agent.
    pub fn go_dark(&mut self, host: usize) -> Outcome {
        self.lab.process(&format!("hv{host}"))?.kill();
        self.lab.underlay().ip(&format!("link set hv{host} down")).map(drop)
    }

    /// A number of an agent's metrics; those of all labels that fit are added up.
    pub fn metric(&self, host: usize, name: &str, label: &str) -> Outcome<f64> {
        metric(&self.lab.hosts[host], METRICS, name, label)
    }
}

/// Gives the machine inside its addresses and gateways.
pub fn furnish(vm: &Vm) -> Outcome {
    settle(vm, ["10.0.1.11/24", "fd01::11/64"], ["10.0.1.1", "fd01::1"])
}

/// The inside is known by one address of each version by whichever way it leaves. The chains.
fn translate(control: &Control, router: &str, ups: &[String; 2]) -> Outcome<(String, String)> {
    let (pre, post) = (control.chain("pre")?, control.chain("post")?);
    for (version, shared) in [0x0800, 0x86dd].into_iter().zip(SHARED) {
        let back = json!({ "type": "rev_snat", "nwDstAddress": shared, "flowAction": "accept" });
        control.rule(&pre, &back)?;
        let forth = json!({
            "type": "snat", "outPorts": ups, "dlType": version, "flowAction": "accept",
        });
        control.rule(&post, &translating(forth, &[(shared, shared, 1024, 65535)]))?;
    }
    let filters = json!({ "inboundFilterId": pre, "outboundFilterId": post });
    control.change(&format!("/routers/{router}"), &filters)?;
    Ok((pre, post))
}

/// A router of others on a gateway's host, our router's port to it and the routes by it; and its
/// link to the machine beyond.
fn way(lab: &mut Lab, router: &str, far: &Namespace, number: usize) -> Outcome<String> {
    let host = GATEWAYS[number - 1];
    let outside = lab.add_vm(&format!("way{number}"), host, Attachment::Veth)?;
    let control = lab.control.clone();
    let ours = [format!("172.16.{number}.2/24"), format!("fd16:{number}::2/64")];
    let theirs = [format!("172.16.{number}.1"), format!("fd16:{number}::1")];
    let up = control.router_port(router, &[&ours[0], &ours[1]])?;
    control.bind(&up, &lab.host_id(&format!("hv{host}"))?, &outside.interface)?;
    let nets = [(format!("172.16.{number}.0"), 24), (format!("fd16:{number}::"), 64)];
    let at = &outside.namespace;
    let beyond = far.name();
    at.ip(&format!("link add far0 type veth peer name eth{number} netns {beyond}"))?;
    at.set("ipv6/conf/far0/accept_dad", "0")?;
    far.set(&format!("ipv6/conf/eth{number}/accept_dad"), "0")?;
    at.ip("link set far0 up")?;
    far.ip(&format!("link set eth{number} up"))?;
    for (version, any) in ["0.0.0.0", "::"].into_iter().enumerate() {
        let ((net, length), gateway) = (&nets[version], theirs[version].as_str());
        control.route(router, any, (net, *length), &up, None)?;
        let weight = 100 * number as u32;
        control.route_by_weight(router, any, (any, 0), &up, Some(gateway), weight)?;
        outside.address(&format!("{gateway}/{length}"))?;
        let link = [format!("192.168.{number}"), format!("fd92:{number}:")];
        let separator = ['.', ':'][version];
        let own = format!("{}{separator}1", link[version]);
        let peer = format!("{}{separator}2", link[version]);
        at.ip(&format!("addr add {own}/{length} dev far0"))?;
        far.ip(&format!("addr add {peer}/{length} dev eth{number}"))?;
        let (own, _) = ours[version].split_once('/').unwrap_or_default();
        at.ip(&format!("route add {} via {own}", SHARED[version]))?;
        at.ip(&format!("route add {} via {peer}", FAR[version]))?;
    }
    at.set("ipv4/ip_forward", "1")?;
    at.set("ipv6/conf/all/forwarding", "1")?;
    Ok(up)
}
