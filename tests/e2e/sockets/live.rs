//! Google's Live API.

use tollgate_rig::client::socket::End;

use super::*;

const PATH: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";

async fn open(bench: &Bench, http: Http, tenant: &str) -> Socket {
    let mut socket = bench.socket(http, request(PATH, tenant).header("x-mock-output-tokens", "20")).await;
    let setup = json!({ "setup": { "model": "models/gemini-live", "generationConfig": { "responseModalities": ["TEXT"] } } });
    assert!(socket.send(&setup).await);
    assert!(socket.event().await.unwrap().get("setupComplete").is_some());
    socket
}

fn turn() -> Value {
    json!({ "clientContent": { "turns": [ { "role": "user", "parts": [ { "text": "Hi" } ] } ], "turnComplete": true } })
}

/// Returns the tokens of a turn.
fn usage(events: &[Value]) -> u64 {
    let usage = events.iter().rev().find_map(|event| event.get("usageMetadata")).unwrap();
    usage["promptTokenCount"].as_u64().unwrap() + usage["responseTokenCount"].as_u64().unwrap()
}

fn is_complete(event: &Value) -> bool {
    event["serverContent"]["turnComplete"] == true
}

#[tokio::test]
async fn each_turn_is_charged_and_a_refused_one_closes_the_socket() {
    let bench = start(&tokens(200, "")).await;
    for http in BOTH {
        let tenant = format!("{http:?}");
        let mut socket = open(&bench, http, &tenant).await;
        let mut spent = 0;
        let end = loop {
            assert!(socket.send(&turn()).await);
            let mut events = Vec::new();
            while !events.last().is_some_and(is_complete) {
                let Some(event) = socket.event().await else { break };
                events.push(event);
            }
            if events.is_empty() {
                break socket.drained().await;
            }
            spent += usage(&events);
            assert_eq!(bench.left(&tenant).await, 200 - spent, "{http:?}");
        };
        let End::Closed(Some((1008, reason))) = end else { panic!("{end:?}") };
        assert!(reason.starts_with("Rate limit reached"), "{reason}");
    }
    bench.wait_for_sockets("over_limit", 2).await;
}
