//! Masks of Ethernet addresses as the API writes them.

use core::fmt;
use core::str::FromStr;

use mn_packet::Mac;

/// A mask of an Ethernet address: three groups of four hexadecimal digits, `ffff.ff00.0000`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MacMask(pub Mac);

/// Why a text is not a [`MacMask`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a MAC mask is three groups of four hexadecimal digits, separated by dots")]
pub struct MacMaskError;

impl FromStr for MacMask {
    type Err = MacMaskError;

    fn from_str(text: &str) -> Result<Self, MacMaskError> {
        let mut octets = [0; 6];
        let mut groups = text.split('.');
        for pair in octets.chunks_exact_mut(2) {
            let group = groups.next().filter(|group| group.len() == 4).ok_or(MacMaskError)?;
            if !group.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(MacMaskError);
            }
            let number = u16::from_str_radix(group, 16).map_err(|_| MacMaskError)?;
            pair.copy_from_slice(&number.to_be_bytes());
        }
        if groups.next().is_some() { Err(MacMaskError) } else { Ok(Self(Mac(octets))) }
    }
}

impl fmt::Display for MacMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0.0;
        write!(f, "{a:02x}{b:02x}.{c:02x}{d:02x}.{e:02x}{g:02x}")
    }
}

impl serde::Serialize for MacMask {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for MacMask {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl crate::Described for MacMask {
    const SHAPE: crate::Shape = crate::Shape::Text { format: "mac-mask" };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_round_trips_and_a_wrong_text_is_refused() {
        let mask: MacMask = "FFFF.ff00.0000".parse().unwrap();
        assert_eq!(mask.0, Mac([0xff, 0xff, 0xff, 0, 0, 0]));
        assert_eq!(mask.to_string(), "ffff.ff00.0000");
        for wrong in
            ["", "ffff", "ffff.ff00", "ffff.ff00.000", "ffff.ff00.0000.0", "+fff.ff00.0000"]
        {
            assert_eq!(wrong.parse::<MacMask>(), Err(MacMaskError), "{wrong}");
        }
    }
}
