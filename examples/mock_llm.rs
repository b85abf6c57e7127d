//! Runs the tests' mock LLM server by itself, for manual calls through Tollgate.
//!
//! In: the address to listen on. Out: one line when it listens. Not here: the server,
//! `tollgate_rig::mock_llm`.

use std::net::SocketAddr;
use std::process::ExitCode;

use lexopt::prelude::{Long, Short, ValueExt};
use tollgate_rig::mock_llm::{MockLlm, behaviour};

#[tokio::main]
async fn main() -> ExitCode {
    match arguments() {
        Ok(Some(address)) => serve(address).await,
        Ok(None) => {
            print!("{HELP}{}", behaviour::help());
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            eprintln!("mock_llm: {wrong}; see --help");
            ExitCode::FAILURE
        }
    }
}

const HELP: &str = "\
A mock LLM server: the APIs of LLM providers with real token counts, and failures on request.

Usage: mock_llm [--listen ADDRESS]

  --listen ADDRESS   address to listen on (default 127.0.0.1:0, a free port)
  -h, --help         print this text

It serves HTTP/1.1 and HTTP/2 without TLS, and these APIs at their usual paths, behind any prefix:

  OpenAI      chat completions, completions, responses, embeddings, speech, transcriptions, images, moderations, models
  Azure       the same by deployment
  Anthropic   messages, count_tokens, also by Vertex's rawPredict
  Google      generateContent, streamGenerateContent, countTokens, embedContent, batchEmbedContents
  Bedrock     converse, converse-stream, invoke, invoke-with-response-stream, count-tokens
  Cohere      v2 chat
  Ollama      chat, generate, embed

These request headers change its behaviour:

";

/// Returns the address to listen on, or nothing for `--help`.
fn arguments() -> Result<Option<SocketAddr>, lexopt::Error> {
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("listen") => address = parser.value()?.parse()?,
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(address))
}

async fn serve(address: SocketAddr) -> ExitCode {
    let mock = match MockLlm::forgetful(address).await {
        Ok(mock) => mock,
        Err(error) => {
            eprintln!("mock_llm: cannot listen on {address}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("mock LLM listening on {}", mock.address());
    mock.serve().await;
    ExitCode::SUCCESS
}
