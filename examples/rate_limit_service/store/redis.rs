//! Counters in Redis or Valkey, shared by all services that use it.
//!
//! In: charges. Out: standings. Each call runs one script, which Redis executes alone, so checking
//! and charging are one step. A counter is the key `tollgate:{namespace}:…` with its window,
//! conditions and variables as JSON; it expires with its window, which begins with the first hit.
//! The braces keep the counters of a namespace in one slot of a cluster. Not here: TLS; retries,
//! because a call with a lost answer may have been charged.

use core::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{Client, RedisError, Script};
use limitador::counter::Counter;
use serde_json::json;

use super::{Act, Amount, Charge, MOST, Standing};

/// `KEYS`: a counter for each charge. `ARGV`: the act, the most that a counter holds, and for each
/// charge the limit's maximum, its window in milliseconds, the amount, and 1 for a refund. Returns
/// for each charge whether it did not fit, the amount used, and the milliseconds until the window
/// ends, negative if none is open.
const SCRIPT: &str = r"
local act, most = ARGV[1], tonumber(ARGV[2])
local used, is_new = {}, {}
for _, key in ipairs(KEYS) do
  local value = redis.call('GET', key)
  used[key], is_new[key] = tonumber(value or 0), not value
end

local function charge(i)
  local at = 2 + (i - 1) * 4
  return tonumber(ARGV[at + 1]), ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4] == '1'
end
local function write(key, window)
  local value = string.format('%.0f', used[key])
  if is_new[key] then
    redis.call('SET', key, value, 'PX', window)
    is_new[key] = false
  else
    redis.call('SET', key, value, 'KEEPTTL')
  end
end

if act ~= 'look' then
  for i, key in ipairs(KEYS) do
    local _, window, amount, gives_back = charge(i)
    if gives_back and not is_new[key] then
      used[key] = math.max(0, used[key] - amount)
      write(key, window)
    end
  end
end

local after, is_over, any_over = {}, {}, false
for i, key in ipairs(KEYS) do
  local max, _, amount, gives_back = charge(i)
  is_over[i] = 0
  if not gives_back then
    local sum = (after[key] or used[key]) + amount
    if sum > max then
      is_over[i], any_over = 1, true
    end
    if sum <= max or act == 'count' then
      after[key] = sum
    end
  end
end

if act == 'count' or (act == 'fit' and not any_over) then
  for i, key in ipairs(KEYS) do
    local _, window, amount, gives_back = charge(i)
    if not gives_back and amount > 0 then
      used[key] = math.min(used[key] + amount, most)
      write(key, window)
    end
  end
end

local told = {}
for i, key in ipairs(KEYS) do
  told[i] = { is_over[i], used[key], redis.call('PTTL', key) }
end
return told
";

/// The timeout for Redis. Clients of a rate limit service wait no longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection that reconnects after it breaks.
pub(crate) struct Redis {
    connection: ConnectionManager,
    script: Script,
}

impl Redis {
    pub(crate) async fn connect(url: &str) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = ConnectionManager::new_with_config(Client::open(url)?, config).await?;
        Ok(Self { connection, script: Script::new(SCRIPT) })
    }

    pub(crate) async fn apply(&self, act: Act, charges: &[Charge]) -> Result<Vec<Standing>, RedisError> {
        if charges.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = self.script.prepare_invoke();
        call.arg(match act {
            Act::Look => "look",
            Act::Fit => "fit",
            Act::Count => "count",
        });
        call.arg(MOST);
        for Charge { counter, amount } in charges {
            let (amount, gives_back) = match *amount {
                Amount::Take(amount) => (amount, false),
                Amount::GiveBack(amount) => (amount, true),
            };
            call.key(key(counter));
            call.arg(counter.max_value())
                .arg(u64::try_from(counter.window().as_millis()).unwrap_or(u64::MAX));
            call.arg(amount.min(MOST)).arg(u8::from(gives_back));
        }
        let told: Vec<(u8, u64, i64)> = call.invoke_async(&mut self.connection.clone()).await?;
        let standings = told.into_iter().zip(charges).map(|((is_over, used, resets_in), charge)| Standing {
            is_over: is_over != 0,
            used,
            resets_in: u64::try_from(resets_in)
                .map_or_else(|_| charge.counter.window(), Duration::from_millis),
        });
        Ok(standings.collect())
    }
}

fn key(counter: &Counter) -> String {
    let limit = counter.limit();
    let mut conditions: Vec<_> = limit.conditions().into_iter().collect();
    conditions.sort_unstable();
    let which = json!([limit.seconds(), conditions, counter.set_variables()]);
    format!("tollgate:{{{}}}:{which}", limit.namespace().as_ref())
}
