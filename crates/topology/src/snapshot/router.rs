//! A router with what belongs to it.

use core::ops::Deref;
use std::sync::Arc;

use mn_ids::PortId;

use super::{Lookup, RouteTable, Single};
use crate::object::Router;

/// A loaded router. Derefs to the stored object.
#[derive(Clone, Debug)]
pub struct RouterView {
    router: Arc<Router>,
    ports: Arc<[PortId]>,
    routes: RouteTable,
}

impl RouterView {
    /// All its ports, in the order of their ids.
    #[must_use]
    pub fn ports(&self) -> &[PortId] {
        &self.ports
    }

    /// Its routes, and one to every address of its own ports.
    #[must_use]
    pub fn routes(&self) -> &RouteTable {
        &self.routes
    }
}

impl Deref for RouterView {
    type Target = Router;

    fn deref(&self) -> &Router {
        &self.router
    }
}

/// A router on its way to be loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct RouterEntry {
    pub(super) router: Single<Router>,
    pub(super) ports_complete: bool,
    pub(super) routes_complete: bool,
    pub(super) ports: Arc<[PortId]>,
    pub(super) routes: RouteTable,
    view: Option<Arc<RouterView>>,
}

impl RouterEntry {
    pub(super) fn lookup(&self) -> Lookup<'_, RouterView> {
        match &self.view {
            Some(view) => Lookup::Loaded(view),
            None if self.router.watched && self.router.value.is_none() => Lookup::Absent,
            None => Lookup::NotLoaded,
        }
    }

    /// Whether nothing is known or watched.
    pub(super) fn is_empty(&self) -> bool {
        !(self.router.watched || self.ports_complete || self.routes_complete)
            && self.router.value.is_none()
            && self.ports.is_empty()
            && self.routes.is_empty()
    }

    /// Makes the view from the parts, once all are there.
    pub(super) fn compile(&mut self) {
        let complete = self.ports_complete && self.routes_complete;
        self.view = self.router.value.as_ref().filter(|_| complete).map(|router| {
            Arc::new(RouterView {
                router: Arc::clone(router),
                ports: Arc::clone(&self.ports),
                routes: self.routes.clone(),
            })
        });
    }
}
