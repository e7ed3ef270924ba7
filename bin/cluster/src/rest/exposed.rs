//! Objects that are stored as the API shows them, one document each: the five requests every such
//! resource has, once for all of them.

use std::sync::Arc;

use mn_api_types::Described;
use mn_ids::{Id, Object};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{Answer, Call};
use super::db::{Changes, Found};
use super::links::Links;
use super::problem::Problem;

/// A stored object with a document of its own in the API.
pub trait Exposed: Object {
    /// The document.
    type Document: Described + DeserializeOwned + Serialize + Send;

    /// The first part of its path: `bridges`.
    const COLLECTION: &'static str;

    /// The identifier a client chose for a new object.
    fn chosen_id(sent: &Self::Document) -> Option<Id<Self::Kind>>;

    /// What a client sent, checked. `old` is what it replaces: fields that cannot be set are kept.
    fn from_document(
        id: Id<Self::Kind>,
        sent: Self::Document,
        old: Option<Self>,
    ) -> Result<Self, Problem>;

    /// What a client is shown.
    fn to_document(&self, links: &Links) -> Self::Document;

    /// Which of them a list with this query has.
    fn wanted(_call: &Call) -> Result<Filter<'_, Self>, Problem> {
        Ok(Box::new(|_| true))
    }

    /// Adds to a transaction what makes sure that the object fits the others.
    fn fit(
        &self,
        _call: &Call,
        changes: Changes,
    ) -> impl Future<Output = Result<Changes, Problem>> + Send {
        std::future::ready(Ok(changes))
    }
}

/// Says which objects a list has.
pub type Filter<'a, T> = Box<dyn Fn(&T) -> bool + Send + 'a>;

pub async fn list<T: Exposed>(call: Arc<Call>) -> Result<Answer, Problem> {
    let all = call.db.list::<T>().await?;
    let wanted = T::wanted(&call)?;
    let objects = all.iter().map(|found| &found.object).filter(|object| wanted(object));
    Ok(Answer::many(objects.map(|object| object.to_document(&call.links))))
}

pub async fn read<T: Exposed>(call: Arc<Call>) -> Result<Answer, Problem> {
    let found = call.db.get::<T>(call.id("id")?).await?;
    Ok(Answer::one(&found.object.to_document(&call.links)))
}

pub async fn create<T: Exposed>(call: Arc<Call>) -> Result<Answer, Problem> {
    let sent: T::Document = call.input()?;
    let id = T::chosen_id(&sent).unwrap_or_else(Id::random);
    let object = T::from_document(id, sent, None)?;
    let changes = object.fit(&call, Changes::default()).await?;
    call.db.commit(changes.create(&object)).await?;
    Ok(Answer::Created(call.links.object(T::COLLECTION, id)))
}

pub async fn update<T: Exposed>(call: Arc<Call>) -> Result<Answer, Problem> {
    let Found { object: old, version } = call.db.get::<T>(call.id("id")?).await?;
    let object = T::from_document(old.id(), call.input()?, Some(old))?;
    let changes = object.fit(&call, Changes::default()).await?;
    call.db.commit(changes.update(&Found { object, version })).await?;
    Ok(Answer::Done)
}

/// An object that is not there is 404.
pub async fn delete<T: Object>(call: Arc<Call>) -> Result<Answer, Problem> {
    let id: Id<T::Kind> = call.id("id")?;
    call.db.commit(Changes::default().delete(id)).await?;
    Ok(Answer::Done)
}

/// An object that is not there is deleted already (api-facts §1.5).
pub async fn delete_if_there<T: Object>(call: Arc<Call>) -> Result<Answer, Problem> {
    let id: Id<T::Kind> = call.id("id")?;
    if call.db.find::<T>(id).await?.is_some() {
        call.db.commit(Changes::default().delete(id)).await?;
    }
    Ok(Answer::Done)
}
