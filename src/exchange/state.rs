//! How far an exchange has come; each state holds what it knows, and no more.

use super::call::Call;
use super::decision::AwaitingDecision;
use super::queue::Queued;
use super::response::Responding;
use super::stop::Drain;
use crate::limits::Granted;

/// The state of an exchange.
pub(super) enum State {
    New,
    AwaitingBody(Box<AwaitingBody>),
    AwaitingDecision(Box<AwaitingDecision>),
    Queued(Box<Queued>),
    Responding(Box<Responding>),
    /// Settled, and its answer ended; the upstream may not know yet.
    Draining(Drain),
    Done,
}

/// A call whose headers are known.
pub(super) struct AwaitingBody {
    pub(super) call: Call,
    /// Its slots among the calls in flight.
    pub(super) granted: Granted,
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
    /// That its time has come.
    Due,
    /// The head of the response. While a body is awaited, it is Envoy's own, and may say why.
    ResponseHead,
    /// Pieces of the response's body.
    ResponsePieces,
    /// The end: something is charged for the call.
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
        }
    }

    /// Whether the host holds the request, with as much of its body as has come.
    pub(super) fn holds_request(&self) -> bool {
        match self {
            Self::AwaitingBody(_) | Self::Queued(_) => true,
            Self::AwaitingDecision(decision) => decision.holds_request(),
            Self::New | Self::Responding(_) | Self::Draining(_) | Self::Done => false,
        }
    }
}
