//! A rate limit service for trying and testing Tollgate's global limits.
//!
//! In: limits in Limitador's YAML, and gRPC calls of the Envoy rate limit service
//! (`envoy.service.ratelimit.v3`, see [`service`]) and of its Kuadrant variant (see [`kuadrant`]).
//! Out: decisions, counted in memory or in a Redis that several of these services share. Not here:
//! TLS, metrics, reloading limits. It is small enough to read and not meant for production; use
//! envoyproxy/ratelimit or Limitador there.

mod kuadrant;
mod limits;
mod service;
mod store;

use core::future::Future;
use core::time::Duration;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitServiceServer;
use lexopt::prelude::{Long, Short, ValueExt};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use kuadrant::KuadrantServer;
use limits::Limits;
use service::Service;
use store::{Act, Store};

const HELP: &str = "\
A rate limit service for trying Tollgate's global limits: gRPC, with limits in Limitador's format.

Usage: rate_limit_service --limits FILE [--limits FILE]... [--listen ADDRESS] [--redis URL] [--charge-over]

  --limits FILE      limits in Limitador's YAML; - is standard input
  --listen ADDRESS   address to listen on (default 127.0.0.1:8081; port 0 is a free port)
  --redis URL        count in this Redis or Valkey, such as redis://127.0.0.1:6379, instead of in memory
  --charge-over      count calls over a limit too, as envoyproxy/ratelimit does and Limitador does not
  -h, --help         print this text

Every descriptor of a call is evaluated as descriptors[0], so limits written for Limitador apply to each.
";

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match Options::read() {
        Ok(Some(options)) => run(options).await,
        Ok(None) => {
            print!("{HELP}");
            Ok(())
        }
        Err(wrong) => Err(format!("{wrong}; see --help").into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rate_limit_service: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    listen: SocketAddr,
    limits: Vec<String>,
    redis: Option<String>,
    charge_over: bool,
}

impl Options {
    /// Parses the command line, or returns nothing for `--help`.
    fn read() -> Result<Option<Self>, lexopt::Error> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 8081));
        let mut options = Self { listen, limits: Vec::new(), redis: None, charge_over: false };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("listen") => options.listen = parser.value()?.parse()?,
                Long("limits") => options.limits.push(parser.value()?.string()?),
                Long("redis") => options.redis = Some(parser.value()?.string()?),
                Long("charge-over") => options.charge_over = true,
                Short('h') | Long("help") => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        if options.limits.is_empty() {
            return Err("no limits: --limits FILE is missing".into());
        }
        Ok(Some(options))
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let limits = Limits::read(&options.limits)?;
    let store = match &options.redis {
        Some(url) => Store::redis(url).await.map_err(|error| format!("cannot use {url}: {error}"))?,
        None => Store::memory(),
    };
    let asked = if options.charge_over { Act::Count } else { Act::Fit };
    let service = Arc::new(Service::new(limits, store, asked));

    let told_to_end = told_to_end()?;
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    println!("listening on {}", listener.local_addr()?);
    let (end, ending) = oneshot::channel::<()>();
    let serving = Server::builder()
        .add_service(RateLimitServiceServer::from_arc(Arc::clone(&service)))
        .add_service(KuadrantServer::new(service))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async {
            let _ = ending.await;
        });
    let enough = async {
        told_to_end.await;
        drop(end);
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = serving => served?,
        () = enough => {}
    }
    Ok(())
}

/// The time for clients to close their connections after the service was told to stop.
const GRACE: Duration = Duration::from_secs(1);

/// Returns a future that completes on Ctrl-C or SIGTERM.
fn told_to_end() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
