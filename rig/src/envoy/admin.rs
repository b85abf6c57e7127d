//! Envoy's admin interface.
//!
//! In: paths. Out: metrics, listeners, any page. Not here: waiting for a certain state.

use std::net::SocketAddr;

use serde_json::Value;

use super::Metrics;
use crate::client::{self, Request};

/// The address of an admin interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admin(pub(super) SocketAddr);

impl Default for Admin {
    fn default() -> Self {
        Self(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

impl Admin {
    /// Returns the body of a GET that the interface answers with 200.
    pub(super) async fn ask(self, path: &str) -> Option<String> {
        self.send(Request::get(path)).await
    }

    /// Sets every counter to zero.
    pub(super) async fn reset_counters(self) -> Option<()> {
        self.send(Request::post("/reset_counters")).await.map(drop)
    }

    pub(super) async fn metrics(self) -> Option<Metrics> {
        self.ask("/stats/prometheus").await.map(|text| Metrics::parse(&text))
    }

    /// Returns the name and the address of each listener.
    pub(super) async fn listeners(self) -> Option<Vec<(String, SocketAddr)>> {
        let answer: Value = serde_json::from_str(&self.ask("/listeners?format=json").await?).ok()?;
        let mut listeners = Vec::new();
        for listener in answer["listener_statuses"].as_array().into_iter().flatten() {
            let address = &listener["local_address"]["socket_address"];
            let (ip, port) = (address["address"].as_str(), address["port_value"].as_u64());
            if let (Some(Ok(ip)), Some(Ok(port))) = (ip.map(str::parse), port.map(u16::try_from)) {
                let name = listener["name"].as_str().unwrap_or_default().to_owned();
                listeners.push((name, SocketAddr::new(ip, port)));
            }
        }
        Some(listeners)
    }

    async fn send(self, request: Request) -> Option<String> {
        let mut response = client::send(self.0, request).await.ok()?;
        let body = response.body().await.ok()?;
        (response.status() == 200).then(|| String::from_utf8_lossy(&body).into_owned())
    }
}
