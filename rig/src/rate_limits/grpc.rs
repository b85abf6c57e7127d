//! Enough gRPC for a server of unary calls, which can also send invalid messages.
//!
//! In: an HTTP/2 request's body, or the bytes of a message, valid or not. Out: the message's bytes,
//! or an HTTP/2 response. Source: the gRPC project's "gRPC over HTTP2". Not here: compression,
//! deadlines (Envoy resets a stream when it stops waiting), the meaning of messages.

use core::convert::Infallible;
use core::future::ready;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

pub(super) type Body = BoxBody<Bytes, Infallible>;

/// The gRPC status codes used here.
pub(super) const UNKNOWN: u16 = 2;
pub(super) const INVALID_ARGUMENT: u16 = 3;
pub(super) const UNIMPLEMENTED: u16 = 12;

/// The size of a frame's head: one byte for compression, four for the length.
const HEAD: usize = 5;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Reads the one message in the body of a unary request, or describes the problem.
pub(super) async fn message(body: Incoming) -> Result<Bytes, &'static str> {
    let bytes = body.collect().await.map_err(|_| "the request broke off")?.to_bytes();
    let Some((head, _)) = bytes.split_first_chunk::<HEAD>() else { return Err("no frame") };
    let [compressed, length @ ..] = *head;
    if compressed != 0 {
        return Err("a compressed frame");
    }
    let message = bytes.slice(HEAD..);
    if u32::try_from(message.len()) != Ok(u32::from_be_bytes(length)) {
        return Err("a frame that is longer or shorter than it says");
    }
    Ok(message)
}

/// Returns a response of status OK with `message` in its frame, valid or not.
pub(super) fn ok(message: &[u8]) -> Response<Body> {
    let mut frame = BytesMut::with_capacity(HEAD + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a short message"));
    frame.put_slice(message);
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from(0_u16))]);
    response(Full::new(frame.freeze()).with_trailers(ready(Some(Ok(trailers)))).boxed())
}

/// Returns a response with an error and no message.
pub(super) fn error(code: u16, why: &'static str) -> Response<Body> {
    let mut response = response(Empty::new().boxed());
    response.headers_mut().insert(STATUS, HeaderValue::from(code));
    response.headers_mut().insert(MESSAGE, HeaderValue::from_static(why));
    response
}

fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
