//! From HTTP to handlers and back.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Query, Request};
use axum::http::header::{ACCEPT, ALLOW, CONTENT_TYPE, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter};
use axum::{RequestPartsExt, Router};
use http_body_util::LengthLimitError;
use mn_api_types::{Media, MediaForm, MediaType};
use mn_nsdb::Store;
use serde_json::Value;

use super::call::{Answer, Call};
use super::db::Db;
use super::endpoint::Endpoint;
use super::links::Links;
use super::problem::Problem;
use super::rule_index::RuleIndex;
use super::settings::Settings;
use super::turns::Turns;
use super::{compression, cors, login, registry};

/// What all requests share.
pub struct Context {
    pub db: Db,
    pub settings: Arc<Settings>,
    pub rule_index: Arc<RuleIndex>,
    pub turns: Turns,
}

/// How often a request is decided again because something it read changed meanwhile (contracts §4).
const RETRIES_MAX: u32 = 3;
/// Before the first repetition; twice as long before each further one.
const RETRY_AFTER: Duration = Duration::from_millis(2);

/// The REST API over a state database.
///
/// The caller serves it, and limits the size of headers itself as well: what is read before there
/// is a request is not seen here.
pub fn router(store: Arc<dyn Store>, settings: Settings) -> Router {
    let root = settings.root.trim_end_matches('/').to_owned();
    let context = Arc::new(Context {
        db: Db::new(store),
        settings: Arc::new(settings),
        rule_index: Arc::new(RuleIndex::default()),
        turns: Turns::default(),
    });
    let mut paths: BTreeMap<String, MethodRouter> = BTreeMap::new();
    for resource in registry::resources() {
        for endpoint in resource.endpoints {
            let path = format!("{root}{}", endpoint.path);
            let path = if path.is_empty() { "/".to_owned() } else { path };
            let method = MethodFilter::try_from(endpoint.method.clone())
                .expect("the registry has GET, POST, PUT and DELETE only");
            let route = Route { context: context.clone(), media: resource.media, endpoint };
            let serve = move |request: Request| serve(route.clone(), request);
            let known = paths.remove(&path).unwrap_or_default();
            paths.insert(path, known.on(method, serve));
        }
    }
    let mut router = Router::new();
    for (path, methods) in paths {
        router = router.route(&path, methods.fallback(wrong_method));
    }
    let router = login::route(router, &root, &context).fallback(unknown_path);
    compression::layers(router).layer(middleware::from_fn(cors::answer))
}

/// An endpoint and what it needs.
#[derive(Clone)]
struct Route {
    context: Arc<Context>,
    media: Media,
    endpoint: Endpoint,
}

async fn serve(route: Route, request: Request) -> Response {
    let started_at = tokio::time::Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let request_for = route.context.settings.request_for;
    let response = match tokio::time::timeout(request_for, answer(&route, request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.into_response(),
        Err(_) => Problem::timed_out().into_response(),
    };
    let (status, took) = (response.status().as_u16(), started_at.elapsed());
    if method == Method::GET {
        tracing::debug!(%method, path, status, ?took, "REST request");
    } else {
        tracing::info!(%method, path, status, ?took, "REST request");
    }
    response
}

async fn answer(route: &Route, request: Request) -> Result<Response, Problem> {
    let Route { context, media, endpoint } = route;
    let (parts, body) = request.into_parts();
    limit_headers(&parts.headers, context.settings.header_bytes_max)?;
    context.settings.auth.authorize(text(&parts.headers, "x-auth-token")).await?;
    let accepted = accepted(route, &parts.headers)?;
    if endpoint.takes.is_some() {
        check_content(media, endpoint, &parts.headers)?;
    }
    let call = call(context, endpoint, parts, body).await?;
    let answer = decide(context, endpoint, Arc::new(call)).await?;
    Ok(respond(endpoint, answer, &accepted))
}

/// What a handler needs to know of a request.
async fn call(
    context: &Context,
    endpoint: &Endpoint,
    mut parts: Parts,
    body: Body,
) -> Result<Call, Problem> {
    let settings = &context.settings;
    let path = parts.extract::<Path<Vec<(String, String)>>>().await;
    let Path(path) = path.map_err(|error| Problem::bad_request(error.to_string()))?;
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let Query(query) = query.map_err(|error| Problem::bad_request(error.to_string()))?;
    // Also where none is taken: the Python client sends two octets with every GET and DELETE.
    let bytes = to_bytes(body, settings.body_bytes_max)
        .await
        .map_err(|error| unreadable(&error, settings.body_bytes_max))?;
    let body = if endpoint.takes.is_some() { parse(&bytes)? } else { Value::Null };
    Ok(Call {
        db: context.db.clone(),
        links: Links::of_request(&parts.headers, settings.scheme, &settings.root),
        settings: settings.clone(),
        rule_index: context.rule_index.clone(),
        path,
        query,
        body,
    })
}

/// Has a request handled, again while it was overtaken by another.
async fn decide(
    context: &Context,
    endpoint: &Endpoint,
    call: Arc<Call>,
) -> Result<Answer, Problem> {
    let mut turn = context.turns.of_request(endpoint, &call.path).await;
    let mut retry_after = RETRY_AFTER;
    for _ in 0..RETRIES_MAX {
        let problem = match (endpoint.handler)(call.clone()).await {
            Err(problem) => problem,
            decided => return decided,
        };
        let Some(contended) = problem.overtaken_at() else { return Err(problem) };
        drop(turn.take());
        tokio::time::sleep(retry_after).await;
        retry_after *= 2;
        turn = Some(context.turns.of_object(contended).await);
    }
    (endpoint.handler)(call).await
}

fn respond(endpoint: &Endpoint, answer: Answer, content_type: &str) -> Response {
    let status = StatusCode::from_u16(endpoint.success).unwrap_or(StatusCode::OK);
    match answer {
        Answer::Document(body) => (status, [(CONTENT_TYPE, content_type)], body).into_response(),
        Answer::Created(location) => (status, [(LOCATION, location)]).into_response(),
        Answer::Done => status.into_response(),
    }
}

/// The type to answer with. Requests without a document to answer may accept what they like.
fn accepted(route: &Route, headers: &HeaderMap) -> Result<String, Problem> {
    let Some(form) = route.endpoint.answers else { return Ok(String::new()) };
    let accept = headers.get(ACCEPT).map_or(Ok("*/*"), |accept| accept.to_str()).unwrap_or("*/*");
    let chosen = route.media.of_accept(form, accept);
    Ok(match chosen.map_err(|error| Problem::not_acceptable(&error).bare())? {
        MediaType::Json => mn_api_types::JSON.to_owned(),
        MediaType::Version(version) => route.media.version(form, version),
    })
}

fn check_content(media: &Media, endpoint: &Endpoint, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(given) = text(headers, CONTENT_TYPE.as_str()) else { return Ok(()) };
    match media.of_content(MediaForm::One, given) {
        Ok(_) => Ok(()),
        Err(error) if endpoint.explicit => Err(Problem::unsupported_media(&error).bare()),
        Err(error) => Err(Problem::not_acceptable(&error).bare()),
    }
}

fn limit_headers(headers: &HeaderMap, bytes_max: usize) -> Result<(), Problem> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > bytes_max { Err(Problem::headers_too_large(bytes_max)) } else { Ok(()) }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A body that is too long, or was cut off, or is not compressed as it says.
fn unreadable(error: &axum::Error, bytes_max: usize) -> Problem {
    if error.source().is_some_and(|source| source.is::<LengthLimitError>()) {
        return Problem::body_too_large(bytes_max);
    }
    Problem::bad_request(format!("the body cannot be read: {error}"))
}

fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let wrong = |error| Problem::bad_request(format!("the body is no JSON: {error}"));
    serde_json::from_slice(bytes).map_err(wrong)
}

async fn unknown_path(request: Request) -> Response {
    let path = request.uri().path();
    Problem::missing(format_args!("resource {path:?}")).into_response()
}

async fn wrong_method(_request: Request) -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, POST, PUT, DELETE, OPTIONS")], Body::empty())
        .into_response()
}
