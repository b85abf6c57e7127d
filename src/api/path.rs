//! A request path as the upstream's router will see it.
//!
//! In: the raw `:path`. Out: [`Plain`], and whether it fits a pattern. Not here: which path means what
//! (`routes`).

use percent_encoding::percent_decode;

/// A path without query, percent-decoded, with runs of slashes folded and dot segments resolved (RFC 3986
/// section 5.2.4), so that no spelling of a path gets past the limits; no trailing slash.
pub(super) struct Plain {
    path: String,
    /// The same in lower case, byte for byte as long.
    lower: String,
}

impl Plain {
    pub(super) fn of(path: &[u8]) -> Self {
        let path = path.split(|&byte| byte == b'?' || byte == b'#').next().unwrap_or_default();
        let decoded = percent_decode(path).decode_utf8_lossy();
        let mut path = String::with_capacity(decoded.len());
        for segment in decoded.split('/') {
            match segment {
                "" | "." => {}
                ".." => path.truncate(path.rfind('/').unwrap_or(0)),
                segment => {
                    path.push('/');
                    path.push_str(segment);
                }
            }
        }
        let lower = path.to_ascii_lowercase();
        Self { path, lower }
    }

    /// Whether it ends with these letters, which are in lower case.
    pub(super) fn ends_with(&self, end: &str) -> bool {
        self.lower.ends_with(end)
    }

    /// Whether it ends like `end`; what stands in the place of the model, if there is one.
    pub(super) fn ends_like(&self, end: &PathEnd) -> Option<Option<&str>> {
        let head = self.lower.strip_suffix(end.after)?;
        let Some(before) = end.before else { return Some(None) };
        let start = head.rfind(before)?.checked_add(before.len())?;
        self.path.get(start..head.len()).filter(|model| !model.is_empty()).map(Some)
    }

    /// Whether it is `prefix`, which is in lower case, or lies below it.
    pub(super) fn is_below(&self, prefix: &str) -> bool {
        let rest = self.lower.strip_prefix(prefix.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// How a path ends, in lower case, and where in it the model is named.
#[derive(Debug)]
pub struct PathEnd {
    /// What stands before the model, if it is in the path. The model is as much of the path as fits, slashes among it.
    before: Option<&'static str>,
    after: &'static str,
}

impl PathEnd {
    /// Of a pattern with `{model}` in the place of the model, or without.
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

    /// The pattern, if no model is in it.
    #[must_use]
    pub const fn without_model(&self) -> Option<&'static str> {
        if self.before.is_none() { Some(self.after) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path_become_the_same() {
        assert_eq!(Plain::of(b"/v1//Chat%2Fcompletions/?q=/x").lower, "/v1/chat/completions");
        assert_eq!(Plain::of(b"/x/%2e%2e/v1/./chat/no/../completions/.").lower, "/v1/chat/completions");
        assert_eq!(Plain::of(b"/../../chat").lower, "/chat");
    }

    #[test]
    fn bytes_that_are_not_text_stay_harmless() {
        assert_eq!(Plain::of(b"/\xff%ff%").lower, "/\u{fffd}\u{fffd}%");
        assert_eq!(Plain::of(b"").lower, "");
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
