//! Tools whose budgets are spent: taken out of LLM calls, or refused; calls of tools by MCP.
//!
//! In: a draft, or the body of an MCP request. Out: edits that take tools away, a refusal, or the call sent on. Not here: where requests offer
//! tools and answers call them (`api`).

use std::borrow::Cow;

use super::deciding::Draft;
use super::request::{Reading, bad_request, kind};
use super::response::Sent;
use super::softening::Softened;
use super::{Effects, Means, Next, State};
use crate::api::answer::{Called, ToolsCalled};
use crate::api::{Messages, Unread, Usage};
use crate::limits::{self, Estimate, Granted, OnExhausted, Refusal};
use crate::metrics;
use crate::reply;
use crate::settings::Config;

impl Reading {
    /// Takes tools whose budgets are spent out of a request that offers them.
    ///
    /// # Errors
    /// The [`Refusal`] of a limit that wants the call refused, or of a request that cannot be read or changed: what is spent must not be
    /// called.
    pub(super) fn take_tools_away(
        &self,
        draft: &Draft<'_>,
        softened: &mut Softened,
        means: &Means<'_>,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(offered_by) = self.call.format.offered_tools.filter(|_| self.tier.limits_tools()) else {
            return Ok(());
        };
        // Of a body that is not all text other parts may still have been read, which pay for it.
        let text = draft.body.filter(|body| core::str::from_utf8(body).is_ok());
        let offered = text.map(offered_by);
        if offered.as_ref().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let spent = limits::spent_tools(&self.tier.limits, &self.subject(&softened.model), means.ledger);
        // What cannot be read may offer any tool: an upstream that decodes it otherwise would see them.
        let offers = |limit: &limits::Limit| {
            offered.as_ref().is_none_or(|offered| offered.iter().any(|name| limit.counts_tool(name)))
        };
        let (watching, spent): (Vec<_>, Vec<_>) =
            spent.into_iter().filter(|(limit, _)| offers(limit)).partition(|(limit, _)| limit.shadow);
        for (limit, _) in watching {
            let label = means.models.other();
            effects.count(&metrics::SHADOW_REFUSALS, &self.labels(&limit.name, label), 1);
        }
        let body = text.filter(|_| draft.is_editable());
        let refuses = |limit: &limits::Limit| limit.on_exhausted == OnExhausted::Refuse || body.is_none();
        let refusals = spent.iter().filter(|(limit, _)| refuses(limit)).map(|(_, refusal)| refusal.clone());
        if let Some(refusal) = limits::longest(refusals) {
            return Err(refusal);
        }
        let is_spent = |name: &str| spent.iter().any(|(limit, _)| limit.counts_tool(name));
        let hidden = offered.iter().flatten().filter(|name| is_spent(name)).count();
        softened.hidden_tools = hidden as u64;
        if let Some(body) = body.filter(|_| hidden > 0) {
            softened.edits.extend((self.call.format.without_tools)(body, &is_spent));
        }
        Ok(())
    }

    /// An MCP request has come.
    pub(super) fn decide_rpc(
        self,
        config: &Config,
        body: &[u8],
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) -> State {
        let request = match (self.call.format.read)(body) {
            Ok(request) => request,
            Err(Unread::Ambiguous { member }) => {
                return bad_request(reply::ambiguous(self.call.format.dialect, member), effects);
            }
            // No server takes it for a call.
            Err(Unread::Malformed) => {
                effects.count(&metrics::UNREAD, &kind("malformed"), 1);
                return State::Done;
            }
        };
        let mut tools = ToolsCalled::default();
        for name in request.called_tools() {
            tools.add(&Called::once(Cow::Borrowed(name)));
        }
        self.decide_on_tools(config, &request.rpc.unwrap_or_default(), tools, means, effects)
    }

    /// An MCP request has come that cannot be read: it is taken for a call of a tool that nobody knows, which counts in every limit.
    pub(super) fn decide_unread_rpc(
        self,
        config: &Config,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) -> State {
        self.decide_on_tools(config, &Messages::default(), ToolsCalled::unknown(), means, effects)
    }

    fn decide_on_tools(
        self,
        config: &Config,
        messages: &Messages<'_>,
        tools: ToolsCalled,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) -> State {
        if tools.is_empty() {
            return State::Done;
        }
        let label = means.models.other();
        match limits::reserve_tools(&self.tier.limits, &self.subject(""), &tools, means.ledger) {
            Err(refusal) => {
                let limit = &refusal.standing.limit;
                let refused = messages.tools().find(|name| limit.counts_tool(name)).unwrap_or_default();
                let state = self.refuse(&refusal, refused, label, means, effects);
                let now = means.ledger.now();
                effects.next =
                    Next::Reply(reply::tool_refused(messages, &refusal, refused, now, means.jitter));
                state
            }
            Ok(granted) => {
                self.report_standings(&granted.shadowed, &granted.standings, &label, effects);
                self.log_crossings(&granted.crossed, "", effects);
                // Budgets are not told to clients of MCP, which do not look for them.
                let granted = Granted { standings: vec![], ..granted };
                let estimate = Estimate::known(Usage::default(), config.rates(""));
                let mut sent = Sent::new(&self, "", label, estimate, granted, means.ledger.now());
                sent.called = Some(tools);
                State::Sent(Box::new(sent))
            }
        }
    }
}
