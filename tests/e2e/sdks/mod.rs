//! The providers' own Python and Node clients in front of the filter: they get their answers; over
//! budget they raise their own error and wait; and they read the end of a stopped stream like any
//! other.
//!
//! In: the scripts of `tests/sdk`, run with the packages that `make sdks` installs (`clients`).
//! Out: nothing. Not here: the bytes (`refusals`, `apis`); these tests check only the clients'
//! view.

mod answers;
mod clients;
mod refusals;
mod stopped;

pub(crate) use clients::output;

/// The budget of callers that should get their answers. None of it flows back during a test.
const BUDGET: u64 = 10_000;

/// A tier for each test.
const TIERS: &str = "
identity: { tenant: { header: x-tenant-id }, tier: { header: x-tier, default: roomy } }
counting: { output_reserve: { at_most: 1 } }
tiers:
  roomy: { limits: [ { name: tpm, count: tokens, per: tenant, max: 10_000, window: 30d } ] }
  tight: { limits: [ { name: tpm, count: tokens, per: tenant, max: 1000, window: 10s } ] }
  quick: { limits: [ { name: burst, count: tokens, per: tenant, max: 100, window: 2s } ] }
  soft: { extends: roomy, soften: [ { at: 0.5, model: { gpt-4o: gpt-4o-mini, \"claude-opus-*\": claude-haiku-4-5 } } ] }
  clamped: { extends: roomy, clamp_output: true }
  mail: { limits: [ { name: mail, count: tool_calls, tools: [send_email], per: tenant, max: 1, window: 30d } ] }
";
