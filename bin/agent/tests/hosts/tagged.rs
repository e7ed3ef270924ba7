//! Frames with tags, between hosts.

use mn_ids::BridgeId;
use mn_nsdb::{Store, TableId, TableKind};
use mn_packet::{EtherType, EthernetHeader, Mac, VlanId, VlanTag};

use crate::lab::{Lab, Seen, until};

/// A frame of a protocol that nobody answers, with a tag or without.
fn frame(from: Mac, to: Mac, vlan: Option<u16>) -> Vec<u8> {
    let tag = |id| VlanTag::of(VlanId::try_from(id).expect("a VLAN"));
    let header = EthernetHeader {
        vlan: vlan.map_or(VlanTag::NONE, tag),
        ..EthernetHeader::untagged(from, to, EtherType(0x88b5))
    };
    header.frame(&[0x5a; 46])
}

impl Lab {
    /// Waits until the table of a bridge has an entry of this name.
    async fn learned(&self, bridge: BridgeId, key: &str) {
        let table = TableId::of(TableKind::Mac, bridge);
        until(&format!("{key} is in the table"), || async {
            let entries = self.store.entries(table).await.expect("a store");
            entries.iter().any(|entry| entry.key == key)
        })
        .await;
        self.settled().await;
    }

    /// The interfaces at which this frame was seen.
    fn places(&self, sent: &[u8]) -> Vec<String> {
        let seen = self.take_seen().into_iter();
        let mut places: Vec<String> = seen
            .filter_map(|seen| match seen {
                Seen::At { interface, frame, .. } if frame == sent => Some(interface),
                _ => None,
            })
            .collect();
        places.sort();
        places
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mac_heard_in_a_tagged_frame_is_found_on_the_other_host_by_frames_of_any_tag() {
    let lab = Lab::new(2).await;
    let bridge = lab.bridge().await;
    let (one, _) = lab.station(0, bridge, 1, &["10.0.1.1"]).await;
    let (two, _) = lab.station(1, bridge, 2, &["10.0.1.2"]).await;
    let (_three, _) = lab.station(1, bridge, 3, &["10.0.1.3"]).await;
    lab.take_seen();
    // Nobody knows where the other is: all get it, as it was sent.
    let first = frame(one.mac, two.mac, Some(5));
    lab.send(&one, &first);
    assert!(lab.arrives("tap2", |frame| frame == first).await.is_some());
    lab.settled().await;
    assert_eq!(lab.places(&first), ["tap2", "tap3"]);
    // Bridges without links that carry VLANs have one network, be frames tagged or not.
    lab.learned(bridge, &format!("0/{}", one.mac)).await;
    for vlan in [Some(5), None, Some(9)] {
        let answer = frame(two.mac, one.mac, vlan);
        lab.send(&two, &answer);
        assert!(lab.arrives("tap1", |frame| frame == answer).await.is_some(), "{vlan:?}");
        assert_eq!(lab.places(&answer), ["tap1"], "{vlan:?}: no one else's");
    }
    // The flow of one tag is not that of another, and each goes where the MAC is.
    lab.learned(bridge, &format!("0/{}", two.mac)).await;
    for vlan in [Some(5), None] {
        let again = frame(one.mac, two.mac, vlan);
        lab.send(&one, &again);
        assert!(lab.arrives("tap2", |frame| frame == again).await.is_some(), "{vlan:?}");
        assert_eq!(lab.places(&again), ["tap2"], "{vlan:?}");
    }
    lab.stop().await;
}
