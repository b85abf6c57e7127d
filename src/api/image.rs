//! The size of an image in a request, read from its first bytes.
//!
//! In: an image URL, or the image in base64. Out: [`Image`]. Not here: the cost of an image of that
//! size (`tokens::images`). The code never decodes the image itself, and never counts its base64 as
//! text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// An image in the model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// The width and height in pixels, if the request contains the image itself.
    pub size: Option<(u32, u32)>,
    /// Whether the request asks for the low-detail form.
    pub low_detail: bool,
}

/// The number of base64 characters to inspect: 48 KiB of image. Every format has the size in its
/// first bytes, except JPEG, where colour profiles and previews can come before it.
const LOOKED_AT: usize = 64 * 1024;

impl Image {
    /// An image that the request does not contain.
    pub(super) const UNSEEN: Self = Self { size: None, low_detail: false };

    /// Reads the image at `url`. Its size is unknown unless `url` is a `data:` URL that holds a
    /// PNG, JPEG, GIF or WebP.
    pub(super) fn at(url: &str, detail: Option<&str>) -> Self {
        Self { size: size_in_data_url(url), low_detail: detail == Some("low") }
    }

    /// Reads the image in the base64 `data`. Its size is unknown unless it is a PNG, JPEG, GIF or
    /// WebP.
    pub(super) fn in_base64(data: &str, detail: Option<&str>) -> Self {
        Self { size: size_in_base64(data), low_detail: detail == Some("low") }
    }
}

fn size_in_data_url(url: &str) -> Option<(u32, u32)> {
    let (_, base64) = url.strip_prefix("data:")?.split_once(";base64,")?;
    size_in_base64(base64)
}

fn size_in_base64(base64: &str) -> Option<(u32, u32)> {
    let base64 = base64.trim_end_matches('=').as_bytes();
    // Keep whole groups of four characters, so that the prefix is valid base64.
    let start = if base64.len() > LOOKED_AT { base64.get(..LOOKED_AT)? } else { base64 };
    let bytes = STANDARD_NO_PAD.decode(start).ok()?;
    let size = imagesize::blob_size(&bytes).ok()?;
    Some((u32::try_from(size.width).ok()?, u32::try_from(size.height).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes.extend([8, 6, 0, 0, 0]);
        bytes
    }

    fn data_url(bytes: &[u8]) -> String {
        format!("data:image/png;base64,{}", STANDARD.encode(bytes))
    }

    fn size(bytes: &[u8]) -> Option<(u32, u32)> {
        Image::at(&data_url(bytes), None).size
    }

    #[test]
    fn sizes_are_read_from_all_four_formats() {
        let gif = [b"GIF89a".as_slice(), &[0x40, 0x01, 0xf0, 0x00, 0, 0, 0]].concat();
        let jpeg = [
            b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0".as_slice(),
            b"\xff\xc0\0\x11\x08\x00\xf0\x01\x40\x03\x01\x22\0\x02\x11\x01\x03\x11\x01",
        ]
        .concat();
        let webp =
            [b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0".as_slice(), &[0x3f, 0x01, 0, 0xef, 0, 0]].concat();
        assert_eq!(size(&png(320, 240)), Some((320, 240)));
        assert_eq!(size(&gif), Some((320, 240)));
        assert_eq!(size(&jpeg), Some((320, 240)));
        assert_eq!(size(&webp), Some((320, 240)));
    }

    #[test]
    fn bare_base64_is_as_good_as_a_data_url() {
        let picture = Image::in_base64(&STANDARD.encode(png(320, 240)), Some("low"));
        assert_eq!(picture, Image { size: Some((320, 240)), low_detail: true });
        assert_eq!(Image::in_base64("@@", None), Image { size: None, low_detail: false });
    }

    #[test]
    fn a_large_picture_is_read_by_its_start_only() {
        let mut bytes = png(4000, 3000);
        bytes.resize(1 << 20, 7);
        assert_eq!(size(&bytes), Some((4000, 3000)));
    }

    #[test]
    fn other_urls_have_no_known_size() {
        for url in [
            "https://example.com/cat.png",
            "data:image/png;base64,",
            "data:,hello",
            "data:image/png;base64,@@",
            "",
        ] {
            assert_eq!(Image::at(url, Some("low")), Image { size: None, low_detail: true }, "{url}");
        }
    }

    proptest! {
        /// The size reader is third-party code: no input that starts like an image may make it
        /// panic.
        #[test]
        fn nothing_that_looks_like_a_picture_panics(
            start in prop_oneof![
                Just(b"\x89PNG\r\n\x1a\n".to_vec()), Just(b"\xff\xd8\xff\xe0".to_vec()), Just(b"\xff\xd8\xff\xe1".to_vec()),
                Just(b"GIF87a".to_vec()), Just(b"GIF89a".to_vec()), Just(b"RIFF\0\0\0\0WEBPVP8 ".to_vec()),
                Just(b"RIFF\0\0\0\0WEBPVP8L".to_vec()), Just(b"RIFF\0\0\0\0WEBPVP8X".to_vec()), Just(vec![]),
            ],
            rest in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let _ = size(&[start, rest].concat());
        }
    }
}
