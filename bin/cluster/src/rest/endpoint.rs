//! Resources and what can be done with them, as data.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::http::Method;
use mn_api_types::{Description, Media, MediaForm};

use super::call::{Answer, Call};
use super::problem::Problem;

/// A kind of document and the requests that deal with it. The table of all of them
/// (`registry`) drives the routing, the links of the application resource and the OpenAPI document.
pub struct Resource {
    pub media: Media,
    pub description: &'static Description,
    /// Its place in the application resource.
    pub top: Option<Top>,
    pub endpoints: Vec<Endpoint>,
}

/// A resource in the application document.
#[derive(Clone, Copy, Debug)]
pub struct Top {
    /// The first part of its path: `tunnel_zones`.
    pub path: &'static str,
    /// The key of its list's address: `tunnelZones`.
    pub list: Option<&'static str>,
    /// The key of the template of one object's address: `tunnelZoneTemplate`.
    pub template: Option<&'static str>,
}

/// One request that can be made.
#[derive(Clone)]
pub struct Endpoint {
    pub method: Method,
    /// Below the root, variable parts in braces.
    pub path: &'static str,
    /// The status of success.
    pub success: u16,
    /// What the answer has as its body.
    pub answers: Option<MediaForm>,
    /// The body it takes.
    pub takes: Option<&'static Description>,
    /// Parameters of the query it knows.
    pub query: &'static [&'static str],
    /// A body of another type is 415, not 406 as with most resources (api-facts §1.4).
    pub explicit: bool,
    pub handler: Handler,
}

/// What does it.
pub type Handler = Arc<dyn Fn(Arc<Call>) -> Handled + Send + Sync>;
/// What it comes to.
pub type Handled = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send>>;

impl Resource {
    pub const fn new(media: Media, description: &'static Description) -> Self {
        Self { media, description, top: None, endpoints: Vec::new() }
    }

    pub const fn top(
        mut self,
        path: &'static str,
        list: Option<&'static str>,
        template: Option<&'static str>,
    ) -> Self {
        self.top = Some(Top { path, list, template });
        self
    }

    /// `GET` of a list.
    pub fn list<F>(self, path: &'static str, handler: impl IntoHandler<F>) -> Self {
        self.with(Method::GET, path, 200, Some(MediaForm::Collection), handler.boxed())
    }

    /// `GET` of one.
    pub fn read<F>(self, path: &'static str, handler: impl IntoHandler<F>) -> Self {
        self.with(Method::GET, path, 200, Some(MediaForm::One), handler.boxed())
    }

    /// `POST` to a list: the answer says where the new object is.
    pub fn create<F>(self, path: &'static str, handler: impl IntoHandler<F>) -> Self {
        self.with(Method::POST, path, 201, None, handler.boxed())
    }

    /// `POST` of a question that is answered with a document.
    pub fn ask<F>(self, path: &'static str, handler: impl IntoHandler<F>) -> Self {
        self.with(Method::POST, path, 200, Some(MediaForm::One), handler.boxed())
    }

    /// `PUT` of one: it is replaced.
    pub fn update<F>(self, path: &'static str, handler: impl IntoHandler<F>) -> Self {
        self.with(Method::PUT, path, 204, None, handler.boxed())
    }

    /// `DELETE` of one.
    pub fn delete<F>(self, path: &'static str, handler: impl IntoHandler<F>) -> Self {
        self.with(Method::DELETE, path, 204, None, handler.boxed())
    }

    /// The last request knows these parameters.
    pub fn query(mut self, names: &'static [&'static str]) -> Self {
        if let Some(last) = self.endpoints.last_mut() {
            last.query = names;
        }
        self
    }

    /// The last request takes another body than what the resource gives.
    pub fn taking(mut self, description: &'static Description) -> Self {
        if let Some(last) = self.endpoints.last_mut() {
            last.takes = Some(description);
        }
        self
    }

    /// The last request succeeds with another status than usual.
    pub fn success(mut self, status: u16) -> Self {
        if let Some(last) = self.endpoints.last_mut() {
            last.success = status;
        }
        self
    }

    /// All requests so far answer 415 to a body of another type.
    pub fn explicit(mut self) -> Self {
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.explicit = true);
        self
    }

    fn with(
        mut self,
        method: Method,
        path: &'static str,
        success: u16,
        answers: Option<MediaForm>,
        handler: Handler,
    ) -> Self {
        let takes = matches!(method, Method::POST | Method::PUT).then_some(self.description);
        let (query, explicit) = (&[] as _, false);
        let endpoint = Endpoint { method, path, success, answers, takes, query, explicit, handler };
        self.endpoints.push(endpoint);
        self
    }
}

/// A function that handles requests: `async fn(Arc<Call>) -> Result<Answer, Problem>`.
pub trait IntoHandler<F> {
    fn boxed(self) -> Handler;
}

impl<H, F> IntoHandler<F> for H
where
    H: Fn(Arc<Call>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Answer, Problem>> + Send + 'static,
{
    fn boxed(self) -> Handler {
        Arc::new(move |call| Box::pin(self(call)))
    }
}
