//! The limits in Limitador's files, and the counters of a descriptor.
//!
//! In: files with a list of `{namespace, max_value, seconds, name, conditions, variables}`; the
//! entries of a descriptor. Out: one counter for each limit that applies. The `limitador` crate
//! evaluates conditions and variables, which are CEL. They see one descriptor as `descriptors[0]`,
//! at any position in its call. Any other name in them would never exist, so it is an error when
//! the file is read. The format: <https://github.com/Kuadrant/limitador>,
//! `doc/server/configuration.md`. Not here: counting.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _};
use std::sync::Arc;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use limitador::counter::Counter;
use limitador::errors::LimitadorError;
use limitador::limit::{Context, Expression, Limit, Predicate};
use serde::Deserialize;

use crate::store::MOST;

/// The only name that conditions and variables may use.
const DESCRIPTORS: &str = "descriptors";

/// The limits by namespace, which is the domain of calls.
#[derive(Default)]
pub(crate) struct Limits {
    by_namespace: HashMap<String, Vec<Known>>,
}

/// A limit with its own copy of the conditions, because `Limit` tests them only in a way that
/// panics.
struct Known {
    limit: Arc<Limit>,
    conditions: Vec<Predicate>,
}

impl Limits {
    /// Reads all these files; `-` is standard input.
    ///
    /// # Errors
    ///
    /// Names the file and the limit that is wrong.
    pub(crate) fn read(paths: &[String]) -> Result<Self, String> {
        let mut limits = Self::default();
        for path in paths {
            let text = if path == "-" { standard_input() } else { fs::read_to_string(path) };
            let text = text.map_err(|error| format!("{path}: {error}"))?;
            let written: Vec<Written> =
                serde_saphyr::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
            for (at, written) in written.into_iter().enumerate() {
                limits.add(written).map_err(|error| format!("{path}: limit {}: {error}", at + 1))?;
            }
        }
        Ok(limits)
    }

    /// Returns the counters of a descriptor of this domain.
    ///
    /// # Errors
    ///
    /// If a condition or a variable cannot be evaluated for it.
    pub(crate) fn counters(&self, domain: &str, entries: &[Entry]) -> Result<Vec<Counter>, LimitadorError> {
        let values = entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
        let mut context = Context::default();
        context.list_binding(DESCRIPTORS.to_owned(), vec![values]);

        let mut counters = Vec::new();
        for known in self.by_namespace.get(domain).into_iter().flatten() {
            if known.applies(&context)? {
                counters.extend(Counter::new(Arc::clone(&known.limit), &context)?);
            }
        }
        Ok(counters)
    }

    fn add(&mut self, written: Written) -> Result<(), String> {
        let namespace = written.namespace.clone();
        let known = written.known()?;
        let limits = self.by_namespace.entry(namespace).or_default();
        if limits.iter().any(|other| other.limit == known.limit) {
            return Err("another limit has the same window, conditions and variables".to_owned());
        }
        limits.push(known);
        Ok(())
    }
}

impl Known {
    fn applies(&self, context: &Context<'_>) -> Result<bool, LimitadorError> {
        for condition in &self.conditions {
            if !condition.test(context)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A limit in the file's format.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: Option<String>,
    namespace: String,
    max_value: u64,
    seconds: u64,
    name: Option<String>,
    #[serde(default)]
    conditions: Vec<String>,
    #[serde(default)]
    variables: Vec<String>,
}

impl Written {
    fn known(self) -> Result<Known, String> {
        if self.namespace.is_empty() {
            return Err("namespace is empty".to_owned());
        }
        if self.seconds == 0 {
            return Err("seconds is 0, a window needs at least 1".to_owned());
        }
        if self.max_value > MOST {
            return Err(format!("max_value is {}, more than {MOST}", self.max_value));
        }
        let mut conditions = Vec::new();
        for source in self.conditions {
            let condition = evaluable(source)?.source().to_owned();
            conditions.push(Predicate::parse(condition).map_err(|error| error.to_string())?);
        }
        let variables: Vec<_> = self.variables.into_iter().map(evaluable).collect::<Result<_, _>>()?;

        let (all, namespace) = (conditions.clone(), self.namespace);
        let mut limit = match self.id {
            Some(id) => Limit::with_id(id, namespace, self.max_value, self.seconds, all, variables),
            None => Limit::new(namespace, self.max_value, self.seconds, all, variables),
        };
        if let Some(name) = self.name {
            limit.set_name(name);
        }
        Ok(Known { limit: Arc::new(limit), conditions })
    }
}

fn evaluable(source: String) -> Result<Expression, String> {
    let expression = Expression::parse(source).map_err(|error| error.to_string())?;
    match expression.variables().iter().find(|name| *name != DESCRIPTORS) {
        Some(name) => Err(format!("{} names {name}, there is only {DESCRIPTORS}[0]", expression.source())),
        None => Ok(expression),
    }
}

fn standard_input() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}
