//! `make run`: keeps mock and Envoy running on the ports of `envoy/envoy.yaml` until ctrl-C.
//!
//! In: nothing. Out: curl lines to try, then Envoy's access log. Envoy runs with the unchanged
//! file, from the repository's root. Not here: checks; each curl line states the expected result.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tollgate_rig::client::{self, Request};
use tollgate_rig::demo::Style;
use tollgate_rig::envoy;
use tollgate_rig::mock_llm::MockLlm;

/// The addresses in `envoy/envoy.yaml`.
const ADMIN: ([u8; 4], u16) = ([127, 0, 0, 1], 9901);
const LISTENER: ([u8; 4], u16) = ([127, 0, 0, 1], 10000);
const MOCK: ([u8; 4], u16) = ([127, 0, 0, 1], 8000);

const TO_TRY: &str = r#"
  url=http://127.0.0.1:10000/v1/chat/completions
  ask='{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}'
  stream='{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Hello"}]}'

A call of tenant acme on tier free gets a 200. x-ratelimit-remaining-tokens shows what is left of 10,000:
  curl -i $url -H 'x-tenant-id: acme' -d "$ask"

The same as a stream, a word every 50 ms. Stop it with ctrl-C: Tollgate charges only what was sent:
  curl -N $url -H 'x-tenant-id: acme' -H 'x-mock-chunk-delay-ms: 50' -d "$stream"

An answer of 9,500 tokens, then another call. The second gets a 429 with retry-after and the reason:
  curl -s -o /dev/null $url -H 'x-tenant-id: acme' -H 'x-mock-output-tokens: 9500' -d "$ask"
  curl -i $url -H 'x-tenant-id: acme' -d "$ask"

Another tenant, on tier pro with 100,000 tokens a minute, gets a 200:
  curl -i $url -H 'x-tenant-id: zenith' -H 'x-tier: pro' -d "$ask"

Claude through Anthropic's API, and Gemini as a streamed JSON list. Both spend the same budget:
  curl -i http://127.0.0.1:10000/v1/messages -H 'x-tenant-id: acme' \
    -d '{"model":"claude-sonnet-4-5","max_tokens":50,"messages":[{"role":"user","content":"Hello"}]}'
  curl -iN http://127.0.0.1:10000/v1beta/models/gemini-2.5-flash:streamGenerateContent -H 'x-tenant-id: acme' \
    -d '{"contents":[{"role":"user","parts":[{"text":"Hello"}]}]}'

On tier team, an answer of 6,000 tokens, then another call. gpt-4o-mini answers it; see x-tollgate-softened:
  dear='{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}'
  curl -s -o /dev/null $url -H 'x-tenant-id: globex' -H 'x-tier: team' -H 'x-mock-output-tokens: 6000' -d "$dear"
  curl -i $url -H 'x-tenant-id: globex' -H 'x-tier: team' -d "$dear"

A stream of 30,000 tokens. Tollgate stops it with finish_reason: length and [DONE]:
  curl -sN $url -H 'x-tenant-id: hooli' -H 'x-tier: team' -H 'x-mock-output-tokens: 30000' -d "$stream" | tail -n 4

Two calls of a tool by MCP. The second gets a JSON-RPC error, because the limit is one per hour:
  mail='{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send_email","arguments":{}}}'
  curl -s -o /dev/null http://127.0.0.1:10000/mcp -H 'x-tenant-id: orca' -H 'x-tier: agents' -d "$mail"
  curl -i http://127.0.0.1:10000/mcp -H 'x-tenant-id: orca' -H 'x-tier: agents' -d "$mail"

The LLM refuses calls for 20 seconds. Tollgate then refuses the next call for its model at once:
  curl -i $url -H 'x-tenant-id: acme' -H 'x-mock-status: 429' -H 'x-mock-retry-after: 20' -d "$ask"
  curl -i $url -H 'x-tenant-id: acme' -d "$ask"

A call without a tenant gets a 401:
  curl -i $url -d "$ask"

Metrics of what was counted and charged, by tier, limit and model:
  curl -s http://127.0.0.1:9901/stats/prometheus | grep ^tollgate_
"#;

/// Runs until ctrl-C.
pub(crate) async fn stay(style: Style) -> ExitCode {
    match run(style).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{}", style.bad(&format!("make run: {why}")));
            ExitCode::FAILURE
        }
    }
}

async fn run(style: Style) -> Result<(), String> {
    // Envoy would share a port with another Envoy without an error.
    for (address, whom) in [(MOCK, "the mock LLM"), (LISTENER, "Envoy"), (ADMIN, "Envoy's admin interface")] {
        free(address.into(), whom)?;
    }
    // Installed before anything starts, so that ctrl-C always stops everything.
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let mut terminated = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let _mock = MockLlm::forgetful(MOCK.into()).await.map_err(|error| format!("the mock LLM: {error}"))?;
    let mut envoy = start()?;
    tokio::select! {
        _ = interrupted.recv() => return stop(envoy).await,
        _ = terminated.recv() => return stop(envoy).await,
        ready = ready(&mut envoy) => ready?,
    }

    println!(
        "\n{}",
        style.bold("Tollgate is running on 127.0.0.1:10000 with envoy/envoy.yaml. Try in another shell:")
    );
    println!("{TO_TRY}");
    println!(
        "{}",
        style.dim(
            "For help on the x-mock- headers: cargo run --release --example mock_llm -- --help\n\
             Envoy's access log follows. ctrl-C stops everything."
        )
    );
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
        status = envoy.wait() => {
            return Err(format!("Envoy exited: {status:?}"));
        }
    }
    stop(envoy).await?;
    println!("\nStopped.");
    Ok(())
}

fn free(address: SocketAddr, whom: &str) -> Result<(), String> {
    TcpListener::bind(address).map(drop).map_err(|error| {
        format!(
            "{whom} needs {address}, which is in use ({error}).\n  To see the process: ss -ltnp 'sport = :{}'",
            address.port()
        )
    })
}

fn start() -> Result<Child, String> {
    Command::new(envoy::binary())
        .args(["--config-path", "envoy/envoy.yaml"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        // Run beside other Envoys, and write the access log promptly.
        .args(["--disable-hot-restart", "--file-flush-interval-msec", "50"])
        // The filter logs refusals at this level.
        .args(["--log-level", "warning", "--component-log-level", "wasm:info"])
        .stdin(Stdio::null())
        // In a process group of its own, so that the terminal's ctrl-C reaches only this program.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start Envoy: {error}"))
}

/// Waits until Envoy is ready.
async fn ready(envoy: &mut Child) -> Result<(), String> {
    loop {
        if let Some(status) = envoy.try_wait().map_err(|error| error.to_string())? {
            return Err(format!("Envoy failed to start ({status}); its log above says why"));
        }
        let answer = client::send(ADMIN.into(), Request::get("/ready")).await;
        if answer.is_ok_and(|response| response.status() == 200) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks Envoy to exit, so that it writes the last lines of its access log.
async fn stop(mut envoy: Child) -> Result<(), String> {
    let _ = client::send(ADMIN.into(), Request::post("/quitquitquit")).await;
    if tokio::time::timeout(Duration::from_secs(5), envoy.wait()).await.is_err() {
        envoy.kill().await.map_err(|error| format!("cannot stop Envoy: {error}"))?;
    }
    Ok(())
}
