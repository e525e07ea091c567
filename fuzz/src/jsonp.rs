//! Forms that JSONP clients submit, and the scripts that they load.

use engineio_proto::{
    Dialect, Encoded,
    payload::{self, jsonp},
    session::Transmit,
};

/// A form is read as by the official server; a script calls back with exactly the text; what a client
/// writes into a form comes out.
pub fn run(form: &[u8]) {
    let read = jsonp::form_payload(form);
    let read = read.map(|it| String::from_utf8(it.to_vec()).expect("text"));
    let field = form_urlencoded::parse(form).find(|(name, _)| name == "d");
    assert_eq!(read, field.map(|(_, value)| unescape(&value)));

    let text = String::from_utf8_lossy(form);
    let item = || Transmit::Message(Encoded::text(&text)).into();
    for (dialect, index) in [(Dialect::V4, "0"), (Dialect::V3, "17")] {
        let plain = match dialect {
            Dialect::V4 => format!("4{text}"),
            _ => format!("{}:4{text}", 1 + text.encode_utf16().count()),
        };
        let script = payload::encode(item(), &dialect, Some(index)).bytes;
        let script = str::from_utf8(&script).expect("text");
        assert!(!script.contains(['\n', '\r', '\u{2028}', '\u{2029}']));
        let call = script.strip_prefix(&format!("___eio[{index}]("));
        let string = call.and_then(|it| it.strip_suffix(");")).expect("a call");
        assert_eq!(
            serde_json::from_str::<String>(string).expect("a string"),
            plain
        );
    }

    // a backslash before a line break is the one thing that a client cannot express
    if !text.contains("\\\n") {
        let escaped = text.replace("\\n", "\\\n").replace('\n', "\\n");
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("d", &escaped);
        let read = jsonp::form_payload(form.finish().as_bytes());
        assert_eq!(read.expect("a field"), *text);
    }
}

/// In two steps: line breaks that are not escaped, then the escapes.
fn unescape(value: &str) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some(next) = rest.chars().next() {
        let (piece, length) = if rest.starts_with("\\\\n") {
            ("\\\\n", 3)
        } else if rest.starts_with("\\n") {
            ("\n", 2)
        } else {
            (&rest[..next.len_utf8()], next.len_utf8())
        };
        text.push_str(piece);
        rest = &rest[length..];
    }
    text.replace("\\\\n", "\\n")
}
