//! Frames: a 32-bit length, then as many bytes.

use bytes::{Buf, Bytes, BytesMut};

use super::jute;

/// The length in front of each frame, in bytes.
pub const LENGTH_BYTES: usize = 4;

/// A frame that is refused by its length alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {announced} bytes is announced, and at most {max} are accepted (jute.maxbuffer)")]
pub struct BadFrame {
    /// What the peer announced.
    pub announced: i32,
    /// What is accepted.
    pub max: usize,
}

/// Takes the next whole frame from the front of `received`, without its length. None until all of
/// it is there. Looks at the announced length before anything else and reserves nothing for it.
pub fn take_frame(received: &mut BytesMut, max: usize) -> Result<Option<Bytes>, BadFrame> {
    let Some(mut prefix) = received.get(..LENGTH_BYTES) else { return Ok(None) };
    let announced = prefix.get_i32();
    let length = usize::try_from(announced).ok().filter(|length| *length <= max);
    let length = length.ok_or(BadFrame { announced, max })?;
    if received.len() < LENGTH_BYTES + length {
        return Ok(None);
    }
    received.advance(LENGTH_BYTES);
    Ok(Some(received.split_to(length).freeze()))
}

/// Appends a frame whose content `put` appends.
pub fn put_frame(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    put(out);
    let length = jute::length(out.len() - start - LENGTH_BYTES);
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_out_when_its_last_byte_is_in_and_not_before() {
        let mut sent = Vec::new();
        put_frame(&mut sent, |out| out.extend_from_slice(b"first"));
        put_frame(&mut sent, |_| {});
        let mut received = BytesMut::new();
        let mut frames = Vec::new();
        for byte in sent {
            received.extend_from_slice(&[byte]);
            frames.extend(take_frame(&mut received, 5).expect("short enough"));
        }
        assert_eq!(frames, [Bytes::from_static(b"first"), Bytes::new()]);
    }

    #[test]
    fn a_length_beyond_the_bound_or_below_zero_is_refused_at_once() {
        for announced in [6, i32::MAX, -1, i32::MIN] {
            let mut received = BytesMut::from(&announced.to_be_bytes()[..]);
            assert_eq!(take_frame(&mut received, 5), Err(BadFrame { announced, max: 5 }));
        }
    }
}
