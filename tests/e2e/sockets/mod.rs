//! WebSockets through a real Envoy, over HTTP/1.1 and over HTTP/2.

mod endings;
mod global;
mod live;
mod realtime;
mod responses;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tollgate_rig::client::Request;
use tollgate_rig::client::socket::Socket;
use tollgate_rig::envoy::{Bootstrap, Filter};

use crate::bench::Bench;

/// The ways to open a WebSocket.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Http {
    /// By `upgrade`.
    One,
    /// By the extended CONNECT.
    Two,
}

const BOTH: [Http; 2] = [Http::One, Http::Two];

/// Lets clients open WebSockets.
pub(crate) fn with_sockets(bootstrap: Bootstrap) -> Bootstrap {
    bootstrap.upgrade("websocket").connection_manager("http2_protocol_options: { allow_connect: true }")
}

/// A configuration with one limit on the tokens of a tenant, and more rows of its tier.
fn tokens(max: u64, more: &str) -> String {
    format!(
        "
identity: {{ tenant: {{ header: x-tenant-id }} }}
tiers:
  free:
    limits: [ {{ name: tpm, count: tokens, per: tenant, max: {max}, window: 30d }} ]
{more}"
    )
}

async fn start(configuration: &str) -> Bench {
    Bench::with(Filter::yaml(configuration), with_sockets).await
}

fn request(path: &str, tenant: &str) -> Request {
    Request::get(path).header("x-tenant-id", tenant)
}

async fn open(address: SocketAddr, http: Http, request: Request) -> Socket {
    let opened = match http {
        Http::One => Socket::http1(address, request).await,
        Http::Two => Socket::http2(address, request).await,
    };
    opened.unwrap_or_else(|error| panic!("{error:?}"))
}

impl Bench {
    /// Opens a WebSocket.
    async fn socket(&self, http: Http, request: Request) -> Socket {
        open(self.envoy.address(), http, request).await
    }

    /// Waits until this many sockets have ended in this way.
    async fn wait_for_sockets(&self, kind: &str, count: u32) {
        self.wait_for_count("tollgate_sockets_total", &[("kind", kind)], count).await;
    }
}

/// Returns the usage in the last event of a response: input and output tokens.
fn usage(event: &Value) -> (u64, u64) {
    let usage = &event["response"]["usage"];
    (usage["input_tokens"].as_u64().unwrap(), usage["output_tokens"].as_u64().unwrap())
}

/// Returns a request for a response over the Responses API.
fn create(most: u64) -> Value {
    json!({ "type": "response.create", "model": "gpt-4o", "input": "Tell me something.", "max_output_tokens": most })
}
