//! Many clients at once, each making one call after the other.
//!
//! In: the addresses, the numbers of clients and calls, and a request for each call. Out: the
//! outcome of every call. Clients alternate between the addresses and between HTTP/1.1 and HTTP/2,
//! and reuse their connections. If the server has closed one between two calls, as Envoy does when
//! it drains a listener, the client reconnects. A call that breaks or hangs fails the test, because
//! every call must get an answer under any load. Not here: a fixed rate of calls, and loads that
//! measure the proxy rather than the filter (see `benches/envoy`).

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::HeaderMap;
use tokio::task::JoinSet;

use crate::client::{Client, ClientError, Request, Response};
use crate::upstream::Signal;

/// A load: addresses, clients, and calls.
#[derive(Clone, Debug)]
pub struct Load {
    addresses: Vec<SocketAddr>,
    clients: usize,
    end: End,
}

#[derive(Clone, Debug)]
enum End {
    After(usize),
    When(Signal),
}

impl Load {
    /// Returns a load of one call by one client.
    ///
    /// # Panics
    ///
    /// If there is no address.
    #[must_use]
    pub fn on(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let addresses: Vec<_> = addresses.into_iter().collect();
        assert!(!addresses.is_empty(), "a load needs an address");
        Self { addresses, clients: 1, end: End::After(1) }
    }

    /// Sets the number of clients.
    #[must_use]
    pub const fn clients(mut self, clients: usize) -> Self {
        self.clients = clients;
        self
    }

    /// Sets the number of calls of each client.
    #[must_use]
    pub fn calls(mut self, calls: usize) -> Self {
        self.end = End::After(calls);
        self
    }

    /// Lets each client make calls until `signal`, at least one.
    #[must_use]
    pub fn until(mut self, signal: &Signal) -> Self {
        self.end = End::When(signal.clone());
        self
    }

    /// Makes the calls and waits for all of them. `request` receives the numbers of the client and
    /// of its call, both from 0.
    ///
    /// # Panics
    ///
    /// If a call gets no complete answer.
    pub async fn run<F>(&self, request: F) -> Outcomes
    where
        F: Fn(usize, usize) -> Request + Send + Sync + 'static,
    {
        let request = Arc::new(request);
        let mut clients = JoinSet::new();
        for number in 0..self.clients {
            let address = self.addresses[number % self.addresses.len()];
            let http2 = (number / self.addresses.len()) % 2 == 1;
            let (request, end) = (Arc::clone(&request), self.end.clone());
            clients.spawn(async move {
                let mut client = connect(address, http2, number).await;
                let mut outcomes = Vec::new();
                for call in 0.. {
                    let mut response = client.send(request(number, call)).await;
                    if call > 0 && response.as_ref().is_err_and(was_not_sent) {
                        client = connect(address, http2, number).await;
                        response = client.send(request(number, call)).await;
                    }
                    outcomes.push(outcome(response, number, call).await);
                    let over = match &end {
                        End::After(calls) => call + 1 >= *calls,
                        End::When(signal) => signal.is_fired(),
                    };
                    if over {
                        break;
                    }
                }
                outcomes
            });
        }
        let mut all = Vec::new();
        while let Some(outcomes) = clients.join_next().await {
            all.extend(outcomes.unwrap_or_else(|error| panic!("a client of a load failed: {error}")));
        }
        all.sort_by_key(|outcome| outcome.started);
        Outcomes(all)
    }
}

/// The outcome of one call.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The number of the client, from 0.
    pub client: usize,
    /// The number of the call of this client, from 0.
    pub call: usize,
    /// The response's status.
    pub status: u16,
    /// The response's headers.
    pub headers: HeaderMap,
    /// When it was sent.
    pub started: Instant,
    /// The time until the response's headers.
    pub to_headers: Duration,
    /// The time until the response's end.
    pub to_end: Duration,
}

/// The outcomes of all calls, in the order in which they were sent.
#[derive(Clone, Debug)]
pub struct Outcomes(pub Vec<Outcome>);

impl Outcomes {
    /// Returns how many calls had this status.
    #[must_use]
    pub fn count(&self, status: u16) -> usize {
        self.0.iter().filter(|outcome| outcome.status == status).count()
    }

    /// Returns the number of calls by status.
    #[must_use]
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        let mut statuses = BTreeMap::new();
        for outcome in &self.0 {
            *statuses.entry(outcome.status).or_default() += 1;
        }
        statuses
    }

    /// Returns the time to the response's headers that `share` of the calls did not exceed: 0.5 for
    /// the median, 1.0 for the slowest.
    ///
    /// # Panics
    ///
    /// If there were no calls.
    #[must_use]
    pub fn to_headers(&self, share: f64) -> Duration {
        let mut times: Vec<_> = self.0.iter().map(|outcome| outcome.to_headers).collect();
        times.sort_unstable();
        let within = (times.len() as f64 * share).ceil() as usize;
        times[within.clamp(1, times.len()) - 1]
    }
}

async fn connect(address: SocketAddr, http2: bool, number: usize) -> Client {
    let client = if http2 { Client::http2(address).await } else { Client::http1(address).await };
    client.unwrap_or_else(|error| panic!("client {number}: {error}"))
}

/// Returns whether the connection had ended before the call began.
fn was_not_sent(error: &ClientError) -> bool {
    matches!(error, ClientError::Exchange(why) if why.is_closed() || why.is_canceled())
}

async fn outcome(response: Result<Response, ClientError>, number: usize, call: usize) -> Outcome {
    let failed = |error| panic!("call {call} of client {number}: {error}");
    let mut response = response.unwrap_or_else(failed);
    response.body().await.unwrap_or_else(|error| panic!("call {call} of client {number}: {error}"));
    Outcome {
        client: number,
        call,
        status: response.status(),
        headers: response.headers().clone(),
        started: response.started(),
        to_headers: response.time_to_headers(),
        to_end: response.started().elapsed(),
    }
}
