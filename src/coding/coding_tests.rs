use super::*;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use proptest::prelude::*;
use std::io::Write as _;
use structured_zstd::encoding::{CompressionLevel, StreamingEncoder};
use structured_zstd::io::Write as _;

const CODINGS: [&str; 5] = ["gzip", "deflate", "raw deflate", "br", "zstd"];

/// Flushes after each part, so that it could be sent at once. Returns the coded parts; the last one
/// ends the stream.
fn code(name: &str, parts: &[&[u8]]) -> Vec<Vec<u8>> {
    macro_rules! flushed {
        ($encoder:expr, $output:ident) => {{
            let mut encoder = $encoder;
            let mut coded: Vec<Vec<u8>> = Vec::new();
            let mut done = 0;
            for part in parts {
                encoder.write_all(part).unwrap();
                encoder.flush().unwrap();
                coded.push(encoder.$output()[done..].to_vec());
                done = encoder.$output().len();
            }
            (encoder, coded, done)
        }};
    }
    let level = flate2::Compression::new(6);
    let (coded, end) = match name {
        "gzip" => {
            let builder = flate2::GzBuilder::new().filename("a").comment("b").extra("c");
            let (encoder, coded, done) = flushed!(builder.write(Vec::new(), level), get_ref);
            (coded, encoder.finish().unwrap()[done..].to_vec())
        }
        "deflate" => {
            let (encoder, coded, done) =
                flushed!(flate2::write::ZlibEncoder::new(Vec::new(), level), get_ref);
            (coded, encoder.finish().unwrap()[done..].to_vec())
        }
        "raw deflate" => {
            let (encoder, coded, done) =
                flushed!(flate2::write::DeflateEncoder::new(Vec::new(), level), get_ref);
            (coded, encoder.finish().unwrap()[done..].to_vec())
        }
        "br" => {
            let (encoder, coded, done) =
                flushed!(::brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20), get_ref);
            (coded, encoder.into_inner()[done..].to_vec())
        }
        "zstd" => {
            let encoder = StreamingEncoder::new(Vec::new(), CompressionLevel::Default);
            let (encoder, coded, done) = flushed!(encoder, get_ref);
            (coded, encoder.finish().unwrap()[done..].to_vec())
        }
        _ => unreachable!(),
    };
    coded.into_iter().chain([end]).collect()
}

fn coded(name: &str, plain: &[u8]) -> Vec<u8> {
    code(name, &[plain]).concat()
}

fn codings(name: &str) -> Codings {
    let field = name.strip_prefix("raw ").unwrap_or(name);
    let Encoding::Coded(codings) = Encoding::parse(field.as_bytes()) else { panic!("{name} is not decoded") };
    codings
}

fn decode(name: &str, pieces: &[&[u8]], bound: usize) -> (Vec<u8>, Option<Fault>) {
    let mut decoder = Decoder::new(&codings(name), bound);
    let mut decoded = Vec::new();
    for piece in pieces {
        decoder.feed(piece, &mut |block| {
            assert!(block.len() <= 32 * 1024);
            decoded.extend_from_slice(block);
        });
    }
    decoder.finish();
    (decoded, decoder.fault())
}

/// Returns text that compresses neither perfectly nor badly.
fn text(lines: usize) -> Vec<u8> {
    (0..lines).flat_map(|i| format!("{} {}en\n", i * i % 9973, "tok".repeat(i % 4)).into_bytes()).collect()
}

const LARGE: usize = 64 * 1024 * 1024;

#[test]
fn the_field_is_read_whatever_its_case_and_empty_elements() {
    assert_eq!(Encoding::parse(b""), Encoding::Identity);
    assert_eq!(Encoding::parse(b" identity ,"), Encoding::Identity);
    assert_eq!(Encoding::parse(b"X-GZip"), Encoding::Coded(Codings(vec![Coding::Gzip])));
    assert_eq!(
        Encoding::parse(b"deflate, identity,br\t,zstd"),
        Encoding::Coded(Codings(vec![Coding::Deflate, Coding::Brotli, Coding::Zstd]))
    );
}

#[test]
fn a_coding_that_is_not_known_or_lies_too_deep_is_told() {
    assert_eq!(Encoding::parse(b"gzip, compress"), Encoding::Unknown);
    assert_eq!(Encoding::parse(b"dcz"), Encoding::Unknown);
    assert_eq!(Encoding::parse(b"gzip;q=1"), Encoding::Unknown);
    assert_eq!(Encoding::parse(b"\xff\x00"), Encoding::Unknown);
    assert_eq!(Encoding::parse(b"gzip,gzip,gzip,gzip"), Encoding::Unknown);
}

#[test]
fn what_was_flushed_comes_out_at_once() {
    let parts: [&[u8]; 3] = [b"data: {\"a\":1}\n\n", b"data: {\"a\":2}\n\n", b"data: [DONE]\n\n"];
    for name in CODINGS {
        let mut decoder = Decoder::new(&codings(name), LARGE);
        for (coded, plain) in code(name, &parts).iter().zip(parts) {
            let mut decoded = Vec::new();
            decoder.feed(coded, &mut |block| decoded.extend_from_slice(block));
            assert_eq!(decoded.escape_ascii().to_string(), plain.escape_ascii().to_string(), "{name}");
        }
    }
}

#[test]
fn bytes_one_by_one_decode_as_well() {
    let plain = text(3000);
    for name in CODINGS {
        let coded = coded(name, &plain);
        let pieces: Vec<&[u8]> = coded.chunks(1).collect();
        assert_eq!(decode(name, &pieces, LARGE), (plain.clone(), None), "{name}");
    }
}

#[test]
fn what_the_reference_encoder_of_zstd_wrote_is_read() {
    let coded = BASE64_STANDARD.decode(include_str!("squares.zst.b64").replace('\n', "")).unwrap();
    assert_eq!(decode("zstd", &[&coded], LARGE), (text(300), None));
}

#[test]
fn codings_upon_each_other_are_undone_from_the_last() {
    let plain = text(500);
    let twice = coded("br", &coded("gzip", &plain));
    assert_eq!(decode("gzip, br", &[&twice], LARGE), (plain.clone(), None));
    let thrice = coded("zstd", &twice);
    assert_eq!(decode("gzip, br, zstd", &[&thrice], LARGE), (plain, None));
}

#[test]
fn members_and_frames_behind_each_other_are_one_body() {
    let skippable = b"\x5f\x2a\x4d\x18\x03\0\0\0abc\x50\x2a\x4d\x18\0\0\0\0".to_vec();
    for (name, between) in [("gzip", Vec::new()), ("zstd", skippable)] {
        let body = [coded(name, b"one"), between, coded(name, b""), coded(name, b"two")].concat();
        assert_eq!(decode(name, &[&body], LARGE), (b"onetwo".to_vec(), None), "{name}");
        let pieces: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(decode(name, &pieces, LARGE), (b"onetwo".to_vec(), None), "{name}");
    }
}

#[test]
fn padding_behind_the_data_is_no_fault() {
    for name in ["gzip", "deflate", "raw deflate", "br"] {
        let body = [coded(name, b"text"), vec![0; 100]].concat();
        assert_eq!(decode(name, &[&body], LARGE), (b"text".to_vec(), None), "{name}");
    }
}

#[test]
fn a_body_without_bytes_is_whole() {
    for name in CODINGS {
        assert_eq!(decode(name, &[b""], LARGE), (Vec::new(), None), "{name}");
    }
}

#[test]
fn a_body_that_is_cut_gives_what_came_before() {
    let plain = text(3000);
    for name in CODINGS {
        let coded = code(name, &[&plain, b"cut"]);
        let cut = [coded[0].as_slice(), &coded[1][..1]].concat();
        let (decoded, fault) = decode(name, &[&cut], LARGE);
        assert_eq!((decoded.len(), fault), (plain.len(), Some(Fault::Truncated)), "{name}");
        assert!(decoded == plain, "{name}");
        assert_eq!(decode(name, &[&coded[0][..1]], LARGE).1, Some(Fault::Truncated), "{name}");
    }
}

#[test]
fn a_wrong_checksum_or_length_in_a_gzip_trailer_is_a_fault() {
    let body = coded("gzip", b"text");
    for at in [body.len() - 8, body.len() - 1] {
        let mut body = body.clone();
        body[at] ^= 1;
        assert_eq!(decode("gzip", &[&body], LARGE), (b"text".to_vec(), Some(Fault::Corrupt)));
    }
}

#[test]
fn what_is_not_coded_at_all_is_a_fault() {
    for name in CODINGS {
        let (_, fault) = decode(name, &[b"{\"error\":{\"message\":\"overloaded\"}}"], LARGE);
        assert!(fault.is_some(), "{name}");
    }
}

#[test]
fn nothing_comes_behind_a_fault() {
    let mut decoder = Decoder::new(&codings("gzip"), LARGE);
    decoder.feed(b"no", &mut |_| panic!("nothing is decoded"));
    assert!(decoder.is_broken());
    decoder.feed(&coded("gzip", b"text"), &mut |_| panic!("nothing is decoded"));
    assert_eq!(decoder.fault(), Some(Fault::Corrupt));
}

#[test]
fn a_window_of_more_than_8_mib_is_refused() {
    let frame =
        |window: u8| [b"\x28\xb5\x2f\xfd\x00".as_slice(), &[window], b"\x19\0\0text"[..].into()].concat();
    // Exponent and mantissa: 2^(10 + 13), and an eighth more.
    assert_eq!(decode("zstd", &[&frame(13 << 3)[..], b""], LARGE).1, Some(Fault::Truncated));
    assert_eq!(decode("zstd", &[&frame(13 << 3 | 1)], LARGE).1, Some(Fault::Corrupt));
    let dictionary = b"\x28\xb5\x2f\xfd\x01\x00\x07\x01\0\0";
    assert_eq!(decode("zstd", &[dictionary], LARGE).1, Some(Fault::Corrupt));
}

#[test]
fn a_bomb_stops_at_the_bound() {
    let zeros = vec![0; 10 * 1024 * 1024];
    let bound = 100_000;
    for name in CODINGS {
        let bomb = coded(name, &zeros);
        assert!(bomb.len() < 20 * 1024, "{name}: {}", bomb.len());
        assert_eq!(decode(name, &[&bomb], bound), (vec![0; bound], Some(Fault::TooLarge)), "{name}");
    }
}

#[test]
fn a_bomb_that_is_coded_twice_stops_where_the_outer_coding_passes_the_bound() {
    // The inner body is long but yields nothing.
    let empty = coded("gzip", b"");
    let inner = empty.repeat(1_000_000 / empty.len());
    let bomb = coded("gzip", &inner);
    assert_eq!(decode("gzip, gzip", &[&bomb], 100_000), (Vec::new(), Some(Fault::TooLarge)));
    assert_eq!(decode("gzip, gzip", &[&bomb], 1_000_000), (Vec::new(), None));
}

#[test]
fn a_body_as_long_as_the_bound_is_whole() {
    for name in CODINGS {
        assert_eq!(decode(name, &[&coded(name, &[7; 20_000])], 20_000), (vec![7; 20_000], None), "{name}");
        let (decoded, fault) = decode(name, &[&coded(name, &[7; 20_000])], 19_999);
        assert_eq!((decoded.len(), fault), (19_999, Some(Fault::TooLarge)), "{name}");
    }
}

#[test]
fn a_whole_body_is_decoded_or_tells_how_far_it_was() {
    let gzip = Encoding::parse(b"gzip");
    let body = coded("gzip", b"some text");
    assert_eq!(decode_whole(&gzip, &body, 9), Ok(b"some text".to_vec()));
    assert_eq!(decode_whole(&gzip, &body, 4), Err(Failure::TooLarge { decoded: b"some".to_vec() }));
    let cut = &body[..body.len() - 1];
    assert_eq!(decode_whole(&gzip, cut, 9), Err(Failure::Broken { decoded: b"some text".to_vec() }));
    assert_eq!(decode_whole(&Encoding::parse(b"compress"), &body, 9), Err(Failure::Unknown));
    assert_eq!(decode_whole(&Encoding::Identity, b"plain", 5), Ok(b"plain".to_vec()));
    assert_eq!(
        decode_whole(&Encoding::Identity, b"plain", 4),
        Err(Failure::TooLarge { decoded: b"plai".to_vec() })
    );
}

/// Cuts `bytes` at the given places, each a fraction of the whole length.
fn cut<'a>(bytes: &'a [u8], places: &[u16]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = places.iter().map(|&at| usize::from(at) * bytes.len() / 65_536).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect()
}

fn plain() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        prop::collection::vec(0..4_u8, 0..20_000),
        (0..3000_usize).prop_map(text),
    ]
}

proptest! {
    #[test]
    fn any_split_of_any_body_gives_the_body(plain in plain(), cuts in prop::collection::vec(any::<u16>(), 0..6)) {
        for name in CODINGS {
            let coded = coded(name, &plain);
            let (decoded, fault) = decode(name, &cut(&coded, &cuts), LARGE);
            prop_assert_eq!(fault, None);
            prop_assert!(decoded == plain, "{}", name);
        }
    }

    #[test]
    fn a_damaged_body_is_survived_and_as_far_the_same_in_any_split(
        plain in plain(),
        damage in prop::collection::vec((any::<u16>(), any::<u8>()), 1..8),
        cuts in prop::collection::vec(any::<u16>(), 0..6),
    ) {
        for name in CODINGS {
            let mut coded = coded(name, &plain);
            for (at, byte) in &damage {
                let at = usize::from(*at) * coded.len() / 65_536;
                coded[at] = *byte;
            }
            let whole = decode(name, &[&coded], 1 << 20);
            let split = decode(name, &cut(&coded, &cuts), 1 << 20);
            prop_assert_eq!(whole.1.is_some(), split.1.is_some());
            // The last bytes before the damage may be lost with it.
            let (short, long) = if whole.0.len() < split.0.len() { (whole.0, split.0) } else { (split.0, whole.0) };
            prop_assert!(long.starts_with(&short), "{}", name);
        }
    }

    #[test]
    fn any_bytes_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        cuts in prop::collection::vec(any::<u16>(), 0..4),
    ) {
        let heads: [(&str, &[u8]); 7] = [
            ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\xff"),
            ("gzip", b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff"),
            ("deflate", b"\x78\x9c"),
            ("deflate", b""),
            ("br", b""),
            ("zstd", b"\x28\xb5\x2f\xfd\x00\x58"),
            // A compressed block of 256 bytes.
            ("zstd", b"\x28\xb5\x2f\xfd\x00\x58\x04\x08\x00"),
        ];
        for (name, head) in heads {
            let body = [head, &bytes].concat();
            let (decoded, _) = decode(name, &cut(&body, &cuts), 1 << 20);
            prop_assert!(decoded.len() <= 1 << 20);
        }
    }
}

#[test]
fn a_small_body_that_stands_for_megabytes_is_not_decoded_to_its_end_however_it_is_cut() {
    let plain = vec![b'{'; 3 * UNSUSPICIOUS];
    for name in CODINGS {
        let coded = coded(name, &plain);
        let decoded = |size: usize| {
            let mut decoder = Decoder::watching(&codings(name), LARGE);
            let mut length = 0;
            coded.chunks(size).for_each(|piece| decoder.feed(piece, &mut |block| length += block.len()));
            (length, decoder.fault())
        };
        let (length, fault) = decoded(coded.len());
        let granted = UNSUSPICIOUS + coded.len().next_multiple_of(STEP) * LARGEST_RATIO;
        assert!((UNSUSPICIOUS..=granted).contains(&length), "{name}: {length}");
        assert_eq!(fault, Some(Fault::TooLarge), "{name}");
        for size in [1, 1000, STEP, STEP + 1] {
            assert_eq!(decoded(size), (length, fault), "{name} in pieces of {size}");
        }
    }
}

#[test]
fn what_compresses_as_answers_do_is_decoded_to_its_end_though_it_is_watched() {
    // About twenty times smaller, and longer than `UNSUSPICIOUS` grants to any body.
    let line: Vec<u8> = (0..=255_u8).flat_map(|byte| [byte.wrapping_mul(101); 2]).collect();
    let mut noise = 1_u32;
    let mut plain = Vec::new();
    while plain.len() < 2 * UNSUSPICIOUS {
        plain.extend_from_slice(&line);
        for _ in 0..16 {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            plain.push(noise.to_be_bytes()[0]);
        }
    }
    for name in CODINGS {
        let coded = coded(name, &plain);
        assert!(coded.len() * LARGEST_RATIO > plain.len(), "{name} makes it too small for this test");
        let mut decoder = Decoder::watching(&codings(name), LARGE);
        let mut length = 0;
        decoder.feed(&coded, &mut |block| length += block.len());
        decoder.finish();
        assert_eq!((length, decoder.fault()), (plain.len(), None), "{name}");
    }
}
