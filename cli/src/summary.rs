//! Summarizes a configuration: its callers, what each tier may spend, and settings that may be
//! unintended.
//!
//! In: a [`Config`]. Out: text. Not here: finding errors (`check`).

use std::fmt::Write as _;
use std::rc::Rc;

use tollgate::identity::{Dimension, Missing, Source};
use tollgate::limits::{Algorithm, Limit, Resource};
use tollgate::reply::{usd, window};
use tollgate::rls::{OnFailure, Protocol, Service};
use tollgate::settings::{Config, Hold};
use tollgate::tiers::{TIER_DIMENSION, Tier};
use tollgate::units::Amount;

use crate::style::Style;

/// Returns the indented summary, which ends in a newline.
pub(crate) fn summary(config: &Config, can_hold: Option<bool>, style: Style) -> String {
    let mut text = String::new();
    if !config.identity.dimensions.is_empty() {
        let rows = config.identity.dimensions.iter().map(dimension_row);
        section(&mut text, &style.title("Callers"), &rows.collect::<Vec<_>>());
    }
    for tier in config.tiers.all() {
        let default = if config.tiers.default().name == tier.name { ", the default" } else { "" };
        let title = format!("{}{default}", style.title(&format!("Tier `{}`", tier.name)));
        section(&mut text, &title, &tier_rows(tier));
        for line in softer(tier) {
            let _ = writeln!(text, "    {}", style.quiet(&line));
        }
    }
    if let Some(service) = &config.global {
        section(&mut text, &style.title("Rate limit service"), &[service_row(service)]);
    }
    let notes = notes(config, can_hold);
    if !notes.is_empty() {
        let _ = writeln!(text, "\n  {}", style.notable("Worth a look"));
        for note in notes {
            let _ = writeln!(text, "    {note}");
        }
    }
    text
}

/// Appends a title and rows with aligned columns.
fn section(text: &mut String, title: &str, rows: &[Vec<String>]) {
    let _ = writeln!(text, "\n  {title}");
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(text, "    {}", line.trim_end());
    }
}

fn dimension_row(dimension: &Dimension) -> Vec<String> {
    let sources: Vec<_> = dimension.sources.iter().map(source).collect();
    let missing = match (&dimension.default, dimension.missing) {
        (Some(default), _) if sources.is_empty() => format!("always `{default}`"),
        (Some(default), _) => format!("if missing: `{default}`"),
        (None, Missing::Refuse) => "if missing: 401".to_owned(),
        (None, Missing::Share) => "if missing: one shared budget".to_owned(),
    };
    let secret = if dimension.secret { ", stored as a hash" } else { "" };
    vec![dimension.name.to_string(), format!("{}{secret}", sources.join(", else ")), missing]
}

fn source(source: &Source) -> String {
    match source {
        Source::Header { name, scheme: None } => format!("header {name}"),
        Source::Header { name, scheme: Some(scheme) } => format!("header {name} ({scheme})"),
        Source::Metadata(path) => format!("metadata {}", path.join(" / ")),
        Source::Property(path) => format!("attribute {}", path.join(".")),
        Source::SourceIp => "the client's address".to_owned(),
    }
}

fn all_limits(tier: &Tier) -> impl Iterator<Item = &Rc<Limit>> {
    tier.limits.iter().chain(tier.global.iter().map(|global| &global.limit))
}

fn tier_rows(tier: &Tier) -> Vec<Vec<String>> {
    if all_limits(tier).next().is_none() {
        return vec![vec!["no limits".to_owned()]];
    }
    let local = tier.limits.iter().map(|limit| limit_row(limit, ""));
    local.chain(tier.global.iter().map(|global| limit_row(&global.limit, "shared by all Envoys"))).collect()
}

fn limit_row(limit: &Limit, scope: &str) -> Vec<String> {
    let per: Vec<_> = limit.per.iter().map(|dimension| &**dimension).collect();
    let per = match per.is_empty() {
        true => "shared by all callers".to_owned(),
        false => format!("per {}", per.join(" and ")),
    };
    let list = |patterns: &[tollgate::config::Glob]| {
        patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let mut more: Vec<String> = Vec::new();
    more.extend((!limit.models.is_empty()).then(|| format!("models {}", list(&limit.models))));
    more.extend((!limit.tools.is_empty()).then(|| format!("tools {}", list(&limit.tools))));
    more.extend(limit.once_per.as_ref().map(|once| format!("once per {once}")));
    let algorithm = match limit.shape.algorithm {
        Algorithm::TokenBucket if limit.shape.burst != limit.shape.max => {
            format!("up to {} at once", amount(limit, limit.shape.burst.0))
        }
        Algorithm::TokenBucket | Algorithm::InFlight => String::new(),
        Algorithm::SlidingWindow => "sliding window".to_owned(),
        Algorithm::FixedWindow => "calendar window".to_owned(),
    };
    more.extend(Some(algorithm).filter(|words| !words.is_empty()));
    more.extend(limit.rate_id.as_ref().map(|_| "adapts to the upstream".to_owned()));
    more.extend(Some(scope.to_owned()).filter(|words| !words.is_empty()));
    more.extend(limit.shadow.then(|| "shadow".to_owned()));
    let allowed = match limit.shape.algorithm {
        Algorithm::InFlight => format!("{} at a time", amount(limit, limit.shape.max.0)),
        _ => format!("{} in {}", amount(limit, limit.shape.max.0), window(limit.shape.window)),
    };
    vec![limit.name.to_string(), allowed, per, more.join(", ")]
}

/// Formats an amount in the limit's unit.
fn amount(limit: &Limit, amount: u64) -> String {
    let Resource { name, unit, .. } = limit.counts;
    if unit.is_money {
        return format!("${}", usd(amount));
    }
    let amount = unit.wholes_ceil(Amount(amount));
    let what = if limit.counts.is_in_flight() { unit.name.to_owned() } else { name.replace('_', " ") };
    let what = if amount == 1 { what.trim_end_matches('s') } else { &what };
    format!("{} {what}", grouped(amount))
}

/// Formats a number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.char_indices() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Describes how a tier degrades calls before it refuses them.
fn softer(tier: &Tier) -> Vec<String> {
    let percent = |ppm: u64| format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    let steps = tier.degradation.soften.iter().map(|step| {
        let models = step.models.iter().map(|(from, to)| format!("{from} becomes {to}"));
        let bound = step.max_output.map(|tokens| format!("at most {} output tokens", grouped(tokens)));
        let what: Vec<_> = models.chain(bound).collect();
        let at = percent(step.at.ppm);
        format!("from {} % used: {}", at.trim_end_matches('0').trim_end_matches('.'), what.join(", "))
    });
    let clamp = tier.degradation.clamp_output.then(|| "output is limited to what is left".to_owned());
    let wait = tier.degradation.wait.as_ref().map(|wait| {
        let places = grouped(wait.places.shape.max.0);
        format!("calls wait up to {}, at most {places} at a time", window(wait.max_wait))
    });
    steps.chain(clamp).chain(wait).collect()
}

fn service_row(service: &Service) -> Vec<String> {
    let protocol = match service.protocol {
        Protocol::Envoy => "envoy",
        Protocol::CheckThenReport => "check_then_report",
        Protocol::Kuadrant => "kuadrant",
    };
    let without = match service.on_failure {
        OnFailure::Local => "if it fails, each Envoy enforces its share",
        OnFailure::Allow => "if it fails, calls pass",
        OnFailure::Deny => "if it fails, calls are refused",
    };
    let Service { cluster, domain, .. } = service;
    vec![format!("cluster `{cluster}`, domain `{domain}`, protocol {protocol}; {without}")]
}

/// Lists valid settings that may be unintended.
fn notes(config: &Config, can_hold: Option<bool>) -> Vec<String> {
    let mut notes = Vec::new();
    for tier in config.tiers.all() {
        let name = &tier.name;
        if all_limits(tier).next().is_none() {
            notes.push(format!("Tier `{name}` has no limits: its callers can spend any amount."));
        } else if all_limits(tier).all(|limit| limit.shadow) {
            notes.push(format!("Tier `{name}` refuses nothing: all its limits have `enforce: shadow`."));
        }
    }
    let is_used = |dimension: &Dimension| {
        let name = &dimension.name;
        let of_workflows = config.workflows.as_ref().is_some_and(|workflows| workflows.dimension == *name);
        let mut limits = config.tiers.all().iter().flat_map(|tier| all_limits(tier));
        let of_limits = limits.any(|limit| {
            let batch = limit.reserved.as_ref().map(|reserved| &reserved.dimension);
            limit.per.iter().chain(&limit.once_per).chain(batch).any(|dimension| dimension == name)
        });
        of_workflows || of_limits || **name == *TIER_DIMENSION || dimension.missing == Missing::Refuse
    };
    let unused = config.identity.dimensions.iter().filter(|dimension| !is_used(dimension));
    notes.extend(unused.map(|dimension| format!("No limit uses dimension `{}`.", dimension.name)));
    if can_hold == Some(false) {
        notes.extend(match config.hold {
            Hold::Always => Some("`hold: always` needs `allow_on_headers_stop_iteration: true` on the filter; without it, held requests hang."),
            Hold::Auto => Some("Without `allow_on_headers_stop_iteration: true` on the filter, headers go upstream before the body is counted."),
            Hold::Never => None,
        }.map(str::to_owned));
    }
    notes
}
