//! Callers: dimensions read from headers and attributes.
//!
//! In: [`Sources`] from the configuration and a request's [`Head`]. Out: a [`Caller`]. Not here:
//! the use of dimensions (`tiers`, `limits`). Values are bytes, because headers need not be text.
//! Secrets leave this module only as keyed hashes.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::rc::Rc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The parts of a request that are readable before its body.
pub trait Head {
    /// Returns a header's value, with several fields of one name joined by commas (RFC 9110,
    /// section 5.3).
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>>;

    /// Calls `show` with the name of each header. A head that is only read by name need not
    /// implement it.
    fn each_name(&self, _show: &mut dyn FnMut(&[u8])) {}

    /// Returns one of Envoy's attributes, as the bytes that the host gives.
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;
}

/// The sources of every dimension, in the configuration's order.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The dimensions.
    pub dimensions: Vec<Dimension>,
    /// The key for the hashes of secrets.
    pub salt: Salt,
}

/// The key for the hashes of secrets; never printed.
#[derive(Clone, Default)]
pub struct Salt(pub Vec<u8>);

impl core::fmt::Debug for Salt {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Salt(…)")
    }
}

/// One dimension and its sources.
#[derive(Clone, Debug)]
pub struct Dimension {
    /// Its name.
    pub name: Rc<str>,
    /// Tried in order; the first that yields a value decides.
    pub sources: Vec<Source>,
    /// Whether only a keyed hash of the value may be kept.
    pub secret: bool,
    /// The value if no source yields one.
    pub default: Option<Rc<str>>,
    /// The treatment of calls without a value.
    pub missing: Missing,
}

/// A source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A request header in lower case, with the scheme word that must precede the value, if any.
    Header {
        /// The header's name.
        name: String,
        /// Such as `Bearer`; case is ignored.
        scheme: Option<String>,
    },
    /// Dynamic metadata of another filter: its namespace, then the keys inside.
    Metadata(Vec<String>),
    /// One of Envoy's attributes.
    Property(Vec<String>),
    /// The address of the client as Envoy knows it, without the port.
    SourceIp,
}

/// The treatment of calls that lack a dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// They share one budget.
    #[default]
    Share,
    /// They are refused with 401.
    Refuse,
}

/// A required dimension that a call lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unidentified {
    /// The dimension's name.
    pub dimension: Rc<str>,
}

/// The dimensions of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    values: Vec<(Rc<str>, Vec<u8>)>,
}

/// The longest header or attribute value that is kept, in bytes. Longer values are hashed, so that
/// they stay distinct.
const LONGEST_VALUE: usize = 256;

impl Sources {
    /// Reads all dimensions of a call.
    ///
    /// # Errors
    /// [`Unidentified`] if a required dimension is missing.
    pub fn read(&self, head: &dyn Head) -> Result<Caller, Unidentified> {
        let mut values = Vec::with_capacity(self.dimensions.len());
        for dimension in &self.dimensions {
            let found = dimension.sources.iter().find_map(|source| source.read(head));
            match (found, &dimension.default, dimension.missing) {
                (Some(value), ..) => values.push((dimension.name.clone(), self.kept(dimension, value))),
                (None, Some(default), _) => {
                    values.push((dimension.name.clone(), default.as_bytes().to_vec()));
                }
                (None, None, Missing::Share) => {}
                (None, None, Missing::Refuse) => {
                    return Err(Unidentified { dimension: dimension.name.clone() });
                }
            }
        }
        Ok(Caller { values })
    }

    fn kept(&self, dimension: &Dimension, value: Vec<u8>) -> Vec<u8> {
        if dimension.secret {
            return self.hashed(&value);
        }
        shortened(value)
    }

    /// Returns the HMAC-SHA-256 under the salt.
    fn hashed(&self, value: &[u8]) -> Vec<u8> {
        // HMAC takes keys of any length, so this cannot fail. If it did, no part of the secret
        // would be kept.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.salt.0) else { return named_by(&[]) };
        mac.update(value);
        named_by(&mac.finalize().into_bytes())
    }
}

/// Hashes long values, without the salt, because all processes must send the same value to a rate
/// limit service.
fn shortened(value: Vec<u8>) -> Vec<u8> {
    if value.len() > LONGEST_VALUE { named_by(&Sha256::digest(&value)) } else { value }
}

/// Returns a hash as `hash:` and hex digits, cut to 128 bits.
fn named_by(hash: &[u8]) -> Vec<u8> {
    let mut text = String::from("hash:");
    for byte in hash.iter().take(16) {
        let _ = write!(text, "{byte:02x}");
    }
    text.into_bytes()
}

impl Source {
    fn read(&self, head: &dyn Head) -> Option<Vec<u8>> {
        let value = match self {
            Self::Header { name, scheme } => {
                let value = head.header(name)?;
                match scheme {
                    None => value.trim_ascii().to_vec(),
                    Some(scheme) => after_scheme(&value, scheme)?.to_vec(),
                }
            }
            Self::Metadata(path) => {
                let path: Vec<&str> = ["metadata", "filter_metadata"]
                    .into_iter()
                    .chain(path.iter().map(String::as_str))
                    .collect();
                head.property(&path)?
            }
            Self::Property(path) => head.property(&path.iter().map(String::as_str).collect::<Vec<_>>())?,
            Self::SourceIp => without_port(&head.property(&["source", "address"])?).to_vec(),
        };
        Some(value).filter(|value| !value.is_empty())
    }
}

/// Returns the credentials after an authentication scheme (RFC 9110, section 11.4).
fn after_scheme<'v>(value: &'v [u8], scheme: &str) -> Option<&'v [u8]> {
    let value = value.trim_ascii_start();
    let (word, rest) = value.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ")?;
    word.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.trim_ascii())
}

/// Strips the port and brackets from `192.0.2.1:443` and `[2001:db8::1]:443`.
fn without_port(address: &[u8]) -> &[u8] {
    let colon = address.iter().rposition(|&byte| byte == b':');
    let host = colon.and_then(|colon| address.get(..colon)).unwrap_or(address);
    host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host)
}

impl Caller {
    /// Creates a caller with these dimensions.
    #[must_use]
    pub const fn new(values: Vec<(Rc<str>, Vec<u8>)>) -> Self {
        Self { values }
    }

    /// Adds a dimension that is not a secret.
    pub fn add(&mut self, dimension: &str, value: Vec<u8>) {
        self.values.push((dimension.into(), shortened(value)));
    }

    /// Returns all dimensions of the call with their values.
    pub fn values(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.values.iter().map(|(name, value)| (&**name, value.as_slice()))
    }

    /// Returns the value of a dimension, or `None` if the call lacks it.
    #[must_use]
    pub fn value(&self, dimension: &str) -> Option<&[u8]> {
        self.values.iter().find(|(name, _)| &**name == dimension).map(|(_, value)| value.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Request(Vec<(&'static str, &'static [u8])>);

    impl Head for Request {
        fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
            self.0.iter().find(|(header, _)| *header == name).map(|(_, value)| Cow::Borrowed(*value))
        }
        fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
            let path = path.join("/");
            self.0.iter().find(|(name, _)| *name == path).map(|(_, value)| value.to_vec())
        }
    }

    fn header(name: &str) -> Source {
        Source::Header { name: name.into(), scheme: None }
    }

    fn bearer() -> Source {
        Source::Header { name: "authorization".into(), scheme: Some("Bearer".into()) }
    }

    fn dimension(sources: Vec<Source>) -> Dimension {
        Dimension { name: "who".into(), sources, secret: false, default: None, missing: Missing::Share }
    }

    fn read(dimension: Dimension, head: &[(&'static str, &'static [u8])]) -> Option<Vec<u8>> {
        let sources = Sources { dimensions: vec![dimension], salt: Salt(b"salt".to_vec()) };
        sources.read(&Request(head.to_vec())).unwrap().value("who").map(<[u8]>::to_vec)
    }

    #[test]
    fn the_first_source_that_yields_a_value_decides() {
        let jwt =
            Source::Metadata(vec!["envoy.filters.http.jwt_authn".into(), "payload".into(), "sub".into()]);
        let claim = "metadata/filter_metadata/envoy.filters.http.jwt_authn/payload/sub";
        let either = || dimension(vec![jwt.clone(), header("x-user")]);
        assert_eq!(read(either(), &[(claim, b"ada"), ("x-user", b"eve")]), Some(b"ada".to_vec()));
        assert_eq!(read(either(), &[(claim, b""), ("x-user", b"eve")]), Some(b"eve".to_vec()));
        assert_eq!(read(either(), &[("x-user", b"  ")]), None);
    }

    #[test]
    fn a_scheme_must_be_there_in_any_case() {
        let read = |value: &'static [u8]| read(dimension(vec![bearer()]), &[("authorization", value)]);
        assert_eq!(read(b"bearer  k1 "), Some(b"k1".to_vec()));
        for other in [b"Basic k1".as_slice(), b"Bearer", b"Bearer ", b"Bearerk1", b"k1", b""] {
            assert_eq!(read(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_secret_is_kept_only_as_a_keyed_hash() {
        let secret = |salt: &[u8]| {
            let dimension = Dimension { secret: true, ..dimension(vec![bearer()]) };
            let sources = Sources { dimensions: vec![dimension], salt: Salt(salt.to_vec()) };
            let caller = sources.read(&Request(vec![("authorization", b"Bearer sk-secret")])).unwrap();
            String::from_utf8(caller.value("who").unwrap().to_vec()).unwrap()
        };
        assert_eq!(secret(b"salt").len(), "hash:".len() + 32);
        assert!(!secret(b"salt").contains("sk-secret"));
        assert_eq!(secret(b"salt"), secret(b"salt"));
        assert_ne!(secret(b"salt"), secret(b"other"));
        assert_eq!(format!("{:?}", Salt(b"salt".to_vec())), "Salt(…)");
    }

    #[test]
    fn values_that_are_not_text_or_too_long_are_still_told_apart() {
        assert_eq!(
            read(dimension(vec![header("x-user")]), &[("x-user", b"\xff\xfe")]),
            Some(b"\xff\xfe".to_vec())
        );
        let long: &'static [u8] = Box::leak(vec![b'x'; 5_000].into_boxed_slice());
        let longer: &'static [u8] = Box::leak(vec![b'x'; 5_001].into_boxed_slice());
        let kept = |value| read(dimension(vec![header("x-user")]), &[("x-user", value)]).unwrap();
        assert_ne!(kept(long), kept(longer));
        assert!(kept(long).len() < 64);
    }

    #[test]
    fn the_port_is_no_part_of_an_address() {
        let ip =
            |address: &'static [u8]| read(dimension(vec![Source::SourceIp]), &[("source/address", address)]);
        assert_eq!(ip(b"192.0.2.1:4711"), Some(b"192.0.2.1".to_vec()));
        assert_eq!(ip(b"[2001:db8::1]:4711"), Some(b"2001:db8::1".to_vec()));
    }

    #[test]
    fn a_missing_dimension_is_shared_defaulted_or_refused() {
        let nobody = Request::default();
        let read = |dimension: Dimension| {
            Sources { dimensions: vec![dimension], ..Sources::default() }.read(&nobody)
        };
        let plain = dimension(vec![header("x-user")]);
        assert_eq!(read(plain.clone()), Ok(Caller::default()));
        let with_default = Dimension { default: Some("free".into()), ..plain.clone() };
        assert_eq!(read(with_default).unwrap().value("who"), Some(b"free".as_slice()));
        let refuse = Dimension { missing: Missing::Refuse, ..plain };
        assert_eq!(read(refuse), Err(Unidentified { dimension: "who".into() }));
    }
}
