//! A router with servers behind it, and clients before it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mn_flow::Tag;
use mn_ids::{Kind, ObjectKey};
use mn_testkit::{Arrival, Lab, named};
use mn_topology::snapshot::Verdict;
use mn_topology::{AnyObject, Health};

use crate::traffic::{Ends, back, only};

/// Three servers inside, two clients outside, a router between, with these filters and this pool.
pub fn world(pre: &str, post: &str, pool: &str) -> Lab {
    Lab::read(&format!(
        "
        bridge servers
          s1  02::01  10.0.1.5  fd01::5
          s2  02::02  10.0.1.6  fd01::6
          s3  02::03  10.0.1.7  fd01::7
        bridge street
          out   02::e1  198.51.100.9  2001:db8::9
          out2  02::e2  198.51.100.8  2001:db8::8
        router edge
          servers  02::a1  10.0.1.1/24  fd01::1/64
          street   02::b1  198.51.100.1/24  2001:db8::1/64
          in pre
          out post
          balanced by lb
        balancer lb edge
        {pool}
        chain pre
          {pre}
        chain post
          {post}
        "
    ))
}

pub const WEB: &str = "
    pool web lb
      vip 203.0.113.2@80
      member 10.0.1.5@8080
      member 10.0.1.6@8080
      member 10.0.1.7@8080
";

pub fn web() -> Lab {
    world("", "", WEB)
}

pub fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Sends a packet and remembers what it teaches; where it arrives.
#[track_caller]
pub fn sends(lab: &mut Lab, packet: &str) -> (Ends, Arrival) {
    let sent = lab.send(packet);
    let (asked, arrived, effects) =
        (Ends::of(&sent.built.key), only(&sent), sent.buffers.effects.clone());
    lab.tables.learn(&effects);
    (asked, arrived)
}

/// Likewise, and the answer comes back from whom the packet was sent to; what the server saw.
#[track_caller]
pub fn converses(lab: &mut Lab, packet: &str) -> Ends {
    let (asked, arrived) = sends(lab, packet);
    let seen = Ends::of(&arrived.headers);
    let answer = back(lab, &arrived, &seen.answer().packet(64));
    assert_eq!(Ends::of(&only(&answer).headers), asked.answer(), "{:#?}", answer.walk);
    seen
}

/// How many of so many connections each server gets.
pub fn shares(lab: &mut Lab, packet: &str, count: u16) -> BTreeMap<IpAddr, u32> {
    let mut shares = BTreeMap::new();
    for port in 0..count {
        let (_, at) = sends(lab, &format!("{packet} sport {}", 1024 + port));
        *shares.entry(Ends::of(&at.headers).dst).or_default() += 1;
    }
    shares
}

/// Changes an object; what that touches.
pub fn change<K: Kind>(lab: &mut Lab, name: &str, how: impl FnOnce(&mut AnyObject)) -> Vec<Tag> {
    let key: ObjectKey = named::<K>(name).into();
    let mut object = lab.objects.get(&key).unwrap().clone();
    how(&mut object);
    lab.put(object)
}

/// Sets a member up or down.
pub fn set_member(lab: &mut Lab, name: &str, up: bool) -> Vec<Tag> {
    change::<mn_ids::PoolMember>(lab, name, |object| {
        let AnyObject::PoolMember(member) = object else { panic!("{name} is no member") };
        member.admin_state_up = up;
    })
}

/// What the checks of a member of the pool `web` came to.
pub fn judge(lab: &mut Lab, name: &str, health: Option<Health>) -> Vec<Tag> {
    let verdict: Verdict = (named("web"), named(name), health);
    let (snapshot, tags) = lab.snapshot.judge([verdict]);
    lab.snapshot = snapshot;
    tags
}

/// Whether a change touches what a packet's flow read.
pub fn touched(change: &[Tag], read: &[Tag]) -> bool {
    change.iter().any(|tag| read.iter().any(|read| tag.touches(read)))
}
