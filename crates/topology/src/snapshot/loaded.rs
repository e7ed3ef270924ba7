//! What must be watched for an object to count as loaded.

use mn_ids::{Class, ObjectKey};

/// Something whose whole state has been shown: what was not mentioned is not there. The same as
/// the state database's selectors of objects.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Loaded {
    /// One object.
    Object(ObjectKey),
    /// Every object of a class that refers to this one.
    Referrers { to: ObjectKey, class: Class },
}

impl Loaded {
    /// What has to be complete before lookups of this object say more than "not loaded": the object
    /// and what belongs to it.
    #[must_use]
    pub fn of(key: ObjectKey) -> Vec<Self> {
        let parts: &[Class] = match key.class {
            Class::Bridge => &[Class::Port, Class::DhcpSubnet, Class::DhcpV6Subnet],
            Class::Chain => &[Class::ChainSegment],
            Class::LoadBalancer => &[Class::Vip],
            Class::Pool => &[Class::PoolMember],
            Class::Router => &[Class::Port, Class::Route],
            _ => &[],
        };
        let referrers = parts.iter().map(|class| Self::Referrers { to: key, class: *class });
        core::iter::once(Self::Object(key)).chain(referrers).collect()
    }
}
