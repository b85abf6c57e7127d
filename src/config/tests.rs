//! The module as one of its users sees it: a made-up service with nested sections, valid and
//! invalid.

use super::*;
use crate::units::{NanoUsd, Span};

#[derive(Debug, PartialEq, Eq)]
struct Kitchen {
    key: Option<String>,
    open: bool,
    stations: Vec<(String, Station)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Station {
    orders: Vec<Order>,
    fullest: Ratio,
}

#[derive(Debug, PartialEq, Eq)]
struct Order {
    dish: String,
    heat: Heat,
    max: u64,
    burst: u64,
    window: Option<Span>,
    price: NanoUsd,
    cooks: Vec<Glob>,
    source: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heat {
    Low,
    High,
}

const HEATS: [(&str, Heat); 2] = [("low", Heat::Low), ("high", Heat::High)];

static KITCHEN: Section = Section::new(
    "",
    "A kitchen.",
    &[
        optional("key", Kind::Name, "no lock", "Locks the door.").secret(),
        with_default("open", Kind::Flag, "true", "Whether guests come in."),
        with_default("stations", Kind::Map(&Kind::Section(&STATION)), "{}", "Where things are cooked."),
    ],
);

static STATION: Section = Section::new(
    "stations.<name>",
    "A station.",
    &[
        with_default("orders", Kind::List(&Kind::Section(&ORDER)), "[]", "What to cook."),
        with_default("fullest", Kind::Fraction, "0.8", "When to call for help."),
    ],
);

static ORDER: Section = Section::new(
    "stations.<name>.orders[]",
    "An order.",
    &[
        required("dish", Kind::Name, "What it is."),
        with_default("heat", Kind::Choice(&kind::names(&HEATS)), "low", "How hot."),
        required("max", Kind::Integer, "How many."),
        optional("burst", Kind::Integer, "as `max`", "How many at once."),
        optional("window", Kind::Duration, "none", "In what time."),
        with_default("price", Kind::Usd, "0", "What it costs."),
        with_default("cooks", Kind::Several(&Kind::Glob), "*", "Who may cook it."),
        optional("phone", Kind::Name, "", "Ordered by phone."),
        optional("table", Kind::Integer, "", "Ordered at a table."),
    ],
);

fn kitchen(node: &Node<'_>) -> Option<Kitchen> {
    let fields = node.section(&KITCHEN);
    let key = fields.read("key", |node| match kind::name(node)? {
        key if key.len() < 8 => node.unexpected("a key of at least 8 bytes"),
        key => Some(key),
    });
    let open = fields.read("open", kind::flag);
    let stations = fields.read("stations", kind::map(station));
    Some(Kitchen { key, open: open?, stations: stations? })
}

fn station(node: &Node<'_>) -> Option<Station> {
    let fields = node.section(&STATION);
    let orders = fields.read("orders", kind::list(order));
    let fullest = fields.read("fullest", kind::fraction);
    Some(Station { orders: orders?, fullest: fullest? })
}

fn order(node: &Node<'_>) -> Option<Order> {
    let fields = node.section(&ORDER);
    let dish = fields.read("dish", kind::name);
    let heat = fields.read("heat", kind::choice(&HEATS));
    let max = fields.read("max", kind::integer_in(1..=u64::MAX));
    let burst = fields.read("burst", kind::integer);
    let window = fields.read("window", kind::duration);
    let price = fields.read("price", kind::usd);
    let cooks = fields.read("cooks", kind::several(kind::glob));
    let source = fields.exactly_one(&["phone", "table"]);
    let (max, burst) = (max?, burst.or(max)?);
    if burst < max {
        return fields.rule("burst", format!("must not be less than `max`, {max}"));
    }
    Some(Order { dish: dish?, heat: heat?, max, burst, window, price: price?, cooks: cooks?, source })
}

fn errors(text: &str) -> String {
    read(text.as_bytes(), kitchen).expect_err("a configuration with errors").to_string()
}

#[test]
fn what_is_not_written_is_what_the_table_says() {
    let text =
        br#"{ "stations": { "grill": { "orders": [ { "dish": "fish", "max": "1_000", "phone": "x" } ] } } }"#;
    let order = Order {
        dish: "fish".to_owned(),
        heat: Heat::Low,
        max: 1_000,
        burst: 1_000,
        window: None,
        price: NanoUsd::ZERO,
        cooks: vec![Glob::new("*")],
        source: Some("phone"),
    };
    let grill = Station { orders: vec![order], fullest: Ratio { ppm: 800_000 } };
    let expected = Kitchen { key: None, open: true, stations: vec![("grill".to_owned(), grill)] };
    assert_eq!(read(text, kitchen), Ok(expected));
}

#[test]
fn nothing_written_is_all_defaults() {
    let expected = Kitchen { key: None, open: true, stations: vec![] };
    assert_eq!(read(b"", kitchen), Ok(expected));
}

#[test]
fn null_is_the_same_as_not_written() {
    let empty = || ("bar".to_owned(), Station { orders: vec![], fullest: Ratio { ppm: 800_000 } });
    let expected = Kitchen { key: None, open: true, stations: vec![empty()] };
    assert_eq!(read(br#"{ "key": null, "stations": { "bar": null } }"#, kitchen), Ok(expected));
    let text = r#"{ "stations": { "bar": { "orders": [ { "dish": null, "max": 1, "table": 1 } ] } } }"#;
    assert_eq!(errors(text), "stations.bar.orders[0].dish: is missing, expected a non-empty text");
}

#[test]
fn all_errors_are_reported_in_document_order() {
    let text = r#"{
        "stations": {
            "grill": {
                "fullest": "110%",
                "orders": [
                    { "dish": "fish", "max": 5, "window": "1 fortnight", "heat": "hihg", "table": 3 },
                    { "mx": 5, "price": -0.5, "cooks": ["ann*", 7, ""] },
                    "soup",
                    { "dish": "rice", "max": 5, "burst": 2, "phone": "a", "table": 1 }
                ]
            },
            "cold buffet": { "orders": {} },
            "bar": []
        },
        "key": "hunter2",
        "open": "sometimes",
        "windows": 4
    }"#;
    let expected = r#"
stations.grill.fullest: "110%" is not a fraction from 0 to 1
stations.grill.orders[0].window: "1 fortnight" is not a duration such as 30s, 1m, 1h, 1d
stations.grill.orders[0].heat: "hihg" is not one of low, high: did you mean `high`?
stations.grill.orders[1].dish: is missing, expected a non-empty text
stations.grill.orders[1].max: is missing, expected a whole number such as 50_000
stations.grill.orders[1]: needs one of phone, table
stations.grill.orders[1].mx: is not a known option, did you mean `max`? (known here: dish, heat, max, burst, window, price, cooks, phone, table)
stations.grill.orders[1].price: -0.5 is not an amount of US dollars such as 0.15: it is negative
stations.grill.orders[1].cooks[1]: 7 is not a pattern such as gpt-4o*: put it in quotes
stations.grill.orders[1].cooks[2]: "" is not a pattern such as gpt-4o*
stations.grill.orders[2]: "soup" is not a map
stations.grill.orders[3]: takes only one of phone, table
stations.grill.orders[3].burst: must not be less than `max`, 5
stations."cold buffet".orders: a map is not a list
stations.bar: a list is not a map
key: "…" is not a key of at least 8 bytes
open: "sometimes" is not true or false
windows: is not a known option (known here: key, open, stations)"#;
    assert_eq!(errors(text), expected.trim_start());
}

#[test]
fn a_secret_is_never_part_of_an_error() {
    for value in ["\"hunter2\"", "1234567", "[\"hunter2\"]", "true", "{\"hunter2\": \"hunter2\"}"] {
        let errors = read(format!("{{\"key\": {value}}}").as_bytes(), kitchen).unwrap_err();
        let text = format!("{errors} {errors:?}");
        assert!(text.contains("key") && !text.contains("hunter2") && !text.contains("1234567"), "{text}");
    }
}

#[test]
fn what_is_inside_a_secret_is_secret_too() {
    static SAFE: Section = Section::new(
        "",
        "A safe.",
        &[optional("codes", Kind::List(&Kind::Integer), "none", "Open it.").secret()],
    );
    let errors = read(br#"{"codes": [1, "hunter2"]}"#, |node| {
        node.section(&SAFE).read("codes", kind::list(kind::integer))
    });
    assert_eq!(errors.unwrap_err().to_string(), "codes[1]: \"…\" is not a whole number such as 50_000");
}

#[test]
fn long_values_are_shortened() {
    let text = errors(&format!("{{\"open\": \"{}\"}}", "x".repeat(10_000)));
    assert_eq!(text, format!("open: \"{}…\" is not true or false", "x".repeat(40)));
}

#[test]
fn a_reader_that_fails_in_silence_is_still_an_error() {
    let errors = read(b"{}", |_| None::<()>).unwrap_err().to_string();
    assert!(errors.contains("is refused for no known reason"), "{errors}");
}

#[test]
fn an_option_that_no_table_has_cannot_be_read() {
    let errors = read(b"{}", |node| Some(node.section(&KITCHEN).read("lamp", kind::flag))).unwrap_err();
    assert_eq!(errors.to_string(), "lamp: is read as an option but not in the table of ``");
}

#[test]
fn an_error_fails_the_configuration_even_if_its_reader_goes_on() {
    let result = read(br#"{"key": ""}"#, |node| {
        let _ = node.section(&KITCHEN).read("key", kind::name);
        Some(())
    });
    assert_eq!(result.unwrap_err().listed.len(), 1);
}
