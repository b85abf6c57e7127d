//! Recognises calls by method and path.
//!
//! In: method and path, and the configured paths. Out: [`Call`], or none if it is not an LLM call.
//! Not here: the paths themselves and their particulars, which are in the formats' rows; bodies.

use percent_encoding::percent_decode;

use super::path::{PathEnd, Plain, with_model};
use super::sockets::{Metering, Socket};
use super::{Dialect, FORMATS, Format, SOCKETS};

/// One method and path of a format's calls, with the particulars of the upstreams that serve it.
#[derive(Debug)]
pub struct Endpoint {
    method: &'static str,
    path_end: PathEnd,
    /// Whether its upstreams report usage by default and reject a request for it.
    tells_usage_unasked: bool,
    /// Whether its calls accept no bound on their output.
    has_no_bound: bool,
    /// Whether the body repeats the model, once for each of several requests.
    repeats_model: bool,
}

impl Endpoint {
    const fn new(method: &'static str, path_end: &'static str) -> Self {
        Self {
            method,
            path_end: PathEnd::new(path_end),
            tells_usage_unasked: false,
            has_no_bound: false,
            repeats_model: false,
        }
    }

    /// Marks its upstreams as reporting usage by default and rejecting a request for it.
    pub(super) const fn tells_usage_unasked(self) -> Self {
        Self { tells_usage_unasked: true, ..self }
    }

    /// Marks its calls as accepting no bound on their output.
    pub(super) const fn has_no_bound(self) -> Self {
        Self { has_no_bound: true, ..self }
    }

    /// Marks the body as repeating the model, once for each of several requests, so that the model
    /// in the path cannot be replaced.
    pub(super) const fn repeats_model(self) -> Self {
        Self { repeats_model: true, ..self }
    }

    /// Returns the method.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        self.method
    }

    /// Returns the end of the path; any prefix may precede it.
    #[must_use]
    pub const fn path_end(&self) -> &PathEnd {
        &self.path_end
    }
}

/// Recognises calls by `POST` whose paths end like this, in lower case. `{model}` stands for the
/// model's name.
pub(super) const fn post(path_end: &'static str) -> Endpoint {
    Endpoint::new("POST", path_end)
}

/// Recognises calls by `GET` whose paths end like this, in lower case.
pub(super) const fn get(path_end: &'static str) -> Endpoint {
    Endpoint::new("GET", path_end)
}

/// A request that is an LLM call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its format.
    pub format: &'static Format,
    /// The model in the path. It takes precedence over the body, as at the upstream.
    pub model: Option<String>,
    /// Whether the upstream accepts a request for usage, if the format has one.
    pub may_ask_for_usage: bool,
    /// Whether the upstream accepts a bound on the output, if the format has one.
    pub may_bound_output: bool,
    /// The raw path and its end, if the path contains the model and the model can be replaced.
    path: Option<(Vec<u8>, &'static PathEnd)>,
}

impl Call {
    /// Returns the call that each response on a socket is.
    #[must_use]
    pub const fn on_socket(format: &'static Format, model: Option<String>) -> Self {
        Self { format, model, may_ask_for_usage: false, may_bound_output: true, path: None }
    }

    /// Returns the call's raw path with another model in place of its own and the rest unchanged;
    /// none if the path names no model or that model already, or if its spelling makes the
    /// replacement uncertain.
    #[must_use]
    pub fn path_with_model(&self, model: &str) -> Option<Vec<u8>> {
        let (path, end) = self.path.as_ref()?;
        with_model(path, end, model)
    }
}

/// A request for an upgrade on the path of an LLM API, with any method: clients request WebSockets
/// by `GET`, even if the API's calls use `POST`.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// The API's name: that of a format, or of an API that runs over sockets only.
    pub api: &'static str,
    /// The error bodies that its clients understand.
    pub dialect: Dialect,
    /// How to read the messages of its WebSockets; none if it has none that can be counted.
    pub metering: Option<&'static Metering>,
    /// The model in the query.
    pub model: Option<String>,
}

/// The configured paths: the format of all calls below a prefix, or none for calls without limits.
#[derive(Clone, Debug, Default)]
pub struct Routes(pub Vec<(String, Option<&'static Format>)>);

impl Routes {
    /// Recognises the call in a request; returns none if it is not an LLM call.
    #[must_use]
    pub fn recognise(&self, method: &[u8], path: &[u8]) -> Option<Call> {
        let raw = path;
        let path = Plain::of(raw);
        if is_free(&path) {
            return None;
        }
        let method = core::str::from_utf8(method).ok()?;
        let found = |format: &'static Format, endpoints: &'static [Endpoint]| {
            let mut endpoints = endpoints.iter().filter(|endpoint| endpoint.method == method);
            endpoints.find_map(|endpoint| {
                let model = path.ends_like(&endpoint.path_end)?;
                let can_be_another = model.is_some() && !endpoint.repeats_model;
                Some(Call {
                    format,
                    model: model.map(|model| (format.model_in_path)(model).to_owned()),
                    may_ask_for_usage: !endpoint.tells_usage_unasked && (format.usage_question_is_known)(raw),
                    may_bound_output: !endpoint.has_no_bound,
                    path: can_be_another.then(|| (raw.to_vec(), &endpoint.path_end)),
                })
            })
        };
        if let Some(format) = self.configured(&path) {
            let format = format?;
            return found(format, format.endpoints).or_else(|| found(format, format.configured));
        }
        FORMATS.iter().find_map(|format| found(format, format.endpoints))
    }

    /// Recognises the API of an upgrade request; returns none if the path is not that of an LLM
    /// API.
    #[must_use]
    pub fn recognise_upgrade(&self, path: &[u8]) -> Option<Upgrade> {
        let raw = path;
        let path = Plain::of(raw);
        if is_free(&path) {
            return None;
        }
        let upgrade = |api, dialect, socket: Option<&'static Socket>| Upgrade {
            api,
            dialect,
            metering: socket.and_then(|socket| socket.metering.as_ref()),
            model: model_in_query(raw),
        };
        if let Some(format) = self.configured(&path) {
            let format = format?;
            let socket = SOCKETS.iter().find(|socket| socket.is_of(format)).copied();
            return Some(upgrade(format.name, format.dialect, socket));
        }
        if let Some(socket) = SOCKETS.iter().find(|socket| socket.is_at(&path)) {
            return Some(upgrade(socket.name, socket.dialect, Some(socket)));
        }
        of_path(&path).map(|format| upgrade(format.name, format.dialect, None))
    }

    /// Returns the dialect in which to refuse a call that is not recognised: that of a configured
    /// prefix, or OpenAI's. Returns none for paths that are known with another method, free of
    /// charge, or configured to pass.
    #[must_use]
    pub fn unrecognised(&self, path: &[u8]) -> Option<Dialect> {
        let path = Plain::of(path);
        if is_free(&path) || SOCKETS.iter().any(|socket| socket.is_at(&path)) || of_path(&path).is_some() {
            return None;
        }
        match self.configured(&path) {
            Some(format) => format.map(|format| format.dialect),
            None => Some(Dialect::OpenAi),
        }
    }

    /// Returns what the first row with this path configures, if one has it.
    fn configured(&self, path: &Plain) -> Option<Option<&'static Format>> {
        self.0.iter().find(|(prefix, _)| path.is_below(prefix)).map(|(_, format)| *format)
    }
}

/// Returns the model that the query names, as `model` or, at Azure, as `deployment`.
fn model_in_query(path: &[u8]) -> Option<String> {
    let query = path.splitn(2, |byte| *byte == b'?').nth(1)?;
    let value = |name: &str| {
        let mut pairs = query.split(|byte| *byte == b'&');
        let value = pairs.find_map(|pair| pair.strip_prefix(name.as_bytes()))?;
        Some(percent_decode(value).decode_utf8_lossy().into_owned()).filter(|model| !model.is_empty())
    };
    value("model=").or_else(|| value("deployment="))
}

/// Returns the format with this path, whatever the method.
fn of_path(path: &Plain) -> Option<&'static Format> {
    let ends_like = |Endpoint { path_end, .. }: &Endpoint| path.ends_like(path_end).is_some();
    FORMATS.iter().copied().find(|format| format.endpoints.iter().any(ends_like))
}

/// Returns whether some provider counts tokens for free at this path.
fn is_free(path: &Plain) -> bool {
    FORMATS.iter().flat_map(|format| format.free).any(|end| path.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(method: &str, path: &str) -> Option<&'static str> {
        Routes::default().recognise(method.as_bytes(), path.as_bytes()).map(|call| call.format.name)
    }

    #[test]
    fn chat_completions_are_recognised_behind_any_prefix() {
        for path in [
            "/v1/chat/completions",
            "/chat/completions",
            "/v1/chat/completions?api-version=1",
            "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21",
            "/team/a/v1/chat/completions/",
        ] {
            assert_eq!(name("POST", path), Some("openai_chat"), "{path}");
        }
    }

    #[test]
    fn disguises_that_an_upstream_would_see_through_are_recognised() {
        for path in [
            "/v1/chat/comp%6Cetions",
            "/v1/chat%2fcompletions",
            "/V1/Chat/Completions",
            "/v1/chat//completions",
        ] {
            assert_eq!(name("POST", path), Some("openai_chat"), "{path}");
        }
    }

    #[test]
    fn other_paths_and_methods_are_not_llm_calls() {
        for (method, path) in [
            ("GET", "/v1/chat/completions"),
            ("OPTIONS", "/v1/chat/completions"),
            ("POST", "/v1/chat/completions/chatcmpl-1"),
            ("POST", "/v1/models"),
            ("POST", "/"),
            ("POST", ""),
        ] {
            assert_eq!(name(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn a_deployment_in_the_path_is_the_model() {
        let path = b"/openai/deployments/My-GPT/chat/completions?api-version=2024-10-21";
        assert_eq!(Routes::default().recognise(b"POST", path).unwrap().model.as_deref(), Some("My-GPT"));
    }

    #[test]
    fn an_upgrade_is_recognised_on_the_path_of_every_api_in_any_spelling() {
        let api =
            |path: &str| Routes::default().recognise_upgrade(path.as_bytes()).map(|upgrade| upgrade.api);
        for (path, expected) in [
            ("/v1/responses", "openai_responses"),
            ("/V1/Responses/?x=1", "openai_responses"),
            ("/v1//resp%6Fnses", "openai_responses"),
            ("/v1/chat/completions", "openai_chat"),
            ("/v1/messages", "anthropic_messages"),
            ("/v1beta/models/gemini-2.5-flash:streamGenerateContent", "gemini"),
            ("/model/amazon.nova-lite-v1%3A0/converse-stream", "bedrock_converse"),
            ("/v1/realtime?model=gpt-realtime", "openai_realtime"),
            ("/openai/realtime?api-version=1&deployment=x", "openai_realtime"),
            ("/openai/v1/Realtime", "openai_realtime"),
            ("/v1/realtime/translations?model=x", "openai_realtime"),
            ("/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", "gemini_live"),
            (
                "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContentConstrained",
                "gemini_live",
            ),
            ("/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent", "gemini_live"),
            ("/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateMusic", "gemini_live"),
        ] {
            assert_eq!(api(path), Some(expected), "{path}");
        }
        for other in
            ["/", "", "/ws", "/v1/realtime/x/y", "/realtime/v1/websocket", "/v1/messages/count_tokens"]
        {
            assert_eq!(api(other), None, "{other}");
        }
        // The path of a call with any method also counts as an API's path in an upgrade request.
        for format in FORMATS.iter().copied() {
            for endpoint in format.endpoints {
                let Some(end) = endpoint.path_end().without_model() else { continue };
                assert!(api(&format!("/any{end}")).is_some(), "{end}");
            }
        }
    }

    #[test]
    fn the_configuration_says_which_upgrades_are_none_of_ours() {
        let chat = FORMATS.iter().copied().find(|format| format.name == "openai_chat");
        let routes = Routes(vec![("/mine".to_owned(), chat), ("/talk".to_owned(), None)]);
        let api = |path: &str| routes.recognise_upgrade(path.as_bytes()).map(|upgrade| upgrade.api);
        assert_eq!(api("/mine/socket"), Some("openai_chat"));
        assert_eq!((api("/talk/api/chat"), api("/talk/v1/realtime")), (None, None));
    }

    #[test]
    fn usage_is_asked_for_only_where_the_question_is_understood() {
        let may_ask = |path: &str| {
            Routes::default().recognise(b"POST", path.as_bytes()).is_some_and(|call| call.may_ask_for_usage)
        };
        for path in [
            "/v1/chat/completions",
            "/openai/deployments/x/chat/completions?api-version=2024-10-21",
            "/openai/deployments/x/chat/completions?api-version=2024-09-01-preview&a=b",
            "/openai/v1/chat/completions?api-version=preview",
        ] {
            assert!(may_ask(path), "{path}");
        }
        for path in [
            "/openai/deployments/x/chat/completions?a=b&api-version=2024-08-01-preview",
            "/openai/deployments/x/completions?api-version=2023-05-15",
            "/v1/projects/p/locations/l/publishers/mistralai/models/codestral-2501:streamRawPredict",
            "/v1/agents/completions",
            "/v1/fim/completions/",
        ] {
            assert!(!may_ask(path), "{path}");
        }
    }

    #[test]
    fn below_a_configured_prefix_only_raw_predictions_are_not_asked_for_usage() {
        let chat = FORMATS.iter().copied().find(|format| format.name == "openai_chat");
        let routes = Routes(vec![("/mine".to_owned(), chat)]);
        let may_ask = |path: &str| routes.recognise(b"POST", path.as_bytes()).unwrap().may_ask_for_usage;
        assert!(may_ask("/mine/anything"));
        assert!(!may_ask("/mine/endpoints/1:rawPredict") && !may_ask("/mine/models/x:streamRawPredict?a=b"));
    }

    #[test]
    fn every_path_of_openai_and_azure_is_of_one_format() {
        let azure = |end: &str| format!("/openai/deployments/My-GPT/{end}?api-version=2024-10-21");
        for (end, expected) in [
            ("chat/completions", "openai_chat"),
            ("completions", "openai_completions"),
            ("embeddings", "openai_embeddings"),
            ("audio/speech", "openai_speech"),
            ("audio/transcriptions", "openai_transcriptions"),
            ("audio/translations", "openai_transcriptions"),
            ("images/generations", "openai_images"),
            ("images/edits", "openai_image_edits"),
        ] {
            assert_eq!(name("POST", &format!("/v1/{end}")), Some(expected), "{end}");
            let call = Routes::default().recognise(b"POST", azure(end).as_bytes()).unwrap();
            assert_eq!((call.format.name, call.model.as_deref()), (expected, Some("My-GPT")), "{end}");
        }
        assert_eq!(name("POST", "/v1/responses"), Some("openai_responses"));
        assert_eq!(name("POST", "/openai/v1/responses/compact"), Some("openai_responses"));
        assert_eq!(name("POST", "/v1/agents/completions"), Some("openai_chat"));
        assert_eq!(name("POST", "/v1/fim/completions"), Some("openai_completions"));
        let vertex = "/v1/projects/p/locations/l/publishers/mistralai/models/Mistral-small-2503:rawPredict";
        let call = Routes::default().recognise(b"POST", vertex.as_bytes()).unwrap();
        assert_eq!((call.format.name, call.model.as_deref()), ("openai_chat", Some("Mistral-small-2503")));
    }

    #[test]
    fn the_paths_of_llama_cpp_are_its_own_or_those_of_the_apis_that_it_shares() {
        for (path, expected) in [
            ("/completion", Some("llama_completion")),
            ("/llama/infill", Some("llama_completion")),
            ("/completions", Some("openai_completions")),
            ("/v1/completions", Some("openai_completions")),
            ("/embedding", Some("openai_embeddings")),
            ("/tokenize", None),
            ("/detokenize", None),
            ("/apply-template", None),
            ("/v1/chat/completions/input_tokens", None),
            ("/props", None),
        ] {
            assert_eq!(name("POST", path), expected, "{path}");
        }
    }

    #[test]
    fn stored_responses_are_fetched_and_counted_for_free() {
        for (method, path) in [
            ("GET", "/v1/responses/resp_1"),
            ("DELETE", "/v1/responses/resp_1"),
            ("POST", "/v1/responses/resp_1/cancel"),
            ("POST", "/v1/responses/input_tokens"),
        ] {
            assert_eq!(name(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn the_model_of_a_resource_name_is_what_its_last_part_names() {
        let model =
            |path: &str| Routes::default().recognise(b"POST", path.as_bytes()).unwrap().model.unwrap();
        let arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile%2Fus.anthropic.claude-sonnet-4-5-20250929-v1:0";
        assert_eq!(model(&format!("/model/{arn}/converse")), "us.anthropic.claude-sonnet-4-5-20250929-v1:0");
        assert_eq!(model("/model/eu.amazon.nova-pro-v1%3A0/invoke"), "eu.amazon.nova-pro-v1:0");
        assert_eq!(model("/model/team/model/converse-stream"), "team/model");
    }

    #[test]
    fn a_model_in_the_path_can_be_another() {
        let other = |path: &str, model| {
            let call = Routes::default().recognise(b"POST", path.as_bytes()).unwrap();
            call.path_with_model(model).map(|path| String::from_utf8(path).unwrap())
        };
        let arn = "/model/arn:aws:bedrock:eu:1:inference-profile%2Feu.anthropic.claude-opus/invoke?a";
        let profile = "eu.anthropic.claude-haiku-v1:0";
        assert_eq!(other(arn, profile).as_deref(), Some("/model/eu.anthropic.claude-haiku-v1%3A0/invoke?a"));
        let vertex = |model: &str| format!("/v1/projects/p/publishers/anthropic/models/{model}:rawPredict");
        assert_eq!(other(&vertex("claude-opus"), "claude-haiku@1"), Some(vertex("claude-haiku@1")));
        for without in ["/v1/chat/completions", "/x:generateContent", "/v1beta/models/a:batchEmbedContents"] {
            assert_eq!(other(without, "x"), None, "{without}");
        }
    }

    #[test]
    fn only_shortening_a_conversation_takes_no_bound() {
        let may =
            |path: &str| Routes::default().recognise(b"POST", path.as_bytes()).unwrap().may_bound_output;
        assert!(may("/v1/responses") && may("/v1/chat/completions"));
        assert!(!may("/v1/responses/compact"));
    }

    #[test]
    fn claude_is_recognised_at_all_of_its_homes() {
        for (path, format) in [
            ("/v1/messages?beta=true", "anthropic_messages"),
            ("/anthropic/v1/messages", "anthropic_messages"),
            (
                "/v1/projects/p/locations/global/publishers/anthropic/models/claude-opus-4-5@20251101:rawPredict",
                "anthropic_messages",
            ),
            (
                "/v1/projects/p/locations/eu/publishers/anthropic/models/claude-haiku-4-5:streamRawPredict",
                "anthropic_messages",
            ),
            ("/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke", "bedrock_invoke"),
            ("/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke-with-response-stream", "bedrock_invoke"),
            ("/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse-stream", "bedrock_converse"),
        ] {
            assert_eq!(name("POST", path), Some(format), "{path}");
        }
        for free in
            ["/v1/messages/count_tokens", "/model/anthropic.claude-3/count-tokens", "/v1/threads/t/messages"]
        {
            assert_eq!(name("POST", free), None, "{free}");
        }
    }

    #[test]
    fn the_configuration_decides_below_its_prefixes_but_counting_stays_free() {
        let chat = FORMATS.iter().copied().find(|format| format.name == "openai_chat");
        let routes = Routes(vec![("/mine".to_owned(), chat), ("/v1/chat".to_owned(), None)]);
        let name = |method: &str, path: &str| {
            routes.recognise(method.as_bytes(), path.as_bytes()).map(|call| call.format.name)
        };
        assert_eq!(name("POST", "/mine/anything"), Some("openai_chat"));
        assert_eq!(name("GET", "/mine/anything"), None);
        assert_eq!(name("POST", "/mine/v1/messages/count_tokens"), None);
        assert_eq!(name("POST", "/v1/chat/completions"), None);
        assert_eq!(name("POST", "/other/v1/chat/completions"), Some("openai_chat"));
    }
}
