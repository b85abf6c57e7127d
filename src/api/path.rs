//! A request path as the upstream's router sees it.
//!
//! In: the raw `:path`. Out: [`Plain`], and whether it matches a pattern. Not here: the meaning of
//! each path (`routes`).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use core::ops::Range;
use std::borrow::Cow;

/// A path without query, percent-decoded, with runs of slashes folded and dot segments resolved
/// (RFC 3986 section 5.2.4), so that no spelling of a path bypasses the limits; no trailing slash.
pub(super) struct Plain {
    path: String,
    /// The same in lower case, with the same length in bytes, if it differs.
    lower: Option<String>,
}

impl Plain {
    pub(super) fn of(path: &[u8]) -> Self {
        let decoded: Cow<'_, [u8]> = percent_decode(without_query(path)).into();
        let mut path = Vec::with_capacity(decoded.len());
        for segment in decoded.split(|&byte| byte == b'/') {
            match segment {
                b"" | b"." => {}
                b".." => path.truncate(path.iter().rposition(|&byte| byte == b'/').unwrap_or(0)),
                segment => {
                    path.push(b'/');
                    path.extend_from_slice(segment);
                }
            }
        }
        let path = String::from_utf8(path)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        let has_upper = path.bytes().any(|byte| byte.is_ascii_uppercase());
        let lower = has_upper.then(|| path.to_ascii_lowercase());
        Self { path, lower }
    }

    fn lower(&self) -> &str {
        self.lower.as_deref().unwrap_or(&self.path)
    }

    /// Returns whether it ends with these letters, which are in lower case.
    pub(super) fn ends_with(&self, end: &str) -> bool {
        self.lower().ends_with(end)
    }

    /// Returns none unless it ends like `end`; otherwise the model's name, if the pattern has one.
    pub(super) fn ends_like(&self, end: &PathEnd) -> Option<Option<&str>> {
        if end.before.is_none() {
            return self.lower().ends_with(end.after).then_some(None);
        }
        self.path.get(self.model_place(end)?).map(Some)
    }

    /// Returns the position of the model, if it is in the path and the path matches `end`.
    fn model_place(&self, end: &PathEnd) -> Option<Range<usize>> {
        let head = self.lower().strip_suffix(end.after)?;
        let before = end.before?;
        // The library's search prepares for long texts.
        let is_at =
            |at: &usize| head.as_bytes().get(*at..).is_some_and(|rest| rest.starts_with(before.as_bytes()));
        let start = (0..head.len()).rev().find(is_at)?.checked_add(before.len())?;
        Some(start..head.len()).filter(|place| !place.is_empty())
    }

    /// Returns whether it is `prefix`, which is in lower case, or lies below it.
    pub(super) fn is_below(&self, prefix: &str) -> bool {
        let rest = self.lower().strip_prefix(prefix.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Returns a raw path without its query, which can have secrets, and without a fragment.
#[must_use]
pub fn without_query(path: &[u8]) -> &[u8] {
    path.split(|&byte| byte == b'?' || byte == b'#').next().unwrap_or_default()
}

/// The characters of a model's name to percent-encode in a path. They include the colon, because
/// Google's paths put the method after one; AWS's libraries encode it, too. The `@` before a
/// version is not encoded, as in Google's own paths.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// Returns a raw path that matches `end`, with another model in place of its own and the rest
/// unchanged; none if the replacement is not certain to work, or if the path names that model
/// already.
///
/// ```text
/// raw     /x/../v1/models/gemini%2Dpro:generateContent?alt=sse
/// plain        /v1/models/gemini-pro:generateContent
/// other   /x/../v1/models/gemini-flash:generateContent?alt=sse
/// ```
///
/// The function finds the model in the plain path and replaces it in the raw one. It then parses
/// the result again, and returns none unless that has the other model in the same place.
pub(super) fn with_model(raw: &[u8], end: &PathEnd, model: &str) -> Option<Vec<u8>> {
    let plain = Plain::of(raw);
    let place = plain.model_place(end)?;
    let places = places(raw);
    if places.len() != plain.path.len() {
        return None;
    }
    let replaced = places.get(place.clone())?;
    let (first, last) = replaced.first().zip(replaced.last())?;
    let encoded = utf8_percent_encode(model, ENCODED).to_string();
    let other = [raw.get(..first.start)?, encoded.as_bytes(), raw.get(last.end..)?].concat();
    let expected = [plain.path.get(..place.start)?, model, plain.path.get(place.end..)?].concat();
    let read = Plain::of(&other);
    let is_right =
        read.path == expected && read.model_place(end).and_then(|at| read.path.get(at)) == Some(model);
    (is_right && plain.path.get(place) != Some(model)).then_some(other)
}

/// Returns the position in a raw path of each byte of its plain form, if all of it is text.
fn places(raw: &[u8]) -> Vec<Range<usize>> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = without_query(raw);
    let mut at: usize = 0;
    while let Some(&first) = rest.first() {
        let width = if first == b'%' { 3 } else { 1 };
        let escaped = rest
            .get(..width)
            .map(percent_decode)
            .and_then(|mut bytes| bytes.next().filter(|_| bytes.next().is_none()));
        let (byte, width) = escaped.map_or((first, 1), |byte| (byte, width));
        let end = at.saturating_add(width);
        decoded.push((byte, at..end));
        rest = rest.get(width..).unwrap_or_default();
        at = end;
    }
    let mut plain: Vec<(u8, Range<usize>)> = Vec::with_capacity(decoded.len());
    for segment in decoded.split(|(byte, _)| *byte == b'/') {
        let is = |dots: &[u8]| segment.iter().map(|(byte, _)| byte).eq(dots);
        if is(b"") || is(b".") {
            continue;
        }
        if is(b"..") {
            plain.truncate(plain.iter().rposition(|(byte, _)| *byte == b'/').unwrap_or(0));
            continue;
        }
        let start = segment.first().map_or(0, |(_, place)| place.start);
        plain.push((b'/', start..start));
        plain.extend_from_slice(segment);
    }
    plain.into_iter().map(|(_, place)| place).collect()
}

/// The end of a path, in lower case, with the position of the model in it.
#[derive(Debug)]
pub struct PathEnd {
    /// The part before the model, if the model is in the path. The model takes as much of the path
    /// as matches, including slashes.
    before: Option<&'static str>,
    after: &'static str,
}

impl PathEnd {
    /// Parses a pattern, with `{model}` in the place of the model, or without a model.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "only runs at compile time, where a panic is a build error; there is no const search"
    )]
    pub(super) const fn new(pattern: &'static str) -> Self {
        const MODEL: &str = "{model}";
        let mut rest = pattern.as_bytes();
        while let [first, behind @ ..] = rest {
            if *first == b'{' {
                let (before, from_model) = pattern.split_at(pattern.len() - rest.len());
                return Self { before: Some(before), after: from_model.split_at(MODEL.len()).1 };
            }
            rest = behind;
        }
        Self { before: None, after: pattern }
    }

    /// Returns the pattern, if it contains no model.
    #[must_use]
    pub const fn without_model(&self) -> Option<&'static str> {
        if self.before.is_none() { Some(self.after) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_path_become_the_same() {
        assert_eq!(Plain::of(b"/v1//Chat%2Fcompletions/?q=/x").lower(), "/v1/chat/completions");
        assert_eq!(Plain::of(b"/x/%2e%2e/v1/./chat/no/../completions/.").lower(), "/v1/chat/completions");
        assert_eq!(Plain::of(b"/../../chat").lower(), "/chat");
    }

    #[test]
    fn bytes_that_are_not_text_stay_harmless() {
        assert_eq!(Plain::of(b"/\xff%ff%").lower(), "/\u{fffd}\u{fffd}%");
        assert_eq!(Plain::of(b"").lower(), "");
    }

    #[test]
    fn the_model_is_read_from_the_path_as_it_is_written() {
        let model = |path: &str, end| {
            Plain::of(path.as_bytes()).ends_like(&PathEnd::new(end)).map(|m| m.map(str::to_owned))
        };
        let bedrock = "/model/{model}/converse";
        assert_eq!(model("/Model/us.Nova-v1%3A0/Converse", bedrock), Some(Some("us.Nova-v1:0".to_owned())));
        let arn = "/x/model/arn%3Aaws%3Abedrock%3Aeu%3A1%3Ainference-profile%2Feu.claude/converse";
        assert_eq!(
            model(arn, bedrock),
            Some(Some("arn:aws:bedrock:eu:1:inference-profile/eu.claude".to_owned()))
        );
        for other in ["/model//converse", "/models/x/converse", "/model/x/converse-stream", "/converse"] {
            assert_eq!(model(other, bedrock), None, "{other}");
        }
        assert_eq!(model("/v1/chat", "/chat"), Some(None));
    }

    fn other(path: &str, end: &'static str, model: &str) -> Option<String> {
        with_model(path.as_bytes(), &PathEnd::new(end), model).map(|path| String::from_utf8(path).unwrap())
    }

    #[test]
    fn another_model_takes_the_place_of_the_first_and_nothing_else_changes() {
        let converse = "/model/{model}/converse";
        let deployment = "/openai/deployments/{model}/chat/completions";
        let gemini = "/models/{model}:generatecontent";
        for (path, end, model, expected) in [
            (
                "/model/amazon.nova-pro-v1%3A0/converse",
                converse,
                "amazon.nova-lite-v1:0",
                "/model/amazon.nova-lite-v1%3A0/converse",
            ),
            (
                "/x/Model/arn%3Aaws%2Fa/CONVERSE/?a=/model/b",
                converse,
                "arn:x/b",
                "/x/Model/arn%3Ax%2Fb/CONVERSE/?a=/model/b",
            ),
            (
                "/openai/deployments/gpt-4o/chat/completions?api-version=1#x",
                deployment,
                "gpt-4o-mini",
                "/openai/deployments/gpt-4o-mini/chat/completions?api-version=1#x",
            ),
            (
                "/v1beta/models/gemini-2.5-pro:generateContent?alt=sse",
                gemini,
                "gemini-2.5-flash",
                "/v1beta/models/gemini-2.5-flash:generateContent?alt=sse",
            ),
            (
                "/models/a:generateContent",
                gemini,
                "claude@1 %é",
                "/models/claude@1%20%25%C3%A9:generateContent",
            ),
        ] {
            assert_eq!(other(path, end, model).as_deref(), Some(expected));
        }
    }

    #[test]
    fn disguises_stay_as_they_are() {
        let converse = "/model/{model}/converse";
        for (path, expected) in [
            ("//%6dodel///%61%62/./convers%65//", Some("//%6dodel///x/./convers%65//")),
            ("/model/y/../a%2fb/converse", Some("/model/y/../x/converse")),
            ("/a/../model/a//b/converse/c/..", Some("/a/../model/x/converse/c/..")),
            ("/model/%%41/converse", Some("/model/x/converse")),
            ("/\u{fffd}/model/a/converse", Some("/\u{fffd}/model/x/converse")),
            ("/%ff/model/a/converse", None),
            ("/model/x/converse", None),
            ("/model/%78/converse", None),
            ("/model//converse", None),
        ] {
            assert_eq!(other(path, converse, "x").as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_model_that_would_make_another_path_is_not_written() {
        for model in ["", ".", "..", "a/../b", "a//b", "/a", "a/", "a/model/b"] {
            assert_eq!(other("/model/a/converse", "/model/{model}/converse", model), None, "{model}");
        }
    }

    proptest! {
        #[test]
        fn a_path_with_another_model_is_the_same_but_for_it(
            path in r"(/|%2f|//|\./|\.\./|model|%6dodel|MODEL|a|%61|é|%|%C3%A9|converse|\?|#){0,14}",
            model in r"[a-z./:%é@ ?#]{0,6}",
        ) {
            for path in [path.clone(), format!("/model/{path}/converse")] {
                let end = PathEnd::new("/model/{model}/converse");
                let Some(other) = with_model(path.as_bytes(), &end, &model) else { continue };
                let (before, after) = (Plain::of(path.as_bytes()), Plain::of(&other));
                prop_assert_eq!(after.ends_like(&end), Some(Some(&*model)));
                let place = before.model_place(&end).unwrap();
                let mut expected = before.path;
                expected.replace_range(place, &model);
                prop_assert_eq!(after.path, expected);
            }
        }
    }

    #[test]
    fn a_prefix_ends_where_a_segment_does() {
        let is_below = |path: &str, prefix| Plain::of(path.as_bytes()).is_below(prefix);
        assert!(
            is_below("/My/route", "/my/route")
                && is_below("/my/route/x", "/my/route/")
                && is_below("/x", "/")
        );
        assert!(!is_below("/my/router", "/my/route") && !is_below("/a/my/route", "/my/route"));
    }
}
