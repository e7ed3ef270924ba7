//! What Prometheus is told.

use std::time::Duration;

use mn_topology::{Condition, RuleAction};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::lab::Lab;

impl Lab {
    /// Serves a host's metrics; where.
    pub async fn serves_metrics(&self, host: usize) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let handle = self.hosts[host].agent.as_ref().expect("it runs").handle().clone();
        tokio::spawn(mn_agent::serve_metrics(listener, handle));
        address
    }
}

pub async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: agent\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

/// The value of the sample whose name and labels contain all of these.
pub fn sample(text: &str, words: &[&str]) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| !line.starts_with('#') && words.iter().all(|word| line.contains(word)))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_drops_by_cause_port_and_rule_and_nothing_else_is_served() {
    let lab = Lab::new(1).await;
    let bridge = lab.bridge().await;
    let (one, port) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, _) = lab.station(0, bridge, 2, &["10.0.1.2"]).await;
    let (chain, rule) = lab.chain(Condition::default(), RuleAction::Drop).await;
    lab.filter(port, chain).await;
    let rule = rule.to_string();
    for sequence in 0..10 {
        lab.send(&one, &one.echo(two.mac, "10.0.1.2".parse().unwrap(), sequence));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let address = lab.serves_metrics(0).await;
    // The flow's own counter is read by the sweep.
    let by_rule = ["midonet_agent_rule_drops_total", rule.as_str()];
    let mut answer = get(address, "/metrics").await;
    for _ in 0..100 {
        if sample(&answer, &by_rule) == Some(10.0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer = get(address, "/metrics").await;
    }
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"));
    assert_eq!(sample(&answer, &by_rule), Some(10.0), "{answer}");
    let port = port.to_string();
    let by_cause = ["midonet_agent_drops_total", "cause=\"rule\"", port.as_str()];
    assert_eq!(sample(&answer, &by_cause), Some(10.0), "{answer}");
    let received = ["midonet_agent_port_packets_total", port.as_str(), "rx"];
    assert_eq!(sample(&answer, &received), Some(10.0), "{answer}");
    assert!(get(address, "/").await.starts_with("HTTP/1.1 404 "));
    lab.stop().await;
}
