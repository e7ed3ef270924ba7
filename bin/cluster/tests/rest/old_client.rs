//! The existing Python client, octet by octet (real-clients.md), over a socket.

use std::io::Read;
use std::sync::Arc;

use flate2::read::GzDecoder;
use mn_cluster::rest::{Settings, router};
use mn_nsdb::Engine;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::api::text;

/// One connection, kept as that client keeps it.
struct OldClient {
    stream: TcpStream,
    host: String,
    token: String,
    /// What came after the last answer.
    rest: Vec<u8>,
}

struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

impl OldClient {
    async fn connect() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let app = router(Arc::new(Engine::memory()), Settings::default());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let stream = TcpStream::connect(&host).await.unwrap();
        Self { stream, host, token: String::new(), rest: Vec::new() }
    }

    /// Every request has a body, if only the two octets of an empty object.
    async fn send(
        &mut self,
        method: &str,
        uri: &str,
        kind: &str,
        extra: &str,
        body: &str,
    ) -> Answer {
        let path = uri.strip_prefix(&format!("http://{}", self.host)).unwrap_or(uri);
        let media = format!("application/vnd.org.midonet.{kind}+json");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\ncontent-length: {}\r\nuser-agent: Python-httplib2\r\n\
             accept: {media}\r\naccept-encoding: gzip, deflate\r\ncontent-type: {media}\r\n{extra}\r\n{body}",
            self.host,
            body.len(),
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.answer().await
    }

    async fn call(&mut self, method: &str, uri: &str, kind: &str, body: &Value) -> Answer {
        let extra = format!("x-auth-token: {}\r\n", self.token);
        self.send(method, uri, kind, &extra, &body.to_string()).await
    }

    async fn answer(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            self.read().await;
        };
        let head = String::from_utf8(self.rest[..end].to_vec()).unwrap();
        let mut answer = Answer { status: head[9..12].parse().unwrap(), head, body: Value::Null };
        self.rest.drain(..end + 4);
        let body = match answer.header("transfer-encoding") {
            "chunked" => self.chunks().await,
            _ => self.take(answer.header("content-length").parse().unwrap_or(0)).await,
        };
        let body = match answer.header("content-encoding") {
            "gzip" => {
                let mut plain = Vec::new();
                GzDecoder::new(body.as_slice()).read_to_end(&mut plain).unwrap();
                plain
            }
            _ => body,
        };
        if !body.is_empty() {
            answer.body = serde_json::from_slice(&body).unwrap();
        }
        answer
    }

    /// A body in chunks (RFC 9112 §7.1), without extensions and trailers.
    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match self.rest.windows(2).position(|two| two == b"\r\n") {
                    Some(end) => break end,
                    None => self.read().await,
                }
            };
            let line = self.take(end + 2).await;
            let size = str::from_utf8(&line[..end]).unwrap();
            let chunk = self.take(usize::from_str_radix(size, 16).unwrap() + 2).await;
            if chunk.len() == 2 {
                return body;
            }
            body.extend_from_slice(&chunk[..chunk.len() - 2]);
        }
    }

    async fn take(&mut self, octets: usize) -> Vec<u8> {
        while self.rest.len() < octets {
            self.read().await;
        }
        self.rest.drain(..octets).collect()
    }

    async fn read(&mut self) {
        let mut octets = [0; 4096];
        let read = self.stream.read(&mut octets).await.unwrap();
        assert!(read > 0, "the server closed the connection");
        self.rest.extend_from_slice(&octets[..read]);
    }

    /// POSTs and reads the `Location`.
    async fn create(&mut self, uri: &str, kind: &str, body: Value) -> Value {
        let made = self.call("POST", uri, kind, &body).await;
        assert_eq!(made.status, 201, "{uri} {body}: {}", made.body);
        let location = made.header("location").to_owned();
        self.get(&location, kind).await
    }

    async fn get(&mut self, uri: &str, kind: &str) -> Value {
        let read = self.call("GET", uri, kind, &json!({})).await;
        assert_eq!(read.status, 200, "{uri}: {}", read.body);
        assert_eq!(read.header("content-type"), format!("application/vnd.org.midonet.{kind}+json"));
        read.body
    }
}

#[tokio::test]
async fn the_old_client_logs_in_draws_a_network_and_takes_it_down() {
    let mut client = OldClient::connect().await;
    // "midonet:midonet"
    let basic = "authorization: Basic bWlkb25ldDptaWRvbmV0\r\nx-auth-project: cloud\r\n";
    let login = client.send("POST", "/midonet-api/login", "Token-v1", basic, "{}").await;
    let cookie = login.header("set-cookie").to_owned();
    client.token = cookie.split_once('=').unwrap().1.split(';').next().unwrap().to_owned();
    assert_eq!(client.token, "00000000");

    let root = client.get("/midonet-api", "Application-v5").await;
    let state = client.get(text(&root["systemState"]), "SystemState-v2").await;
    assert_eq!(state["information"], Value::Null);

    let bridge = json!({"name": "b0", "tenantId": "t", "adminStateUp": true});
    let mut bridge = client.create(text(&root["bridges"]), "Bridge-v4", bridge).await;
    let router = json!({"name": "r0", "tenantId": "t", "asNumber": "65000"});
    let router = client.create(text(&root["routers"]), "Router-v3", router).await;
    assert_eq!(router["asNumber"], 65000);
    let chain = client.create(text(&root["chains"]), "Chain-v1", json!({"name": "c0"})).await;
    let rule = json!({"type": "drop", "position": "1", "nwProto": "6", "nwSrcAddress": "10.0.0.0",
        "nwSrcLength": "8", "tpDst": {"start": "80", "end": "80"}, "matchForwardFlow": false,
        "condInvert": null, "inPorts": null, "natTargets": null});
    let rule = client.create(text(&chain["rules"]), "Rule-v2", rule).await;
    assert_eq!((&rule["nwProto"], &rule["tpDst"]["start"]), (&json!(6), &json!(80)));

    // A PUT sends everything back that was read.
    bridge["inboundFilterId"] = chain["id"].clone();
    assert_eq!(client.call("PUT", text(&bridge["uri"]), "Bridge-v4", &bridge).await.status, 204);
    let bridge = client.get(text(&bridge["uri"]), "Bridge-v4").await;
    assert_eq!(bridge["inboundFilter"], chain["uri"]);

    let port = json!({"type": "Bridge"});
    let port = client.create(text(&bridge["ports"]), "Port-v3", port).await;
    let router_port = json!({"type": "Router", "portAddress": "10.0.0.1", "networkAddress": "10.0.0.0", "networkLength": "24"});
    let router_port = client.create(text(&router["ports"]), "Port-v3", router_port).await;
    let mut link = port.clone();
    link["peerId"] = router_port["id"].clone();
    assert_eq!(client.call("POST", text(&port["link"]), "PortLink-v1", &link).await.status, 201);
    let routes = client.get(text(&router["routes"]), "collection.Route-v1").await;
    assert_eq!(routes[0]["type"], "Local");

    for (uri, kind) in
        [(&bridge["uri"], "Bridge-v4"), (&router["uri"], "Router-v3"), (&chain["uri"], "Chain-v1")]
    {
        assert_eq!(client.call("DELETE", text(uri), kind, &json!({})).await.status, 204);
    }
    let gone = client.call("GET", text(&bridge["uri"]), "Bridge-v4", &json!({})).await;
    assert_eq!((gone.status, &gone.body["code"]), (404, &json!(404)));
    let left = client.get(text(&root["bridges"]), "collection.Bridge-v4").await;
    assert_eq!(left, json!([]));
}
