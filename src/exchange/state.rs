//! The states of an exchange; each state holds only what it needs.

use super::call::Call;
use super::decision::AwaitingDecision;
use super::queue::Queued;
use super::response::Responding;
use super::socket::Socket;
use super::stop::Drain;
use crate::limits::Granted;
use crate::store::ReadLine;

/// The state of an exchange.
pub(super) enum State {
    New,
    AwaitingBody(Box<AwaitingBody>),
    AwaitingDecision(Box<AwaitingDecision>),
    Queued(Box<Queued>),
    Responding(Box<Responding>),
    /// Settled, with the client's answer ended; the upstream may still be sending.
    Draining(Drain),
    /// A WebSocket, whose responses are calls of their own.
    Socket(Box<Socket>),
    Done,
}

/// A call whose headers are known.
pub(super) struct AwaitingBody {
    pub(super) call: Call,
    /// Its slots of calls in flight.
    pub(super) granted: Granted,
    /// The lines of the table with its budgets, as its headers found them.
    pub(super) read_lines: Vec<ReadLine>,
}

/// An event that may matter to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The whole request body.
    RequestBody,
    /// Pieces of a request body that passes.
    RequestPieces,
    /// Answers of the rate limit service.
    Answers,
    /// The end of its wait.
    Due,
    /// The head of the response. While a body is awaited, it is Envoy's own, and may have the
    /// reason.
    ResponseHead,
    /// Pieces of the response's body.
    ResponsePieces,
    /// The end, while the call has charges.
    End,
}

impl State {
    pub(super) fn wants(&self, wanted: Wanted) -> bool {
        match self {
            Self::New | Self::Done => false,
            Self::AwaitingBody(awaiting) => match wanted {
                Wanted::RequestBody | Wanted::ResponseHead => true,
                Wanted::End => !awaiting.granted.reservation.is_empty(),
                Wanted::RequestPieces | Wanted::Answers | Wanted::Due | Wanted::ResponsePieces => false,
            },
            Self::AwaitingDecision(decision) => match wanted {
                Wanted::RequestPieces => decision.has_form(),
                Wanted::Answers | Wanted::ResponseHead | Wanted::End => true,
                Wanted::RequestBody | Wanted::Due | Wanted::ResponsePieces => false,
            },
            Self::Queued(_) => matches!(wanted, Wanted::Due | Wanted::ResponseHead | Wanted::End),
            Self::Responding(responding) => match wanted {
                Wanted::RequestPieces => responding.admitted.form.is_some(),
                Wanted::ResponseHead | Wanted::ResponsePieces | Wanted::End => true,
                Wanted::RequestBody | Wanted::Answers | Wanted::Due => false,
            },
            Self::Draining(_) => wanted == Wanted::ResponsePieces,
            Self::Socket(socket) => socket.wants(wanted),
        }
    }

    /// Returns whether the host holds the request, with the body received so far.
    pub(super) fn holds_request(&self) -> bool {
        match self {
            Self::AwaitingBody(_) | Self::Queued(_) => true,
            Self::AwaitingDecision(decision) => decision.holds_request(),
            Self::Socket(socket) => socket.holds(),
            Self::New | Self::Responding(_) | Self::Draining(_) | Self::Done => false,
        }
    }
}
