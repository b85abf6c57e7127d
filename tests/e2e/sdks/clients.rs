//! The clients, one row each, and how the tests run their scripts.
//!
//! In: a client, a scenario, and addresses. Out: the client's view, as its script prints it. Not
//! here: the expected view.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[derive(Clone, Copy, Debug)]
pub(super) struct Api {
    /// The client's name, which is also its tenant's.
    pub name: &'static str,
    script: &'static str,
    /// The API's name in the script.
    api: &'static str,
    pub path: &'static str,
    /// The path of the API's address, in the client's form.
    base: &'static str,
    /// The members of usage that are charged.
    pub charged: &'static [&'static str],
    /// Whether the client shows the usage of a stream, which some do not request.
    pub shows_usage: bool,
    /// The client's error for a 429.
    pub error: &'static str,
}

pub(super) const CHAT: Api = Api {
    name: "chat",
    script: "openai_client.py",
    api: "chat",
    path: "/v1/chat/completions",
    base: "/v1",
    charged: &["prompt_tokens", "completion_tokens"],
    shows_usage: false,
    error: "RateLimitError",
};

pub(super) const RESPONSES: Api = Api {
    name: "responses",
    script: "openai_client.py",
    api: "responses",
    path: "/v1/responses",
    base: "/v1",
    charged: &["input_tokens", "output_tokens"],
    shows_usage: true,
    error: "RateLimitError",
};

pub(super) const EMBEDDINGS: Api = Api {
    name: "embeddings",
    script: "openai_client.py",
    api: "embeddings",
    path: "/v1/embeddings",
    base: "/v1",
    charged: &["prompt_tokens"],
    shows_usage: true,
    error: "RateLimitError",
};

pub(super) const MESSAGES: Api = Api {
    name: "messages",
    script: "anthropic_client.py",
    api: "messages",
    path: "/v1/messages",
    base: "",
    charged: &["input_tokens", "output_tokens"],
    shows_usage: true,
    error: "RateLimitError",
};

pub(super) const GEMINI: Api = Api {
    name: "gemini",
    script: "google_client.py",
    api: "gemini",
    path: "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
    base: "",
    charged: &["prompt_token_count", "candidates_token_count"],
    shows_usage: true,
    error: "RateLimitError",
};

pub(super) const CONVERSE: Api = Api {
    name: "converse",
    script: "bedrock_client.py",
    api: "converse",
    path: "/model/amazon.nova-lite-v1%3A0/converse-stream",
    base: "",
    charged: &["inputTokens", "outputTokens"],
    shows_usage: true,
    error: "RateLimitError",
};

pub(super) const INVOKE: Api = Api {
    name: "invoke",
    script: "bedrock_client.py",
    api: "invoke",
    path: "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream",
    base: "",
    charged: &["input_tokens", "output_tokens"],
    shows_usage: true,
    error: "RateLimitError",
};

pub(super) const COHERE: Api = Api {
    name: "cohere",
    script: "cohere_client.py",
    api: "cohere",
    path: "/v2/chat",
    base: "",
    charged: &["input_tokens", "output_tokens"],
    shows_usage: true,
    error: "RateLimitError",
};

pub(super) const OLLAMA: Api = Api {
    name: "ollama",
    script: "ollama_client.py",
    api: "ollama",
    path: "/api/chat",
    base: "",
    charged: &["input_tokens", "output_tokens"],
    shows_usage: true,
    error: "RateLimitError",
};

pub(super) const NODE_CHAT: Api = Api { name: "node-chat", script: "openai_client.mjs", ..CHAT };

pub(super) const NODE_RESPONSES: Api =
    Api { name: "node-responses", script: "openai_client.mjs", ..RESPONSES };

pub(super) const NODE_MESSAGES: Api =
    Api { name: "node-messages", script: "anthropic_client.mjs", ..MESSAGES };

/// The AI SDK, which requests the usage of every stream.
const AI: Api =
    Api { script: "ai_client.mjs", base: "/v1", shows_usage: true, error: "AI_APICallError", ..CHAT };

pub(super) const AI_CHAT: Api = Api { name: "ai-chat", ..AI };

pub(super) const AI_RESPONSES: Api =
    Api { name: "ai-responses", api: RESPONSES.api, path: RESPONSES.path, charged: RESPONSES.charged, ..AI };

pub(super) const AI_MESSAGES: Api =
    Api { name: "ai-messages", api: MESSAGES.api, path: MESSAGES.path, charged: MESSAGES.charged, ..AI };

impl Api {
    /// Runs a scenario against the server at `address` and returns the client's view.
    pub(super) async fn run(
        self,
        scenario: &'static str,
        address: SocketAddr,
        headers: &[(&str, &str)],
    ) -> Value {
        self.run_with(scenario, address, headers, &[]).await
    }

    /// Runs a scenario of a client that offers tools.
    pub(super) async fn run_with(
        self,
        scenario: &'static str,
        address: SocketAddr,
        headers: &[(&str, &str)],
        tools: &[&str],
    ) -> Value {
        self.run_at(scenario, &[address], headers, tools).await.remove(0)
    }

    /// Runs a scenario against several addresses, one after the other.
    pub(super) async fn run_at(
        self,
        scenario: &'static str,
        addresses: &[SocketAddr],
        headers: &[(&str, &str)],
        tools: &[&str],
    ) -> Vec<Value> {
        let Self { script, api, base, .. } = self;
        let urls: Vec<_> = addresses.iter().map(|address| format!("http://{address}{base}")).collect();
        let mut arguments = vec![urls.join(","), scenario.to_owned(), "--api".to_owned(), api.to_owned()];
        for (name, value) in headers {
            arguments.extend(["--header".to_owned(), format!("{name}={value}")]);
        }
        arguments.extend(tools.iter().flat_map(|tool| ["--tool".to_owned(), (*tool).to_owned()]));
        output(script, arguments).await
    }
}

/// Runs a script of `tests/sdk` and parses the lines that it prints.
pub(crate) async fn output(script: &'static str, arguments: Vec<String>) -> Vec<Value> {
    let mut command = if script.ends_with(".mjs") { node() } else { python() };
    command
        .arg(in_repository("tests/sdk").join(script))
        .args(&arguments)
        // The call goes to this machine, even if a proxy is configured.
        .env("NO_PROXY", "*");
    let run = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let output = run.unwrap_or_else(|error| panic!("{script} cannot be run: {error}; {HOW_TO_GET_THEM}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {arguments:?}: {complaint}\n{HOW_TO_GET_THEM}");
    let lines = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    lines.collect::<Result<_, _>>().unwrap()
}

const HOW_TO_GET_THEM: &str = "`make sdks` installs the official Python and Node clients into .venv/";

/// Returns the interpreter that has the Python clients.
fn python() -> Command {
    // `scripts/sdks.sh` copies the list there after installing everything.
    assert_installed(".venv/sdks.txt", include_str!("../../sdk/requirements.txt"));
    let mut command = Command::new(in_repository(".venv/bin/python"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Returns Node, which finds its clients in `node_modules`.
fn node() -> Command {
    assert_installed(".venv/node/installed.json", include_str!("../../sdk/package-lock.json"));
    Command::new("node")
}

fn assert_installed(path: &str, wanted: &str) {
    let installed = std::fs::read_to_string(in_repository(path)).unwrap_or_default();
    assert!(installed == wanted, "{path} is missing or old: {HOW_TO_GET_THEM}");
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
