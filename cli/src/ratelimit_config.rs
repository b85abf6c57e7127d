//! `tollgate ratelimit-config`: derives the configuration of rate limit servers from the filter's,
//! so that each limit is written in one place.
//!
//! In: a file that contains the filter's configuration. Out: its limits with `scope: global`, for
//! envoyproxy/ratelimit and for Limitador. Not here: the formats of both (`servers`).

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use tollgate::limits::Limit;

use crate::Outcome;
use crate::find::{NotFound, find};
use crate::servers::{Unsupported, limitador, ratelimit};

/// Writes both files into a folder, or prints them.
pub(crate) fn write(file: &Path, domain: Option<&str>, out: Option<&Path>, report: &mut String) -> Outcome {
    match try_write(file, domain, out, report) {
        Ok(outcome) => outcome,
        Err((outcome, why)) => {
            eprintln!("tollgate: {why}");
            outcome
        }
    }
}

fn try_write(
    file: &Path,
    domain: Option<&str>,
    out: Option<&Path>,
    report: &mut String,
) -> Result<Outcome, (Outcome, String)> {
    let nothing =
        |path: &Path, error: std::io::Error| (Outcome::Nothing, format!("{}: {error}", path.display()));
    let text = fs::read_to_string(file).map_err(|error| nothing(file, error))?;
    let global = Global::of(file, &text, domain)?;
    let mut outcome = Outcome::Well;
    for (name, written) in global.files() {
        match (written, out) {
            (Err(error), _) => {
                eprintln!("tollgate: {name} cannot be written:\n{}", error.trim_end());
                outcome = Outcome::Errors;
            }
            (Ok(text), None) => {
                let _ = writeln!(report, "# {name}\n\n{text}");
            }
            (Ok(text), Some(folder)) => {
                let path = folder.join(name);
                let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
                written.map_err(|error| nothing(&path, error))?;
                let _ = writeln!(report, "{}", path.display());
            }
        }
    }
    Ok(outcome)
}

/// The global limits of one domain.
pub(crate) struct Global {
    pub(crate) domain: String,
    pub(crate) limits: Vec<Rc<Limit>>,
}

impl Global {
    /// Collects the limits of all filters in a file. Filters may share limits with equal values.
    pub(crate) fn of(file: &Path, text: &str, domain: Option<&str>) -> Result<Self, (Outcome, String)> {
        let name = file.display();
        let wrong = |outcome, why: String| (outcome, format!("{name}{why}"));
        let filters = find(file, text).map_err(|reason| match reason {
            NotFound::Syntax(error) => wrong(Outcome::Nothing, format!(":{}: {error}", error.line)),
            NotFound::Nothing => wrong(Outcome::Nothing, ": contains no Tollgate configuration".to_owned()),
        })?;
        let mut found: Vec<Self> = Vec::new();
        for filter in filters {
            let config = filter.read().map_err(|errors| {
                let lines = errors.iter().map(|error| format!("\n  {} {}", error.place(file), error.text));
                wrong(Outcome::Errors, format!(" has errors:{}", lines.collect::<String>()))
            })?;
            let Some(service) = &config.global else { continue };
            let known = found.iter_mut().find(|global| global.domain == service.domain);
            let global = match known {
                Some(global) => global,
                None => found.push_mut(Self { domain: service.domain.clone(), limits: Vec::new() }),
            };
            for limit in config.tiers.all().iter().flat_map(|tier| &tier.global) {
                global.add(&limit.limit).map_err(|why| wrong(Outcome::Errors, why))?;
            }
        }
        let domains: Vec<_> = found.iter().map(|global| format!("`{}`", global.domain)).collect();
        let domains = domains.join(", ");
        let nothing = |why: String| Err(wrong(Outcome::Nothing, why));
        match (domain, found.len()) {
            (_, 0) => nothing(": no filter has a section `global`".to_owned()),
            (None, 1) => Ok(found.remove(0)),
            (None, _) => nothing(format!(" has several domains, choose one with --domain: {domains}")),
            (Some(name), _) => match found.into_iter().find(|global| global.domain == name) {
                Some(global) => Ok(global),
                None => nothing(format!(" has no domain `{name}`, only {domains}")),
            },
        }
    }

    fn add(&mut self, limit: &Rc<Limit>) -> Result<(), String> {
        let known = self.limits.iter().find(|known| known.tier == limit.tier && known.name == limit.name);
        let Some(known) = known else {
            self.limits.push(limit.clone());
            return Ok(());
        };
        let said =
            |limit: &Limit| (limit.counts.name, limit.per.clone(), limit.shape.max, limit.shape.window);
        if said(known) != said(limit) {
            let Limit { tier, name, .. } = &**limit;
            return Err(format!(" defines limit `{name}` of tier `{tier}` twice, with different values"));
        }
        Ok(())
    }

    /// Returns both files by name.
    pub(crate) fn files(&self) -> [(&'static str, Result<String, String>); 2] {
        let told = |unfit: Vec<Unsupported>| unfit.iter().map(|unfit| format!("  {unfit}\n")).collect();
        [
            ("ratelimit.yaml", ratelimit(&self.domain, &self.limits).map_err(told)),
            ("limitador.yaml", limitador(&self.domain, &self.limits).map_err(told)),
        ]
    }
}
