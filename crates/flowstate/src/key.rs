//! The secret that the members of a zone share.

use core::fmt;

use ring::hmac;

/// Octets of the secret, and of what it makes of a message: HMAC-SHA-256 (RFC 2104, RFC 6234).
pub(crate) const TAG_LEN: usize = 32;

/// What members of a zone authenticate datagrams with. It is never printed.
#[derive(Clone)]
pub struct ZoneKey(hmac::Key);

/// A secret that is none: not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a zone's secret is 64 hexadecimal digits")]
pub struct ZoneKeyError;

impl ZoneKey {
    /// The key of these octets.
    #[must_use]
    pub fn new(secret: &[u8; TAG_LEN]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The key as the state database has it.
    ///
    /// # Errors
    ///
    /// [`ZoneKeyError`], which does not say what was read.
    pub fn from_hex(text: &str) -> Result<Self, ZoneKeyError> {
        let digits = text.as_bytes();
        if digits.len() != 2 * TAG_LEN {
            return Err(ZoneKeyError);
        }
        let mut secret = [0; TAG_LEN];
        for (octet, pair) in secret.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(ZoneKeyError);
            *octet = (digit(0)? << 4 | digit(1)?) as u8;
        }
        Ok(Self::new(&secret))
    }

    /// Appends the tag of all that `message` has so far.
    pub(crate) fn seal(&self, message: &mut Vec<u8>) {
        let tag = hmac::sign(&self.0, message);
        message.extend_from_slice(tag.as_ref());
    }

    /// Whether `tag` is that of the message; takes the same time whichever octet differs.
    pub(crate) fn is_authentic(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, message, tag).is_ok()
    }
}

impl fmt::Debug for ZoneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ZoneKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_and_never_printed() {
        let text = "00ff".repeat(16);
        let key = ZoneKey::from_hex(&text).unwrap();
        assert_eq!(format!("{key:?}"), "ZoneKey(…)");
        let mut message = b"hello".to_vec();
        key.seal(&mut message);
        assert!(key.is_authentic(b"hello", &message[5..]));
        for at in 5..message.len() {
            let mut wrong = message.clone();
            wrong[at] ^= 1;
            assert!(!key.is_authentic(b"hello", &wrong[5..]), "octet {at}");
        }
        for wrong in ["", "00", &"zz".repeat(32), &"é".repeat(32)] {
            assert!(ZoneKey::from_hex(wrong).is_err(), "{wrong}");
        }
    }
}
