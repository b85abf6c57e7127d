//! A rate limit service for trying and testing Tollgate's global limits.
//!
//! In: limits in Limitador's own YAML, and gRPC calls of the Envoy rate limit service
//! (`envoy.service.ratelimit.v3`, see [`service`]) and of its Kuadrant sibling (see [`kuadrant`]).
//! Out: who is within limits, counted in memory or in a Redis that several of these share. Not
//! here: TLS, metrics, limits that change while it runs. It is small enough to read, and nothing to
//! run in production: envoyproxy/ratelimit and Limitador are.

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
A rate limit service to try Tollgate's global limits with: gRPC, over limits written for Limitador.

Usage: rate_limit_service --limits FILE [--limits FILE]... [--listen ADDRESS] [--redis URL] [--charge-over]

  --limits FILE      limits as Limitador reads them (YAML); - is the standard input
  --listen ADDRESS   where to listen (default 127.0.0.1:8081; port 0 is a free port)
  --redis URL        counts in this Redis or Valkey, such as redis://127.0.0.1:6379, instead of in memory
  --charge-over      counts also what is over a limit, as envoyproxy/ratelimit does; Limitador does not
  -h, --help         this text

Every descriptor of a call is looked at as descriptors[0], so that limits written for Limitador hold for each.
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
    /// What the command line says, or nothing if help is wanted.
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

/// How long clients have to let go of their connections, once the service has been told to end.
const GRACE: Duration = Duration::from_secs(1);

/// Ends when the process is asked to: by Ctrl-C or SIGTERM.
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
