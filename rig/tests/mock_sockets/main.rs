//! The mock speaks WebSocket, and the client opens WebSockets: each is tested with the other.

mod live;
mod misbehaviour;
mod opening;
mod realtime;
mod responses;
mod through_envoy;

use serde_json::{Value, json};
use tollgate_rig::client::Request;
use tollgate_rig::client::socket::Socket;
use tollgate_rig::mock_llm::MockLlm;

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// Returns the texts of the events of one type, joined.
fn joined(events: &[Value], kind: &str) -> String {
    events.iter().filter(|event| event["type"] == kind).filter_map(|event| event["delta"].as_str()).collect()
}

/// Opens a socket for responses, with these headers.
async fn responses(mock: &MockLlm, headers: &[(&str, &str)]) -> Socket {
    let request = headers
        .iter()
        .fold(Request::get("/v1/responses"), |request, (name, value)| request.header(name, value));
    Socket::http1(mock.address(), request).await.unwrap()
}

/// Returns an event that creates a response.
fn create(more: &Value) -> Value {
    let mut event = json!({ "type": "response.create", "model": "gpt-4o", "input": "Hello there" });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}
