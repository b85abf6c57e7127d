//! The gRPC service `kuadrant.service.ratelimit.v1.RateLimitService`.
//!
//! In: requests for its two methods, `CheckRateLimit` and `Report`, which use the messages of the
//! Envoy rate limit service. Out: the answers of [`Service`]. No crate contains generated code for
//! it, and it is too small to justify a protobuf compiler. The methods:
//! <https://github.com/Kuadrant/limitador>, `limitador-server/proto/ratelimit.proto`. Not here:
//! counting.

use core::task::{Context, Poll};
use std::convert::Infallible;
use std::sync::Arc;

use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::service::Service;

/// Passes the calls of Kuadrant's service to [`Service`].
#[derive(Clone)]
pub(crate) struct KuadrantServer(Arc<Service>);

impl KuadrantServer {
    pub(crate) const fn new(service: Arc<Service>) -> Self {
        Self(service)
    }
}

impl NamedService for KuadrantServer {
    const NAME: &'static str = "kuadrant.service.ratelimit.v1.RateLimitService";
}

impl tonic::codegen::Service<http::Request<Body>> for KuadrantServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = match request.uri().path().rsplit('/').next() {
            Some("CheckRateLimit") => Method::CheckRateLimit,
            Some("Report") => Method::Report,
            _ => return Box::pin(async { Ok(Status::unimplemented("no such method").into_http()) }),
        };
        let call = Call { service: Arc::clone(&self.0), method };
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(call, request).await) })
    }
}

#[derive(Clone, Copy)]
enum Method {
    CheckRateLimit,
    Report,
}

struct Call {
    service: Arc<Service>,
    method: Method,
}

impl UnaryService<RateLimitRequest> for Call {
    type Response = RateLimitResponse;
    type Future = BoxFuture<Response<RateLimitResponse>, Status>;

    fn call(&mut self, request: Request<RateLimitRequest>) -> Self::Future {
        let (service, method) = (Arc::clone(&self.service), self.method);
        Box::pin(async move {
            let request = request.into_inner();
            let answer = match method {
                Method::CheckRateLimit => service.check(&request).await,
                Method::Report => service.report(&request).await,
            };
            answer.map(Response::new)
        })
    }
}
