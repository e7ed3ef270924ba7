//! DHCP subnets of a bridge and the hosts of each, of either version: the requests that both have.
//!
//! A subnet is named by its prefix in paths, a host by what identifies it to the server.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use mn_api_types::Described;
use mn_ids::{BridgeId, Id, Object};
use mn_packet::IpPrefix;
use mn_topology::Invalid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::call::{Answer, Call};
use super::db::{Changes, Db, Found};
use super::in_path;
use super::links::Links;
use super::problem::Problem;

/// A DHCP subnet.
pub trait Subnet: Object {
    type Document: Described + DeserializeOwned + Serialize + Send;
    type Host: SubnetHost;

    /// What people call it.
    const NAME: &'static str;
    /// The part of its path below the bridge.
    const COLLECTION: &'static str;
    /// The field of the document that has the prefix.
    const PREFIX_FIELD: &'static str;

    fn bridge_id(&self) -> BridgeId;
    fn prefix(&self) -> IpPrefix;
    fn hosts(&self) -> &Vec<Self::Host>;
    fn hosts_mut(&mut self) -> &mut Vec<Self::Host>;
    fn with_id(self, id: Id<Self::Kind>) -> Self;
    fn validate(&self) -> Result<(), Invalid>;

    /// Follows from bridge and prefix: another for each pair, as far as can be.
    fn mark(&self) -> u128;

    /// What a client sent, not yet validated.
    fn from_document(
        id: Id<Self::Kind>,
        bridge: BridgeId,
        hosts: Vec<Self::Host>,
        sent: Self::Document,
    ) -> Result<Self, Problem>;

    fn to_document(&self, uri: String, hosts: String) -> Self::Document;
}

/// A host that a subnet has an address for.
pub trait SubnetHost: Send + Sync {
    type Document: Described + DeserializeOwned + Serialize + Send;
    /// What identifies it.
    type Key: Display + FromStr + PartialEq;

    /// What people call it, and its key.
    const NAME: &'static str;
    const KEY_NAME: &'static str;
    /// The part of its path below the subnet.
    const COLLECTION: &'static str;
    /// The key's name in the path, and its field in the document.
    const SEGMENT: &'static str;
    const KEY_FIELD: &'static str;

    fn key(&self) -> &Self::Key;
    fn from_document(sent: Self::Document) -> Result<Self, Problem>
    where
        Self: Sized;
    fn to_document(&self, uri: String) -> Self::Document;
}

pub async fn list<T: Subnet>(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridge = in_path::bridge(&call).await?;
    let subnets = call.db.referrers::<T>(bridge).await?;
    Ok(Answer::many(subnets.iter().map(|found| document(&found.object, &call.links))))
}

pub async fn read<T: Subnet>(call: Arc<Call>) -> Result<Answer, Problem> {
    let subnet = subnet_in_path::<T>(&call).await.map_err(Problem::bare)?;
    Ok(Answer::one(&document(&subnet.object, &call.links)))
}

pub async fn create<T: Subnet>(call: Arc<Call>) -> Result<Answer, Problem> {
    let bridge = in_path::bridge(&call).await?;
    let subnet = T::from_document(Id::random(), bridge, Vec::new(), call.input()?)?;
    subnet.validate()?;
    refuse_prefix(&call.db.referrers::<T>(bridge).await?, &subnet)?;
    let id = unique_id(&call.db, &subnet).await?;
    let subnet = subnet.with_id(id);
    call.db.commit(Changes::default().create(&subnet)).await?;
    Ok(Answer::Created(uri(&subnet, &call.links)))
}

/// Its hosts stay; its prefix may change, where that fits them.
pub async fn update<T: Subnet>(call: Arc<Call>) -> Result<Answer, Problem> {
    let Found { mut object, version } = subnet_in_path::<T>(&call).await?;
    let (id, bridge) = (object.id(), object.bridge_id());
    let hosts = std::mem::take(object.hosts_mut());
    let object = T::from_document(id, bridge, hosts, call.input()?)?;
    object.validate()?;
    refuse_prefix(&call.db.referrers::<T>(bridge).await?, &object)?;
    call.db.commit(Changes::default().update(&Found { object, version })).await?;
    Ok(Answer::Done)
}

pub async fn delete<T: Subnet>(call: Arc<Call>) -> Result<Answer, Problem> {
    let subnet = subnet_in_path::<T>(&call).await?.object;
    call.db.commit(Changes::default().delete(subnet.id())).await?;
    Ok(Answer::Done)
}

pub async fn list_hosts<T: Subnet>(call: Arc<Call>) -> Result<Answer, Problem> {
    let subnet = subnet_in_path::<T>(&call).await?.object;
    let uri = uri(&subnet, &call.links);
    Ok(Answer::many(subnet.hosts().iter().map(|host| host.to_document(host_uri(&uri, host)))))
}

pub async fn read_host<T: Subnet>(call: Arc<Call>) -> Result<Answer, Problem> {
    let subnet = subnet_in_path::<T>(&call).await?.object;
    let host = &subnet.hosts()[host_in_path(&call, &subnet)?];
    let uri = host_uri(&uri(&subnet, &call.links), host);
    Ok(Answer::one(&host.to_document(uri)))
}

pub async fn add_host<T: Subnet>(call: Arc<Call>) -> Result<Answer, Problem> {
    let mut subnet = subnet_in_path::<T>(&call).await?;
    let host = T::Host::from_document(call.input()?)?;
    if subnet.object.hosts().iter().any(|other| other.key() == host.key()) {
        let key = host.key().to_string();
        return Err(Problem::taken(T::Host::KEY_FIELD, key, "has an address already"));
    }
    let location = host_uri(&uri(&subnet.object, &call.links), &host);
    subnet.object.hosts_mut().push(host);
    subnet.object.validate()?;
    call.db.commit(Changes::default().update(&subnet)).await?;
    Ok(Answer::Created(location))
}

pub async fn update_host<T: Subnet>(call: Arc<Call>) -> Result<Answer, Problem> {
    let mut subnet = subnet_in_path::<T>(&call).await?;
    let place = host_in_path(&call, &subnet.object)?;
    subnet.object.hosts_mut()[place] = T::Host::from_document(call.input()?)?;
    subnet.object.validate()?;
    call.db.commit(Changes::default().update(&subnet)).await?;
    Ok(Answer::Done)
}

pub async fn remove_host<T: Subnet>(call: Arc<Call>) -> Result<Answer, Problem> {
    let mut subnet = subnet_in_path::<T>(&call).await?;
    let place = host_in_path(&call, &subnet.object)?;
    subnet.object.hosts_mut().remove(place);
    call.db.commit(Changes::default().update(&subnet)).await?;
    Ok(Answer::Done)
}

/// A bridge has a prefix once: the prefix is the subnet's name in paths.
fn refuse_prefix<T: Subnet>(others: &[Found<T>], subnet: &T) -> Result<(), Problem> {
    let mut others = others.iter().map(|found| &found.object);
    if others.any(|other| other.id() != subnet.id() && other.prefix() == subnet.prefix()) {
        let value = subnet.prefix().to_string();
        return Err(Problem::taken(T::PREFIX_FIELD, value, "the bridge has such a subnet already"));
    }
    Ok(())
}

/// An identifier that follows from bridge and prefix: of two requests that make the same subnet at
/// once, the second finds the identifier taken. Where a subnet has it that has another prefix now, a
/// random one.
async fn unique_id<T: Subnet>(db: &Db, subnet: &T) -> Result<Id<T::Kind>, Problem> {
    let id = Id::from_uuid(Uuid::from_u128(subnet.mark()));
    let taken = db.find::<T>(id).await?.is_some();
    Ok(if taken { subnet.id() } else { id })
}

async fn subnet_in_path<T: Subnet>(call: &Call) -> Result<Found<T>, Problem> {
    let bridge = in_path::bridge(call).await?;
    let text = call.segment("subnet")?;
    let wrong = || Problem::bad_request(format!("{text:?} is not ADDRESS_LENGTH"));
    let prefix: IpPrefix = text.replacen('_', "/", 1).parse().map_err(|_| wrong())?;
    let subnets = call.db.referrers::<T>(bridge).await?;
    let found = subnets.into_iter().find(|found| found.object.prefix() == prefix);
    found.ok_or_else(|| Problem::missing(format_args!("{} {prefix} of bridge {bridge}", T::NAME)))
}

fn host_in_path<T: Subnet>(call: &Call, subnet: &T) -> Result<usize, Problem> {
    let key = call.parsed::<<T::Host as SubnetHost>::Key>(T::Host::SEGMENT, T::Host::KEY_NAME)?;
    let place = subnet.hosts().iter().position(|host| *host.key() == key);
    place.ok_or_else(|| Problem::missing(format_args!("{} {key}", T::Host::NAME)))
}

fn document<T: Subnet>(subnet: &T, links: &Links) -> T::Document {
    let uri = uri(subnet, links);
    let hosts = format!("{uri}/{}", T::Host::COLLECTION);
    subnet.to_document(uri, hosts)
}

fn uri<T: Subnet>(subnet: &T, links: &Links) -> String {
    let (bridge, prefix) = (links.object("bridges", subnet.bridge_id()), subnet.prefix());
    format!("{bridge}/{}/{}_{}", T::COLLECTION, prefix.network(), prefix.len())
}

fn host_uri<T: SubnetHost>(subnet: &str, host: &T) -> String {
    format!("{subnet}/{}/{}", T::COLLECTION, host.key().to_string().replace(':', "-"))
}
