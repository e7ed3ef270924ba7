//! A virtual machine: a namespace with one interface, attached to a host by veth or tap.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use crate::control::wait_for;
use crate::process::{Process, program};
use crate::{Namespace, Outcome};

/// The interface's name in the guest.
pub(crate) const GUEST: &str = "eth0";

/// How a VM's interface reaches its host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attachment {
    /// A pair of virtual Ethernet devices, as containers have.
    Veth,
    /// A tap held by a process, as hypervisors have.
    Tap,
}

/// A virtual machine.
#[derive(Clone, Debug)]
pub struct Vm {
    pub name: String,
    pub namespace: Namespace,
    /// The name of its interface on the host.
    pub interface: String,
    pub mac: String,
    pub attachment: Attachment,
}

impl Vm {
    /// Makes both ends of its interface. For a tap, starts the process that holds it, which is
    /// returned for the lab to look after.
    pub(crate) fn attach(
        &self,
        host: &Namespace,
        log: &std::path::Path,
    ) -> Outcome<Option<Process>> {
        let Self { interface, mac, namespace, .. } = self;
        let holder = match self.attachment {
            Attachment::Veth => {
                let guest = namespace.name();
                host.ip(&format!(
                    "link add {interface} type veth peer name {GUEST} netns {guest}"
                ))?;
                None
            }
            Attachment::Tap => {
                let mut command = Command::new(program("tap_vm")?);
                command.args([host.name(), interface, namespace.name(), GUEST]);
                let process = Process::start(&format!("tap_vm {}", self.name), log, &mut command)?;
                let both = || {
                    host.ip(&format!("link show {interface}"))?;
                    namespace.ip(&format!("link show {GUEST}")).map(|_| true)
                };
                wait_for("both ends of a tap are there", Duration::from_secs(5), both)?;
                Some(process)
            }
        };
        // A host's stack has nothing to say on a VM's interface.
        host.set(&format!("ipv6/conf/{interface}/disable_ipv6"), "1")?;
        namespace.set(&format!("ipv6/conf/{GUEST}/accept_dad"), "0")?;
        // Guests answer every probe of a traceroute, not six and then one a second.
        namespace.set("ipv4/icmp_ratelimit", "0")?;
        namespace.set("ipv6/icmp/ratelimit", "0")?;
        namespace.ip(&format!("link set {GUEST} address {mac} up"))?;
        host.ip(&format!("link set {interface} up"))?;
        Ok(holder)
    }

    /// Gives the guest an address such as `10.0.1.2/24` or `fd00:1::2/64`.
    ///
    /// # Errors
    /// When the guest refuses it; so do the following.
    pub fn address(&self, address: &str) -> Outcome {
        self.namespace.ip(&format!("addr add {address} dev {GUEST}")).map(drop)
    }

    /// Sets the guest's default gateway.
    pub fn gateway(&self, gateway: &str) -> Outcome {
        let family = if gateway.contains(':') { "-6" } else { "-4" };
        self.namespace.ip(&format!("{family} route replace default via {gateway}")).map(drop)
    }

    /// The guest's first global address of the family of `like`.
    pub fn address_like(&self, like: IpAddr) -> Outcome<Option<IpAddr>> {
        let family = if like.is_ipv6() { "-6" } else { "-4" };
        let text = self.namespace.ip(&format!("-j {family} addr show dev {GUEST} scope global"))?;
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let local = value[0]["addr_info"][0]["local"].as_str();
        Ok(local.and_then(|address| address.parse().ok()))
    }
}
