//! Writes the configuration of rate limit servers from that of the filter, so that every limit is written in one place.
//!
//! In: a file of Envoy's configuration with the filter in it, or of the filter's own configuration, in YAML or JSON. Out: the limits that have
//! `scope: global`, for envoyproxy/ratelimit and for Limitador. What they look like is in `tollgate::rls::servers`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use lexopt::prelude::{Long, Short, Value as Positional, ValueExt};
use serde_json::Value;
use tollgate::limits::Limit;
use tollgate::rls::servers::{Unfit, limitador, ratelimit};
use tollgate::settings::Config;

const HELP: &str = "\
Writes the configuration of rate limit servers from Tollgate's own: all limits that have `scope: global`.

Usage: ratelimit_config FILE [--domain NAME] [--out DIR]

  FILE           Envoy's configuration with the filter in it, or the filter's own; YAML or JSON
  --domain NAME  only filters with this `domain` in `global`; needed if there are several domains
  --out DIR      write ratelimit.yaml (envoyproxy/ratelimit) and limitador.yaml there, instead of to standard output
  -h, --help     this text

A limit that one of the servers cannot have is told, and the file of that server is not written.
";

fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("ratelimit_config: {wrong}; see --help");
            return ExitCode::FAILURE;
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    file: PathBuf,
    domain: Option<String>,
    out: Option<PathBuf>,
}

impl Arguments {
    /// The arguments, or nothing if help is wanted.
    fn read() -> Result<Option<Self>, lexopt::Error> {
        let (mut file, mut domain, mut out) = (None, None, None);
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("domain") => domain = Some(parser.value()?.string()?),
                Long("out") => out = Some(parser.value()?.into()),
                Short('h') | Long("help") => return Ok(None),
                Positional(path) if file.is_none() => file = Some(path.into()),
                other => return Err(other.unexpected()),
            }
        }
        let file = file.ok_or("a FILE is missing")?;
        Ok(Some(Self { file, domain, out }))
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let file = arguments.file.display();
    let text = fs::read_to_string(&arguments.file).map_err(|error| format!("{file}: {error}"))?;
    let global =
        Global::of(&text, arguments.domain.as_deref()).map_err(|error| format!("{file}: {error}"))?;
    let mut unfit = String::new();
    for (name, written) in global.files() {
        match (written, &arguments.out) {
            (Err(error), _) => {
                let _ = writeln!(unfit, "{name} cannot be written:\n{error}");
            }
            (Ok(text), None) => println!("# {name}\n\n{text}"),
            (Ok(text), Some(folder)) => {
                let path = folder.join(name);
                let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
                written.map_err(|error| format!("{}: {error}", path.display()))?;
                println!("{}", path.display());
            }
        }
    }
    if unfit.is_empty() { Ok(()) } else { Err(unfit) }
}

/// The global limits of one domain.
pub(crate) struct Global {
    pub(crate) domain: String,
    pub(crate) limits: Vec<Rc<Limit>>,
}

impl Global {
    /// Those of all filters in a file. Filters may share limits, if they agree on them.
    pub(crate) fn of(text: &str, domain: Option<&str>) -> Result<Self, String> {
        let mut found: Vec<Self> = Vec::new();
        for configuration in configurations(text)? {
            let config = Config::read(&configuration, b"").map_err(|errors| errors.to_string())?;
            let Some(service) = &config.global else { continue };
            let known = found.iter_mut().find(|global| global.domain == service.domain);
            let global = match known {
                Some(global) => global,
                None => found.push_mut(Self { domain: service.domain.clone(), limits: Vec::new() }),
            };
            for limit in config.tiers.all().iter().flat_map(|tier| &tier.global) {
                global.add(&limit.limit)?;
            }
        }
        let domains: Vec<_> = found.iter().map(|global| format!("`{}`", global.domain)).collect();
        let domains = domains.join(", ");
        match (domain, found.len()) {
            (_, 0) => Err("no filter in it has a section `global`".to_owned()),
            (None, 1) => Ok(found.remove(0)),
            (None, _) => Err(format!("has several domains, of which --domain has to choose one: {domains}")),
            (Some(name), _) => {
                let global = found.into_iter().find(|global| global.domain == name);
                global.ok_or_else(|| format!("has no domain `{name}`, but {domains}"))
            }
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
            return Err(format!("has limit `{name}` of tier `{tier}` twice, and not the same"));
        }
        Ok(())
    }

    /// Both files by their names.
    pub(crate) fn files(&self) -> [(&'static str, Result<String, String>); 2] {
        let told = |unfit: Vec<Unfit>| unfit.iter().map(|unfit| format!("  {unfit}\n")).collect();
        [
            ("ratelimit.yaml", ratelimit(&self.domain, &self.limits).map_err(told)),
            ("limitador.yaml", limitador(&self.domain, &self.limits).map_err(told)),
        ]
    }
}

/// The filter configurations in a file, as JSON.
fn configurations(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let file: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    if file.get("tiers").is_some() {
        found.push(file.to_string().into_bytes());
    } else {
        collect(&file, &mut found);
    }
    if found.is_empty() {
        return Err("has no configuration of Tollgate: a google.protobuf.Struct or google.protobuf.StringValue with `tiers`".to_owned());
    }
    Ok(found)
}

/// Adds the configurations in a part of Envoy's configuration: what carries them, whoever it belongs to, with `tiers` in it.
fn collect(part: &Value, found: &mut Vec<Vec<u8>>) {
    let carried = part.get("@type").and_then(Value::as_str).zip(part.get("value"));
    match carried {
        Some((kind, value)) if kind.ends_with("/google.protobuf.Struct") && value.get("tiers").is_some() => {
            found.push(value.to_string().into_bytes());
        }
        Some((kind, Value::String(text))) if kind.ends_with("/google.protobuf.StringValue") => {
            // What is broken in it, the reader of configurations tells better.
            if text.contains("\"tiers\"") {
                found.push(text.clone().into_bytes());
            }
        }
        _ => match part {
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            Value::Object(members) => members.values().for_each(|member| collect(member, found)),
            _ => {}
        },
    }
}
