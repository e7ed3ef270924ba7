//! `struct virtio_net_hdr`: what is left to do for a frame's segments and checksum.

use mn_packet::{EtherType, IpProtocol, Layers};

use crate::{DatapathError, Offload};

const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;

/// The header for a frame: `flags, gso_type, hdr_len, gso_size, csum_start, csum_offset`.
pub fn header(frame: &[u8], offload: Offload) -> Result<[u8; 10], DatapathError> {
    let mut out = [0; 10];
    if offload == Offload::default() {
        return Ok(out);
    }
    let unfit = || DatapathError::Invalid("offload of a frame that is no TCP or UDP".into());
    let layers = Layers::of(frame).map_err(|_| unfit())?;
    let ip = layers.ip().ok_or_else(unfit)?;
    let transport = ip.transport_at;
    let (csum_at, header_len, gso_type) = match ip.protocol {
        IpProtocol::TCP => {
            let words = frame.get(transport + 12).ok_or_else(unfit)? >> 4;
            let v4 = layers.ethernet.eth_type == EtherType::IPV4;
            (16_u16, usize::from(words) * 4, if v4 { GSO_TCPV4 } else { GSO_TCPV6 })
        }
        IpProtocol::UDP => (6, 8, GSO_UDP_L4),
        _ => return Err(unfit()),
    };
    let number = |number: usize| u16::try_from(number).map_err(|_| unfit());
    if offload.checksum_partial || offload.gso_size > 0 {
        out[0] = NEEDS_CSUM;
        out[6..8].copy_from_slice(&number(transport)?.to_ne_bytes());
        out[8..].copy_from_slice(&csum_at.to_ne_bytes());
    }
    if offload.gso_size > 0 {
        out[1] = gso_type;
        out[2..4].copy_from_slice(&number(transport + header_len)?.to_ne_bytes());
        out[4..6].copy_from_slice(&offload.gso_size.to_ne_bytes());
    }
    Ok(out)
}
