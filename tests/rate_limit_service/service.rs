//! A running service, and the calls that the tests make.
//!
//! In: limits as YAML, more options. Out: answers. The process is killed when it is dropped. Not
//! here: expectations.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::UInt64Value;
use tokio::task::spawn_blocking;
use tollgate_rig::redis::Redis;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

pub(crate) const OK: i32 = Code::Ok as i32;
pub(crate) const OVER_LIMIT: i32 = Code::OverLimit as i32;

pub(crate) struct Service {
    process: Child,
    channel: Channel,
    pub(crate) address: String,
    options: Vec<String>,
}

impl Service {
    pub(crate) async fn start(limits: &str, options: &[&str]) -> Self {
        let mut process = spawn(limits, options);
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let Some(address) = line.trim_end().strip_prefix("listening on ").map(str::to_owned) else {
            let mut errors = String::new();
            process.stderr.unwrap().read_to_string(&mut errors).unwrap();
            panic!("the service said {line:?} {errors}");
        };
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let options = options.iter().map(ToString::to_string).collect();
        Self { process, channel, address, options }
    }

    pub(crate) async fn should_rate_limit(
        &self,
        request: RateLimitRequest,
    ) -> Result<RateLimitResponse, Status> {
        let mut client = RateLimitServiceClient::new(self.channel.clone());
        client.should_rate_limit(request).await.map(tonic::Response::into_inner)
    }

    /// Asks in a task of its own.
    pub(crate) fn asking(
        &self,
        request: RateLimitRequest,
    ) -> impl Future<Output = RateLimitResponse> + use<> {
        let mut client = RateLimitServiceClient::new(self.channel.clone());
        async move { client.should_rate_limit(request).await.unwrap().into_inner() }
    }

    /// Asks for these descriptors, without hits for the whole call.
    pub(crate) async fn ask(&self, descriptors: impl Into<Vec<RateLimitDescriptor>>) -> RateLimitResponse {
        self.should_rate_limit(request(0, descriptors)).await.unwrap()
    }

    /// Returns the amount left for this descriptor, without charging it.
    pub(crate) async fn left(&self, descriptor: RateLimitDescriptor) -> u32 {
        self.ask([hits(0, descriptor)]).await.statuses[0].limit_remaining
    }

    pub(crate) async fn kuadrant(
        &self,
        method: &str,
        request: RateLimitRequest,
    ) -> Result<RateLimitResponse, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let path = format!("/kuadrant.service.ratelimit.v1.RateLimitService/{method}");
        let path: PathAndQuery = path.parse().unwrap();
        grpc.unary(Request::new(request), path, ProstCodec::default()).await.map(tonic::Response::into_inner)
    }

    /// Sends a signal to stop, and waits until the service has exited.
    pub(crate) async fn terminate(self) -> Option<i32> {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        // Wait on another thread, because the connection needs this one.
        let mut ending = self;
        spawn_blocking(move || ending.process.wait().unwrap().code()).await.unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the service was started with {:?}", self.options);
        }
    }
}

/// Runs a test on a service that counts in memory, then on one that counts in Redis.
pub(crate) async fn on_both(limits: &str, test: impl AsyncFn(&Service)) {
    test(&Service::start(limits, &[]).await).await;
    let redis = Redis::start();
    test(&Service::start(limits, &["--redis", &redis.url()]).await).await;
}

/// Returns the error output of a service that must fail to start.
pub(crate) fn not_started(limits: &str, options: &[&str]) -> String {
    let mut process = spawn(limits, options);
    let mut errors = String::new();
    let listens = BufReader::new(process.stdout.take().unwrap()).read_line(&mut String::new()).unwrap() > 0;
    if listens {
        process.kill().unwrap();
    }
    process.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(!process.wait().unwrap().success() && !listens, "it has started, with {limits} {options:?}");
    errors
}

fn spawn(limits: &str, options: &[&str]) -> Child {
    let mut process = Command::new(binary())
        .args(["--listen", "127.0.0.1:0", "--limits", "-"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example is built: by `cargo test`, but not with `--test`");
    // The process may have exited already, if its options are wrong.
    let _ = process.stdin.take().unwrap().write_all(limits.as_bytes());
    process
}

/// Returns the program's path. Cargo puts examples next to the directory of the tests. `cargo test`
/// builds them, but with `--test` it does not: then run `cargo build --example rate_limit_service`
/// after each change.
fn binary() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples/rate_limit_service")
}

/// Returns a limit for each user of the tier `free`, with a window of `seconds`.
pub(crate) fn limit(name: &str, max_value: u64, seconds: u64) -> String {
    format!(
        "- namespace: tollgate
  name: {name}
  max_value: {max_value}
  seconds: {seconds}
  conditions: [\"descriptors[0]['tollgate_limit'] == 'free/{name}'\"]
  variables: [\"descriptors[0]['user']\"]
"
    )
}

/// Returns a descriptor of such a limit for one user, without hits of its own.
pub(crate) fn descriptor(name: &str, user: &str) -> RateLimitDescriptor {
    let entries = [("tollgate_limit", format!("free/{name}")), ("user", user.to_owned())];
    let entries = entries.map(|(key, value)| Entry { key: key.to_owned(), value });
    RateLimitDescriptor { entries: entries.into(), ..RateLimitDescriptor::default() }
}

/// Returns the descriptor with hits of its own.
pub(crate) fn hits(hits: u64, descriptor: RateLimitDescriptor) -> RateLimitDescriptor {
    RateLimitDescriptor { hits_addend: Some(UInt64Value { value: hits }), ..descriptor }
}

/// Returns the descriptor as a refund.
pub(crate) fn back(descriptor: RateLimitDescriptor) -> RateLimitDescriptor {
    RateLimitDescriptor { is_negative_hits: true, ..descriptor }
}

pub(crate) fn request(
    hits_addend: u32,
    descriptors: impl Into<Vec<RateLimitDescriptor>>,
) -> RateLimitRequest {
    RateLimitRequest { domain: "tollgate".to_owned(), descriptors: descriptors.into(), hits_addend }
}

/// Returns the codes of the descriptors.
pub(crate) fn codes(answer: &RateLimitResponse) -> Vec<i32> {
    answer.statuses.iter().map(|status| status.code).collect()
}
