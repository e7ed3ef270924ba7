//! What a rule matches.

use core::net::IpAddr;

use mn_ids::{IpAddrGroupId, PortGroupId, PortId};
use mn_packet::Mac;
use uuid::Uuid;

use crate::MacMask;

words! {
    /// Which fragments a condition looks at.
    FragmentPolicy {
        /// Everything.
        Any = "any",
        /// Whole datagrams and first fragments.
        Header = "header",
        /// Later fragments.
        Nonheader = "nonheader",
        /// Whole datagrams.
        Unfragmented = "unfragmented",
    }
}

dto! {
    /// Numbers from `start` to `end`, both included.
    Range {
        /// 0 where it is left out.
        "start" start: Option<u16>,
        /// 65535 where it is left out.
        "end" end: Option<u16>,
    }
}

dto! {
    /// A conjunction of tests. `inv…` turns the test of the same name round.
    Condition {
        /// Matches the packets the conjunction does not.
        "condInvert" cond_invert: bool,
        /// Packets that open a connection or go on in its direction.
        "matchForwardFlow" match_forward_flow: bool,
        /// Packets that answer.
        "matchReturnFlow" match_return_flow: bool,
        /// Packets that belong to a connection, or may open one: what is neither (a TCP segment
        /// without SYN, an echo reply or an ICMP error, of no connection) is invalid.
        "matchValidFlow" match_valid_flow: Option<bool>,
        /// Ports by which the packet entered the device.
        "inPorts" in_ports: Vec<PortId>,
        "invInPorts" inv_in_ports: bool,
        /// Ports by which it leaves the device.
        "outPorts" out_ports: Vec<PortId>,
        "invOutPorts" inv_out_ports: bool,
        /// The group of the exterior port it entered by.
        "portGroup" port_group: Option<PortGroupId>,
        "invPortGroup" inv_port_group: bool,
        "inPortGroup" in_port_group: Option<PortGroupId>,
        "invInPortGroup" inv_in_port_group: bool,
        "outPortGroup" out_port_group: Option<PortGroupId>,
        "invOutPortGroup" inv_out_port_group: bool,
        "ipAddrGroupSrc" ip_addr_group_src: Option<IpAddrGroupId>,
        "invIpAddrGroupSrc" inv_ip_addr_group_src: bool,
        "ipAddrGroupDst" ip_addr_group_dst: Option<IpAddrGroupId>,
        "invIpAddrGroupDst" inv_ip_addr_group_dst: bool,
        /// A bridge, router or port the packet has crossed so far.
        "traversedDevice" traversed_device: Option<Uuid>,
        "invTraversedDevice" inv_traversed_device: bool,
        /// Frames without a VLAN tag.
        "noVlan" no_vlan: bool,
        /// Frames of this VLAN.
        "vlan" vlan: Option<u16>,
        /// The Ethernet type, 0x600 to 0xffff.
        "dlType" dl_type: Option<u16>,
        "invDlType" inv_dl_type: bool,
        "dlSrc" dl_src: Option<Mac>,
        /// Left out: every bit.
        "dlSrcMask" dl_src_mask: Option<MacMask>,
        "invDlSrc" inv_dl_src: bool,
        "dlDst" dl_dst: Option<Mac>,
        /// Left out: every bit.
        "dlDstMask" dl_dst_mask: Option<MacMask>,
        "invDlDst" inv_dl_dst: bool,
        /// The whole TOS octet.
        "nwTos" nw_tos: Option<u8>,
        "invNwTos" inv_nw_tos: bool,
        "nwProto" nw_proto: Option<u8>,
        "invNwProto" inv_nw_proto: bool,
        "nwSrcAddress" nw_src_address: Option<IpAddr>,
        /// Left out: the address's whole length.
        "nwSrcLength" nw_src_length: Option<u8>,
        "invNwSrc" inv_nw_src: bool,
        "nwDstAddress" nw_dst_address: Option<IpAddr>,
        /// Left out: the address's whole length.
        "nwDstLength" nw_dst_length: Option<u8>,
        "invNwDst" inv_nw_dst: bool,
        /// The destination was changed by NAT.
        "matchNwDstRewritten" match_nw_dst_rewritten: bool,
        /// The source port; of ICMP the type.
        "tpSrc" tp_src: Option<Range>,
        "invTpSrc" inv_tp_src: bool,
        /// The destination port; of ICMP the code.
        "tpDst" tp_dst: Option<Range>,
        "invTpDst" inv_tp_dst: bool,
        /// Left out: `header` with ports, `unfragmented` with NAT, else `any`.
        "fragmentPolicy" fragment_policy: Option<FragmentPolicy>,
        /// The source of the packet that an ICMP error quotes.
        "icmpDataSrcIpAddress" icmp_data_src_ip_address: Option<IpAddr>,
        "icmpDataSrcIpLength" icmp_data_src_ip_length: Option<u8>,
        "invIcmpDataSrcIp" inv_icmp_data_src_ip: bool,
        "icmpDataDstIpAddress" icmp_data_dst_ip_address: Option<IpAddr>,
        "icmpDataDstIpLength" icmp_data_dst_ip_length: Option<u8>,
        "invIcmpDataDstIp" inv_icmp_data_dst_ip: bool,
    }
}
