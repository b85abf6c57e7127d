//! An MCP server over HTTP ("Streamable HTTP"), without sessions: `POST */mcp`.
//!
//! In: JSON-RPC messages, one or, from older clients, a list. Out: answers to `initialize`, `ping`,
//! `tools/list` and `tools/call`. Every tool returns its arguments as text; `recite` also sends
//! them word by word before, as a stream of events. Notifications get a 202. Methods other than
//! `POST` get a 405, because the server has nothing to send unasked. Wire format:
//! modelcontextprotocol.io, specification 2025-06-18, "Transports", "Lifecycle" and "Tools". Not
//! here: revision 2026-07-28, whose clients fall back to the handshake.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Format};

/// `POST */mcp`.
pub(super) const FORMAT: Format = Format {
    serves: |_, path| path.ends_with("/mcp"),
    answer: |behaviour, received| {
        if received.method != Method::POST {
            return error(StatusCode::METHOD_NOT_ALLOWED, "nothing to listen to");
        }
        let Ok(messages) = serde_json::from_slice::<Value>(&received.body) else {
            return failed(StatusCode::BAD_REQUEST, -32700, "the body is not JSON");
        };
        let status = behaviour.status.unwrap_or(StatusCode::OK);
        match &messages {
            Value::Array(batch) => {
                let answers: Vec<_> = batch.iter().filter_map(answered).collect();
                if answers.is_empty() {
                    accepted()
                } else {
                    Answer::whole(status, Value::Array(answers).to_string())
                }
            }
            message if message["params"]["name"] == RECITE && !message["id"].is_null() => {
                Answer::events(status, recited(message))
            }
            message => {
                answered(message).map_or_else(accepted, |answer| Answer::whole(status, answer.to_string()))
            }
        }
    },
    error,
};

const RECITE: &str = "recite";

/// The tools, two of which operators would want to limit.
const TOOLS: [(&str, &str); 4] = [
    ("echo", "Gives back its arguments"),
    (RECITE, "Gives back its arguments, and tells on the way how far it is"),
    ("send_email", "Sends no e-mail"),
    ("delete_file", "Deletes no file"),
];

/// Answers a message, unless it is a notification.
fn answered(message: &Value) -> Option<Value> {
    let id = message.get("id").filter(|_| message["method"].is_string())?;
    let params = &message["params"];
    let result = match message["method"].as_str()? {
        "initialize" => json!({
            "protocolVersion": params["protocolVersion"],
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "mock", "version": "1" },
        }),
        "ping" => json!({}),
        "tools/list" => json!({ "tools": TOOLS.map(|(name, description)| {
            json!({ "name": name, "description": description, "inputSchema": { "type": "object" } })
        }) }),
        "tools/call" if TOOLS.iter().any(|(name, _)| params["name"] == *name) => {
            json!({ "content": [{ "type": "text", "text": arguments(message) }], "isError": false })
        }
        "tools/call" => return Some(refused(id, -32602, "Unknown tool")),
        _ => return Some(refused(id, -32601, "Method not found")),
    };
    Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

/// Returns the arguments of a tool call as text.
fn arguments(message: &Value) -> String {
    message["params"].get("arguments").map_or_else(|| "{}".to_owned(), Value::to_string)
}

/// Returns a notification for each word, and the answer.
fn recited(message: &Value) -> Vec<String> {
    let told = arguments(message);
    let words = told.split(' ').map(|word| {
        let said = json!({ "level": "info", "data": word });
        json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": said })
    });
    let events = words.chain(answered(message));
    events.map(|event| format!("event: message\ndata: {event}\n\n")).collect()
}

fn accepted() -> Answer {
    Answer { chunks: Vec::new(), ..Answer::whole(StatusCode::ACCEPTED, String::new()) }
}

fn refused(id: &Value, code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

fn failed(status: StatusCode, code: i32, message: &str) -> Answer {
    Answer::whole(status, refused(&Value::Null, code, message).to_string())
}

/// Returns an error that belongs to no message.
fn error(status: StatusCode, message: &str) -> Answer {
    failed(status, -32600, message)
}
