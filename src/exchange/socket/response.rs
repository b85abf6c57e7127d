//! One response of a socket: the state machine of a call by HTTP, fed with messages.
//!
//! In: the message that asks for it, the messages that belong to it. Out: [`Begun`], the ending if
//! it is stopped, effects. Not here: which messages belong to it.

use std::borrow::Cow;

use super::super::admission;
use super::super::call::Call;
use super::super::charges::Charges;
use super::super::context::{Abort, Context, Editable};
use super::super::effects::{Effects, Next};
use super::super::parsed::ParsedCall;
use super::super::response::Outcome;
use super::super::state::{AwaitingBody, State};
use super::super::{Event, next, stop, tools};
use crate::api::sockets::{Asked, Named, Phase};
use crate::api::{Edit, Outline, Request};
use crate::limits::{Granted, Standing};
use crate::reply::{self, Reply};
use crate::settings::Config;

/// The most questions of one response to the rate limit service, which limits them far below.
const QUESTIONS: usize = 1 << 12;

/// A response.
pub(super) struct Response {
    /// Its number on the socket.
    pub(super) number: usize,
    pub(super) lane: String,
    /// The server's id, once known.
    pub(super) id: Option<String>,
    /// The client's id of the message that asked for it.
    pub(super) event: Option<String>,
    /// Whether the server has begun it.
    pub(super) has_begun: bool,
    state: State,
    /// Whether its client gets only its beginning and its end.
    is_muted: bool,
}

/// The outcome of asking for a response.
pub(super) enum Begun {
    Goes,
    Waits(Next),
    Refused(Box<Reply>),
}

impl Response {
    /// Admits the response that a message asks for, as a call with this body.
    pub(super) fn ask(
        call: Call,
        number: usize,
        asked: &Asked<'_>,
        body: &[u8],
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) -> (Self, Begun, Vec<Edit>) {
        let mut own = Effects::default();
        let state = admission::on_body(awaiting(call), body, Editable::Body, config, context, &mut own);
        let edits = core::mem::take(&mut own.body);
        let names = Named { lane: asked.lane.clone(), event: asked.event.clone(), id: None };
        let mut response = Self::new(number, &names, false, state);
        let begun = response.take_step(own, effects);
        (response, begun, edits)
    }

    /// Charges a response that has begun already. Refused, it stays charged: it is to be cancelled.
    pub(super) fn begun(
        call: Call,
        number: usize,
        of: &Named<'_>,
        request: Request<'_>,
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) -> (Self, Begun) {
        let mut own = Effects::default();
        let state =
            admission::admit(awaiting(call), &ParsedCall::unread(request), None, config, context, &mut own);
        let mut response = Self::new(number, of, true, state);
        let mut begun = response.take_step(own, effects);
        if let Some(reply) = response.over_limit(config, context, effects) {
            begun = Begun::Refused(reply);
        }
        response.is_muted = matches!(begun, Begun::Refused(_));
        (response, begun)
    }

    fn new(number: usize, of: &Named<'_>, has_begun: bool, state: State) -> Self {
        let owned = |name: &Option<Cow<'_, str>>| name.as_deref().map(str::to_owned);
        let (lane, id, event) = (of.lane.clone().into_owned(), owned(&of.id), owned(&of.event));
        Self { number, lane, id, event, has_begun, state, is_muted: false }
    }

    /// Returns the reply to a response that is charged although its budgets have no room, if this
    /// is one.
    fn over_limit(
        &mut self,
        config: &Config,
        context: &Context<'_>,
        effects: &mut Effects,
    ) -> Option<Box<Reply>> {
        let State::Responding(responding) = &mut self.state else { return None };
        let refusal = responding.admitted.waits_for.take()?;
        // It is stopped already.
        responding.watch = None;
        let admitted = &responding.admitted;
        stop::report(admitted, &refusal.standing.limit, &admitted.estimate.usage(), effects);
        let (dialect, model) = (admitted.call.format().dialect, &admitted.model);
        let reply = reply::refused(dialect, &config.headers, &refusal, model, context.now(), context.jitter);
        Some(Box::new(reply))
    }

    /// Handles an event that the response has waited for.
    pub(super) fn go_on(
        &mut self,
        event: Event<'_>,
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) -> Begun {
        let mut own = Effects::default();
        self.step(event, config, context, &mut own);
        self.take_step(own, effects)
    }

    /// Reads a message of the response, the last one or not. Returns the frames that end it, if it
    /// is stopped by that.
    pub(super) fn read(
        &mut self,
        message: &[u8],
        is_last: bool,
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) -> Option<Vec<u8>> {
        let mut own = Effects::default();
        if matches!(self.state, State::AwaitingDecision(_)) {
            // The response is there before the decision.
            self.step(Event::Begun, config, context, &mut own);
        }
        let was_stopped = self.is_stopped();
        self.step(Event::ResponsePiece { bytes: message, last: is_last }, config, context, &mut own);
        let ending = own.piece.take().filter(|_| self.is_stopped() && !was_stopped);
        self.take_step(own, effects);
        ending
    }

    /// Ends the response without its last message.
    pub(super) fn end(
        &mut self,
        abort: Option<Abort>,
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) {
        let mut own = Effects::default();
        self.step(Event::End { abort }, config, context, &mut own);
        self.take_step(own, effects);
    }

    /// Records that the server has refused to begin it.
    pub(super) fn fail(&mut self) {
        if let State::Responding(responding) = &mut self.state {
            responding.outcome = Outcome::Failed;
        }
    }

    /// Returns whether the client got an ending, and gets nothing more of it.
    pub(super) const fn is_stopped(&self) -> bool {
        matches!(self.state, State::Draining(_))
    }

    /// Returns whether the client gets a message of this phase.
    pub(super) fn passes(&self, phase: Phase) -> bool {
        !self.is_stopped() && (!self.is_muted || !matches!(phase, Phase::Continues))
    }

    /// Returns the standing of its budgets when it was admitted.
    pub(super) fn standings(&self) -> &[Standing] {
        match &self.state {
            State::Responding(responding) => &responding.admitted.standings,
            _ => &[],
        }
    }

    /// Returns whether it waits for the rate limit service.
    pub(super) const fn is_asking(&self) -> bool {
        matches!(self.state, State::AwaitingDecision(_))
    }

    fn step(&mut self, event: Event<'_>, config: &Config, context: &mut Context<'_>, own: &mut Effects) {
        let state = core::mem::replace(&mut self.state, State::Done);
        self.state = next(state, event, config, context, own);
    }

    /// Adds its effects to those of the socket, and returns its next step.
    fn take_step(&mut self, mut own: Effects, effects: &mut Effects) -> Begun {
        let step = core::mem::take(&mut own.next);
        effects.absorb(own);
        match step {
            Next::Reply(reply) => Begun::Refused(Box::new(reply)),
            Next::Ask { mut questions, hold } => {
                for question in &mut questions {
                    question.place = question.place.saturating_add(self.number.saturating_mul(QUESTIONS));
                }
                Begun::Waits(Next::Ask { questions, hold })
            }
            wait @ Next::Wait { .. } => Begun::Waits(wait),
            Next::Pass | Next::ReadBody => {
                if let State::Responding(responding) = &mut self.state {
                    responding.begin_messages();
                }
                Begun::Goes
            }
        }
    }
}

/// Returns the number of a response and its own number of a question, given the socket's.
pub(super) const fn question(place: usize) -> (usize, usize) {
    (place / QUESTIONS, place % QUESTIONS)
}

/// Returns the edits that remove exhausted tools from a message that offers tools to later
/// responses.
///
/// # Errors
/// The reply, if an exhausted tool must not be offered at all.
pub(super) fn settings_edits(
    call: &Call,
    message: &str,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> Result<Vec<Edit>, Box<Reply>> {
    let Ok(outline) = Outline::of(message) else { return Ok(Vec::new()) };
    let parsed = ParsedCall {
        outline: Some(outline),
        is_utf8: true,
        editable: Editable::Body,
        ..ParsedCall::unread(Request::default())
    };
    let model = call.api.model.clone().unwrap_or_default();
    let refusal = match tools::hide(call, &parsed, &model, context, effects) {
        Ok(hidden) => return Ok(hidden.edits),
        Err(refusal) => refusal,
    };
    let mut own = Effects::default();
    let refusal = admission::over_limit(call, &model, refusal, context);
    refusal.refuse(Charges::default(), config, context, &mut own);
    let Next::Reply(reply) = core::mem::take(&mut own.next) else { return Ok(Vec::new()) };
    effects.absorb(own);
    Err(Box::new(reply))
}

/// Returns a call whose message has come.
fn awaiting(call: Call) -> AwaitingBody {
    let granted = Granted { workflow: call.workflow.clone(), ..Granted::default() };
    AwaitingBody { call, granted, read_lines: Vec::new() }
}
