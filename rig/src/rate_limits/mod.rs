//! A rate limit service in the test's own process that misbehaves on cue.
//!
//! In: limits, a [`Behaviour`] for all calls or one for each of the next, and calls over gRPC:
//! Envoy's `ShouldRateLimit`, Kuadrant's `CheckRateLimit` and `Report`. Out: answers, every request
//! as it came, and the counts. It can stop and restart on its port. Not here: a service for real
//! use, which is the example `rate_limit_service` (started by [`crate::service`]); storage outside
//! the process.

mod behaviour;
mod budgets;
mod grpc;

use core::convert::Infallible;
use core::future::pending;
use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::client::PATIENCE;
use crate::port::ReservedPort;
pub use behaviour::Behaviour;
use behaviour::Reply;
use budgets::Budgets;
pub use budgets::Limit;

/// A running service, which stops and drops its connections when it is dropped.
pub struct ScriptedService {
    port: ReservedPort,
    state: Arc<watch::Sender<State>>,
    serving: Option<Serving>,
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The method called.
    pub method: Method,
    /// The message sent.
    pub request: RateLimitRequest,
}

/// A method of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Of `envoy.service.ratelimit.v3.RateLimitService`.
    ShouldRateLimit,
    /// Of `kuadrant.service.ratelimit.v1.RateLimitService`: checks whether one hit fits.
    CheckRateLimit,
    /// Of `kuadrant.service.ratelimit.v1.RateLimitService`: counts hits, whether they fit or not.
    Report,
}

impl ScriptedService {
    /// Starts a service on a free port of 127.0.0.1. It counts like envoyproxy/ratelimit without
    /// options: hits over a limit count too, 0 hits only check, each descriptor gets a status,
    /// negative hits count as positive, and descriptors without a limit pass.
    ///
    /// # Panics
    ///
    /// If no port is free, or Tokio does not run.
    #[must_use]
    pub fn start(limits: impl IntoIterator<Item = Limit>) -> Self {
        let state = State {
            budgets: Budgets::new(limits.into_iter().collect()),
            asked: Vec::new(),
            calls: [0; Method::ALL.len()],
            behaviour: Behaviour::Answer,
            next: VecDeque::new(),
        };
        let mut service =
            Self { port: ReservedPort::reserve(), state: Arc::new(watch::Sender::new(state)), serving: None };
        service.start_again();
        service
    }

    /// Counts like Limitador: uses the request's number of hits, never the descriptors'; counts no
    /// call that does not fit; reads only the first descriptor; and answers without statuses.
    /// Kuadrant's methods always count like this.
    #[must_use]
    pub fn like_limitador(self) -> Self {
        self.state.send_modify(|state| state.budgets.like_limitador = true);
        self
    }

    /// Refunds negative hits, as envoyproxy/ratelimit does since mid-2026 (pull request 1140): the
    /// counter does not fall below 0, and the answer is always OK.
    #[must_use]
    pub fn with_refunds(self) -> Self {
        self.state.send_modify(|state| state.budgets.refunds = true);
        self
    }

    /// Returns its address, whether or not it is listening.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Sets the behaviour for all calls after those in [`ScriptedService::script`].
    pub fn behave(&self, behaviour: Behaviour) {
        self.state.send_modify(|state| state.behaviour = behaviour);
    }

    /// Sets the behaviours of the next calls, one each.
    pub fn script(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.state.send_modify(|state| state.next.extend(behaviours));
    }

    /// Advances its clock, so that tests need not wait for windows to end.
    pub fn advance(&self, by: Duration) {
        self.state.send_modify(|state| state.budgets.ahead += by);
    }

    /// Returns the requests so far, in order of arrival, answered or not.
    #[must_use]
    pub fn requests(&self) -> Vec<Asked> {
        self.state.borrow().asked.clone()
    }

    /// Returns how often a method was called.
    #[must_use]
    pub fn calls(&self, method: Method) -> usize {
        self.state.borrow().calls(method)
    }

    /// Returns the hits in the current window of the descriptor with exactly these entries.
    #[must_use]
    pub fn count(&self, entries: &[(&str, &str)]) -> u64 {
        self.state.borrow().budgets.count(entries)
    }

    /// Waits until `method` has been called `count` times, and returns all requests.
    ///
    /// # Panics
    ///
    /// If that takes longer than [`PATIENCE`].
    pub async fn wait_for_calls(&self, method: Method, count: usize) -> Vec<Asked> {
        let what = format!("{method:?} is called {count} times");
        self.wait_until(&what, |state| state.calls(method) >= count).await;
        self.requests()
    }

    /// Waits until the requests satisfy `condition`, and returns them.
    ///
    /// # Panics
    ///
    /// If that takes longer than [`PATIENCE`].
    pub async fn wait_for(&self, condition: impl Fn(&[Asked]) -> bool) -> Vec<Asked> {
        self.wait_until("the requests are as expected", |state| condition(&state.asked)).await;
        self.requests()
    }

    /// Waits until the current window of a descriptor has exactly `count` hits.
    ///
    /// # Panics
    ///
    /// If that takes longer than [`PATIENCE`].
    pub async fn wait_for_count(&self, entries: &[(&str, &str)], count: u64) {
        let what = format!("{entries:?} is counted {count} times");
        self.wait_until(&what, |state| state.budgets.count(entries) == count).await;
    }

    /// Closes its connections and refuses new ones. Counts are kept.
    ///
    /// # Panics
    ///
    /// If it is stopped already.
    pub async fn stop(&mut self) {
        let Serving { stop, running } = self.serving.take().expect("it is running");
        drop(stop);
        running.await.expect("accepting connections does not panic");
    }

    /// Listens again on the same port.
    ///
    /// # Panics
    ///
    /// If it is not stopped.
    pub fn start_again(&mut self) {
        assert!(self.serving.is_none(), "it is still running");
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(serve(self.port.listen(), stopped, Arc::clone(&self.state)));
        self.serving = Some(Serving { stop, running });
    }

    async fn wait_until(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let met = timeout(PATIENCE, self.state.subscribe().wait_for(|state| condition(state))).await.is_ok();
        if met {
            return;
        }
        let asked = self.requests();
        let last = asked.last();
        panic!(
            "waited {PATIENCE:?} for that {what}; there were {} requests, the last is {last:?}",
            asked.len()
        );
    }
}

impl Asked {
    /// Returns the entries of descriptor `index`, in order.
    ///
    /// # Panics
    ///
    /// If the request has fewer descriptors.
    #[must_use]
    pub fn entries(&self, index: usize) -> Vec<(&str, &str)> {
        let entries = self.request.descriptors[index].entries.iter();
        entries.map(|entry| (entry.key.as_str(), entry.value.as_str())).collect()
    }

    /// Returns each descriptor's own hits, negative if the descriptor says so, or nothing if it
    /// uses the request's.
    #[must_use]
    pub fn hits(&self) -> Vec<Option<i128>> {
        let descriptors = self.request.descriptors.iter();
        descriptors
            .map(|descriptor| {
                let hits = i128::from(descriptor.hits_addend?.value);
                Some(if descriptor.is_negative_hits { -hits } else { hits })
            })
            .collect()
    }
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 3] = [Self::ShouldRateLimit, Self::CheckRateLimit, Self::Report];

    /// Returns the path of a call in HTTP/2.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::ShouldRateLimit => "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
            Self::CheckRateLimit => "/kuadrant.service.ratelimit.v1.RateLimitService/CheckRateLimit",
            Self::Report => "/kuadrant.service.ratelimit.v1.RateLimitService/Report",
        }
    }
}

/// A task that accepts connections. It ends with its connections when `stop` is dropped.
struct Serving {
    stop: oneshot::Sender<Infallible>,
    running: JoinHandle<()>,
}

/// The state that survives a stop.
struct State {
    budgets: Budgets,
    asked: Vec<Asked>,
    /// The number of requests by method.
    calls: [usize; Method::ALL.len()],
    behaviour: Behaviour,
    next: VecDeque<Behaviour>,
}

impl State {
    const fn calls(&self, method: Method) -> usize {
        self.calls[method as usize]
    }

    fn ask(&mut self, method: Method, request: RateLimitRequest) -> Reply {
        let behaviour = self.next.pop_front().unwrap_or_else(|| self.behaviour.clone());
        let reply = behaviour.reply(method, &request, &mut self.budgets);
        self.calls[method as usize] += 1;
        self.asked.push(Asked { method, request });
        reply
    }
}

async fn serve(
    listener: TcpListener,
    mut stopped: oneshot::Receiver<Infallible>,
    state: Arc<watch::Sender<State>>,
) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => break,
        };
        // Accepting fails if the peer is gone already, or while no descriptor is free.
        let Ok((stream, _)) = accepted else { continue };
        connections.spawn(serve_connection(stream, Arc::clone(&state)));
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve_connection(stream: TcpStream, state: Arc<watch::Sender<State>>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(respond(request, &state).await) }
    });
    let mut server = http2::Builder::new(TokioExecutor::new());
    // More than any test or benchmark has in flight over one connection.
    server.max_concurrent_streams(10_000);
    // A connection that ends in an error is not the service's failure.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(request: Request<Incoming>, state: &watch::Sender<State>) -> Response<grpc::Body> {
    let path = request.uri().path();
    let Some(method) = Method::ALL.into_iter().find(|method| method.path() == path) else {
        return grpc::error(grpc::UNIMPLEMENTED, "there is no such method");
    };
    let message = match grpc::message(request.into_body()).await {
        Ok(message) => message,
        Err(why) => return grpc::error(grpc::INVALID_ARGUMENT, why),
    };
    let Ok(request) = RateLimitRequest::decode(message) else {
        return grpc::error(grpc::INVALID_ARGUMENT, "the message is not a RateLimitRequest");
    };
    let mut reply = Reply::Nothing;
    state.send_modify(|state| reply = state.ask(method, request));
    match reply {
        Reply::Message(bytes) => grpc::ok(&bytes),
        Reply::Late(time, bytes) => {
            sleep(time).await;
            grpc::ok(&bytes)
        }
        Reply::Until(signal, bytes) => {
            signal.wait().await;
            grpc::ok(&bytes)
        }
        Reply::Error(code, why) => grpc::error(code, why),
        Reply::Nothing => pending().await,
    }
}
