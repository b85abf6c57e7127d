//! Amazon's binary event stream, `application/vnd.amazon.eventstream`: writes and parses frames.
//!
//! In: headers and payloads. Out: frames with lengths and CRCs; or, from bytes, their frames, if
//! lengths and CRCs are right. Format: AWS SDKs, "Amazon Event Stream specification": total length,
//! length of the headers, CRC32 of these two, headers, payload, CRC32 of all before. Not here:
//! header types other than text, signed chunks.

/// The media type.
pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// A parsed frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Returns the value of header `name`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the payload as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload)
            .unwrap_or_else(|wrong| panic!("{wrong} in the payload of {self:?}"))
    }
}

/// Returns the frame of an event of this type.
#[must_use]
pub fn event(event_type: &str, json: &str) -> Vec<u8> {
    let headers =
        [(":event-type", event_type), (":content-type", "application/json"), (":message-type", "event")];
    frame(&headers, json.as_bytes())
}

/// Returns the frame of an error in mid-stream.
#[must_use]
pub fn exception(exception_type: &str, json: &str) -> Vec<u8> {
    let headers = [
        (":exception-type", exception_type),
        (":content-type", "application/json"),
        (":message-type", "exception"),
    ];
    frame(&headers, json.as_bytes())
}

/// Returns a frame of text headers and a payload.
///
/// # Panics
///
/// If a length does not fit into its field.
#[must_use]
pub fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(u8::try_from(name.len()).expect("a short header name"));
        block.extend_from_slice(name.as_bytes());
        block.push(TEXT);
        block.extend_from_slice(&u16::try_from(value.len()).expect("a short header value").to_be_bytes());
        block.extend_from_slice(value.as_bytes());
    }
    let length = |n: usize| u32::try_from(n).expect("a frame below 4 GiB").to_be_bytes();
    let mut frame = Vec::new();
    frame.extend_from_slice(&length(OVERHEAD + block.len() + payload.len()));
    frame.extend_from_slice(&length(block.len()));
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&block);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame
}

/// Parses the frames of a whole stream.
///
/// # Errors
///
/// A sentence that names the frame that is cut or has a wrong length or CRC.
pub fn frames(mut stream: &[u8]) -> Result<Vec<Frame>, String> {
    let mut frames = Vec::new();
    while !stream.is_empty() {
        let (frame, rest) =
            split_first(stream).ok_or_else(|| format!("frame {} is cut or lies", frames.len()))?;
        frames.push(frame);
        stream = rest;
    }
    Ok(frames)
}

/// Two lengths and two CRCs.
const OVERHEAD: usize = 16;
/// The lengths and their CRC, which come first.
const PRELUDE: usize = 12;
/// The type of a text header.
const TEXT: u8 = 7;

fn split_first(stream: &[u8]) -> Option<(Frame, &[u8])> {
    let total = number(stream.get(..4)?)?;
    let headers = number(stream.get(4..8)?)?;
    let (frame, rest) = stream.split_at_checked(total)?;
    let (content, crc) = frame.split_at_checked(total.checked_sub(4)?)?;
    let true_prelude = number(frame.get(8..PRELUDE)?)? == crc32fast::hash(frame.get(..8)?) as usize;
    if !true_prelude || number(crc)? != crc32fast::hash(content) as usize {
        return None;
    }
    let (mut block, payload) = content.get(PRELUDE..)?.split_at_checked(headers)?;
    let mut headers = Vec::new();
    while let Some((&length, after)) = block.split_first() {
        let (name, after) = after.split_at_checked(length.into())?;
        let (&TEXT, after) = after.split_first()? else { return None };
        let (length, after) = after.split_at_checked(2)?;
        let (value, after) = after.split_at_checked(number(length)?)?;
        headers.push((text(name)?, text(value)?));
        block = after;
    }
    Some((Frame { headers, payload: payload.to_vec() }, rest))
}

fn number(big_endian: &[u8]) -> Option<usize> {
    big_endian.iter().try_fold(0_usize, |number, byte| number.checked_mul(256)?.checked_add((*byte).into()))
}

fn text(bytes: &[u8]) -> Option<String> {
    core::str::from_utf8(bytes).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_bytes_of_the_specification() {
        // The smallest test vector of the specification: no headers, no payload.
        let empty = [0, 0, 0, 16, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
        assert_eq!(frame(&[], b""), empty);
    }

    #[test]
    fn frames_are_read_back_as_they_were_written() {
        let stream = [event("metadata", "{\"a\":1}"), exception("throttlingException", "{}")].concat();
        let frames = frames(&stream).unwrap();
        assert_eq!(frames[0].header(":event-type"), Some("metadata"));
        assert_eq!(frames[0].json()["a"], 1);
        assert_eq!(frames[1].header(":message-type"), Some("exception"));
        assert_eq!(frames[1].header(":exception-type"), Some("throttlingException"));
    }

    #[test]
    fn any_changed_or_missing_byte_is_seen() {
        let whole = event("metadata", "{\"a\":1}");
        for index in 0..whole.len() {
            let mut changed = whole.clone();
            changed[index] ^= 1;
            assert!(frames(&changed).is_err(), "byte {index} changed");
            assert!(index == 0 || frames(&whole[..index]).is_err(), "cut after {index}");
        }
    }
}
