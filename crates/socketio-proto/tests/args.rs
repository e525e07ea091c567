//! Which Rust types take which arguments, and what they say when they do not fit.
#![allow(clippy::unwrap_used)] // helpers of tests may, as the tests themselves

use std::{
    collections::{BTreeMap, HashMap},
    thread,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, value::RawValue};
use socketio_proto::{Args, Decoder, Limits, PacketKind};

/// Arguments as they come from the wire: the list without brackets, the attachments.
fn arrived(json: &str, attachments: &[&'static [u8]]) -> Args {
    let mut limits = Limits::default();
    limits.max_depth = u32::MAX;
    let mut decoder = Decoder::new(limits);
    let comma = if json.is_empty() { "" } else { "," };
    let text = match attachments.len() {
        0 => format!("2[\"message\"{comma}{json}]"),
        count => format!("5{count}-[\"message\"{comma}{json}]"),
    };
    let mut packet = decoder.add(text.into()).unwrap();
    for bytes in attachments {
        packet = decoder.add(Bytes::from_static(bytes).into()).unwrap();
    }
    match packet.unwrap().kind {
        PacketKind::Event { args, .. } => args,
        other => panic!("{other:?}"),
    }
}

fn json<T: Serialize>(value: T) -> String {
    Args::new(&value).unwrap().json().to_owned()
}

fn error<T: serde::de::DeserializeOwned + std::fmt::Debug>(args: &Args) -> String {
    args.deserialize::<T>().unwrap_err().to_string()
}

const P0: &str = r#"{"_placeholder":true,"num":0}"#;
const P1: &str = r#"{"_placeholder":true,"num":1}"#;

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Point {
    x: i32,
    y: Option<i32>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Pair(String, u8);

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Wrapper<T>(T);

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Nothing;

#[derive(Debug, Deserialize, PartialEq, Serialize)]
enum Shape {
    Dot,
    Circle(u8),
    Line(u8, u8),
    Named { name: String },
}

#[test]
fn what_values_are_as_arguments() {
    assert_eq!(json(()), "");
    assert_eq!(json(Nothing), "");
    assert_eq!(json("a"), r#""a""#);
    assert_eq!(json(-1), "-1");
    assert_eq!(json(u128::MAX), u128::MAX.to_string());
    assert_eq!(json(i128::MIN), i128::MIN.to_string());
    assert_eq!(json(f64::MIN), "-1.7976931348623157e+308");
    assert_eq!(json(0.1f32), "0.1");
    assert_eq!(json('"'), r#""\"""#);
    assert_eq!(json(true), "true");
    assert_eq!(json(None::<u8>), "null");
    assert_eq!(json(Some((1, 2))), "[1,2]");
    assert_eq!(json((1, "a", ())), r#"1,"a",null"#);
    assert_eq!(json([1, 2]), "1,2");
    assert_eq!(json(vec![1, 2]), "[1,2]");
    assert_eq!(json(&[1, 2][..]), "[1,2]");
    assert_eq!(json(((1, 2), [3])), "[1,2],[3]");
    assert_eq!(json(Pair("a".into(), 1)), r#""a",1"#);
    assert_eq!(json(Wrapper((1, 2))), "1,2");
    assert_eq!(json(Wrapper(Wrapper(5))), "5");
    assert_eq!(json(Point { x: 1, y: None }), r#"{"x":1,"y":null}"#);
    assert_eq!(json(BTreeMap::from([(1, 2), (3, 4)])), r#"{"1":2,"3":4}"#);
    assert_eq!(json(Shape::Dot), r#""Dot""#);
    assert_eq!(json(Shape::Circle(1)), r#"{"Circle":1}"#);
    assert_eq!(json(Shape::Line(1, 2)), r#"{"Line":[1,2]}"#);
    let named = Shape::Named {
        name: "\u{1}".into(),
    };
    assert_eq!(json(named), r#"{"Named":{"name":"\u0001"}}"#);
    assert_eq!(
        json("\u{8}\u{c}\n\r\t\\/\u{7f}"),
        "\"\\b\\f\\n\\r\\t\\\\/\u{7f}\""
    );
    assert_eq!(
        json(serde_json::json!([1, {"a": null}])),
        r#"[1,{"a":null}]"#
    );
    let raw = RawValue::from_string("[ 1e2 ]".into()).unwrap();
    assert_eq!(json(&raw), "[ 1e2 ]");
    assert_eq!(json((&raw, 1)), "[ 1e2 ],1");
}

#[test]
fn what_arguments_are_as_values() {
    let args = arrived(r#""a",1,{"x":1,"y":2},[3,4]"#, &[]);
    assert_eq!(args.len(), 4);
    assert_eq!(args.deserialize(), Ok(()));
    assert_eq!(args.deserialize(), Ok(Nothing));
    assert_eq!(args.deserialize(), Ok("a".to_owned()));
    assert_eq!(args.deserialize(), Ok('a'));
    assert_eq!(args.deserialize(), Ok(Some("a".to_owned())));
    assert_eq!(args.deserialize(), Ok(Value::from("a")));
    assert_eq!(args.deserialize(), Ok(("a".to_owned(),)));
    assert_eq!(args.deserialize(), Ok(Pair("a".into(), 1)));
    assert_eq!(args.deserialize(), Ok(Wrapper(Pair("a".into(), 1))));
    assert_eq!(args.deserialize(), Ok(Wrapper("a".to_owned())));
    assert_eq!(
        args.deserialize(),
        Ok(("a".to_owned(), 1, Point { x: 1, y: Some(2) }, vec![3, 4]))
    );
    assert_eq!(
        args.deserialize::<(IgnoredAny, Value, Value, (u8, u8))>()
            .unwrap()
            .3,
        (3, 4)
    );
    assert_eq!(args.deserialize::<[Value; 2]>(), Ok(["a".into(), 1.into()]));
    assert!(args.deserialize::<IgnoredAny>().is_ok());

    assert_eq!(arrived("[3,4]", &[]).deserialize(), Ok(vec![3, 4]));
    assert_eq!(arrived("3,4", &[]).deserialize(), Ok([3, 4]));
    assert_eq!(arrived("[3,4]", &[]).deserialize(), Ok(Some((3, 4))));
    assert_eq!(arrived("null", &[]).deserialize(), Ok(None::<u8>));
    assert_eq!(arrived(r#""Dot""#, &[]).deserialize(), Ok(Shape::Dot));
    assert_eq!(
        arrived(r#"{"Line":[1,2]}"#, &[]).deserialize(),
        Ok(Shape::Line(1, 2))
    );
    assert_eq!(
        arrived(r#"{"1":2}"#, &[]).deserialize(),
        Ok(HashMap::from([(1u8, 2u8)]))
    );
    assert_eq!(
        arrived("[1,2]", &[]).deserialize(),
        Ok(Bytes::from_static(&[1, 2]))
    );
}

#[test]
fn raw_json_can_be_asked_for() {
    let args = arrived(r#"{"a": 1e2},[1]"#, &[]);
    let raw: Box<RawValue> = args.deserialize().unwrap();
    assert_eq!(raw.get(), r#"{"a": 1e2}"#);
    let (_, raw): (IgnoredAny, Box<RawValue>) = args.deserialize().unwrap();
    assert_eq!(raw.get(), "[1]");
    let args = arrived(P0, &[&[1]]);
    let raw: Box<RawValue> = args.deserialize().unwrap();
    assert_eq!(raw.get(), P0);
    let raw: (Box<RawValue>,) = args.deserialize().unwrap();
    assert_eq!(raw.0.get(), P0);
    let none = arrived("", &[]);
    let missing = "argument 1 of `message` is missing";
    assert_eq!(error::<Box<RawValue>>(&none), missing);
    assert_eq!(error::<(Box<RawValue>,)>(&none), missing);
}

#[test]
fn a_missing_argument_is_none_or_an_error() {
    let none = arrived("", &[]);
    assert!(none.is_empty());
    assert_eq!(none.len(), 0);
    assert_eq!(none, Args::empty());
    assert_eq!(none.deserialize(), Ok(()));
    assert_eq!(none.deserialize(), Ok(None::<String>));
    assert_eq!(none.deserialize(), Ok((None::<u8>, Wrapper(None::<u8>))));
    assert_eq!(none.deserialize(), Ok([None::<u8>; 3]));
    assert_eq!(error::<String>(&none), "argument 1 of `message` is missing");
    assert_eq!(error::<Value>(&none), "argument 1 of `message` is missing");
    assert_eq!(error::<Point>(&none), "argument 1 of `message` is missing");
    assert_eq!(
        error::<(u8, u8)>(&none),
        "argument 1 of `message` is missing"
    );
    let one = arrived("1", &[]);
    assert_eq!(one.deserialize(), Ok((1, None::<u8>)));
    assert_eq!(
        error::<(u8, u8)>(&one),
        "argument 2 of `message` is missing"
    );
    assert_eq!(
        error::<Pair>(&arrived("\"a\"", &[])),
        "argument 2 of `message` is missing"
    );
    assert!(one.deserialize::<(u8, u8)>().unwrap_err().is_missing());
    assert_eq!(error::<u8>(&Args::empty()), "argument 1 is missing");
}

#[test]
fn a_mismatch_says_where_and_what() {
    let args = arrived(r#"1,"two",{"x":"three"}"#, &[]);
    assert_eq!(
        error::<String>(&args),
        "argument 1 of `message`: invalid type: integer `1`, expected a string"
    );
    assert_eq!(
        error::<(u8, u32)>(&args),
        "argument 2 of `message`: invalid type: string \"two\", expected u32"
    );
    assert_eq!(
        error::<(u8, String, Point)>(&args),
        "argument 3 of `message`: invalid type: string \"three\", expected i32"
    );
    assert_eq!(
        error::<(i8, Value, Shape)>(&args),
        "argument 3 of `message`: unknown variant `x`, expected one of `Dot`, `Circle`, `Line`, \
         `Named`"
    );
    let error = args.deserialize::<(u8, u32)>().unwrap_err();
    assert_eq!((error.argument(), error.is_missing()), (2, false));
    assert_eq!(error, args.deserialize::<(u8, u32)>().unwrap_err());
}

#[test]
fn half_a_surrogate_pair_is_read_as_a_replacement_character() {
    for attachments in [&[][..], &[&[1u8][..]]] {
        let args = arrived(r#""a\ud800b",{"\udfff":"\ud83d\ude00"}"#, attachments);
        let map = HashMap::from([("\u{FFFD}".to_owned(), "😀".to_owned())]);
        assert_eq!(args.deserialize(), Ok("a\u{FFFD}b".to_owned()));
        assert_eq!(args.deserialize(), Ok(("a\u{FFFD}b".to_owned(), map)));
        assert_eq!(
            error::<(String, u8)>(&args),
            "argument 2 of `message`: invalid type: map, expected u8"
        );
        assert_eq!(args.json(), r#""a\ud800b",{"\udfff":"\ud83d\ude00"}"#);
    }
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct File {
    name: String,
    body: Bytes,
    #[serde(default)]
    thumbnail: Option<Bytes>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
enum Body {
    Text(String),
    Binary(Bytes),
    Parts { parts: Vec<Bytes> },
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type")]
enum Tagged {
    File { body: Bytes },
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
enum External {
    One(Bytes),
    Two(Bytes, u8),
    Named { body: Bytes },
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Flattened {
    id: u8,
    #[serde(flatten)]
    file: File,
    #[serde(flatten)]
    rest: HashMap<String, Body>,
}

/// A value that is the same after it went out and came in.
fn round_trip<T>(value: T, attachments: usize)
where
    T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let args = Args::new(&value).unwrap();
    assert_eq!(args.attachments().len(), attachments, "{value:?}");
    assert_eq!(args.deserialize::<T>().as_ref(), Ok(&value));
    let several = Args::new(&(0, &value, 1)).unwrap();
    assert_eq!(several.deserialize::<(u8, T, u8)>(), Ok((0, value, 1)));
}

#[test]
fn bytes_anywhere_in_a_value() {
    // not UTF-8, or an untagged enum would take it for text
    let bytes = |text: &str| Bytes::from([&[255], text.as_bytes()].concat());
    let file = || File {
        name: "a".into(),
        body: bytes("body"),
        thumbnail: Some(bytes("thumbnail")),
    };
    round_trip(bytes("a"), 1);
    round_trip(bytes(""), 1);
    round_trip(Some(bytes("a")), 1);
    round_trip(Wrapper(bytes("a")), 1);
    round_trip(vec![bytes("a"), bytes("b")], 2);
    round_trip(vec![Some(bytes("a")), None], 1);
    round_trip((bytes("a"), 1, [bytes("b")]), 2);
    round_trip(HashMap::from([("a".to_owned(), bytes("a"))]), 1);
    round_trip(BTreeMap::from([(7, (bytes("a"), vec![file()]))]), 3);
    round_trip(file(), 2);
    round_trip(vec![Body::Text("a".into()), Body::Binary(bytes("a"))], 1);
    round_trip(
        Body::Parts {
            parts: vec![bytes("a"), bytes("b")],
        },
        2,
    );
    round_trip(Tagged::File { body: bytes("a") }, 1);
    round_trip(External::One(bytes("a")), 1);
    round_trip(External::Two(bytes("a"), 1), 1);
    round_trip(External::Named { body: bytes("a") }, 1);
    let rest = HashMap::from([
        ("_placeholder".to_owned(), Body::Text("x".into())),
        ("num".to_owned(), Body::Binary(bytes("n"))),
    ]);
    round_trip(
        Flattened {
            id: 1,
            file: file(),
            rest,
        },
        3,
    );
}

#[test]
fn a_placeholder_is_found_whatever_its_members_order() {
    let args = arrived(
        r#"{"num":0,"_placeholder":true},[{"x":0,"_placeholder":true,"num":1}]"#,
        &[&[254], &[255]],
    );
    let (a, b): (Body, Vec<Body>) = args.deserialize().unwrap();
    assert_eq!(a, Body::Binary(Bytes::from_static(&[254])));
    assert_eq!(b, [Body::Binary(Bytes::from_static(&[255]))]);
}

#[test]
fn members_like_those_of_a_placeholder_are_ordinary() {
    for json in [
        r#"{"_placeholder":false,"num":7}"#,
        r#"{"_placeholder":null}"#,
        r#"{"num":"x","_placeholder":"true"}"#,
        r#"{"num":{"num":[]}}"#,
        "{}",
    ] {
        let args = arrived(&format!("{json},{P0}"), &[b"a"]);
        let (value, bytes): (Value, Bytes) = args.deserialize().unwrap();
        assert_eq!(value.to_string().len(), json.len(), "{json}");
        assert_eq!(bytes, "a");
    }
    let args = arrived(r#"{"_placeholder":[]},1"#, &[b"a"]);
    assert!(error::<Value>(&args).contains("called `_placeholder`"));
    assert!(args.deserialize::<HashMap<String, Vec<u8>>>().is_ok());
}

#[test]
fn types_that_hold_no_bytes_refuse_them() {
    let args = arrived(P0, &[b"a"]);
    assert_eq!(
        error::<String>(&args),
        "argument 1 of `message`: invalid type: map, expected a string"
    );
    assert_eq!(
        error::<Vec<u8>>(&args),
        "argument 1 of `message`: invalid type: map, expected a sequence"
    );
    assert_eq!(
        error::<Value>(&args),
        "argument 1 of `message`: invalid type: byte array, expected any valid JSON value"
    );
}

#[test]
fn relayed_arguments_stay_as_they_are() {
    let json = format!(r#"1.0e2, "\ud800", {{"a": {P0}}},{P1}"#);
    let normal = json.clone();
    let args = arrived(&json, &[b"a", b"b"]);
    let it = socketio_proto::encode::event("/", None, "relay", &args).unwrap();
    assert_eq!(
        &**it.wire_text().unwrap(),
        format!("452-[\"relay\",{normal}]")
    );
    let it = socketio_proto::encode::ack("/x", 1, &args).unwrap();
    assert_eq!(&**it.wire_text().unwrap(), format!("462-/x,1[{normal}]"));
    for (sent, arrived) in it.attachments().iter().zip(args.attachments()) {
        assert_eq!(sent.as_ptr(), arrived.as_ptr());
    }
    let it = socketio_proto::encode::event("/", None, "relay", &arrived("", &[])).unwrap();
    assert_eq!(&**it.wire_text().unwrap(), r#"42["relay"]"#);
}

#[test]
fn relayed_arguments_behind_others_are_renumbered() {
    use socketio_proto::{ArgsWriter, EncodeError, ToArgs};
    struct Joined(Args, Args);
    impl ToArgs for Joined {
        fn write_args(&self, out: &mut ArgsWriter) -> Result<(), EncodeError> {
            self.0.write_args(out)?;
            self.1.write_args(out)
        }
    }
    let joined = Joined(
        arrived(&format!("{P0},{P1}"), &[b"a", b"b"]),
        arrived(&format!("[{P1}]"), &[b"c", b"d"]),
    );
    let args = Args::new(&joined).unwrap();
    assert_eq!(
        args.json(),
        format!(r#"{P0},{P1},[{{"_placeholder":true,"num":3}}]"#)
    );
    assert_eq!(args.attachments().len(), 4);
}

#[test]
fn depth_is_an_error_for_a_value_and_nothing_to_what_does_not_look() {
    let nested = |deep: usize| "[".repeat(deep) + &"]".repeat(deep);
    let check = move || {
        for attachments in [&[][..], &[&[1u8][..]]] {
            let args = arrived(&nested(100), attachments);
            assert!(args.deserialize::<Value>().is_ok());
            assert!(args.deserialize::<(Value,)>().is_ok());
            let args = arrived(&format!("{},1", nested(100_000)), attachments);
            assert_eq!(
                error::<Value>(&args),
                "argument 1 of `message`: recursion limit exceeded"
            );
            assert!(args.deserialize::<(Value, u8)>().is_err());
            assert!(args.deserialize::<Body>().is_err());
            assert_eq!(args.deserialize::<(IgnoredAny, u8)>().unwrap().1, 1);
            assert_eq!(args.len(), 2);
            let objects = r#"{"_placeholder":0,"num":"#.repeat(10_000) + "0" + &"}".repeat(10_000);
            assert!(
                arrived(&objects, attachments)
                    .deserialize::<Value>()
                    .is_err()
            );
        }
    };
    // as much stack as a worker thread has by default
    let thread = thread::Builder::new().stack_size(2 * 1024 * 1024);
    thread.spawn(check).unwrap().join().unwrap();
}
