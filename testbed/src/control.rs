//! The control plane of a lab: a cluster process, and the two ways of drawing with it, the REST
//! API and `midonet-cli`.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::namespace::finish;
use crate::process::program;
use crate::{Http, LabError, Namespace, Outcome};

/// Where the REST API listens.
pub const REST_PORT: u16 = 8181;

/// Draws through the REST API and `midonet-cli`.
#[derive(Clone, Debug)]
pub struct Control {
    namespace: Namespace,
    rest: Http,
}

impl Control {
    pub(crate) fn new(namespace: Namespace, rest: Http) -> Self {
        Self { namespace, rest }
    }

    /// The REST API.
    pub fn rest(&self) -> &Http {
        &self.rest
    }

    /// `midonet-cli` with arguments, ready to run against this lab's API.
    ///
    /// # Errors
    /// When the program was not built.
    pub fn cli_command(&self, arguments: &[&str]) -> Outcome<Command> {
        let mut command = self.namespace.command(program("midonet")?);
        command.arg("cli").args(["--midonet-url", &self.rest.url(), "-A"]).args(arguments);
        Ok(command)
    }

    /// Runs one command of `midonet-cli` and returns what it printed: an id for `create`.
    ///
    /// # Errors
    /// When the command is refused; the error has the words of the refusal.
    pub fn cli(&self, line: &str) -> Outcome<String> {
        Ok(finish(self.cli_command(&["-e", line])?.env("HOME", "/nonexistent"))?.trim().to_owned())
    }

    /// A bridge.
    ///
    /// # Errors
    /// As the API refuses; so do the following.
    pub fn bridge(&self, name: &str) -> Outcome<String> {
        self.rest.create("/bridges", &json!({ "name": name, "tenantId": "lab" }))
    }

    /// A router.
    pub fn router(&self, name: &str) -> Outcome<String> {
        self.rest.create("/routers", &json!({ "name": name, "tenantId": "lab" }))
    }

    /// A port on a bridge.
    pub fn bridge_port(&self, bridge: &str) -> Outcome<String> {
        self.rest.create(&format!("/bridges/{bridge}/ports"), &json!({ "type": "Bridge" }))
    }

    /// A port on a router, with addresses such as `10.0.1.1/24`.
    pub fn router_port(&self, router: &str, addresses: &[&str]) -> Outcome<String> {
        let body = json!({ "type": "Router", "portSubnet": addresses });
        self.rest.create(&format!("/routers/{router}/ports"), &body)
    }

    /// Links two ports.
    pub fn link(&self, port: &str, peer: &str) -> Outcome {
        let body = json!({ "portId": port, "peerId": peer });
        self.rest.create(&format!("/ports/{port}/link"), &body).map(drop)
    }

    /// A router port and a bridge port, linked; and the routes to the port's networks. Returns
    /// the router's port.
    pub fn uplink(&self, bridge: &str, router: &str, addresses: &[&str]) -> Outcome<String> {
        let inside = self.router_port(router, addresses)?;
        self.link(&inside, &self.bridge_port(bridge)?)?;
        for address in addresses {
            let (address, length) = address.split_once('/').unwrap_or((address, "32"));
            let (any, length) = (any_of(address), length.parse().unwrap_or(32));
            self.route(router, any, (&network_of(address, length), length), &inside, None)?;
        }
        Ok(inside)
    }

    /// A route of type Normal. `from` is the any-address of its family, matched with length 0.
    pub fn route(
        &self,
        router: &str,
        from: &str,
        (network, length): (&str, u8),
        port: &str,
        gateway: Option<&str>,
    ) -> Outcome<String> {
        self.route_by_weight(router, from, (network, length), port, gateway, 100)
    }

    /// Likewise, with its weight: the lowest of equal ones counts.
    pub fn route_by_weight(
        &self,
        router: &str,
        from: &str,
        (network, length): (&str, u8),
        port: &str,
        gateway: Option<&str>,
        weight: u32,
    ) -> Outcome<String> {
        let body = json!({
            "type": "Normal", "srcNetworkAddr": from, "srcNetworkLength": 0,
            "dstNetworkAddr": network, "dstNetworkLength": length,
            "nextHopPort": port, "nextHopGateway": gateway, "weight": weight,
        });
        self.rest.create(&format!("/routers/{router}/routes"), &body)
    }

    /// Binds a port to an interface of a host.
    pub fn bind(&self, port: &str, host: &str, interface: &str) -> Outcome {
        let body = json!({ "portId": port, "interfaceName": interface });
        self.rest.create(&format!("/hosts/{host}/ports"), &body).map(drop)
    }

    /// Undoes a binding.
    pub fn unbind(&self, port: &str, host: &str) -> Outcome {
        self.rest.delete(&format!("/hosts/{host}/ports/{port}"))
    }

    /// A chain.
    pub fn chain(&self, name: &str) -> Outcome<String> {
        self.rest.create("/chains", &json!({ "name": name, "tenantId": "lab" }))
    }

    /// A rule at the head of a chain.
    pub fn rule(&self, chain: &str, rule: &Value) -> Outcome<String> {
        self.rest.create(&format!("/chains/{chain}/rules"), rule)
    }

    /// Changes fields of an object, as clients do: reads it, changes it, writes it whole.
    pub fn change(&self, path: &str, fields: &Value) -> Outcome {
        let mut object = self.rest.get(path)?;
        for (field, value) in fields.as_object().into_iter().flatten() {
            object[field] = value.clone();
        }
        self.rest.put(path, &object)
    }

    /// The ids of the hosts whose agents are alive, by name.
    pub fn alive_hosts(&self) -> Outcome<Vec<(String, String)>> {
        let hosts = self.rest.get("/hosts")?;
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let alive = hosts.as_array().into_iter().flatten().filter(|h| h["alive"] == true);
        Ok(alive.map(|h| (text(&h["name"]), text(&h["id"]))).collect())
    }

    /// Waits until these ports are active, which is when traffic may flow.
    ///
    /// # Errors
    /// When one is not after ten seconds.
    pub fn wait_active(&self, ports: &[&str]) -> Outcome {
        for port in ports {
            wait_for(&format!("port {port} is active"), Duration::from_secs(10), || {
                Ok(self.rest.get(&format!("/ports/{port}"))?["active"] == true)
            })?;
        }
        Ok(())
    }
}

/// Waits until something holds; an error of the question counts as "not yet".
///
/// # Errors
/// When it does not hold in time; the last error of the question is part of the sentence.
pub fn wait_for(
    what: &str,
    patience: Duration,
    mut holds: impl FnMut() -> Outcome<bool>,
) -> Outcome {
    let start = Instant::now();
    loop {
        let last = holds();
        if matches!(last, Ok(true)) {
            return Ok(());
        }
        if start.elapsed() > patience {
            let why = last.err().map(|e| format!(" ({e})")).unwrap_or_default();
            let seconds = patience.as_secs_f64();
            return Err(LabError::Late { what: format!("{what}{why}"), seconds });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn any_of(address: &str) -> &'static str {
    if address.contains(':') { "::" } else { "0.0.0.0" }
}

/// The network that an address with a prefix length lies in.
fn network_of(address: &str, length: u8) -> String {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    match address.parse() {
        Ok(IpAddr::V4(v4)) => {
            let kept = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & kept).to_string()
        }
        Ok(IpAddr::V6(v6)) => {
            let kept = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & kept).to_string()
        }
        Err(_) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_without_its_host_part() {
        let rows = [
            ("10.0.1.7", 24, "10.0.1.0"),
            ("10.0.1.7", 32, "10.0.1.7"),
            ("10.0.1.7", 0, "0.0.0.0"),
            ("fd00:1::7", 64, "fd00:1::"),
        ];
        for (address, length, network) in rows {
            assert_eq!(network_of(address, length), network);
        }
    }

    #[test]
    fn waiting_ends_with_the_last_error_in_the_sentence() {
        let late = wait_for("it rains", Duration::from_millis(20), || {
            Err(LabError::unexpected("the sky", "is blue"))
        });
        let said = late.unwrap_err().to_string();
        assert!(said.contains("it rains") && said.contains("is blue"), "{said}");
    }
}
