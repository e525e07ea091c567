//! The derive macro of the `socketio` crate, which re-exports it. It needs so little of Rust's
//! grammar that it reads the tokens itself, and so costs no dependency.
#![forbid(unsafe_code)]

use std::iter::Peekable;

use proc_macro::{Delimiter, Ident, Literal, Span, TokenStream, TokenTree, token_stream};

/// Makes a type a typed event: its name, and the type of its acknowledgement.
///
/// `#[event(name = "…")]` is the name. `#[event(name = "…", ack = Type)]` adds what the receiver
/// answers; without it the answer is `()`.
///
/// Types with generic parameters have to implement the trait by hand.
#[proc_macro_derive(TypedEvent, attributes(event))]
pub fn typed_event(input: TokenStream) -> TokenStream {
    Declaration::parse(input).map_or_else(Error::into_tokens, Declaration::into_impl)
}

/// What the macro needs to know of the type.
struct Declaration {
    ident: Ident,
    name: Literal,
    ack: Option<TokenStream>,
}

impl Declaration {
    fn parse(input: TokenStream) -> Result<Self, Error> {
        let mut attribute = Attribute::default();
        let mut tokens = input.into_iter();
        while let Some(token) = tokens.next() {
            match token {
                // An attribute: a `#`, and what is in the brackets.
                TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                    attribute.add(group.stream())?;
                }
                TokenTree::Ident(keyword) if is_one_of(&keyword, &["struct", "enum", "union"]) => {
                    let Some(TokenTree::Ident(ident)) = tokens.next() else {
                        return Err(Error::new(keyword.span(), "a type without a name"));
                    };
                    if tokens.next().is_some_and(|it| is_punct(&it, '<')) {
                        let text = "a generic type has to implement `TypedEvent` by hand";
                        return Err(Error::new(ident.span(), text));
                    }
                    let Some(name) = attribute.name else {
                        let text = "the event has no name: `#[event(name = \"…\")]`";
                        return Err(Error::new(ident.span(), text));
                    };
                    let ack = attribute.ack;
                    return Ok(Self { ident, name, ack });
                }
                _ => {}
            }
        }
        Err(Error::new(Span::call_site(), "not a type"))
    }

    fn into_impl(self) -> TokenStream {
        let mut out = tokens("#[automatically_derived] impl ::socketio::TypedEvent for");
        out.extend([TokenTree::from(self.ident)]);
        let mut body = tokens("const NAME: &'static str =");
        body.extend([TokenTree::from(self.name)]);
        body.extend(tokens("; type Ack ="));
        body.extend(self.ack.unwrap_or_else(|| tokens("()")));
        body.extend(tokens(";"));
        let body = proc_macro::Group::new(Delimiter::Brace, body);
        out.extend([TokenTree::from(body)]);
        out
    }
}

/// What stands in `#[event(…)]`.
#[derive(Default)]
struct Attribute {
    name: Option<Literal>,
    ack: Option<TokenStream>,
}

impl Attribute {
    /// Takes what is in the brackets of any attribute.
    fn add(&mut self, attribute: TokenStream) -> Result<(), Error> {
        let mut tokens = attribute.into_iter();
        match tokens.next() {
            Some(TokenTree::Ident(ident)) if is_one_of(&ident, &["event"]) => {
                let Some(TokenTree::Group(group)) = tokens.next() else {
                    let text = "expected `#[event(name = \"…\")]`";
                    return Err(Error::new(ident.span(), text));
                };
                self.add_all(group.stream().into_iter().peekable())
            }
            _ => Ok(()),
        }
    }

    fn add_all(&mut self, mut tokens: Peekable<token_stream::IntoIter>) -> Result<(), Error> {
        while let Some(key) = tokens.next() {
            let span = key.span();
            let is_new = match key.to_string().as_str() {
                "name" => self
                    .name
                    .replace(event_name(value(&mut tokens, span)?, span)?)
                    .is_none(),
                "ack" => self.ack.replace(value(&mut tokens, span)?).is_none(),
                _ => return Err(Error::new(span, "expected `name` or `ack`")),
            };
            if !is_new {
                return Err(Error::new(span, "it is there twice"));
            }
        }
        Ok(())
    }
}

/// What stands between a `=` and the next comma that is not in the angle brackets of a type.
fn value(tokens: &mut Peekable<token_stream::IntoIter>, key: Span) -> Result<TokenStream, Error> {
    if !tokens.next().is_some_and(|it| is_punct(&it, '=')) {
        return Err(Error::new(key, "expected a `=` behind it"));
    }
    let mut value = Vec::new();
    let mut depth = 0;
    for token in tokens {
        match &token {
            token if is_punct(token, '<') => depth += 1,
            token if is_punct(token, '>') => depth -= 1,
            token if is_punct(token, ',') && depth == 0 => break,
            _ => {}
        }
        value.push(token);
    }
    if value.is_empty() {
        return Err(Error::new(key, "expected a value behind it"));
    }
    Ok(value.into_iter().collect())
}

fn event_name(value: TokenStream, key: Span) -> Result<Literal, Error> {
    let mut tokens = value.into_iter();
    let (Some(TokenTree::Literal(name)), None) = (tokens.next(), tokens.next()) else {
        return Err(Error::new(key, "the name must be a string"));
    };
    let text = name.to_string();
    if !text.ends_with(['"', '#']) || text.starts_with(['b', 'c']) {
        return Err(Error::new(name.span(), "the name must be a string"));
    }
    if RESERVED.contains(&text.trim_matches(['r', '#', '"'])) {
        return Err(Error::new(name.span(), "the name is reserved"));
    }
    Ok(name)
}

/// Names that mean something else to every client.
const RESERVED: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

fn is_one_of(ident: &Ident, words: &[&str]) -> bool {
    words.contains(&ident.to_string().as_str())
}

fn is_punct(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
}

/// Tokens of the macro's own.
fn tokens(text: &str) -> TokenStream {
    text.parse().unwrap_or_default()
}

/// What is wrong with the declaration, and where.
struct Error {
    span: Span,
    text: &'static str,
}

impl Error {
    fn new(span: Span, text: &'static str) -> Self {
        Self { span, text }
    }

    fn into_tokens(self) -> TokenStream {
        let text = tokens(&format!("::core::compile_error!{{ {:?} }}", self.text));
        text.into_iter()
            .map(|mut token| {
                token.set_span(self.span);
                token
            })
            .collect()
    }
}
