//! A load balancer on the router of the cloud: the machines at the back serve, those in front ask.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mn_testbed::{LabError, Outcome, wait_for};
use serde_json::{Value, json};

use crate::cloud::{BACK0, BACK1, Cloud};
use crate::talk::{Server, comes_back, dial};

/// The virtual addresses. On no port.
pub const VIP: [&str; 2] = ["203.0.113.2", "2001:db8:9::2"];
/// Their port, and that of the servers.
pub const PORT: u16 = 80;
pub const SERVED_AT: u16 = 8080;

/// The cloud with a pool for each IP version, the machines at the back in both.
pub struct Shop {
    pub cloud: Cloud,
    /// Members by version and server.
    pub members: [[String; 2]; 2],
    pub servers: [Server; 2],
}

impl Shop {
    /// Sets everything up over two hosts.
    pub fn open(name: &str, protocol: &str, vip: &Value) -> Outcome<Self> {
        Self::open_in(Cloud::start(name)?, protocol, vip)
    }

    pub fn open_in(cloud: Cloud, protocol: &str, vip: &Value) -> Outcome<Self> {
        let rest = cloud.control().rest();
        let balancer = rest.create("/load_balancers", &json!({}))?;
        let servers = [BACK0, BACK1].map(|vm| Server::start(&cloud.vms[vm].namespace, SERVED_AT));
        let [first, second] = servers;
        let mut members = Vec::new();
        for (version, address) in VIP.into_iter().enumerate() {
            let pool = json!({
                "loadBalancerId": balancer, "lbMethod": "ROUND_ROBIN", "protocol": protocol,
            });
            let pool = rest.create("/pools", &pool)?;
            let own = |vm| if version == 0 { cloud.v4(vm) } else { cloud.v6(vm) };
            let member = |vm| {
                let member =
                    json!({ "poolId": pool, "address": own(vm), "protocolPort": SERVED_AT });
                rest.create("/pool_members", &member)
            };
            members.push([member(BACK0)?, member(BACK1)?]);
            let mut vip = vip.clone();
            vip["poolId"] = json!(pool);
            vip["address"] = json!(address);
            vip["protocolPort"] = json!(PORT);
            rest.create("/vips", &vip)?;
        }
        let attached = json!({ "loadBalancerId": balancer });
        cloud.control().change(&format!("/routers/{}", cloud.router), &attached)?;
        let members = <[[String; 2]; 2]>::try_from(members).unwrap_or_default();
        Ok(Self { cloud, members, servers: [first?, second?] })
    }

    /// A connection of a machine to a virtual address.
    pub fn asks(&self, vm: usize, version: usize) -> Outcome<TcpStream> {
        dial(&self.cloud.vms[vm].namespace, VIP[version], PORT)
    }

    /// Waits until a machine's connections are answered: what was drawn is known then.
    pub fn wait_open(&self, vm: usize) -> Outcome {
        for version in [0, 1] {
            wait_for("the shop is open", Duration::from_secs(15), || {
                Ok(comes_back(&mut self.asks(vm, version)?, 10))
            })?;
        }
        Ok(())
    }

    /// Which server has a connection, by whom it saw.
    pub fn server_of(&self, stream: &TcpStream) -> Outcome<Option<usize>> {
        let own = stream.local_addr().map_err(LabError::machine("a socket's address"))?;
        let own = SocketAddr::new(own.ip().to_canonical(), own.port());
        Ok(self.servers.iter().position(|server| server.peers().contains(&own)))
    }

    /// So many new connections of a machine, each tried; how many each server got.
    pub fn shares(&self, vm: usize, version: usize, count: usize) -> Outcome<[usize; 2]> {
        let mut shares = [0; 2];
        for nth in 0..count {
            let mut stream = self.asks(vm, version)?;
            assert!(comes_back(&mut stream, 100), "connection {nth} of {count}");
            let server = self.server_of(&stream)?.expect("a server saw who asked it");
            shares[server] += 1;
        }
        Ok(shares)
    }

    /// Changes a member of both versions: `adminStateUp`, `weight`.
    pub fn set_member(&self, server: usize, fields: &Value) -> Outcome {
        for members in &self.members {
            let path = format!("/pool_members/{}", members[server]);
            self.cloud.control().change(&path, fields)?;
        }
        Ok(())
    }

    /// Waits until no new connection of a machine goes to a server.
    pub fn wait_spared(&self, vm: usize, version: usize, server: usize) -> Outcome {
        wait_for("a server gets no new connections", Duration::from_secs(15), || {
            Ok(self.shares(vm, version, 12)?[server] == 0)
        })
    }
}
