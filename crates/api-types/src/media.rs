//! Media types.

use core::fmt;

/// Before every name of ours.
const PREFIX: &str = "application/vnd.org.midonet.";
/// Plain JSON: always acceptable, the newest version is meant.
pub const JSON: &str = "application/json";

/// A kind of document and the versions of it there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Media {
    /// `Bridge`.
    pub name: &'static str,
    /// Oldest first; the last is what is sent where the client does not say.
    pub versions: &'static [u8],
    /// An older name for the same.
    pub alias: Option<&'static str>,
}

/// Whether one object travels or a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MediaForm {
    One,
    Collection,
}

/// What a client sends or asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MediaType {
    /// `application/json`.
    Json,
    /// The media type of this version.
    Version(u8),
}

/// A media type that is not the resource's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{given} is not {expected}")]
pub struct MediaError {
    pub given: String,
    pub expected: String,
}

macro_rules! media {
    ($($constant:ident = $name:literal $versions:expr $(, alias $alias:literal)? ;)*) => {
        impl Media {
            $(
                #[doc = concat!("`", $name, "`")]
                pub const $constant: Self = Self {
                    name: $name,
                    versions: &$versions,
                    alias: media!(@alias $($alias)?),
                };
            )*
        }
    };
    (@alias) => { None };
    (@alias $alias:literal) => { Some($alias) };
}

media! {
    APPLICATION = "Application" [5];
    ARP_ENTRY = "IP4Mac" [1];
    BRIDGE = "Bridge" [4, 5];
    CHAIN = "Chain" [1];
    DHCP_HOST = "DhcpHost" [2];
    DHCP_SUBNET = "DhcpSubnet" [2];
    DHCP_V6_HOST = "DhcpV6Host" [1];
    DHCP_V6_SUBNET = "DhcpV6Subnet" [1];
    ERROR = "Error" [1];
    HEALTH_MONITOR = "HealthMonitor" [1];
    HOST = "Host" [3];
    HOST_INTERFACE_PORT = "HostInterfacePort" [1];
    INTERFACE = "Interface" [1];
    IP_ADDR_GROUP = "IpAddrGroup" [1];
    IP_ADDR_GROUP_ADDR = "IpAddrGroupAddr" [1];
    LOAD_BALANCER = "LoadBalancer" [1];
    MAC_PORT = "MacPort" [2];
    MIRROR = "Mirror" [1];
    L2_INSERTION = "L2Insertion" [1];
    POOL = "Pool" [1];
    POOL_MEMBER = "PoolMember" [1];
    PORT = "Port" [3, 4];
    PORT_GROUP = "PortGroup" [1];
    PORT_GROUP_PORT = "PortGroupPort" [1];
    PORT_LINK = "PortLink" [1];
    QOS_BW_LIMIT_RULE = "QosRuleBwLimit" [1];
    QOS_DSCP_RULE = "QosRuleDscp" [1];
    QOS_POLICY = "QosPolicy" [1];
    ROUTE = "Route" [1];
    ROUTER = "Router" [3];
    RULE = "Rule" [2];
    SYSTEM_STATE = "SystemState" [2];
    TENANT = "Tenant" [2];
    TOKEN = "Token" [1];
    TUNNEL_ZONE = "TunnelZone" [1];
    TUNNEL_ZONE_HOST = "TunnelZoneHost" [1], alias "GreTunnelZoneHost";
    VIP = "VIP" [1];
    WALK = "Walk" [1];
}

impl Media {
    /// The newest version's type: `application/vnd.org.midonet.Bridge-v5+json`.
    #[must_use]
    pub fn newest(&self, form: MediaForm) -> String {
        self.version(form, self.versions.last().copied().unwrap_or(1))
    }

    /// The type of one version.
    #[must_use]
    pub fn version(&self, form: MediaForm, version: u8) -> String {
        Spelled { name: self.name, form, version }.to_string()
    }

    /// Every type it has, oldest first.
    #[must_use]
    pub fn all(&self, form: MediaForm) -> Vec<String> {
        let mut names = vec![self.name];
        names.extend(self.alias);
        let spell = |name, version| Spelled { name, form, version }.to_string();
        let spell = &spell;
        names.iter().flat_map(|name| self.versions.iter().map(move |v| spell(name, *v))).collect()
    }

    /// What a `Content-Type` of a request means.
    ///
    /// # Errors
    ///
    /// It is none of the resource's types and not JSON.
    pub fn of_content(&self, form: MediaForm, given: &str) -> Result<MediaType, MediaError> {
        self.of_range(form, given).ok_or_else(|| self.wrong(form, given))
    }

    /// Chooses what to answer with, by an `Accept` header.
    ///
    /// # Errors
    ///
    /// It allows neither JSON nor any of the resource's types.
    pub fn of_accept(&self, form: MediaForm, accept: &str) -> Result<MediaType, MediaError> {
        let mut ranges = accept.split(',').filter(|range| !refused(range));
        let found = ranges.find_map(|range| self.of_range(form, range));
        found.ok_or_else(|| self.wrong(form, accept))
    }

    fn of_range(&self, form: MediaForm, range: &str) -> Option<MediaType> {
        let range = range.split(';').next().unwrap_or_default().trim();
        if range.eq_ignore_ascii_case(JSON) {
            return Some(MediaType::Json);
        }
        if matches!(range, "*/*" | "application/*") {
            return self.versions.last().copied().map(MediaType::Version);
        }
        let names = [Some(self.name), self.alias];
        let spell = |name, version| Spelled { name, form, version }.to_string();
        let matches = |version: u8| {
            names.iter().flatten().any(|name| range.eq_ignore_ascii_case(&spell(name, version)))
        };
        self.versions.iter().copied().find(|version| matches(*version)).map(MediaType::Version)
    }

    fn wrong(&self, form: MediaForm, given: &str) -> MediaError {
        MediaError { given: given.to_owned(), expected: self.newest(form) }
    }
}

/// Whether a media range says `q=0`.
fn refused(range: &str) -> bool {
    let quality = range.split(';').skip(1).find_map(|part| part.trim().strip_prefix("q="));
    quality.and_then(|quality| quality.parse::<f32>().ok()) == Some(0.0)
}

/// A name of ours in full.
struct Spelled<'a> {
    name: &'a str,
    form: MediaForm,
    version: u8,
}

impl fmt::Display for Spelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let collection = if self.form == MediaForm::Collection { "collection." } else { "" };
        write!(f, "{PREFIX}{collection}{}-v{}+json", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_version_it_asks_for_and_else_the_newest() {
        let v4 = "application/vnd.org.midonet.Bridge-v4+json";
        assert_eq!(Media::BRIDGE.of_accept(MediaForm::One, v4), Ok(MediaType::Version(4)));
        assert_eq!(Media::BRIDGE.of_accept(MediaForm::One, "*/*"), Ok(MediaType::Version(5)));
        let several = format!("text/html, {v4};q=0, application/json;q=0.5");
        assert_eq!(Media::BRIDGE.of_accept(MediaForm::One, &several), Ok(MediaType::Json));
        let list = "application/vnd.org.midonet.collection.Bridge-v5+json";
        assert_eq!(Media::BRIDGE.newest(MediaForm::Collection), list);
        assert!(Media::BRIDGE.of_accept(MediaForm::One, list).is_err());
    }

    #[test]
    fn members_of_tunnel_zones_have_an_older_name_too() {
        let old = "application/vnd.org.midonet.GreTunnelZoneHost-v1+json";
        assert!(Media::TUNNEL_ZONE_HOST.of_content(MediaForm::One, old).is_ok());
        assert!(Media::TUNNEL_ZONE.of_content(MediaForm::One, old).is_err());
    }
}
