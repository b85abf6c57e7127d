//! Content codings: how bodies are compressed on the wire.
//!
//! In: the name of a coding, and chunks or a body. Out: the compressed chunks, flushed one by one
//! so that each can be read on arrival; or the decompressed body, up to a bound. Names and
//! meanings: RFC 9110 section 8.4.1 (`deflate` is the zlib format), RFC 7932 (`br`), RFC 8878
//! (`zstd`). Not here: `compress`, `identity`, dictionaries, and stacked codings.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING};

/// A content coding that the mock can write and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// The gzip format.
    Gzip,
    /// The zlib format.
    Deflate,
    /// Brotli.
    Br,
    /// Zstandard.
    Zstd,
}

impl Coding {
    /// All codings.
    pub const ALL: [Self; 4] = [Self::Gzip, Self::Deflate, Self::Br, Self::Zstd];

    /// Returns the name in HTTP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Br => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Returns the coding of this name, ignoring case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|coding| name.trim().eq_ignore_ascii_case(coding.name()))
    }

    /// Returns the first coding that the request's `accept-encoding` names, as servers without a
    /// preference do; none if `identity` comes first. Names with weight 0 are not accepted.
    #[must_use]
    pub fn accepted(headers: &HeaderMap) -> Option<Self> {
        headers
            .get_all(ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .find_map(|item| {
                let (name, parameter) = item.split_once(';').unwrap_or((item, ""));
                let weight = parameter.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
                match name.trim() {
                    _ if weight == Some(0.0) => None,
                    "identity" => Some(None),
                    "*" => Some(Some(Self::Gzip)),
                    name => Self::named(name).map(Some),
                }
            })
            .flatten()
    }

    /// Compresses all chunks into one stream: a piece for each, and a last piece that ends the
    /// stream.
    ///
    /// # Panics
    ///
    /// Never, because writing to memory does not fail.
    #[must_use]
    pub fn encode(self, chunks: &[Bytes]) -> Vec<Bytes> {
        let written = match self {
            Self::Gzip => {
                pieces(GzEncoder::new(Vec::new(), Compression::default()), chunks, GzEncoder::get_mut)
                    .and_then(|(encoder, pieces)| Ok((encoder.finish()?, pieces)))
            }
            Self::Deflate => {
                pieces(ZlibEncoder::new(Vec::new(), Compression::default()), chunks, ZlibEncoder::get_mut)
                    .and_then(|(encoder, pieces)| Ok((encoder.finish()?, pieces)))
            }
            Self::Br => {
                let encoder =
                    brotli::CompressorWriter::new(Vec::new(), BUFFER, BROTLI_QUALITY, BROTLI_WINDOW);
                pieces(encoder, chunks, brotli::CompressorWriter::get_mut)
                    .map(|(encoder, pieces)| (encoder.into_inner(), pieces))
            }
            Self::Zstd => zstd::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL)
                .and_then(|encoder| pieces(encoder, chunks, zstd::Encoder::get_mut))
                .and_then(|(encoder, pieces)| Ok((encoder.finish()?, pieces))),
        };
        let (end, mut written) = written.expect("nothing fails that is written to memory");
        written.push(end.into());
        written
    }

    /// Decompresses `body`.
    ///
    /// # Errors
    ///
    /// If it is not of this coding, is cut, or decompresses to more than [`DECODED_MAX`] bytes.
    pub fn decode(self, body: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => bounded(MultiGzDecoder::new(body)),
            Self::Deflate => bounded(ZlibDecoder::new(body)),
            Self::Br => bounded(brotli::Decompressor::new(body, BUFFER)),
            Self::Zstd => bounded(zstd::Decoder::new(body)?),
        }
    }
}

/// The largest decompressed body: more than any test sends, and little enough to be harmless.
pub const DECODED_MAX: usize = 64 << 20;

const BUFFER: usize = 4096;
/// A usual quality for answers compressed on the fly.
const BROTLI_QUALITY: u32 = 5;
/// The logarithm of brotli's usual window.
const BROTLI_WINDOW: u32 = 22;

/// Decodes a request's body as its `content-encoding` says.
///
/// # Errors
///
/// A sentence that names the unknown coding or the problem with the body.
pub(super) fn decoded(headers: &HeaderMap, body: Bytes) -> Result<Bytes, String> {
    let Some(value) = headers.get(CONTENT_ENCODING) else { return Ok(body) };
    let name = value.to_str().unwrap_or_default();
    if name.eq_ignore_ascii_case("identity") {
        return Ok(body);
    }
    let coding = Coding::named(name).ok_or_else(|| format!("content-encoding {value:?} is not known"))?;
    let decoded = coding.decode(&body);
    decoded.map(Bytes::from).map_err(|wrong| format!("the body cannot be read as {}: {wrong}", coding.name()))
}

/// Returns the flushed output of `encoder` for each chunk, and the encoder, which the caller must
/// finish.
fn pieces<E: Write>(
    mut encoder: E,
    chunks: &[Bytes],
    output: fn(&mut E) -> &mut Vec<u8>,
) -> io::Result<(E, Vec<Bytes>)> {
    let pieces: io::Result<_> = chunks
        .iter()
        .map(|chunk| {
            encoder.write_all(chunk)?;
            encoder.flush()?;
            Ok(Bytes::from(core::mem::take(output(&mut encoder))))
        })
        .collect();
    Ok((encoder, pieces?))
}

fn bounded(decoder: impl Read) -> io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    decoder.take(DECODED_MAX as u64 + 1).read_to_end(&mut decoded)?;
    if decoded.len() > DECODED_MAX {
        return Err(io::Error::other(format!("more than {DECODED_MAX} bytes")));
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_can_be_decoded() {
        let chunks = ["one ", "", "two ", "three"].map(Bytes::from);
        for coding in Coding::ALL {
            let encoded = coding.encode(&chunks);
            assert_eq!(encoded.len(), chunks.len() + 1, "{coding:?}");
            assert_eq!(coding.decode(&encoded.concat()).unwrap(), b"one two three", "{coding:?}");
        }
    }

    #[test]
    fn a_body_that_is_cut_or_of_another_coding_is_refused() {
        let text = Bytes::from("some text that has more than a few bytes");
        for coding in Coding::ALL {
            let whole = coding.encode(core::slice::from_ref(&text)).concat();
            assert!(coding.decode(&whole[..whole.len() - 8]).is_err(), "{coding:?} cut");
            assert!(coding.decode(b"{\"model\":\"gpt-4o\"}").is_err(), "{coding:?} lies");
        }
    }

    #[test]
    fn no_more_is_decoded_than_the_bound() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let bomb = coding.encode(&[Bytes::from(vec![0; DECODED_MAX + 1])]).concat();
            assert!(coding.decode(&bomb).unwrap_err().to_string().starts_with("more than"), "{coding:?}");
        }
    }

    #[test]
    fn the_first_accepted_coding_is_taken() {
        let cases = [
            ("br, gzip;q=0.5", Some(Coding::Br)),
            ("compress, ZSTD", Some(Coding::Zstd)),
            ("br;q=0, deflate;q=0.1", Some(Coding::Deflate)),
            ("identity, gzip", None),
            ("*", Some(Coding::Gzip)),
            ("compress", None),
            ("", None),
        ];
        for (accepted, expected) in cases {
            let headers = [(ACCEPT_ENCODING, accepted.parse().unwrap())].into_iter().collect();
            assert_eq!(Coding::accepted(&headers), expected, "{accepted}");
        }
    }
}
